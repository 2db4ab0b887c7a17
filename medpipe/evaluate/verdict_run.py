"""Did the curriculum help? Trains the arms, measures them on the same text, and publishes the report."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import orjson
import polars as pl

from medpipe.evaluate.arm_bits import checkpoint_bits
from medpipe.evaluate.arm_choice import Choice, choose_arms, compile_arms
from medpipe.evaluate.arm_names import SMALLEST_GAIN, ArmName
from medpipe.evaluate.arm_training import News, last_stage, train_arm, train_trunk
from medpipe.evaluate.arm_trunk import earlier_run, trained_tokens
from medpipe.evaluate.arms import TRUNK, Arm
from medpipe.evaluate.paired import LEVEL, REPLICATES, PairedBootstrap
from medpipe.evaluate.verdict import compare, measured_arms
from medpipe.evaluate.verdict_facts import (
    START,
    ArmFacts,
    Verdict,
    comparison_rows,
    domain_shares,
    held_out_sizes,
    in_words,
    matrix_rows,
    rate_in_words,
)
from medpipe.evaluate.verdict_plots import forest_plot, rate_plot
from medpipe.evaluate.verdict_report import FOREST, RATES, as_html, as_markdown
from medpipe.evaluate.verdict_words import headlines, limits
from medpipe.lake.dataset import Dataset, publish
from medpipe.lake.layout import Lake
from medpipe.lake.manifest import Recipe, read_manifest
from medpipe.pretrain.compile import CompiledPlan, compile_plan
from medpipe.pretrain.curriculum import FinishedStage
from medpipe.pretrain.plan import STAGES, StageName, load_plan
from medpipe.settings import Settings
from medpipe.tokens.snapshot import CorpusSnapshot

CODE_VERSION = "2"
"""Raised by hand whenever the same checkpoints would give another report."""
ROOM, NAME = "evaluation", "verdict"
FACTS, MARKDOWN, PAGE = "verdict.json", "report.md", "report.html"
DEFAULT_ARMS = (ArmName.CONTROL, ArmName.SHUFFLED, ArmName.COSINE)


@dataclass(frozen=True, kw_only=True)
class Settled:
    """What a call found."""

    verdict: Verdict
    dataset: Dataset
    """The published report: facts as JSON, Markdown with pictures, one HTML page."""
    pictures: dict[str, bytes]
    trained: int
    """Stages that were trained by this call; the others were complete."""


def run_verdict(
    plan_file: Path,
    snapshot: CorpusSnapshot,
    *,
    settings: Settings,
    lake: Lake,
    arms: Sequence[ArmName] = DEFAULT_ARMS,
    seeds: int = 3,
    maximum_epochs: float | None = None,
    smallest_gain: float = SMALLEST_GAIN,
    replicates: int = REPLICATES,
    is_tracked: bool = True,
    say: News = lambda _: None,
) -> Settled:
    """Compares a curriculum with other ways to spend the same tokens.

    What is complete is neither trained nor measured again, so that a call that was killed goes on where it
    was. All runs lie in folders of their own, `runs/<plan>-verdict-<arm>/`, except for the stages before the
    decay, which are the plan's own.

    Args:
        plan_file: the plan.
        snapshot: the corpus.
        settings: name the MLflow server.
        lake: where the corpus and all runs lie.
        arms: what the curriculum is compared with.
        seeds: runs of each arm, with seeds that count up from the plan's.
        maximum_epochs: another cap on repetition than the plan's.
        smallest_gain: bits per byte that are worth having; see `Comparison`.
        replicates: resamples of the bootstrap.
        is_tracked: whether MLflow follows, each arm and seed as a curriculum of its own.
        say: takes a line of news at a time.

    Returns:
        The verdict and where its report lies.

    Raises:
        PlanError: the plan does not fit the corpus, or cannot be compared.
        ArmError: a trainer failed.
    """
    compiled = compile_plan(load_plan(plan_file), snapshot, lake)
    choice = choose_arms(compiled, arms, snapshot=snapshot, lake=lake, maximum_epochs=maximum_epochs)
    for name, reason in choice.left_out.items():
        say(f"arm {name.value} is left out: {reason}")
    trained = train_trunk(compiled, plan_file, settings=settings, is_tracked=is_tracked, lake=lake, say=say)
    runs = compile_arms(
        compiled, choice, seeds=seeds, snapshot=snapshot, lake=lake, maximum_epochs=maximum_epochs
    )
    for number, arm in enumerate(runs, start=1):
        label = f"{number}/{len(runs)} {arm.name.value}, seed {arm.seed}"
        trained += train_arm(arm, settings=settings, is_tracked=is_tracked, lake=lake, say=say, label=label)
    windows: dict[ArmName, list[pl.DataFrame]] = {name: [] for name in choice.names}
    for arm in runs:
        say(f"held-out text under {arm.name.value}, seed {arm.seed}")
        last = last_stage(arm.compiled, STAGES[-1], lake)
        windows[arm.name].append(checkpoint_bits(last, compiled, snapshot=snapshot, lake=lake))
    say(f"resampling {replicates:,} times")
    return _settle(
        compiled,
        choice,
        runs,
        windows,
        snapshot=snapshot,
        lake=lake,
        seeds=seeds,
        smallest_gain=smallest_gain,
        replicates=replicates,
        trained=trained,
    )


def _settle(
    compiled: CompiledPlan,
    choice: Choice,
    runs: Sequence[Arm],
    windows: dict[ArmName, list[pl.DataFrame]],
    *,
    snapshot: CorpusSnapshot,
    lake: Lake,
    seeds: int,
    smallest_gain: float,
    replicates: int,
    trained: int,
) -> Settled:
    """Compares, words, draws and publishes."""
    plan = compiled.plan
    measured = measured_arms(windows)
    bootstrap = PairedBootstrap(measured, replicates=replicates, seed=plan.seed)
    comparisons = compare(measured, bootstrap, smallest_gain=smallest_gain)
    facts = [_arm_facts(arm, lake, epochs=choice.epochs[arm.name]) for arm in runs]
    start, rows = _shared_start(compiled, snapshot=snapshot, lake=lake)
    held_out = held_out_sizes(measured)
    is_published = compiled.start is not None and compiled.start.is_published
    told = headlines(comparisons, is_published=is_published)
    verdict = Verdict(
        plan=plan.name,
        snapshot=snapshot.name,
        seeds=seeds,
        start=start,
        parameters=last_stage(runs[0].compiled, STAGES[-1], lake).result.parameters,
        questions=[{"question": question, "answer": answer} for question, answer in told],
        comparisons=comparison_rows(comparisons),
        matrix=[*rows, *matrix_rows(measured)],
        arms=facts,
        left_out=in_words(choice.left_out),
        raised=in_words({n: e for n, e in choice.epochs.items() if e > plan.maximum_epochs}),
        held_out=held_out,
        bootstrap={
            "level": LEVEL,
            "replicates": replicates,
            "seed": plan.seed,
            "smallest_gain": smallest_gain,
        },
        limits=limits(
            comparisons,
            seeds=seeds,
            parameters=last_stage(runs[0].compiled, STAGES[-1], lake).result.parameters,
            tokens=trained_tokens(runs[0].compiled),
            documents={domain: size["documents"] for domain, size in held_out.items()},
            earlier=earlier_run(compiled),
        ),
        is_published=is_published,
    )
    pictures = {
        FOREST: forest_plot(comparisons),
        RATES: rate_plot(
            {arm.name: arm.plan for arm in reversed(runs)}, first=_first_drawn(compiled, choice)
        ),
    }
    recipe = Recipe(
        inputs={f"{each.arm}-{each.seed}": each.checkpoint for each in facts},
        code_version=CODE_VERSION,
        config={"validation": compiled.validation_digest, **verdict.bootstrap},
    )
    with publish(lake, ROOM, NAME, plan.name, recipe=recipe) as draft:
        (draft.path / FACTS).write_bytes(orjson.dumps(verdict.as_json(), option=orjson.OPT_INDENT_2))
        (draft.path / MARKDOWN).write_text(as_markdown(verdict), encoding="utf-8")
        (draft.path / PAGE).write_text(as_html(verdict, pictures), encoding="utf-8")
        for name, picture in pictures.items():
            (draft.path / name).write_bytes(picture)
        draft.rows = len(comparisons)
    return Settled(verdict=verdict, dataset=draft.dataset, pictures=pictures, trained=trained)


def _first_drawn(compiled: CompiledPlan, choice: Choice) -> StageName:
    """The first stage of the arms' own; an earlier run may have had other budgets, unless the cosine fits."""
    start = compiled.start
    if start is None or start.is_published or ArmName.COSINE in choice.names:
        return STAGES[0]
    return start.at


