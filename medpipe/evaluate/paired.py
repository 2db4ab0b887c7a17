"""Paired intervals for the difference of two arms in bits per byte.

Two arms are measured on the same documents, so a hard document is hard for both and falls out of the
difference. Two kinds of luck stay: which documents were held out, and how the data order of each trained
model fell. Documents are resampled (the bootstrap, Efron and Tibshirani 1993, chapter 10), within each
domain, since what is held out of each domain is no accident. Three seeds cannot be resampled: the bootstrap
of n values has (n - 1)/n of their variance and no tails. The error of their mean is therefore drawn from
Student's t with Welch's degrees of freedom and added to each resample; the documents of a domain are widened
for small numbers in the same way.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]

REPLICATES = 10_000
LEVEL = 0.95
_CELLS = 4_000_000
"""Counts held in memory at once."""


@dataclass(frozen=True, kw_only=True)
class Measured:
    """Every arm on the same held-out documents."""

    domains: tuple[str, ...]
    """Domain of each document."""
    sizes: Floats
    """UTF-8 bytes of each document, shape [documents]."""
    bits: Mapping[str, Floats]
    """Surprise of each document in bits by arm, shape [seeds, documents]."""

    def __post_init__(self) -> None:
        wrong = [name for name, bits in self.bits.items() if bits.shape[1:] != self.sizes.shape]
        if wrong or len(self.domains) != len(self.sizes):
            raise ValueError(f"{', '.join(wrong) or 'domains'}: not one value for each of the documents")


@dataclass(frozen=True, kw_only=True)
class Interval:
    """A difference in bits per byte and where its true value lies with the confidence that was asked for."""

    estimate: float
    low: float
    high: float
    documents: int
    covers_seeds: bool
    """Whether both arms have two seeds or more; else the luck of the single run is not in the interval."""

    @property
    def mirrored(self) -> Interval:
        """The same of the difference taken the other way round."""
        return Interval(
            estimate=-self.estimate,
            low=-self.high,
            high=-self.low,
            documents=self.documents,
            covers_seeds=self.covers_seeds,
        )


@dataclass(frozen=True, kw_only=True)
class _Stratum:
    """Documents that are resampled among themselves."""

    sizes: Floats
    """Bytes of each resample, less those of the stratum: shape [replicates]."""
    bits: Mapping[str, Floats]
    """The same of each arm's bits, the mean over its seeds."""
    widening: Floats
    """Factor of each replicate that turns its deviation into Student's t."""


