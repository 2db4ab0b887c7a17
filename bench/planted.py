"""How well clusters find the planted near-duplicates, on similarities that were measured on the texts."""

from __future__ import annotations

import itertools
from collections import defaultdict
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from random import Random

from bench.inputs import Inputs
from bench.text import THRESHOLD, Planted, similarity


@dataclass(frozen=True)
class Quality:
    """Of planted pairs, and of pairs that stand in one cluster anywhere."""

    recall: float
    """Share of the planted near-duplicates that stand in one cluster."""
    precision: float
    """Share of near-duplicates in the planted pairs that stand in one cluster."""
    near_duplicates: int
    others: int
    """Planted pairs at or above the threshold, and below it."""
    linked: float
    """Share of the clustered documents that have a near-duplicate in their cluster (of a sample)."""
    pairs: float
    """Share of near-duplicates in all pairs that stand in one cluster, those by way of a third one too."""
    clusters: int

    def as_row(self) -> dict[str, float]:
        """By name."""
        return asdict(self)


def quality(
    clusters: Mapping[str, int], planted: list[Planted], texts: Mapping[str, str], *, most: int = 2_000
) -> Quality:
    """Recall and precision.

    Args:
        clusters: by id, of the documents that are in one.
        planted: pairs with their similarity.
        texts: by id, of all documents.
        most: clusters that are looked at for `linked` and `pairs`, drawn at random, and members of each.
    """
    together = {
        pair: pair.one in clusters and clusters[pair.one] == clusters.get(pair.other) for pair in planted
    }
    true = {pair for pair in planted if pair.similarity >= THRESHOLD}
    found = {pair for pair, is_found in together.items() if is_found}
    members: defaultdict[int, list[str]] = defaultdict(list)
    for name, cluster in clusters.items():
        members[cluster].append(name)
    random = Random(0)
    chosen = [members[cluster] for cluster in random.sample(sorted(members), min(most, len(members)))]
    linked = documents = near = pairs = 0
    for names in chosen:
        sample = names if len(names) <= _MEMBERS else random.sample(names, _MEMBERS)
        best = dict.fromkeys(sample, 0.0)
        for one, other in itertools.combinations(sample, 2):
            measured = similarity(texts[one], texts[other])
            best[one], best[other] = max(best[one], measured), max(best[other], measured)
            near += measured >= THRESHOLD
            pairs += 1
        if len(names) <= _MEMBERS:
            linked += sum(value >= THRESHOLD for value in best.values())
            documents += len(best)
    return Quality(
        recall=len(found & true) / max(1, len(true)),
        precision=len(found & true) / max(1, len(found)),
        near_duplicates=len(true),
        others=len(planted) - len(true),
        linked=linked / max(1, documents),
        pairs=near / max(1, pairs),
        clusters=len(members),
    )


_MEMBERS = 20


def read_texts(inputs: Inputs) -> tuple[list[str], dict[str, str]]:
    """Ids in order, and texts by id."""
    import polars as pl

    frame = pl.concat([pl.read_parquet(half, columns=["id", "text"]) for half in inputs.halves])
    return frame["id"].to_list(), dict(frame.iter_rows())
