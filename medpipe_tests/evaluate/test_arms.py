"""The arms: equal tokens and rate, exact unions, and refusals that name the fix."""

from __future__ import annotations

from collections import Counter
from fractions import Fraction

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from medpipe.evaluate.arm_names import ArmName
from medpipe.evaluate.arms import DECAY, check_comparable, derive
from medpipe.evaluate.union import union_mixture
from medpipe.pretrain.compile import compile_plan
from medpipe.pretrain.corpus import ShardInfo
from medpipe.pretrain.mixture import components_of
from medpipe.pretrain.plan import STAGES, MixtureEntry, Plan, PlanError, load_plan
from medpipe.pretrain.schedule import learning_rate, total_tokens
from medpipe.records.kinds import Domain, Split, Tier
from medpipe_tests.pretrain.corpus import Corpus

DOMAINS = ("general", "disease", "guideline")
SOURCES = ("one", "two")


def shards(sizes: dict[tuple[str, str, str], int]) -> tuple[ShardInfo, ...]:
    return tuple(
        ShardInfo(
            domain=Domain(domain),
            source=source,
            digest="0" * 32,
            name=f"{number:05d}",
            split=Split.TRAIN,
            tier=Tier(tier),
            documents=1,
            tokens=tokens,
            text_bytes=tokens,
        )
        for number, ((domain, source, tier), tokens) in enumerate(sorted(sizes.items()))
    )


EVERYWHERE = [(d, s, t) for d in DOMAINS for s in SOURCES for t in ("raw", "refined")]
CORPORA = st.fixed_dictionaries({cell: st.integers(1, 4000) for cell in EVERYWHERE}).map(shards)


@st.composite
def mixtures(draw: st.DrawFn, earlier: tuple[str, ...] = ()) -> list[dict[str, object]]:
    """Entries that match no shard twice: a domain whole, by source, or by tier; maybe a replay."""
    entries: list[dict[str, object]] = []
    weight = st.one_of(st.integers(1, 50), st.floats(0.01, 5))
    for domain in draw(st.lists(st.sampled_from(DOMAINS), min_size=1, max_size=3, unique=True)):
        match draw(st.sampled_from(["whole", "refined", "sources", "one"])):
            case "whole":
                entries.append({"domain": domain})
            case "refined":
                entries.append({"domain": domain, "tier": "refined"})
            case "sources":
                entries += [{"domain": domain, "source": source} for source in SOURCES]
            case _:
                entries.append({"domain": domain, "source": "one", "tier": "raw"})
    if earlier and draw(st.booleans()):
        entries.append({"replay": draw(st.sampled_from(earlier))})
    return [entry | {"weight": draw(weight)} for entry in entries]


@st.composite
def plans(draw: st.DrawFn) -> Plan:
    values = load_plan("tiny").model_dump(mode="json", exclude_unset=True)
    values["batch_sequences"] = draw(st.integers(1, 16))
    for number, stage in enumerate(values["stages"]):
        stage["mixture"] = draw(mixtures(STAGES[:number]))
        stage["tokens"] = draw(st.integers(5_000, 200_000))
    return Plan.model_validate(values)


