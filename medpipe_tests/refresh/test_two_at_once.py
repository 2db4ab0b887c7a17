"""Two refreshes at once on one lake, each in a process of its own: nothing doubled, the digests of one."""

from __future__ import annotations

import multiprocessing
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import dagster as dg
import pytest

from medpipe.lake.layout import Lake
from medpipe.refresh.jobs import raw_config
from medpipe.tokens.snapshot import CorpusSnapshot, list_snapshots, read_snapshot
from medpipe_tests.refresh.corpus import SOURCES, Installation, make_installation, write_records

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]


def refresh(installation: Installation) -> bool:
    """A whole refresh in this process, with an instance of its own."""
    with dg.DagsterInstance.ephemeral() as instance:
        return installation.build(instance, run_config=raw_config(SOURCES, refresh=True)).success


def datasets(lake: Lake) -> dict[str, set[str]]:
    """Digests of all data sets by room and name."""
    found: dict[str, set[str]] = {}
    for manifest in lake.root.rglob("manifest.json"):
        folder = manifest.parent
        if not any(part.startswith(".") for part in folder.relative_to(lake.root).parts):
            found.setdefault(folder.parent.relative_to(lake.root).as_posix(), set()).add(folder.name)
    return found


def change(installation: Installation) -> None:
    write_records(installation.folder("guide") / "b.jsonl", range(5000, 5030))


def test_two_refreshes_at_once_end_as_one(tmp_path: Path) -> None:
    undisturbed, disturbed = make_installation(tmp_path / "one"), make_installation(tmp_path / "two")
    for installation in (undisturbed, disturbed):
        assert refresh(installation)
        change(installation)
    assert refresh(undisturbed)
    with ProcessPoolExecutor(2, mp_context=multiprocessing.get_context("forkserver")) as pool:
        assert list(pool.map(refresh, [disturbed, disturbed])) == [True, True]

    def newest(installation: Installation) -> CorpusSnapshot:
        return read_snapshot(installation.lake)

    assert newest(disturbed) == newest(undisturbed)
    assert datasets(disturbed.lake) == datasets(undisturbed.lake)
    assert len(list_snapshots(disturbed.lake)) == 2
    left = [path for path in disturbed.lake.root.rglob(".*") if path.is_dir() and "draft" in path.name]
    assert not left
