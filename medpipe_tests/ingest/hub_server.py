"""A real hub server on loopback (olah over a git repository), and a proxy before it that makes faults."""

from __future__ import annotations

import contextlib
import hashlib
import http.client
import json
import socket
import subprocess
import sys
import threading
import time
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

from medpipe_tests.ingest.sources import REPOSITORY

START_SECONDS = 60.0


def free_port() -> int:
    """A port on loopback that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@dataclass(frozen=True)
class GitRepository:
    """The data set repository that the server serves."""

    path: Path

    def git(self, *arguments: str) -> str:
        """Runs git in it."""
        command = ["git", "-c", "user.name=tester", "-c", "user.email=tester@localhost", *arguments]
        done = subprocess.run(command, cwd=self.path, check=True, capture_output=True, text=True, timeout=60)
        return done.stdout.strip()

    def commit(self, files: dict[str, bytes]) -> str:
        """Writes files, commits them to `main` and returns the commit."""
        for name, content in files.items():
            path = self.path / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(content)
        self.git("add", "--all")
        self.git("commit", "--quiet", "--message", "change")
        return self.git("rev-parse", "HEAD")

    def large_file(self, content: bytes) -> bytes:
        """Stores a Git LFS object and returns the pointer to commit in its place."""
        oid = hashlib.sha256(content).hexdigest()
        place = self.path / ".git" / "lfs" / "objects" / oid[:2] / oid[2:4] / oid
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_bytes(content)
        return f"version https://git-lfs.github.com/spec/v1\noid sha256:{oid}\nsize {len(content)}\n".encode()


@contextlib.contextmanager
def serve_hub(folder: Path) -> Iterator[tuple[GitRepository, str]]:
    """Starts olah over an empty repository `REPOSITORY`; yields it and the server's address."""
    repository = GitRepository(folder / "mirrors" / "datasets" / REPOSITORY)
    repository.path.mkdir(parents=True)
    repository.git("init", "--quiet", "--initial-branch", "main")
    port = free_port()
    config = folder / "olah.toml"
    # JSON strings are TOML strings.
    config.write_text(
        f'[basic]\nhost = "127.0.0.1"\nport = {port}\nrepos-path = {json.dumps(str(folder / "cache"))}\n'
        f"mirrors-path = [{json.dumps(str(folder / 'mirrors'))}]\n[accessibility]\noffline = true\n"
    )
    log = folder / "olah.out"
    command = [
        sys.executable,
        "-m",
        "olah.server",
        "--config",
        str(config),
        "--log-path",
        str(folder / "logs"),
    ]
    with log.open("wb") as out:
        process = subprocess.Popen(command, stdout=out, stderr=subprocess.STDOUT, cwd=folder)
    try:
        _wait_until_up(process, port, log)
        yield repository, f"http://127.0.0.1:{port}"
    finally:
        process.terminate()
        try:
            process.wait(10)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait(10)


def _wait_until_up(process: subprocess.Popen[bytes], port: int, log: Path) -> None:
    deadline = time.monotonic() + START_SECONDS
    while time.monotonic() < deadline:
        assert process.poll() is None, f"olah did not start:\n{log.read_text()[-2000:]}"
        with contextlib.suppress(OSError):
            socket.create_connection(("127.0.0.1", port), timeout=5).close()
            return
        time.sleep(0.1)
    raise AssertionError(f"olah did not answer in {START_SECONDS:g} s:\n{log.read_text()[-2000:]}")


@dataclass(frozen=True)
class Seen:
    """A request that the proxy saw."""

    method: str
    path: str
    range: str | None
    token: str | None

    @property
    def is_bytes(self) -> bool:
        """Whether it asked for a file's bytes."""
        return self.method == "GET" and "/resolve/" in self.path


