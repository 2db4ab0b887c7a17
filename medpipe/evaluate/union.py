"""The union of several stages' data as one mixture: each source as often as those stages read it together."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence

from medpipe.pretrain.corpus import ShardInfo
from medpipe.pretrain.mixture import Component, components_of
from medpipe.pretrain.plan import STAGES, MixtureEntry, Plan
from medpipe.pretrain.stream import allocate, window_count
from medpipe.records.kinds import Domain, Tier

Cell = tuple[str, str, str]
"""Domain, source and tier: the finest thing that a mixture entry can name."""


def union_mixture(
    plan: Plan, stages: Iterable[str], training: Sequence[ShardInfo]
) -> tuple[MixtureEntry, ...]:
    """The mixture that gives every source the share that it has of some stages together.

    The weights are windows: whole numbers, added up. What every stage that reads it reads under one entry
    stays that entry. Where entries of two stages overlap in part (a domain here, one of its sources there),
    or a replay leaves sources out, the sources are listed one by one, with the windows that a pass over the
    entry gives each of them.

    Args:
        plan: the plan.
        stages: names of its stages.
        training: all training shards of the snapshot.

    Returns:
        Entries that match no shard twice. A source that is listed by itself is less than one window a stage
        off its exact share, all others are met exactly.
    """
    names = tuple(stages)
    components = [
        component
        for stage in names
        for component in components_of(plan, plan.stage(stage), tuple(training))[0]
        if component.samples
    ]
    touching: dict[Cell, set[frozenset[Cell]]] = defaultdict(set)
    for component in components:
        for cell in _cells(component.shards):
            touching[cell].add(_cells(component.shards))
    selectors = _selectors(plan, names, training)
    windows: dict[frozenset[Cell], int] = defaultdict(int)
    for component in components:
        cells = _cells(component.shards)
        if cells in selectors and all(touching[cell] == {cells} for cell in cells):
            windows[cells] += component.samples
        else:
            for cell, samples in _by_cell(component, plan.sequence_length).items():
                windows[frozenset((cell,))] += samples
    return tuple(
        (selectors.get(cells) or _entry_of(cells)).model_copy(update={"weight": float(count)})
        for cells, count in windows.items()
        if count
    )


def _cells(shards: Iterable[ShardInfo]) -> frozenset[Cell]:
    return frozenset((shard.domain.value, shard.source, shard.tier.value) for shard in shards)


def _selectors(
    plan: Plan, names: tuple[str, ...], training: Sequence[ShardInfo]
) -> dict[frozenset[Cell], MixtureEntry]:
    """The plan's own entries by what they read, those of the named stages first: a replay is of others."""
    found: dict[frozenset[Cell], MixtureEntry] = {}
    for name in (*names, *STAGES):
        for entry in plan.stage(name).mixture:
            if entry.replay is None:
                found.setdefault(_cells(shard for shard in training if shard.matches(entry)), entry)
    return found


def _entry_of(cells: frozenset[Cell]) -> MixtureEntry:
    ((domain, source, tier),) = cells
    return MixtureEntry(domain=Domain(domain), source=source, tier=Tier(tier), weight=1.0)


def _by_cell(component: Component, sequence_length: int) -> dict[Cell, int]:
    """A component's samples by source: one pass reads each window once."""
    windows: dict[Cell, int] = defaultdict(int)
    for shard in component.shards:
        (cell,) = _cells([shard])
        windows[cell] += window_count(shard.tokens, sequence_length)
    return dict(zip(windows, allocate(component.samples, list(windows.values())), strict=True))