class PairedBootstrap:
    """The same resampled documents for every pair of arms."""

    def __init__(self, measured: Measured, *, replicates: int = REPLICATES, seed: int = 0) -> None:
        """Resamples the documents.

        Args:
            measured: the arms.
            replicates: resamples; each counts twice, once with each sign of the seeds' part, so that swapped
                arms give the mirrored interval.
            seed: of the resamples; the same one gives the same intervals.
        """
        self._measured, self._replicates, self._seed = measured, replicates, seed
        self._means = {arm: bits.mean(axis=0) for arm, bits in measured.bits.items()}
        self._drawn: dict[tuple[str, ...], _Stratum] = {}

    def gain(
        self, arm: str, other: str, domains: Sequence[str], *, level: float | Sequence[float] = LEVEL
    ) -> list[Interval]:
        """Bits per byte that `arm` needs less than `other` on the documents of some domains.

        Args:
            arm: an arm's name.
            other: another one's.
            domains: the domains, taken together; every byte weighs the same.
            level: confidence, or several of them.

        Returns:
            One interval a level. It is infinite where fewer than two documents are held out.

        Raises:
            ValueError: no document is of these domains.
        """
        levels = [level] if isinstance(level, float) else list(level)
        chosen = np.isin(self._measured.domains, list(domains))
        documents = int(chosen.sum())
        if not documents:
            raise ValueError(f"no document is held out of {', '.join(domains)}")
        size = float(self._measured.sizes[chosen].sum())
        difference = self._means[other] - self._means[arm]
        estimate = float(difference[chosen].sum()) / size
        deviations = np.zeros(self._replicates)
        for names in _strata(self._measured.domains, domains):
            stratum = self._stratum(names)
            bits = stratum.bits[other] - stratum.bits[arm]
            deviations += stratum.widening * (bits - estimate * stratum.sizes)
        seeds = self._seed_noise(arm, other, chosen) * size
        values = estimate + np.concatenate([deviations + seeds, deviations - seeds]) / size
        covers_seeds = min(len(self._measured.bits[each]) for each in (arm, other)) > 1
        return [
            Interval(
                estimate=estimate,
                low=float(np.quantile(values, (1 - each) / 2)) if documents > 1 else -math.inf,
                high=float(np.quantile(values, (1 + each) / 2)) if documents > 1 else math.inf,
                documents=documents,
                covers_seeds=covers_seeds,
            )
            for each in levels
        ]

    def _seed_noise(self, arm: str, other: str, chosen: npt.NDArray[np.bool_]) -> Floats:
        """Error of the difference of the two means over seeds, in bits per byte: shape [replicates]."""
        size = float(self._measured.sizes[chosen].sum())
        variances, freedom = 0.0, 0.0
        for each in (arm, other):
            values = self._measured.bits[each][:, chosen].sum(axis=1) / size
            if len(values) > 1:
                variance = float(values.var(ddof=1)) / len(values)
                variances += variance
                freedom += variance**2 / (len(values) - 1)
        if variances == 0 or freedom == 0:
            return np.zeros(self._replicates)
        draws = self._generator("seeds", *sorted((arm, other)))
        return math.sqrt(variances) * draws.standard_t(max(1.0, variances**2 / freedom), self._replicates)

    def _stratum(self, names: tuple[str, ...]) -> _Stratum:
        if names not in self._drawn:
            members = np.isin(self._measured.domains, names)
            sizes = self._measured.sizes[members]
            columns = np.stack([sizes, *(mean[members] for mean in self._means.values())], axis=1)
            draws = self._generator("documents", *names)
            sums = _resampled_sums(columns, self._replicates, draws) - columns.sum(axis=0)
            self._drawn[names] = _Stratum(
                sizes=sums[:, 0],
                bits=dict(zip(self._means, sums[:, 1:].T, strict=True)),
                widening=_widening(sizes, self._replicates, draws),
            )
        return self._drawn[names]

    def _generator(self, *key: str) -> np.random.Generator:
        """Draws that depend on the seed and on what they are for, not on the order of the questions."""
        digest = hashlib.blake2b("\0".join((str(self._seed), *key)).encode(), digest_size=16).digest()
        return np.random.Generator(np.random.Philox(key=np.frombuffer(digest, dtype="<u8")))


def _strata(of_documents: Sequence[str], domains: Sequence[str]) -> list[tuple[str, ...]]:
    """Domains that are resampled together: one each, but a single document goes to the next larger domain.

    Alone it would always be drawn, as if nothing were left to chance; beside others it makes the interval
    wider than need be ("collapsed strata", Cochran 1977, section 5A.12).
    """
    counts = {domain: sum(each == domain for each in of_documents) for domain in domains}
    strata: list[tuple[str, ...]] = []
    waiting: tuple[str, ...] = ()
    for domain in sorted((name for name in counts if counts[name]), key=lambda name: (counts[name], name)):
        waiting = (*waiting, domain)
        if sum(counts[name] for name in waiting) > 1:
            strata.append(waiting)
            waiting = ()
    return [*strata, waiting] if waiting else strata


def _resampled_sums(columns: Floats, replicates: int, draws: np.random.Generator) -> Floats:
    """Sums over documents drawn with replacement: [documents, columns] to [replicates, columns]."""
    documents = len(columns)
    chance = np.full(documents, 1 / documents)
    step = max(1, _CELLS // documents)
    parts = [
        draws.multinomial(documents, chance, size=min(step, replicates - start)) @ columns
        for start in range(0, replicates, step)
    ]
    return np.concatenate(parts)


def _widening(sizes: Floats, replicates: int, draws: np.random.Generator) -> Floats:
    """What a resample's deviation is multiplied by, so that few documents give Student's t.

    A long document counts for many bytes: the degrees of freedom follow from Kish's effective number of
    documents.
    """
    documents = len(sizes)
    if documents < 2:
        return np.ones(replicates)
    freedom = max(1.0, float(sizes.sum() ** 2 / (sizes**2).sum()) - 1)
    widening: Floats = np.sqrt(documents / (documents - 1) * freedom / draws.chisquare(freedom, replicates))
    return widening
