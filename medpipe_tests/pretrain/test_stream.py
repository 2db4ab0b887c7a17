from __future__ import annotations

import subprocess
import sys
from collections import Counter

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bench.stream_inputs import Component, Shard, Stage
from medpipe.pretrain import stream as stream_module
from medpipe.pretrain.permutation import seeded_permutation, stable_order
from medpipe.pretrain.stream import SampleStream, allocate
from medpipe.pretrain.windows import Sample, Windows


def make_stage(counts: list[int], tokens: list[list[int]], length: int, digest: str = "d") -> Stage:
    components = tuple(
        Component(count, tuple(Shard(size) for size in sizes))
        for count, sizes in zip(counts, tokens, strict=True)
    )
    return Stage(digest, length, 1, components)


@st.composite
def stages(draw: st.DrawFn) -> Stage:
    number = draw(st.integers(1, 4))
    counts = [draw(st.integers(0, 60)) for _ in range(number)]
    tokens = [draw(st.lists(st.integers(1, 90), min_size=1, max_size=4)) for _ in range(number)]
    return make_stage(counts, tokens, draw(st.integers(1, 32)), draw(st.text("abc123", max_size=5)))


def brute_force(stage: Stage, seed: int) -> list[Sample]:
    """The stream by its definition, one sample after the other."""
    slots = [index for index, c in enumerate(stage.components) for _ in range(c.samples)]
    order = seeded_permutation(len(slots), stage.digest, seed, "slots")
    seen: Counter[int] = Counter()
    first_shard = np.cumsum([0, *(len(c.shards) for c in stage.components)])
    samples = []
    for position in order:
        component = slots[position]
        windows = []
        for shard, info in enumerate(stage.components[component].shards):
            for offset in range(0, info.tokens, stage.sequence_length):
                length = min(stage.sequence_length, info.tokens - offset)
                windows.append((int(first_shard[component]) + shard, offset, length))
        epoch, place = divmod(seen[component], len(windows))
        seen[component] += 1
        window = windows[seeded_permutation(len(windows), stage.digest, seed, component, epoch)[place]]
        samples.append(Sample(*window, component, epoch))
    return samples


@given(stages(), st.integers(0, 2**40))
@settings(max_examples=150, deadline=None)
def test_stream_equals_its_definition(stage: Stage, seed: int) -> None:
    assert list(SampleStream(stage, seed=seed)) == brute_force(stage, seed)


@given(stages(), st.integers(0, 99), st.integers(1, 9), st.data())
@settings(max_examples=150, deadline=None)
def test_many_at_a_time_are_those_one_by_one(
    stage: Stage, seed: int, block: int, data: st.DataObject
) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(stream_module, "_BLOCK", block)
        stream = SampleStream(stage, seed=seed)
        start = data.draw(st.integers(0, len(stream)))
        stop = data.draw(st.integers(start, len(stream)))
        windows = stream.windows(start, stop)
        assert len(windows) == stop - start
        assert list(windows) == [stream[index] for index in range(start, stop)]
        assert list(Windows.of(list(windows))) == list(windows)
        assert list(stream) == brute_force(stage, seed)


def test_blocks_join_where_they_meet() -> None:
    stage = make_stage([9_000, 2_000], [[40_000, 3], [777]], 8)
    stream = SampleStream(stage, seed=2)
    assert list(stream.windows(4_000, 8_300)) == [stream[index] for index in range(4_000, 8_300)]
    for start, stop in ((-1, 3), (5, 4), (10_999, 11_001)):
        with pytest.raises(IndexError, match="11000 samples"):
            stream.windows(start, stop)


@given(st.lists(st.integers(0, 2**64 - 1) | st.integers(0, 3), max_size=200))
@settings(max_examples=300, deadline=None)
def test_words_are_ordered_as_a_stable_sort_would(words: list[int]) -> None:
    array = np.array(words, dtype=np.uint64)
    assert stable_order(array).tolist() == np.argsort(array, kind="stable").tolist()


@given(st.integers(1, 3_000), st.integers(40, 63), st.integers(0, 99))
@settings(max_examples=100, deadline=None)
def test_words_that_differ_in_low_bits_only_are_ordered(length: int, shift: int, seed: int) -> None:
    """The bits that make room for indices decide among equal high ones."""
    chance = np.random.default_rng(seed)
    high = chance.integers(0, 4, length, dtype=np.uint64) << np.uint64(60)
    words = high | chance.integers(0, 2**12, length, dtype=np.uint64) | np.uint64(1) << np.uint64(shift)
    assert np.array_equal(stable_order(words), np.argsort(words, kind="stable"))


