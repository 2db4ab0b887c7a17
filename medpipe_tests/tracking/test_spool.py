from __future__ import annotations

import math
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from medpipe.tracking.spool import Spool, SpoolError, newest_event, read_events


def steps(path: Path) -> list[int]:
    return [event.step for event in read_events(path)]


def test_events_come_back_as_written(tmp_path: Path) -> None:
    path = tmp_path / "run" / "metrics.jsonl"
    with Spool(path) as spool:
        spool.metrics({"train/loss": 2.5}, step=1, tokens=100)
        spool.checkpoint("checkpoints/00000001", name="fast-1", step=1, tokens=100, values={"eval/x": 1.0})
    metrics, checkpoint = read_events(path)
    assert (metrics.kind, metrics.step, metrics.tokens, metrics.values) == (
        "metrics",
        1,
        100,
        {"train/loss": 2.5},
    )
    assert (checkpoint.kind, checkpoint.path, checkpoint.name) == (
        "checkpoint",
        "checkpoints/00000001",
        "fast-1",
    )
    assert checkpoint.end == path.stat().st_size
    assert [event.kind for event in read_events(path, after=metrics.end)] == ["checkpoint"]


def test_a_line_is_readable_before_the_spool_is_closed(tmp_path: Path) -> None:
    spool = Spool(tmp_path / "metrics.jsonl")
    spool.metrics({"train/loss": 1.0}, step=1, tokens=1)
    assert steps(spool.path) == [1]
    spool.close()
    spool.close()


def test_no_spool_has_no_events(tmp_path: Path) -> None:
    assert list(read_events(tmp_path / "none.jsonl")) == []


def test_values_that_are_not_finite_come_back_as_nan(tmp_path: Path) -> None:
    path = tmp_path / "metrics.jsonl"
    with Spool(path) as spool:
        spool.metrics({"a": math.nan, "b": math.inf, "c": 1.0}, step=1, tokens=1)
    assert b"NaN" not in path.read_bytes()
    (event,) = read_events(path)
    assert math.isnan(event.values["a"])
    assert math.isnan(event.values["b"])
    assert event.values["c"] == 1.0


def test_a_half_written_last_line_is_left_alone_by_readers_and_cut_by_the_next_writer(tmp_path: Path) -> None:
    path = tmp_path / "metrics.jsonl"
    with Spool(path) as spool:
        for step in (1, 2, 3):
            spool.metrics({"train/loss": 1.0}, step=step, tokens=step)
    path.write_bytes(path.read_bytes()[:-7])
    assert steps(path) == [1, 2]
    with Spool(path) as spool:
        spool.metrics({"train/loss": 1.0}, step=3, tokens=3)
    assert steps(path) == [1, 2, 3]


def test_a_half_line_longer_than_a_block_is_cut_too(tmp_path: Path) -> None:
    path = tmp_path / "metrics.jsonl"
    with Spool(path) as spool:
        spool.metrics({}, step=1, tokens=1)
    whole = path.read_bytes()
    path.write_bytes(whole + b"x" * 200_000)
    Spool(path).close()
    assert path.read_bytes() == whole
    path.write_bytes(b"y" * 100_000)
    Spool(path).close()
    assert path.read_bytes() == b""


def test_a_broken_whole_line_is_named(tmp_path: Path) -> None:
    path = tmp_path / "metrics.jsonl"
    with Spool(path) as spool:
        spool.metrics({}, step=1, tokens=1)
    size = path.stat().st_size
    with path.open("ab") as file:
        file.write(b'{"event": "metrics"}\n')
    with pytest.raises(SpoolError, match=f"metrics.jsonl has a broken line at byte {size}"):
        list(read_events(path))