def _arm_facts(arm: Arm, lake: Lake, *, epochs: float) -> ArmFacts:
    stages = [last_stage(arm.compiled, stage, lake) for stage in arm.stages]
    last = stages[-1]
    return ArmFacts(
        arm=arm.name.value,
        seed=arm.seed,
        stages=list(arm.stages),
        steps=sum(stage.result.steps for stage in stages),
        tokens=sum(arm.compiled.stage(stage).tokens for stage in arm.stages),
        learning_rate=rate_in_words(arm.plan, arm.stages),
        seconds=round(sum(stage.result.seconds for stage in stages), 1),
        epochs=epochs,
        read=domain_shares(arm.compiled, arm.stages),
        loss=last.result.loss_last,
        checkpoint=read_manifest(last.checkpoint).digest,
        run_folder=last.run_folder.relative_to(lake.root).as_posix(),
        plan=f"{last.run_folder.parent.relative_to(lake.root).as_posix()}/seed-{arm.seed}.yaml",
    )


def _shared_start(
    compiled: CompiledPlan, *, snapshot: CorpusSnapshot, lake: Lake
) -> tuple[str, list[dict[str, object]]]:
    """Digest of the stable checkpoint and its row of the matrix; no row where it lies within a stage."""
    if compiled.start is not None and compiled.start.at not in TRUNK:
        return compiled.start.content, []
    stable: FinishedStage = last_stage(compiled, TRUNK[-1], lake)
    bits = checkpoint_bits(stable, compiled, snapshot=snapshot, lake=lake)
    (row,) = matrix_rows(measured_arms({ArmName.CURRICULUM: [bits]}))
    return read_manifest(stable.checkpoint).digest, [row | {"arm": START}]