def windows_by_cell(
    plan: Plan, mixture: tuple[MixtureEntry, ...], stage: str, training: tuple[ShardInfo, ...]
) -> Counter[tuple[str, str, str]]:
    """Exact expected windows of each source when a stage reads a mixture: the test's own arithmetic."""
    changed = plan.model_copy(
        update={
            "stages": tuple(
                each.model_copy(update={"mixture": mixture}) if each.name == stage else each
                for each in plan.stages
            )
        }
    )
    components, problems = components_of(changed, changed.stage(stage), training)
    assert problems == []
    counts: Counter[tuple[str, str, str]] = Counter()
    for component in components:
        for shard in component.shards:
            windows = -(-shard.tokens // plan.sequence_length)
            share = Fraction(windows, component.windows) * component.samples
            counts[shard.domain.value, shard.source, shard.tier.value] += share
    return counts


@settings(max_examples=60)
@given(plans(), CORPORA)
def test_a_union_reads_every_source_as_often_as_its_stages_together(
    plan: Plan, training: tuple[ShardInfo, ...]
) -> None:
    if any(components_of(plan, stage, training)[1] for stage in plan.stages):
        return  # a replay that adds nothing
    for names in (DECAY, STAGES):
        mixture = union_mixture(plan, names, training)
        wanted: Counter[tuple[str, str, str]] = Counter()
        for name in names:
            wanted += windows_by_cell(plan, plan.stage(name).mixture, name, training)
        got: Counter[tuple[str, str, str]] = Counter()
        for name in names:
            got += windows_by_cell(plan, mixture, name, training)
        assert sum(got.values()) == sum(wanted.values())
        # A source listed by itself is rounded once a stage, and every stage of the union rounds once more.
        for cell in wanted | got:
            assert abs(got[cell] - wanted[cell]) < 2 * len(names)


@settings(max_examples=60)
@given(plans(), CORPORA)
def test_entries_that_do_not_overlap_in_part_are_met_within_one_window(
    plan: Plan, training: tuple[ShardInfo, ...]
) -> None:
    whole = tuple(MixtureEntry(domain=Domain(d), weight=w) for d, w in zip(DOMAINS, (3, 2, 1), strict=True))
    turned = tuple(
        MixtureEntry(domain=Domain(d), weight=w) for d, w in zip(DOMAINS, (0.7, 5, 11), strict=True)
    )
    stages = [
        stage.model_copy(update={"mixture": turned if stage.name == "converge" else whole})
        for stage in plan.stages
    ]
    plan = plan.model_copy(update={"stages": tuple(stages)})
    mixture = union_mixture(plan, DECAY, training)
    assert [entry.label for entry in mixture] == list(DOMAINS)
    union = plan.model_copy(
        update={"stages": tuple(s.model_copy(update={"mixture": mixture}) for s in stages)}
    )
    wanted, got = Counter[str](), Counter[str]()
    for name in DECAY:
        wanted.update({c.label: c.samples for c in components_of(plan, plan.stage(name), training)[0]})
        got.update({c.label: c.samples for c in components_of(union, union.stage(name), training)[0]})
    assert all(abs(got[domain] - wanted[domain]) <= 1 for domain in DOMAINS)
    # The weights themselves are the sum: nothing is lost before the stages round.
    assert {entry.label: entry.weight for entry in mixture} == wanted


@pytest.fixture(scope="module")
def derived(corpus: Corpus, plan: Plan) -> dict[ArmName, Plan]:
    compiled = compile_plan(plan, corpus.snapshot, corpus.lake)
    training = tuple(shard for stage in compiled.stages for shard in stage.shards)
    unique = tuple({shard.key: shard for shard in training}.values())
    return {
        name: derive(compiled, name, seed=11, training=unique, lake=corpus.lake) for name in list(ArmName)
    }


def test_arms_share_tokens_rate_and_start(derived: dict[ArmName, Plan], plan: Plan) -> None:
    for name, arm in derived.items():
        assert total_tokens(arm) == total_tokens(plan)
        assert [arm.stage_steps(stage) for stage in STAGES] == [plan.stage_steps(stage) for stage in STAGES]
        assert (arm.seed, arm.name) == (11, f"tiny-verdict-{name.value}")
        if name is not ArmName.COSINE:
            points = range(0, total_tokens(plan), 777)
            assert [learning_rate(t, arm) for t in points] == [learning_rate(t, plan) for t in points]
            assert arm.start_from is not None and arm.start_from.stage == "stable"
            assert arm.start_from == derived[ArmName.CURRICULUM].start_from
            assert arm.stages[:2] == plan.stages[:2]


def test_each_arm_reads_what_it_says(derived: dict[ArmName, Plan], plan: Plan) -> None:
    assert derived[ArmName.CURRICULUM].stages == plan.stages
    control, shuffled, bare = (
        derived[name] for name in (ArmName.CONTROL, ArmName.SHUFFLED, ArmName.NO_REPLAY)
    )
    for stage in DECAY:
        assert control.stage(stage).mixture == plan.stage("stable").mixture
        assert shuffled.stage(stage).mixture == shuffled.stage("anneal").mixture
        assert [entry.label for entry in bare.stage(stage).mixture] == ["disease"]
    cosine = derived[ArmName.COSINE]
    assert cosine.start_from is None
    assert len({stage.mixture for stage in cosine.stages}) == 1


def test_the_cosine_warms_up_and_ends_as_the_plan_does(derived: dict[ArmName, Plan], plan: Plan) -> None:
    cosine, total = derived[ArmName.COSINE], total_tokens(plan)
    warmup = plan.stages[0].learning_rate.warmup_tokens
    assert learning_rate(warmup, cosine) == pytest.approx(plan.optimizer.peak_learning_rate)
    assert learning_rate(total, cosine) == pytest.approx(learning_rate(total, plan), abs=1e-12)


def test_an_arm_is_a_plan_that_a_file_can_hold(derived: dict[ArmName, Plan]) -> None:
    for arm in derived.values():
        assert Plan.model_validate(arm.model_dump(mode="json", exclude_unset=True)) == arm


def test_a_plan_without_a_stable_checkpoint_is_refused(corpus: Corpus, plan: Plan) -> None:
    values = plan.model_dump(mode="json", exclude_unset=True)
    for stage in values["stages"]:
        del stage["learning_rate"]
    values["learning_rate"] = {"shape": "cosine", "warmup_tokens": 4096}
    compiled = compile_plan(Plan.model_validate(values), corpus.snapshot, corpus.lake)
    with pytest.raises(PlanError, match="give each stage its own learning_rate"):
        check_comparable(compiled)


def test_a_stage_of_replay_only_cannot_do_without(corpus: Corpus, plan: Plan) -> None:
    values = plan.model_dump(mode="json", exclude_unset=True)
    values["stages"][2]["mixture"] = [{"domain": "general", "weight": 1}]
    compiled = compile_plan(Plan.model_validate(values), corpus.snapshot, corpus.lake)
    with pytest.raises(PlanError, match="anneal reads nothing but replay"):
        derive(compiled, ArmName.NO_REPLAY, seed=0, training=(), lake=corpus.lake)