def test_truncate_drops_later_steps_and_writing_goes_on(tmp_path: Path) -> None:
    with Spool(tmp_path / "metrics.jsonl") as spool:
        for step in range(1, 7):
            spool.metrics({"train/loss": float(step)}, step=step, tokens=step)
        spool.truncate_after(4)
        assert steps(spool.path) == [1, 2, 3, 4]
        spool.metrics({"train/loss": 5.0}, step=5, tokens=5)
        before = spool.path.stat().st_ino
        spool.truncate_after(5)
        assert spool.path.stat().st_ino == before
    assert steps(tmp_path / "metrics.jsonl") == [1, 2, 3, 4, 5]
    assert [path.name for path in tmp_path.iterdir()] == ["metrics.jsonl"]


@given(
    written=st.lists(st.integers(0, 50), max_size=30), cut=st.integers(-1, 60), torn=st.binary(max_size=20)
)
def test_resuming_keeps_exactly_the_steps_up_to_the_checkpoint(
    tmp_path_factory: pytest.TempPathFactory, written: list[int], cut: int, torn: bytes
) -> None:
    path = tmp_path_factory.mktemp("spool") / "metrics.jsonl"
    with Spool(path) as spool:
        for step in written:
            spool.metrics({"train/loss": 1.0}, step=step, tokens=step)
    with path.open("ab") as file:
        file.write(torn.replace(b"\n", b""))
    with Spool(path) as spool:
        spool.truncate_after(cut)
        spool.metrics({}, step=99, tokens=99)
    assert steps(path) == [step for step in written if step <= cut] + [99]


WRITER = """
import sys
from pathlib import Path
from medpipe.tracking.spool import Spool
spool = Spool(Path(sys.argv[1]))
step = 0
while True:
    step += 1
    spool.metrics({"train/loss": 1.0}, step=step, tokens=step)
    if step == 500:
        print("running", flush=True)
"""


def test_a_killed_writer_loses_at_most_its_last_line(tmp_path: Path) -> None:
    path = tmp_path / "metrics.jsonl"
    writer = subprocess.Popen([sys.executable, "-c", WRITER, str(path)], stdout=subprocess.PIPE)
    assert writer.stdout is not None
    assert writer.stdout.readline() == b"running\n"
    os.kill(writer.pid, signal.SIGKILL)
    writer.wait(timeout=10)
    writer.stdout.close()
    seen = steps(path)
    assert len(seen) >= 500
    assert seen == list(range(1, len(seen) + 1))


@given(
    kinds=st.lists(st.sampled_from(["loss", "other", "long"]), max_size=30),
    half=st.sampled_from([b"", b'{"event": "metr']),
)
def test_the_newest_event_is_that_of_reading_all(
    kinds: list[str], half: bytes, tmp_path_factory: pytest.TempPathFactory
) -> None:
    path = tmp_path_factory.mktemp("newest") / "metrics.jsonl"
    assert newest_event(path, having="loss") is None
    with Spool(path) as spool:
        for step, kind in enumerate(kinds):
            spool.metrics({kind * (1000 if kind == "long" else 1): 1.0}, step=step, tokens=step)
    with path.open("ab") as file:
        file.write(half)
    found = [event for event in read_events(path) if "loss" in event.values]
    within = [event for event in found if path.stat().st_size - event.end < 60_000]
    newest = newest_event(path, having="loss")
    assert newest == (found[-1] if newest is not None else None)
    assert newest is not None or not within


def test_the_newest_event_of_a_long_spool_is_found_from_its_end(tmp_path: Path) -> None:
    path = tmp_path / "metrics.jsonl"
    with Spool(path) as spool:
        for step in range(1, 3001):
            spool.metrics({"train/loss": 1.0 / step}, step=step, tokens=step)
        spool.checkpoint("checkpoints/3000", name="fast", step=3000, tokens=3000)
    assert path.stat().st_size > 2 * 65_536
    newest = newest_event(path, having="train/loss")
    assert newest == [event for event in read_events(path) if event.kind == "metrics"][-1]
    assert newest_event(path, having="eval/x") is None
