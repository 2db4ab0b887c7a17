"""`python -m medpipe.operate.entrypoint COMMAND …`: a process of Dagster's own on medpipe's instance.

Writes the instance file for the environment as it is, as `medpipe dev` and `medpipe run` do, then becomes the
command: a container's entry point.
"""

from __future__ import annotations

import os
import sys

from medpipe.operate.instance import prepare_instance
from medpipe.settings import Settings


def main(command: list[str]) -> None:
    """Prepares the instance and becomes the command.

    Raises:
        SystemExit: no command was given.
        StorageError: PostgreSQL is asked for and cannot be used.
    """
    if not command:
        raise SystemExit("medpipe.operate.entrypoint needs a command, such as dagster-webserver")
    prepare_instance(Settings())
    os.execvp(command[0], command)  # noqa: S606 - the container's own command line


if __name__ == "__main__":
    main(sys.argv[1:])
