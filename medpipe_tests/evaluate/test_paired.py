"""Paired intervals: how often they hold the truth, and what swapping and equality do to them."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from medpipe.evaluate.paired import Measured, PairedBootstrap


def simulated(
    draws: np.random.Generator,
    *,
    documents: dict[str, int],
    seeds: int,
    gain: float,
    of_document: float = 0.2,
    of_seed: float = 0.02,
    lengths: float = 0.6,
    is_skewed: bool = False,
) -> Measured:
    """Documents of uneven length and difficulty; arm b needs `gain` bits per byte more than arm a."""
    domains = tuple(name for name, count in documents.items() for _ in range(count))
    sizes = np.round(draws.lognormal(5.0, lengths, len(domains)))
    hardness = 2.0 + draws.normal(0, 0.5, len(domains))
    spread = (
        draws.exponential(of_document, len(domains)) - of_document
        if is_skewed
        else draws.normal(0, of_document, len(domains))
    )
    change = gain + spread
    bits = {}
    for arm, shift in (("a", 0.0), ("b", change)):
        luck = draws.normal(0, of_seed, (seeds, 1)) + draws.normal(0, 0.02, (seeds, len(domains)))
        bits[arm] = (hardness + shift + luck) * sizes
    return Measured(domains=domains, sizes=sizes, bits=bits)


@pytest.mark.parametrize(
    ("documents", "seeds", "of_document", "of_seed"),
    [
        ({"disease": 40}, 3, 0.2, 0.02),
        ({"disease": 8}, 3, 0.2, 0.02),
        ({"disease": 25, "general": 6}, 2, 0.2, 0.0),
        ({"disease": 25}, 3, 0.02, 0.1),
        ({"disease": 25}, 5, 0.1, 0.1),
    ],
)
def test_an_interval_holds_the_truth_about_as_often_as_it_says(
    documents: dict[str, int], seeds: int, of_document: float, of_seed: float
) -> None:
    draws = np.random.default_rng(20240601)
    trials, held = 300, 0
    for trial in range(trials):
        measured = simulated(
            draws, documents=documents, seeds=seeds, gain=0.05, of_document=of_document, of_seed=of_seed
        )
        bootstrap = PairedBootstrap(measured, replicates=600, seed=trial)
        (interval,) = bootstrap.gain("a", "b", tuple(documents))
        held += interval.low <= 0.05 <= interval.high
    # Three standard errors of a share of 300 trials are 3.8 percent points.
    assert 0.91 <= held / trials <= 0.99, held / trials


def test_skewed_gains_and_very_uneven_lengths_are_held_less_often() -> None:
    """The known weakness that docs/verdict.md states: the upper end lies too low."""
    draws = np.random.default_rng(7)
    trials, held, too_high = 300, 0, 0
    for trial in range(trials):
        measured = simulated(
            draws,
            documents={"disease": 40},
            seeds=3,
            gain=0.05,
            of_seed=0.0,
            lengths=1.2,
            is_skewed=True,
        )
        (interval,) = PairedBootstrap(measured, replicates=600, seed=trial).gain("a", "b", ("disease",))
        held += interval.low <= 0.05 <= interval.high
        too_high += interval.low > 0.05
    # 0.887 in 600 trials; three standard errors of a share of 300 trials are 5.5 percent points.
    assert 0.83 <= held / trials < 0.95, held / trials
    assert too_high / trials <= 0.03, too_high / trials


def test_resampling_three_seeds_instead_would_hold_it_too_seldom() -> None:
    """Why seeds are not resampled: the intervals of the plain hierarchical bootstrap are far too narrow."""
    draws = np.random.default_rng(1)
    trials, held = 300, 0
    for _ in range(trials):
        a, b = draws.normal(0.0, 1.0, 3), draws.normal(0.5, 1.0, 3)
        means = [each[draws.integers(0, 3, (1000, 3))].mean(axis=1) for each in (a, b)]
        low, high = np.quantile(means[1] - means[0], [0.025, 0.975])
        held += low <= 0.5 <= high
    assert held / trials < 0.88


@given(
    st.integers(0, 10_000),
    st.integers(1, 4),
    st.dictionaries(st.sampled_from(["general", "disease", "tcm"]), st.integers(1, 9), min_size=1),
)
def test_swapped_arms_give_the_mirrored_interval(seed: int, seeds: int, documents: dict[str, int]) -> None:
    measured = simulated(np.random.default_rng(seed), documents=documents, seeds=seeds, gain=0.1)
    bootstrap = PairedBootstrap(measured, replicates=200, seed=seed)
    (there,) = bootstrap.gain("a", "b", tuple(documents))
    (back,) = bootstrap.gain("b", "a", tuple(documents))
    for name in ("estimate", "low", "high"):
        ours, theirs = getattr(there.mirrored, name), getattr(back, name)
        assert ours == theirs or math.isclose(ours, theirs, rel_tol=1e-9, abs_tol=1e-12)


def test_equal_arms_differ_by_nothing() -> None:
    measured = simulated(np.random.default_rng(0), documents={"disease": 9}, seeds=3, gain=0.1)
    same = Measured(
        domains=measured.domains,
        sizes=measured.sizes,
        bits={"a": measured.bits["a"], "b": measured.bits["a"][::-1]},
    )
    (interval,) = PairedBootstrap(same, replicates=500).gain("a", "b", ["disease"])
    assert math.isclose(interval.estimate, 0.0, abs_tol=1e-12)
    assert interval.low < 0 < interval.high


def test_the_same_seed_gives_the_same_interval_whatever_was_asked_before() -> None:
    measured = simulated(np.random.default_rng(3), documents={"disease": 9, "general": 5}, seeds=2, gain=0.1)
    first, second = PairedBootstrap(measured, seed=4), PairedBootstrap(measured, seed=4)
    second.gain("b", "a", ["general"])
    assert first.gain("a", "b", ["disease"]) == second.gain("a", "b", ["disease"])
    assert first.gain("a", "b", ["disease"]) != PairedBootstrap(measured, seed=5).gain("a", "b", ["disease"])


def test_more_confidence_is_wider() -> None:
    measured = simulated(np.random.default_rng(3), documents={"disease": 9}, seeds=2, gain=0.1)
    narrow, wide = PairedBootstrap(measured).gain("a", "b", ["disease"], level=[0.95, 0.99])
    assert wide.low < narrow.low < narrow.estimate == wide.estimate < narrow.high < wide.high


def test_pairing_takes_the_hard_documents_out() -> None:
    """Documents differ by half a bit a byte, the arms by the same 0.01 on each: that is found."""
    measured = simulated(
        np.random.default_rng(2), documents={"disease": 20}, seeds=3, gain=0.01, of_document=0.0, of_seed=0.0
    )
    (interval,) = PairedBootstrap(measured).gain("a", "b", ["disease"])
    assert interval.high - interval.low < 0.1


def test_one_document_says_nothing_and_one_seed_is_named() -> None:
    measured = simulated(np.random.default_rng(2), documents={"disease": 1, "general": 5}, seeds=1, gain=0.5)
    bootstrap = PairedBootstrap(measured, replicates=300)
    (alone,) = bootstrap.gain("a", "b", ["disease"])
    assert (alone.low, alone.high, alone.documents) == (-math.inf, math.inf, 1)
    (together,) = bootstrap.gain("a", "b", ["disease", "general"])
    assert math.isfinite(together.low) and together.documents == 6
    assert not together.covers_seeds


def test_a_domain_without_documents_is_an_error() -> None:
    measured = simulated(np.random.default_rng(2), documents={"disease": 3}, seeds=2, gain=0.5)
    with pytest.raises(ValueError, match="no document is held out of tcm"):
        PairedBootstrap(measured).gain("a", "b", ["tcm"])


def test_arms_measured_on_other_documents_are_refused() -> None:
    with pytest.raises(ValueError, match="b: not one value for each"):
        Measured(
            domains=("disease",) * 3,
            sizes=np.ones(3),
            bits={"a": np.ones((2, 3)), "b": np.ones((2, 4))},
        )
