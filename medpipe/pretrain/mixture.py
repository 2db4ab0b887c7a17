"""Which shards a stage draws from and how often: mixture entries met with what the corpus holds."""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction

from medpipe.pretrain.corpus import ShardInfo
from medpipe.pretrain.plan import MixtureEntry, Plan, StagePlan
from medpipe.pretrain.stream import allocate, window_count


@dataclass(frozen=True, kw_only=True)
class Component:
    """A mixture entry, or a replayed part of one, with the shards that matched it."""

    label: str
    share: float
    """Share of the stage's samples that the plan asks for."""
    samples: int
    """Samples of the stage."""
    shards: tuple[ShardInfo, ...]
    windows: int
    """Samples of one epoch."""

    @property
    def epochs(self) -> float:
        """Passes over the shards in this stage."""
        return self.samples / self.windows

    @property
    def tokens(self) -> int:
        """Training tokens of one epoch."""
        return sum(shard.tokens for shard in self.shards)


@dataclass(frozen=True, kw_only=True)
class _Draw:
    """A weight over shards, before samples are shared out."""

    label: str
    weight: Fraction
    shards: tuple[ShardInfo, ...]


def components_of(
    plan: Plan, stage: StagePlan, training: tuple[ShardInfo, ...]
) -> tuple[tuple[Component, ...], list[str]]:
    """Matches a stage's mixture with the training shards.

    A replay stands for the mixture of its stage: its weight is shared out in that stage's proportions, over
    those of its shards that nothing else in this stage reads, so that each shard is drawn once. Where an
    entry reads some of a replayed entry's shards, that one's weight shrinks with the tokens that are left.

    Returns:
        The components, those of replays last, and every entry that matches nothing or overlaps another.
    """
    draws, problems, taken = _own_draws(stage, training)
    for entry in stage.mixture:
        if entry.replay is not None:
            replayed = _replayed(plan, entry, training, taken)
            if not replayed and not problems:
                problems.append(
                    f"stage {stage.name}: {entry.label} adds nothing, since this stage reads all of it "
                    "already; drop it"
                )
            taken |= {shard.key: draw.label for draw in replayed for shard in draw.shards}
            draws += replayed
    total = sum(draw.weight for draw in draws)
    samples = allocate(
        plan.stage_steps(stage.name) * plan.sequences_per_step, [draw.weight for draw in draws]
    )
    components = tuple(
        Component(
            label=draw.label,
            share=float(draw.weight / total),
            samples=count,
            shards=draw.shards,
            windows=sum(window_count(shard.tokens, plan.sequence_length) for shard in draw.shards),
        )
        for draw, count in zip(draws, samples, strict=True)
    )
    return components, problems


def _own_draws(
    stage: StagePlan, training: tuple[ShardInfo, ...]
) -> tuple[list[_Draw], list[str], dict[str, str]]:
    """What the stage names itself; the shards already given out, with the entry that took them."""
    draws: list[_Draw] = []
    problems: list[str] = []
    taken: dict[str, str] = {}
    for entry in stage.mixture:
        if entry.replay is not None:
            continue
        shards = tuple(shard for shard in training if shard.matches(entry))
        if not shards:
            problems.append(_nothing_matches(stage.name, entry, training))
            continue
        for shard in shards:
            other = taken.setdefault(shard.key, entry.label)
            if other != entry.label or any(draw.label == entry.label for draw in draws):
                problems.append(
                    f"stage {stage.name}: {shard.key} is matched by both '{other}' and '{entry.label}'; "
                    "narrow one of them by source or tier"
                )
                break
        draws.append(_Draw(label=entry.label, weight=Fraction(entry.weight), shards=shards))
    return draws, problems, taken


def _replayed(
    plan: Plan, entry: MixtureEntry, training: tuple[ShardInfo, ...], taken: dict[str, str]
) -> list[_Draw]:
    """The parts of a replayed stage that are free."""
    earlier = plan.stage(str(entry.replay))
    components, _ = components_of(plan, earlier, training)
    parts = []
    for component in components:
        free = tuple(shard for shard in component.shards if shard.key not in taken)
        if free:
            left = Fraction(sum(shard.tokens for shard in free), component.tokens)
            name = component.label.split(": ", 1)[-1]
            parts.append(
                _Draw(label=f"{entry.label}: {name}", weight=Fraction(component.share) * left, shards=free)
            )
    total = sum(part.weight for part in parts)
    return [
        _Draw(label=p.label, weight=Fraction(entry.weight) * p.weight / total, shards=p.shards) for p in parts
    ]


def _nothing_matches(stage: str, entry: MixtureEntry, training: tuple[ShardInfo, ...]) -> str:
    of_domain = sorted({(s.source, s.tier.value) for s in training if s.domain == entry.domain})
    if of_domain:
        known = ", ".join(f"{source} ({tier})" for source, tier in of_domain)
        fix = f"the snapshot has these sources of that domain: {known}"
    else:
        domains = ", ".join(sorted({shard.domain.value for shard in training})) or "none"
        fix = f"the snapshot has training tokens in these domains only: {domains}; enable a source or drop it"
    return f"stage {stage}: no training shard matches '{entry.label}'; {fix}"
