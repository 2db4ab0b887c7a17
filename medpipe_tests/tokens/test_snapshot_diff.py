"""Two snapshots side by side: counted against the sets of documents that were put in."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
from typer.testing import CliRunner

from medpipe.curate.config import CurateConfig
from medpipe.curate.corpus import build_corpus
from medpipe.curate.purposes import Purpose
from medpipe.lake.dataset import Dataset
from medpipe.lake.layout import Lake
from medpipe.records.kinds import Domain, Kind
from medpipe.snapshots_cli import snapshots_app
from medpipe.tokens.config import TokenizerConfig
from medpipe.tokens.shards import build_shards
from medpipe.tokens.snapshot import (
    CorpusSnapshot,
    SnapshotError,
    build_snapshot,
    list_snapshots,
    read_snapshot,
)
from medpipe.tokens.snapshot_diff import compare_snapshots
from medpipe.tokens.tokenizer import train_tokenizer
from medpipe_tests.making import article, make_source, publish_records

STEADY = list(range(40))


class World:
    """A lake whose source `moving` is published again and again beside one that never changes."""

    def __init__(self, lake: Lake) -> None:
        self.lake = lake
        self.tokenizer: Dataset | None = None

    def snapshot(self, moving: dict[int, int], *, revision: str, licence: str = "mit") -> CorpusSnapshot:
        """Publishes articles by row number and refreshes everything behind them."""
        rows = [{"text": article(number), "row": row} for row, number in moving.items()]
        records = {
            "moving": publish_records(self.lake, "moving", Kind.DOCUMENT, rows, revision=revision),
            "steady": publish_records(
                self.lake, "steady", Kind.DOCUMENT, [{"text": article(n)} for n in STEADY]
            ),
        }
        sources = {
            "moving": make_source("moving", licence={"name": licence}),
            "steady": make_source("steady"),
        }
        documents = build_corpus(
            Purpose.DOCUMENTS, records, sources, lake=self.lake, config=CurateConfig()
        ).dataset
        if self.tokenizer is None:
            config = TokenizerConfig(vocabulary_size=500, sample_bytes=100_000)
            self.tokenizer = train_tokenizer(documents, lake=self.lake, config=config).dataset
        built = build_shards(Domain.DISEASE, documents, self.tokenizer, lake=self.lake)
        shards = {(Domain.DISEASE.value, source): each.dataset for source, each in built.items()}
        return build_snapshot(
            self.lake,
            tokenizer=self.tokenizer,
            shards=shards,
            documents=documents,
            revisions={"moving": revision, "steady": "r1"},
        )[0]


@pytest.fixture
def world(tmp_path: Path) -> World:
    return World(Lake(tmp_path / "lake"))


def test_added_removed_changed(world: World) -> None:
    old = world.snapshot({row: 100 + row for row in range(30)}, revision="r1")
    rows = {row: 100 + row for row in range(3, 30)}  # three rows are gone
    rows |= {10: 500, 11: 501}  # two have another text
    rows |= {row: 600 + row for row in range(30, 35)}  # five are new
    new = world.snapshot(rows, revision="r2", licence="cc-by-4.0")
    found = compare_snapshots(old, new, world.lake)
    assert not found.is_same and not found.tokenizer_changed
    moving, steady = found.sources
    assert (moving.added, moving.removed, moving.changed) == (5, 3, 2)
    assert (moving.before.documents, moving.after.documents) == (30, 32)
    assert (moving.before.revision, moving.after.revision) == ("r1", "r2")
    assert (moving.before.licence, moving.after.licence) == ("mit", "cc-by-4.0")
    assert moving.after.tokens > moving.after.documents and moving.after.text_bytes > moving.after.tokens
    assert steady.is_same and steady.before.documents == len(STEADY)
    back = compare_snapshots(new, old, world.lake).sources[0]
    assert (back.added, back.removed, back.changed) == (3, 5, 2)
    assert compare_snapshots(new, new, world.lake).is_same


def test_without_the_old_corpus_a_changed_row_counts_twice(world: World) -> None:
    old = world.snapshot({row: 100 + row for row in range(30)}, revision="r1")
    new = world.snapshot({row: 100 + row for row in range(29)} | {29: 700}, revision="r2")
    shutil.rmtree(world.lake.dataset("corpus", "documents", digest=old.documents))
    moving = compare_snapshots(old, new, world.lake).sources[0]
    assert (moving.added, moving.removed, moving.changed) == (1, 1, None)
    assert moving.before.licence is None


def test_missing_shards_are_named(world: World) -> None:
    old = world.snapshot({row: 100 + row for row in range(30)}, revision="r1")
    new = world.snapshot({row: 100 + row for row in range(31)}, revision="r2")
    gone = next(ref for ref in old.shards if ref.source == "moving")
    shutil.rmtree(world.lake.dataset("shards", gone.domain, gone.source, digest=gone.digest))
    with pytest.raises(SnapshotError, match="shards/disease/moving of the snapshot are not in the lake"):
        compare_snapshots(old, new, world.lake)


def test_commands(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MEDPIPE_LAKE", str(world.lake.root))
    old = world.snapshot({row: 100 + row for row in range(30)}, revision="r1")
    new = world.snapshot({row: 100 + row for row in range(31)}, revision="r2")
    assert [snapshot.name for snapshot, _ in list_snapshots(world.lake)] == [new.name, old.name]
    assert read_snapshot(world.lake, old.name[:8]) == old
    runner = CliRunner()
    listed = json.loads(runner.invoke(snapshots_app, ["list", "--json"]).stdout)
    assert [(each["name"], each["current"]) for each in listed] == [(new.name, True), (old.name, False)]
    facts = json.loads(runner.invoke(snapshots_app, ["diff", old.name[:8], "--json"]).stdout)
    assert facts["before"] == old.name and facts["after"] == new.name
    assert [source["added"] for source in facts["sources"]] == [1, 0]
    monkeypatch.setenv("COLUMNS", "200")
    text = runner.invoke(snapshots_app, ["diff", old.name]).stdout
    assert "moving" in text and "30 → 31" in text and "r1 → r2" in text
    assert "1 sources are the same in both" in text and "steady" not in text
    assert "hold the same corpus" in runner.invoke(snapshots_app, ["diff", new.name]).stdout
    wrong = runner.invoke(snapshots_app, ["diff", "beef"])
    assert wrong.exit_code == 1 and "no snapshot 'beef'" in str(wrong.exception)
