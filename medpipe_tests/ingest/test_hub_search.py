"""Searching the hub, against a recorded answer that a server on loopback gives (see `search_server`)."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from pydantic import SecretStr

from medpipe.ingest.errors import FetchError
from medpipe.ingest.hub_errors import Retries
from medpipe.ingest.hub_search import FoundDataset, search_hub
from medpipe_tests.ingest.hub_server import free_port
from medpipe_tests.ingest.search_server import SearchServer, serve_search
from medpipe_tests.ingest.sources import make_settings

AT_ONCE = Retries(attempts=3, first_wait=0.01)


@pytest.fixture
def server() -> Iterator[SearchServer]:
    with serve_search() as running:
        yield running


def search(
    server: SearchServer, home: Path, *, token: str | None = None, limit: int = 20
) -> list[FoundDataset]:
    settings = make_settings(
        home, hf_endpoint=server.address + "/", hf_token=SecretStr(token) if token else None
    )
    return search_hub("medical", settings=settings, limit=limit, retries=AT_ONCE)


def test_what_the_hub_says_is_read_and_what_it_does_not_say_is_unknown(
    server: SearchServer, tmp_path: Path
) -> None:
    found = search(server, tmp_path)
    assert found[0] == FoundDataset(
        id="shibing624/medical",
        downloads=4321,
        likes=401,
        licence="apache-2.0",
        gated=None,
        size="1M<n<10M",
        languages=("zh", "en"),
    )
    assert (found[1].gated, found[1].size) == ("manual", None)
    assert found[2] == FoundDataset(
        id="nobody/medical-scraps",
        downloads=None,
        likes=None,
        licence=None,
        gated=None,
        size=None,
        languages=(),
    )
    assert (found[3].downloads, found[3].likes) == (0, 0)


def test_the_hub_is_asked_for_the_text_and_the_most_downloaded(server: SearchServer, tmp_path: Path) -> None:
    assert len(search(server, tmp_path, limit=2)) == 2
    assert server.asked == [
        {"search": ["medical"], "limit": ["2"], "sort": ["downloads"], "direction": ["-1"]}
    ]


def test_only_the_token_that_is_set_is_sent(
    server: SearchServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HF_TOKEN", "hf_of_the_machine")
    search(server, tmp_path)
    search(server, tmp_path, token="hf_secret")
    assert server.tokens == [None, "Bearer hf_secret"]


def test_a_failure_that_passes_is_tried_again(server: SearchServer, tmp_path: Path) -> None:
    server.statuses = [429, 503]
    assert len(search(server, tmp_path)) == 4
    assert len(server.asked) == 3


@pytest.mark.parametrize(
    ("status", "token", "told"),
    [
        (401, None, "set HF_TOKEN"),
        (401, "hf_secret", "HF_TOKEN is refused"),
        (403, "hf_secret", "HF_TOKEN is refused"),
        (429, None, r"too many requests \(429\); wait a few minutes, or set HF_TOKEN"),
        (429, "hf_secret", r"too many requests \(429\); wait a few minutes"),
        (500, None, "answered 500 again and again; wait a while and run again"),
        (404, None, "check HF_ENDPOINT"),
    ],
)
def test_a_refusal_is_told_with_the_fix_and_without_a_credential(
    server: SearchServer, tmp_path: Path, status: int, token: str | None, told: str
) -> None:
    server.every_status = status
    with pytest.raises(FetchError, match=told) as caught:
        search(server, tmp_path, token=token)
    assert "hf_secret" not in str(caught.value) and "127.0.0.1" in str(caught.value)


@pytest.mark.parametrize("body", [b"<html>", b'{"error": "no"}', b'[{"name": "x"}]', b"[3]"])
def test_an_answer_of_another_kind_is_told(server: SearchServer, tmp_path: Path, body: bytes) -> None:
    server.body = body
    with pytest.raises(FetchError, match="did not answer as the hub does; check HF_ENDPOINT"):
        search(server, tmp_path)


def test_no_network_is_told_with_the_fix(tmp_path: Path) -> None:
    settings = make_settings(tmp_path, hf_endpoint=f"http://127.0.0.1:{free_port()}")
    with pytest.raises(FetchError, match=r"no network to 127\.0\.0\.1.*check the connection and HF_ENDPOINT"):
        search_hub("medical", settings=settings, retries=AT_ONCE)
