"""A publisher pushes while a source is being downloaded: the snapshot is of one commit."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from medpipe.ingest.revisions import locked_commit
from medpipe.ingest.snapshot import fetch
from medpipe.lake.layout import Lake
from medpipe_tests.ingest.hub_server import serve_hub, serve_proxy
from medpipe_tests.ingest.sources import REPOSITORY, make_settings, make_source

pytestmark = [pytest.mark.hub, pytest.mark.timeout(120)]


def test_a_commit_in_mid_download_is_not_mixed_in(tmp_path: Path) -> None:
    def files(word: str) -> dict[str, bytes]:
        line = f'{{"text": "{word}"}}\n'.encode()
        return {"a.jsonl": 20_000 * line, "b.jsonl": 2_000 * line}

    lake, source = Lake(tmp_path / "lake"), make_source("*.jsonl")
    with serve_hub(tmp_path / "hub") as (repository, url), serve_proxy(url) as proxy:
        first = repository.commit(files("one"))
        settings = make_settings(tmp_path, hf_endpoint=proxy.url)
        proxy.stall_after = 50_000
        with ThreadPoolExecutor(1) as pool:
            running = pool.submit(fetch, source, lake=lake, settings=settings)
            assert proxy.stalled.wait(60)
            second = repository.commit(files("two"))
            proxy.stall_after = None
            proxy.released.set()
            found = running.result(60)
        assert (
            second != first == found.revision == locked_commit(lake, repository=REPOSITORY, revision="main")
        )
        for name, content in files("one").items():
            assert (found.path / name).read_bytes() == content
        newer = fetch(source, lake=lake, settings=settings, refresh=True)
        assert newer.revision == second
        assert (newer.path / "a.jsonl").read_bytes() == files("two")["a.jsonl"]
