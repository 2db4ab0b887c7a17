"""A small server on loopback that answers a search as the hub does, from a recorded answer.

The recording was made by hand after the answer format that the hub documents for `GET /api/datasets`
(the fields of `huggingface_hub.DatasetInfo`); its data sets are made up, but for two that are in the
catalog. It is no recording of the hub's own bytes: no test reaches the hub.
"""

from __future__ import annotations

import contextlib
import json
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlsplit

RECORDED: list[dict[str, Any]] = [
    {
        "_id": "6385e1ad4a4e1bcf1f7e0001",
        "id": "shibing624/medical",
        "author": "shibing624",
        "disabled": False,
        "gated": False,
        "lastModified": "2024-10-12T01:52:26.000Z",
        "likes": 401,
        "private": False,
        "sha": "1" * 40,
        "description": "Chinese and English medical texts.",
        "downloads": 4321,
        "tags": ["language:zh", "language:en", "license:apache-2.0", "size_categories:1M<n<10M", "region:us"],
        "createdAt": "2022-11-29T10:38:05.000Z",
    },
    {
        "_id": "6385e1ad4a4e1bcf1f7e0002",
        "id": "ward-seven/medical-notes",
        "author": "ward-seven",
        "disabled": False,
        "gated": "manual",
        "likes": 12,
        "private": False,
        "downloads": 77,
        "tags": ["license:other", "region:us"],
    },
    {
        "_id": "6385e1ad4a4e1bcf1f7e0003",
        "id": "nobody/medical-scraps",
        "private": False,
    },
    {
        "_id": "6385e1ad4a4e1bcf1f7e0004",
        "id": "nlp-guild/medical-data",
        "gated": False,
        "likes": 0,
        "downloads": 0,
        "tags": [],
        "private": False,
    },
]


@dataclass
class SearchServer:
    """Answers `GET /api/datasets`; its fields can be set between requests."""

    body: bytes = json.dumps(RECORDED).encode()
    statuses: list[int] = field(default_factory=list)
    """Answers to the next requests, one each, before the recorded one."""
    every_status: int | None = None
    """Answer to every request."""
    asked: list[dict[str, list[str]]] = field(default_factory=list)
    """The query of each request."""
    tokens: list[str | None] = field(default_factory=list)
    port: int = 0

    @property
    def address(self) -> str:
        """What `HF_ENDPOINT` is set to."""
        return f"http://127.0.0.1:{self.port}"


@contextlib.contextmanager
def serve_search() -> Iterator[SearchServer]:
    """Runs the server until the block ends."""
    server = SearchServer()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            parts = urlsplit(self.path)
            server.asked.append(parse_qs(parts.query))
            server.tokens.append(self.headers.get("authorization"))
            status = server.statuses.pop(0) if server.statuses else server.every_status or 200
            if parts.path != "/api/datasets":
                status = 404
            body = server.body if status == 200 else b'{"error": "hf_secret is not welcome"}'
            self.send_response(status)
            self.send_header("content-type", "application/json")
            self.send_header("content-length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *args: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as listener:
        server.port = listener.server_address[1]
        thread = threading.Thread(target=listener.serve_forever, args=(0.02,), daemon=True)
        thread.start()
        try:
            yield server
        finally:
            listener.shutdown()
            thread.join(10)
