"""A real PostgreSQL server on loopback, started by an unprivileged user in a folder of its own."""

from __future__ import annotations

import contextlib
import os
import pwd
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from medpipe_tests.tracking.mlflow_server import free_port

USER = "medpipe"
PASSWORD = "planted@pg/p4ss"
"""Must be escaped in a URL, and must not be found anywhere."""
QUOTED = "planted%40pg%2Fp4ss"
_UNPRIVILEGED = ("postgres", "nobody")


def binaries() -> Path | None:
    """Folder of Debian's newest server programs, or of those on the path."""
    found = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"), key=lambda path: int(path.parts[4]))
    on_path = shutil.which("initdb")
    return found[-1].parent if found else Path(on_path).parent if on_path else None


class Postgres:
    """One server; a test may restart or kill it."""

    def __init__(self, programs: Path, folder: Path, port: int) -> None:
        self.programs, self.folder, self.port = programs, folder, port
        self._process: subprocess.Popen[bytes] | None = None
        names = {entry.pw_name for entry in pwd.getpwall()}
        # PostgreSQL refuses to run as root.
        self._user = next(user for user in _UNPRIVILEGED if user in names) if os.geteuid() == 0 else None

    def create(self) -> None:
        secret = self.folder / "secret"
        secret.write_text(PASSWORD + "\n")
        if self._user is not None:
            for path in (self.folder, secret):
                shutil.chown(path, self._user)
        command = [self.programs / "initdb", "-D", self.folder / "data", "-U", USER, "--encoding=UTF8"]
        command += ["--auth=scram-sha-256", f"--pwfile={secret}", "--no-locale", "--no-sync"]
        subprocess.run(command, check=True, user=self._user, stdout=subprocess.DEVNULL, cwd=self.folder)

    def start(self) -> None:
        command = [self.programs / "postgres", "-D", self.folder / "data", "-p", str(self.port)]
        command += ["-h", "127.0.0.1", "-k", self.folder, "-c", "fsync=off"]
        with (self.folder / "server.log").open("ab") as log:
            self._process = subprocess.Popen(
                command, user=self._user, stdout=log, stderr=log, cwd=self.folder, start_new_session=True
            )
        deadline = time.monotonic() + 60
        while time.monotonic() < deadline and self._process.poll() is None:
            with contextlib.suppress(subprocess.CalledProcessError):
                self.sql("SELECT 1")
                return
            time.sleep(0.1)
        pytest.fail(f"PostgreSQL did not start:\n{(self.folder / 'server.log').read_text()[-3000:]}")

    def stop(self, *, at_once: bool = False) -> None:
        """Ends the server and every connection, `at_once` without a shutdown: as a crash does."""
        if self._process is None:
            return
        # SIGQUIT is what the manual gives for it; SIGKILL could leave shared memory behind.
        self._process.send_signal(signal.SIGQUIT if at_once else signal.SIGINT)
        self._process.wait(60)
        self._process = None

    def dump(self, database: str) -> str:
        """All that a database holds, as text."""
        command = [self.programs / "pg_dump", "-h", "127.0.0.1", "-p", str(self.port), "-U", USER, database]
        environment = {**os.environ, "PGPASSWORD": PASSWORD}
        return subprocess.run(command, env=environment, check=True, capture_output=True, text=True).stdout

    def sql(self, statement: str, *, database: str = "postgres") -> str:
        command = [
            self.programs / "psql",
            "-h",
            "127.0.0.1",
            "-p",
            str(self.port),
            "-U",
            USER,
            "-d",
            database,
        ]
        command += ["-v", "ON_ERROR_STOP=1", "-Atc", statement]
        environment = {**os.environ, "PGPASSWORD": PASSWORD}
        return subprocess.run(
            command, env=environment, check=True, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
        ).stdout.strip()

    def database(self, name: str) -> str:
        """Creates a database and returns its URL."""
        self.sql(f"CREATE DATABASE {name}")
        return self.url(name)

    def url(self, name: str, *, password: str = QUOTED) -> str:
        return f"postgresql://{USER}:{password}@127.0.0.1:{self.port}/{name}"


@contextlib.contextmanager
def postgres_server() -> Iterator[Postgres]:
    """A running server; skips where PostgreSQL is not installed, except in continuous integration."""
    programs = binaries()
    if programs is None:
        message = "no PostgreSQL here; on Debian: apt-get install postgresql"
        (pytest.fail if os.environ.get("CI") else pytest.skip)(message)
    # Not pytest's folder: another user must be able to enter it.
    folder = Path(tempfile.mkdtemp(prefix="medpipe-postgres-"))
    server = Postgres(programs, folder, free_port())
    try:
        server.create()
        server.start()
        yield server
    finally:
        server.stop(at_once=True)
        shutil.rmtree(folder, ignore_errors=True)
