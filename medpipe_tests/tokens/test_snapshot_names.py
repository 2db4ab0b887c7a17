"""The names of snapshots: one a snapshot, by the day, and no two processes give the same."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from pathlib import Path

from hypothesis import given, settings
from hypothesis import strategies as st

from medpipe.lake.layout import Lake
from medpipe.tokens.snapshot_names import name_snapshot, named, snapshot_names

DAY = datetime(2026, 11, 22, 23, 59, tzinfo=UTC)


def test_a_name_is_the_day_and_stays(tmp_path: Path) -> None:
    lake = Lake(tmp_path)
    given_names = [name_snapshot(lake, digest, now=DAY) for digest in ("a" * 32, "b" * 32, "a" * 32)]
    assert given_names == ["2026-11-22", "2026-11-22.2", "2026-11-22"]
    assert named(lake, "2026-11-22.2") == "b" * 32
    assert named(lake, "2026-11-23") is None
    (tmp_path / "snapshots/names/2026-11-22.3.json").write_bytes(b'{"snaps')
    assert name_snapshot(lake, "c" * 32, now=DAY) == "2026-11-22.4", "a name that was cut off is left alone"


@settings(max_examples=10)
@given(st.integers(2, 12))
def test_many_at_once_share_no_name(tmp_path_factory: object, count: int) -> None:
    lake = Lake(Path(tmp_path_factory.mktemp("names")))  # type: ignore[attr-defined]
    digests = [f"{number:032x}" for number in range(count)]
    with ThreadPoolExecutor(8) as pool:
        names = list(pool.map(lambda digest: name_snapshot(lake, digest, now=DAY), digests))
    assert len(set(names)) == count and snapshot_names(lake) == dict(zip(digests, names, strict=True))
