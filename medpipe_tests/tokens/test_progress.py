"""News about once a second, with a rate and the time left."""

from __future__ import annotations

from medpipe.tokens.progress import Progress


def test_news_come_once_a_second_with_the_rate() -> None:
    now = [0.0]
    told: list[str] = []
    progress = Progress(told.append, "shards/tcm: books", total_bytes=10_000_000, clock=lambda: now[0])
    for _ in range(40):
        now[0] += 0.1
        progress.add(5, 200_000)
    assert 3 <= len(told) <= 4
    assert told[0].startswith("shards/tcm: books: ")
    assert "2.0 MB/s, about 4 s left" in told[0]
    progress.finish()
    assert told[-1] == "shards/tcm: books: 200 documents, 2.0 MB/s, about 1 s left"


def test_nobody_to_tell_is_fine() -> None:
    progress = Progress(None, "x")
    progress.add(1, 1)
    progress.finish()
    assert progress.documents == 1
