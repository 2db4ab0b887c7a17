"""The inverse of the sample stream, against a log of everything that was read."""

from __future__ import annotations

import time
from collections import defaultdict
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from medpipe.lake.files import write_json_atomically
from medpipe.pretrain.compile import CompiledPlan
from medpipe.pretrain.result import STAGE, describe_stage, stage_run_folder
from medpipe.pretrain.seen import (
    RecordedComponent,
    RecordedShard,
    RecordedStage,
    RunError,
    find_run,
    list_runs,
    samples_of_step,
    steps_that_read,
    trained_steps,
)
from medpipe.pretrain.stream import SampleStream
from medpipe_tests.pretrain.corpus import Corpus


@st.composite
def recorded(draw: st.DrawFn) -> RecordedStage:
    per_step, steps = draw(st.integers(1, 5)), draw(st.integers(1, 20))
    number = draw(st.integers(1, 3))
    cuts = sorted(draw(st.lists(st.integers(0, per_step * steps), min_size=number - 1, max_size=number - 1)))
    counts = np.diff([0, *cuts, per_step * steps])
    components = tuple(
        RecordedComponent(
            int(count),
            tuple(
                RecordedShard(f"d/s/{index}/{place}", size)
                for place, size in enumerate(draw(st.lists(st.integers(1, 60), min_size=1, max_size=4)))
            ),
        )
        for index, count in enumerate(counts)
    )
    return RecordedStage(
        digest=draw(st.text("abc", max_size=3)),
        first_step=draw(st.integers(0, 100)),
        steps=steps,
        sequences_per_step=per_step,
        sequence_length=draw(st.integers(1, 16)),
        components=components,
    )


def log_of(stage: RecordedStage, seed: int) -> dict[tuple[str, int], set[int]]:
    """Every (shard, token) with the steps that had it in a batch, as target or as input."""
    read: defaultdict[tuple[str, int], set[int]] = defaultdict(set)
    for index, sample in enumerate(SampleStream(stage, seed=seed)):
        step = stage.first_step + 1 + index // stage.sequences_per_step
        key = stage.shards[sample.shard].key
        targets = range(sample.offset, sample.offset + sample.length)
        for token in {*targets, *(target - 1 for target in targets)} - {-1}:
            read[key, token].add(step)
    return read


@given(stage=recorded(), seed=st.integers(0, 2**40), data=st.data())
@settings(max_examples=150, deadline=None)
def test_steps_are_those_of_a_log_of_the_whole_stream(
    stage: RecordedStage, seed: int, data: st.DataObject
) -> None:
    read = log_of(stage, seed)
    for shard in stage.shards:
        start = data.draw(st.integers(0, shard.tokens - 1))
        stop = data.draw(st.integers(start + 1, shard.tokens))
        expected = set().union(*(read[shard.key, token] for token in range(start, stop)))
        found = steps_that_read(stage, seed=seed, key=shard.key, start=start, stop=stop)
        assert found.tolist() == sorted(expected)
    assert steps_that_read(stage, seed=seed, key="d/s/other/0", start=0, stop=1).tolist() == []


@given(stage=recorded(), seed=st.integers(0, 2**40))
@settings(max_examples=50, deadline=None)
def test_steps_partition_the_stream(stage: RecordedStage, seed: int) -> None:
    stream = SampleStream(stage, seed=seed)
    steps = range(stage.first_step + 1, stage.first_step + stage.steps + 1)
    assert [sample for step in steps for sample in samples_of_step(stage, stream, step)] == list(stream)
    for step in (steps[0] - 1, steps[-1] + 1):
        with pytest.raises(IndexError, match=f"step {step} is none"):
            samples_of_step(stage, stream, step)


@pytest.mark.parametrize("bounds", [(0, 0), (-1, 2), (3, 2), (0, 11), (10, 11)])
def test_a_range_outside_of_the_shard(bounds: tuple[int, int]) -> None:
    stage = make_stage(tokens=10, steps=3)
    with pytest.raises(IndexError, match="no range of the 10 tokens"):
        steps_that_read(stage, seed=0, key="d/s/x/0", start=bounds[0], stop=bounds[1])


def make_stage(*, tokens: int, steps: int) -> RecordedStage:
    return RecordedStage(
        digest="d",
        first_step=0,
        steps=steps,
        sequences_per_step=8,
        sequence_length=4,
        components=(RecordedComponent(8 * steps, (RecordedShard("d/s/x/0", tokens),)),),
    )


def test_a_million_samples_are_inverted_at_once() -> None:
    stage = make_stage(tokens=3_000_000, steps=131_072)
    stream = SampleStream(stage, seed=1)
    stream.find(0, 0, 1)  # the order of both epochs is laid out
    started = time.perf_counter()
    found = stream.find(0, 1_234_567, 1_234_668)
    assert time.perf_counter() - started < 1  # a Python loop over 1,048,576 samples takes far longer
    assert {stream[index].offset for index in found.tolist()} == set(range(1_234_564, 1_234_669, 4))


@pytest.fixture
def ran(own_corpus: Corpus, compiled: CompiledPlan) -> Corpus:
    """The folders that a run of all four stages leaves, without weights."""
    for stage in compiled.stages:
        folder = stage_run_folder(own_corpus.lake, compiled, stage.name)
        write_json_atomically(folder / STAGE, describe_stage(compiled, stage))
    return own_corpus


def test_a_recorded_run_has_the_stream_of_its_stage(ran: Corpus, compiled: CompiledPlan) -> None:
    runs = list(list_runs(ran.lake))
    assert [run.facts.stage for run in runs] == ["fast", "stable", "anneal", "converge"]
    for run, stage in zip(runs, compiled.stages, strict=True):
        assert list(run.stream) == list(SampleStream(stage, seed=compiled.plan.seed))
        assert run.shard_keys == tuple(shard.key for shard in stage.shards)
        assert trained_steps(run) == stage.first_step
    assert [run.parent_folder for run in runs] == [None, *(run.folder for run in runs[:-1])]


def test_checkpoints_say_how_far_a_run_got(ran: Corpus) -> None:
    run = find_run(ran.lake, "tiny/stable")
    for step in (7, 12):
        (run.folder / "checkpoints" / f"{step:08d}").mkdir(parents=True)
    (run.folder / "checkpoints" / ".00000013.tmp").mkdir()
    assert (run.checkpoints, trained_steps(run)) == ((7, 12), 12)


def test_runs_by_name(ran: Corpus, tmp_path: Path) -> None:
    run = find_run(ran.lake, "tiny/anneal")
    for name in (str(run.folder), run.folder.name, run.folder.name[:10], f"tiny/{run.folder.name}", run.name):
        assert find_run(ran.lake, name).folder == run.folder
    with pytest.raises(RunError, match="4 runs are called 'tiny'"):
        find_run(ran.lake, "tiny")
    with pytest.raises(RunError, match=r"no run is called 'other'.*\n.*tiny/fast/"):
        find_run(ran.lake, "other")


def test_a_run_whose_shards_are_gone_says_so(ran: Corpus) -> None:
    run = find_run(ran.lake, "tiny/fast")
    (ran.lake.root / "shards" / run.shard_keys[0].rpartition("/")[0] / "manifest.json").unlink()
    with pytest.raises(RunError, match="are gone"):
        run.steps_that_read(run.shard_keys[0], 0, 1)


def test_a_broken_stage_file_is_named(ran: Corpus) -> None:
    path = find_run(ran.lake, "tiny/fast").folder / STAGE
    path.write_text("{")
    with pytest.raises(RunError, match=str(path)):
        list(list_runs(ran.lake))
