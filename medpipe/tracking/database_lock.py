"""One process at a time at a shared PostgreSQL database, whichever machine it runs on."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

from medpipe.settings import with_driver

_KEY = 0x6D656470697065
"""Of the advisory lock: the bytes of `medpipe`."""


def is_postgres(uri: str) -> bool:
    """Whether a URI names a PostgreSQL database, with or without a driver."""
    return uri.partition(":")[0].partition("+")[0] in ("postgresql", "postgres")


@contextlib.contextmanager
def database_lock(uri: str | None) -> Iterator[None]:
    """Holds the database's advisory lock of medpipe until the block is left; waits while another has it.

    Dagster and MLflow create their tables on the first connection, and their own locks hold on one machine
    only. The lock belongs to a connection: that of a killed process is let go of by the server.

    Args:
        uri: the database; nothing is locked where it is None or no PostgreSQL database.

    Raises:
        sqlalchemy.exc.SQLAlchemyError: the database cannot be reached.
    """
    if uri is None or not is_postgres(uri):
        yield
        return
    import sqlalchemy

    engine = sqlalchemy.create_engine(
        with_driver(uri), poolclass=sqlalchemy.NullPool, isolation_level="AUTOCOMMIT"
    )
    with engine.connect() as connection:
        connection.execute(sqlalchemy.text("SELECT pg_advisory_lock(:key)"), {"key": _KEY})
        yield
