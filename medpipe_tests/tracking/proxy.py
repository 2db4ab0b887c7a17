"""A proxy before a real MLflow server that is slow, or refuses what the test wants refused."""

from __future__ import annotations

import contextlib
import http.client
import threading
import time
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


class Proxy:
    """Passes every request on to the server, unless told otherwise; tests change it while it runs."""

    def __init__(self, server_port: int) -> None:
        """Prepares a proxy of the server on loopback at this port."""
        self.server_port = server_port
        self.delay_s = 0.0
        """Seconds that every answer is held back."""
        self.refuse: Callable[[str, str], int | None] = lambda method, path: None
        """Status to answer with instead of asking the server, by method and path; None to ask it."""
        self.refused: list[str] = []
        """Paths of the refused requests."""
        self.observe: Callable[[], int] = lambda: 0
        """Called at the beginning and at the end of each delay."""
        self.observed: list[tuple[int, int]] = []
        """What `observe` gave before and after each delay."""
        self.port = 0

    @contextlib.contextmanager
    def running(self) -> Iterator[Proxy]:
        """Serves at `port` while the block runs."""
        with ThreadingHTTPServer(("127.0.0.1", 0), _handler(self)) as listener:
            listener.daemon_threads = True
            self.port = int(listener.server_address[1])
            thread = threading.Thread(target=listener.serve_forever, args=(0.05,), daemon=True)
            thread.start()
            try:
                yield self
            finally:
                listener.shutdown()
                thread.join()

    def answer(
        self, method: str, path: str, body: bytes, headers: dict[str, str]
    ) -> tuple[int, bytes, dict[str, str]]:
        """Status, body and headers of the answer."""
        if self.delay_s:
            before = self.observe()
            time.sleep(self.delay_s)
            self.observed.append((before, self.observe()))
        status = self.refuse(method, path)
        if status is not None:
            self.refused.append(path)
            return status, b"no space left on the tracking server", {}
        connection = http.client.HTTPConnection("127.0.0.1", self.server_port, timeout=30)
        with contextlib.closing(connection):
            connection.request(method, path, body=body, headers=headers)
            response = connection.getresponse()
            kept = {key: value for key, value in response.getheaders() if key.lower() == "content-type"}
            return response.status, response.read(), kept


def _handler(proxy: Proxy) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def _pass_on(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
            dropped = ("host", "content-length", "connection", "accept-encoding")
            headers = {key: value for key, value in self.headers.items() if key.lower() not in dropped}
            status, content, kept = proxy.answer(self.command, self.path, body, headers)
            self.send_response(status)
            for key, value in kept.items():
                self.send_header(key, value)
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        do_GET = do_POST = do_PUT = do_PATCH = do_DELETE = _pass_on

        def log_message(self, format: str, *args: object) -> None:
            """Says nothing."""

    return Handler
