"""After a refresh of the corpus the same command goes on where the curriculum was."""

from __future__ import annotations

from medpipe.evaluate.verdict_snapshot import verdict_snapshot
from medpipe.lake.digest import digest_value
from medpipe.tokens.snapshot import CorpusSnapshot, write_snapshot
from medpipe_tests.evaluate.conftest import Trained


def test_the_pin_is_kept_and_another_snapshot_is_told(trained: Trained) -> None:
    lake, first = trained.lake, trained.corpus.snapshot
    content = first.model_dump(mode="json", exclude={"name"}) | {"documents": "f" * 32}
    newer = CorpusSnapshot.model_validate(content | {"name": digest_value(content)})
    write_snapshot(lake, newer)
    heard: list[str] = []
    assert verdict_snapshot(trained.plan, lake, name=None, say=heard.append).name == first.name
    assert len(heard) == 1 and "pinned" in heard[0]
    heard.clear()
    other = trained.plan.model_copy(update={"batch_sequences": 2 * trained.plan.sequences_per_step})
    assert verdict_snapshot(other, lake, name=newer.name, say=heard.append).name == newer.name
    assert len(heard) == 1 and f"--snapshot {first.name}" in heard[0]
    heard.clear()
    unpinned = trained.plan.model_copy(update={"name": "nobody"})
    assert verdict_snapshot(unpinned, lake, name=None, say=heard.append).name == newer.name
    assert heard == []
    # A call that was killed goes on there, whatever came since.
    write_snapshot(lake, first)
    assert verdict_snapshot(unpinned, lake, name=None, say=heard.append).name == newer.name
    assert len(heard) == 1 and "an earlier call is pinned to it" in heard[0]
    assert verdict_snapshot(unpinned, lake, name="current", say=heard.append).name == first.name
    assert (lake.runs("nobody-verdict") / "pinned.json").is_file() and not lake.runs("nobody").exists()