@given(stages(), st.integers(0, 99))
@settings(max_examples=150, deadline=None)
def test_every_epoch_covers_every_token_exactly_once(stage: Stage, seed: int) -> None:
    shards = [shard for component in stage.components for shard in component.shards]
    counts: dict[tuple[int, int], list[np.ndarray]] = {}
    last_epoch: dict[int, int] = {}
    first = 0
    of_component = {}
    for index, component in enumerate(stage.components):
        of_component[index] = range(first, first + len(component.shards))
        first += len(component.shards)
    for sample in SampleStream(stage, seed=seed):
        key = (sample.component, sample.epoch)
        hits = counts.setdefault(key, [np.zeros(s.tokens, dtype=int) for s in shards])
        hits[sample.shard][sample.offset : sample.offset + sample.length] += 1
        last_epoch[sample.component] = max(last_epoch.get(sample.component, 0), sample.epoch)
    for (component, epoch), hits in counts.items():
        for shard in range(len(shards)):
            expected_here = shard in of_component[component]
            if not expected_here:
                assert not hits[shard].any()
            elif epoch < last_epoch[component]:
                assert (hits[shard] == 1).all()
            else:
                assert (hits[shard] <= 1).all()


@given(
    st.integers(0, 10_000),
    st.lists(st.floats(1e-6, 1e6), min_size=1, max_size=8),
)
def test_weights_are_met_to_less_than_one_sample(samples: int, weights: list[float]) -> None:
    counts = allocate(samples, weights)
    assert sum(counts) == samples
    for count, weight in zip(counts, weights, strict=True):
        assert abs(count - samples * weight / sum(weights)) < 1 + 1e-6


def test_largest_remainder() -> None:
    assert allocate(10, [1, 1, 1]) == [4, 3, 3]
    assert allocate(10, [3, 7, 10]) == [2, 3, 5]  # 1.5 and 3.5: the earlier entry is rounded up
    assert allocate(1, [1, 5]) == [0, 1]


def test_counts_are_those_of_the_components() -> None:
    stage = make_stage([30, 7, 63], [[100], [50, 3], [400]], 16)
    seen = Counter(sample.component for sample in SampleStream(stage, seed=1))
    assert seen == {0: 30, 1: 7, 2: 63}


def test_components_are_mixed_from_the_start() -> None:
    stage = make_stage([500, 500], [[10_000], [10_000]], 16)
    stream = SampleStream(stage, seed=3)
    early = Counter(stream[index].component for index in range(100))
    assert 25 < early[0] < 75


def test_access_in_any_order_gives_the_same_samples() -> None:
    stage = make_stage([90, 40], [[100, 37], [64]], 10)
    in_order = list(SampleStream(stage, seed=5))
    stream = SampleStream(stage, seed=5)
    indices = list(np.random.default_rng(0).permutation(len(in_order)))
    assert [stream[int(i)] for i in indices] == [in_order[i] for i in indices]


def test_digest_and_seed_decide_the_order() -> None:
    base = make_stage([200], [[2_000]], 10, "one")
    other = make_stage([200], [[2_000]], 10, "two")
    first = list(SampleStream(base, seed=0))
    assert first == list(SampleStream(base, seed=0))
    assert first != list(SampleStream(base, seed=1))
    assert first != list(SampleStream(other, seed=0))


def test_epochs_differ_in_order() -> None:
    stage = make_stage([200], [[1_000]], 10)
    samples = list(SampleStream(stage, seed=0))
    assert [s.offset for s in samples[:100]] != [s.offset for s in samples[100:]]


def test_index_out_of_range() -> None:
    stream = SampleStream(make_stage([3], [[30]], 10), seed=0)
    for index in (-1, 3):
        with pytest.raises(IndexError, match="3 samples"):
            stream[index]


def test_permutation_is_pinned() -> None:
    """A changed order would make old checkpoints resume into other data: this must never change."""
    assert seeded_permutation(8, "digest", 7, "slots").tolist() == PINNED


PINNED = [5, 3, 6, 4, 0, 1, 7, 2]


def test_stream_needs_no_torch() -> None:
    code = (
        "import sys, medpipe.pretrain.compile, medpipe.pretrain.launch, medpipe.pretrain.schedule, "
        "medpipe.pretrain.batch, medpipe.pretrain.guard; "
        "print(sorted({'torch', 'transformers', 'dagster', 'mlflow'} & set(sys.modules)))"
    )
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60)
    assert out.stdout.strip() == "[]"