@dataclass
class Proxy:
    """Forwards to the hub and makes the faults that are set; knows byte ranges, as the real hub does."""

    upstream: str
    seen: list[Seen] = field(default_factory=list)
    statuses: deque[int] = field(default_factory=deque)
    """Answers to the next requests, one each."""
    file_statuses: deque[int] = field(default_factory=deque)
    """Answers to the next requests for the bytes of a file, one each."""
    every_status: int | None = None
    """Answer to every request."""
    error_code: str = ""
    """Goes with these answers, as the real hub has one for an unknown revision and so on."""
    error_headers: dict[str, str] = field(default_factory=dict)
    """Go with these answers too."""
    gone: set[str] = field(default_factory=set)
    """Names of files that are listed and not there."""
    token: str | None = None
    """What files need, as if the repository were gated."""
    gate: str | None = None
    """What the hub says of consent to terms where it lists a repository."""
    login_page: bool = False
    """Every answer is a web page, as in a network that asks for a login first."""
    cuts: deque[int] = field(default_factory=deque)
    """The next answers with bytes of a file end after so many bytes, one each."""
    stall_after: int | None = None
    """Answers with bytes of a file stop after so many bytes and wait."""
    shorten: deque[int] = field(default_factory=deque)
    """The next answers with bytes of a file are whole answers of so many bytes, one each."""
    spoil: bool = False
    """Bytes of files are sent with one of them changed."""
    stalled: threading.Event = field(default_factory=threading.Event)
    released: threading.Event = field(default_factory=threading.Event)
    port: int = 0

    @property
    def url(self) -> str:
        """Its address."""
        return f"http://127.0.0.1:{self.port}"

    @property
    def downloads(self) -> list[str]:
        """Names of the files whose bytes were asked for, in order."""
        return [seen.path.rsplit("/", 1)[-1] for seen in self.seen if seen.is_bytes]


@contextlib.contextmanager
def serve_proxy(upstream: str) -> Iterator[Proxy]:
    """Starts a proxy before the hub."""
    proxy = Proxy(upstream)

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def log_message(self, format: str, *args: object) -> None:
            pass

        def do_HEAD(self) -> None:
            self.answer()

        def do_GET(self) -> None:
            self.answer()

        def refuse(self, status: int, code: str = "") -> None:
            # A careless server that repeats the credential, which may reach neither a log nor an error.
            body = json.dumps({"error": f"refused {self.headers.get('authorization')}"}).encode()
            self.send_response(status)
            for name, value in proxy.error_headers.items():
                self.send_header(name, value)
            if code:
                self.send_header("X-Error-Code", code)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            if self.command == "GET":
                self.wfile.write(body)

        def answer(self) -> None:
            authorization = self.headers.get("authorization")
            token = authorization.removeprefix("Bearer ") if authorization else None
            seen = Seen(self.command, self.path, self.headers.get("range"), token)
            proxy.seen.append(seen)
            if proxy.statuses or proxy.every_status:
                self.refuse(
                    proxy.statuses.popleft() if proxy.statuses else proxy.every_status or 0, proxy.error_code
                )
            elif proxy.file_statuses and seen.is_bytes:
                self.refuse(proxy.file_statuses.popleft())
            elif proxy.token and "/resolve/" in self.path and token != proxy.token:
                self.refuse(403 if token else 401, "GatedRepo")
            elif "/resolve/" in self.path and self.path.rsplit("/", 1)[-1] in proxy.gone:
                self.refuse(404, "EntryNotFound")
            elif proxy.login_page:
                self.send_response(200)
                self.send_header("Content-Type", "text/html")
                self.send_header("Content-Length", "13")
                self.end_headers()
                self.wfile.write(b"<html></html>")
            else:
                self.forward(seen)

        def forward(self, seen: Seen) -> None:
            connection = http.client.HTTPConnection(proxy.upstream.removeprefix("http://"), timeout=30)
            with contextlib.closing(connection):
                connection.request(self.command, self.path)
                response = connection.getresponse()
                body, status = response.read(), response.status
                headers = dict(response.getheaders())
            headers = {name: value for name, value in headers.items() if name.lower() != "transfer-encoding"}
            if status == 200 and seen.is_bytes:
                if proxy.spoil:
                    body = body[:-2] + b"#" + body[-1:]
                if proxy.shorten:
                    body = body[: proxy.shorten.popleft()]
                if seen.range:
                    body, status = body[int(seen.range.removeprefix("bytes=").removesuffix("-")) :], 206
            if status == 200 and proxy.gate and seen.path.startswith("/api/datasets/"):
                body = json.dumps({**json.loads(body), "gated": proxy.gate}).encode()
            if self.command == "GET":
                headers = {name: value for name, value in headers.items() if name.lower() != "content-length"}
                headers["Content-Length"] = str(len(body))
            self.send_response(status)
            for name, value in headers.items():
                self.send_header(name, value)
            self.end_headers()
            if seen.is_bytes and proxy.cuts:
                self.wfile.write(body[: proxy.cuts.popleft()])
                self.close_connection = True
            elif seen.is_bytes and proxy.stall_after is not None:
                self.wfile.write(body[: proxy.stall_after])
                self.wfile.flush()
                proxy.stalled.set()
                proxy.released.wait(60)
                self.close_connection = True
            else:
                self.wfile.write(body)

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    proxy.port = server.server_address[1]
    thread = threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True)
    thread.start()
    try:
        yield proxy
    finally:
        proxy.released.set()
        server.shutdown()
        server.server_close()
        thread.join(10)
