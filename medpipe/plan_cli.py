"""The commands `medpipe plan …`: a run as one file, seen before any compute."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.table import Table

from medpipe.cli_output import AsJson, print_json
from medpipe.settings import Settings

plan_app = typer.Typer(no_args_is_help=True, help="Stage plans.")

PlanName = Annotated[
    str, typer.Argument(metavar="FILE", help="Name of a built-in plan or path of a YAML file.")
]


StartFromRun = Annotated[
    str | None,
    typer.Option(
        metavar="RUN",
        help="Go on from this earlier run's stable stage with the newest data: a curriculum's name, or "
        "name/FOLDER. Stands for MEDPIPE_START_FROM.",
    ),
]


def settings_from(
    start_from: str | None, *, plan: str | None = None, snapshot: str | None = None
) -> Settings:
    """The settings, with what the options of a command say in their place."""
    given = {"start_from": start_from, "plan": plan, "snapshot": snapshot}
    return Settings().model_copy(update={name: value for name, value in given.items() if value is not None})


@plan_app.command("check")
def check(
    plan: PlanName,
    snapshot: Annotated[str, typer.Option(help="Name of a snapshot, or 'current'.")] = "current",
    measure: Annotated[
        int, typer.Option(min=0, help="Train so many steps and throw them away: speed and peak memory.")
    ] = 0,
    flops: Annotated[
        float | None,
        typer.Option(
            min=1, help="Operations a second that you state, for a time estimate without measuring."
        ),
    ] = None,
    picture: Annotated[
        Path | None, typer.Option(help="Draw rate and mixture over the tokens into this PNG file.")
    ] = None,
    start_from: StartFromRun = None,
    as_json: AsJson = False,
) -> None:
    """Compile a plan against the corpus and refuse it with every reason; else print what it costs."""
    from medpipe.lake.files import write_bytes_atomically
    from medpipe.lake.layout import open_lake
    from medpipe.pretrain.check import arithmetic, check_plan, plan_facts
    from medpipe.pretrain.configured import configured_plan, configured_plan_file
    from medpipe.tokens.snapshot import read_snapshot

    settings = settings_from(start_from, plan=plan)
    lake, loaded = open_lake(settings), configured_plan(settings)
    compiled = check_plan(loaded, read_snapshot(lake, snapshot), lake)
    trial = None
    if measure:
        from medpipe.pretrain.trial import run_trial

        typer.echo(f"training {measure} steps to measure", err=True)
        trial = run_trial(lake.root, configured_plan_file(settings, lake), compiled.snapshot, steps=measure)
    is_bf16, is_cpu = arithmetic(loaded)
    facts = plan_facts(compiled, is_bf16=is_bf16, is_cpu=is_cpu, trial=trial, flops_per_second=flops)
    if picture is not None:
        from medpipe.pretrain.plan_plot import draw_plan

        write_bytes_atomically(picture, draw_plan(compiled))
    if as_json:
        print_json(facts)
        return
    _print_facts(facts, Console())
    if picture is not None:
        typer.echo(f"picture: {picture}")


@plan_app.command("fetch")
def fetch(plan: PlanName, as_json: AsJson = False) -> None:
    """Download the hub model that a plan starts from, at its pinned commit, into the lake."""
    from medpipe.lake.layout import open_lake
    from medpipe.pretrain.plan import PlanError, load_plan
    from medpipe.pretrain.published_model import fetch_model

    settings, loaded = Settings(), load_plan(plan)
    start = loaded.start_from
    if start is None or start.model is None or start.is_folder:
        raise PlanError(loaded.name, ["start_from names no hub model; nothing is to fetch"])
    folder = fetch_model(
        start,
        open_lake(settings),
        endpoint=settings.hf_endpoint,
        token=settings.hf_token.get_secret_value() if settings.hf_token else None,
        progress=lambda text: typer.echo(text, err=True),
    )
    if as_json:
        print_json({"model": start.model, "revision": start.revision, "folder": str(folder)})
    else:
        typer.echo(f"{start.model}: {folder}")


def _print_facts(facts: dict[str, Any], console: Console) -> None:
    model, start = facts["model"], facts["start_from"]
    console.print(
        f"plan {facts['plan']} on snapshot {facts['snapshot']}: {model['architecture']}, "
        f"{model['parameters']:,} parameters, {facts['steps']:,} steps, {facts['tokens']:,} tokens",
        highlight=False,
    )
    if start is not None:
        behind = f" behind {start['step']:,} steps" if start["step"] else ""
        console.print(f"starts at {start['at']} from {start['folder']}{behind}", highlight=False)
    console.print(_stage_table(facts["stages"]))
    console.print(_mixture_table(facts["stages"]))
    console.print(_source_table(facts["sources"], [stage["stage"] for stage in facts["stages"]]))
    console.print(_memory_table(facts["memory"]))
    console.print(f"memory: {facts['memory']['based_on']}", highlight=False)
    console.print(_in_words(facts["time"], model["flops_per_token"] * facts["tokens"]), highlight=False)
    for warning in facts["warnings"]:
        console.print(f"note: {warning}", highlight=False)


def _stage_table(stages: list[dict[str, Any]]) -> Table:
    table = Table("stage", "steps", "tokens", "learning rate", "course", title="Stages")
    for stage in stages:
        rate = stage["learning_rate"]
        course = rate["course"] if stage["taken_from"] is None else f"taken over from {stage['taken_from']}"
        table.add_row(
            stage["stage"],
            f"{stage['steps']:,}",
            f"{stage['tokens']:,}",
            f"{rate['from']:.3g} → {rate['to']:.3g}",
            course,
        )
    return table


def _mixture_table(stages: list[dict[str, Any]]) -> Table:
    table = Table("stage", "from", "share", "samples", "tokens", "epochs", title="Mixture")
    for stage in stages:
        for part in stage["mixture"]:
            table.add_row(
                stage["stage"],
                part["from"],
                f"{part['share']:.1%}",
                f"{part['samples']:,}",
                f"{part['tokens']:,}",
                f"{part['epochs']:.2f}",
            )
    return table


def _source_table(sources: list[dict[str, Any]], stages: list[str]) -> Table:
    table = Table("source", "tier", "available", *stages, "epochs", title="Tokens by source and stage")
    for row in sources:
        table.add_row(
            f"{row['domain']}/{row['source']}",
            row["tier"],
            f"{row['available']:,}",
            *(f"{row['by_stage'].get(stage, 0):,}" for stage in stages),
            f"{row['epochs']:.2f}",
        )
    return table


def _memory_table(memory: dict[str, Any]) -> Table:
    table = Table("memory", "MB", title="Memory estimate")
    parts = ("weights", "gradients", "moments", "cast_weights", "activations", "attention", "logits")
    for name in (*parts, "peak"):
        table.add_row(name.replace("_", " "), f"{memory[name] / 1e6:,.1f}")
    if memory["measured_peak"] is not None:
        table.add_row("measured peak", f"{memory['measured_peak'] / 1e6:,.1f}")
        table.add_row("estimate is off by", f"{memory['error']:+.0%}")
    return table


def _in_words(time: dict[str, Any], operations: float) -> str:
    if time["seconds"] is None:
        return f"time: {operations:.3g} floating-point operations; based on {time['based_on']}"
    hours, rest = divmod(round(time["seconds"]), 3600)
    return (
        f"time: {hours} h {rest // 60:02d} min {rest % 60:02d} s at {time['tokens_per_second']:,.0f} "
        f"tokens/s, based on {time['based_on']}"
    )
