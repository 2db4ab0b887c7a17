"""The command `medpipe`: each subcommand is a few lines that call a room.

Exit status: 0 is success, 2 a usage error, 1 everything else with one line that names the fix.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.table import Table
from typer.core import TyperGroup

from medpipe.cli_output import AsJson, print_json
from medpipe.lake.error_words import HANDLED, in_words
from medpipe.lineage_cli import batch, forget, trace
from medpipe.operate_cli import DagsterPort, MlflowPort, doctor, prune, serve
from medpipe.plan_cli import PlanName, StartFromRun, plan_app, settings_from
from medpipe.pretrain.plan_parts import StageName
from medpipe.settings import Settings
from medpipe.snapshots_cli import snapshots_app
from medpipe.sources_cli import sources_app
from medpipe.tokens_cli import tokens_app
from medpipe.verdict_cli import verdict


class _PlainErrors(TyperGroup):
    """Prints an error that names the thing and the fix, not a traceback; MEDPIPE_DEBUG shows that too."""

    def invoke(self, ctx: Any) -> Any:
        try:
            return super().invoke(ctx)
        except BrokenPipeError:  # whoever reads the output has enough of it
            raise
        except HANDLED as error:
            if os.environ.get("MEDPIPE_DEBUG"):
                raise
            typer.echo(f"medpipe: {in_words(error)}", err=True)
            raise typer.Exit(1) from error


app = typer.Typer(
    name="medpipe",
    cls=_PlainErrors,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    help="From medical corpora to a model.",
)
app.add_typer(sources_app, name="sources")
app.add_typer(tokens_app, name="tokens")
app.add_typer(snapshots_app, name="snapshots")
app.add_typer(plan_app, name="plan")
for _command in (trace, batch, forget, verdict, doctor, prune, serve):
    app.command()(_command)


@app.command()
def demo(as_json: AsJson = False) -> None:
    """Run the main job on the sample corpus that ships in the package."""
    from dataclasses import asdict

    from medpipe.operate.demo import DEMO_FACTS, run_demo
    from medpipe.operate.report import print_demo

    settings = Settings()
    typer.echo(f"medpipe demo: every asset of the graph, state in {settings.home}", err=True)
    facts = run_demo(settings)
    if as_json:
        print_json(asdict(facts))
    else:
        print_demo(facts, Console())
        typer.echo(f"The same facts are in {settings.home / DEMO_FACTS}")


@app.command()
def run(
    selection: Annotated[str, typer.Argument(help="Dagster asset selection, such as 'group:normalized'.")],
    force: Annotated[
        bool, typer.Option("--force", help="Make them again even where nothing changed.")
    ] = False,
    start_from: StartFromRun = None,
    snapshot: Annotated[
        str | None,
        typer.Option(help="Train on this snapshot instead of the newest; 'medpipe snapshots list'."),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Materialise the selected assets on the instance that the UI shows."""
    from medpipe.operate.materialise import materialise

    settings = settings_from(start_from, snapshot=snapshot)
    done = materialise(settings, selection=selection, force=force)
    if as_json:
        print_json({"run": done.run_id, "assets": done.assets, "reused": done.reused})
    else:
        typer.echo(f"{len(done.assets)} assets materialised, {len(done.reused)} of them were up to date")


@app.command()
def dev(
    dagster_port: DagsterPort = 3000,
    mlflow_port: MlflowPort = 5000,
    sample: Annotated[bool, typer.Option(help="Work on the sample corpus instead of the hub.")] = False,
) -> None:
    """Start Dagster with its daemon and MLflow on loopback, with one log, until Ctrl-C."""
    from medpipe.operate.dev import serve_until_stopped
    from medpipe.operate.servers import Places

    serve_until_stopped(
        Settings(), Places(dagster_port=dagster_port, mlflow_port=mlflow_port), with_sample=sample
    )


@app.command("verify-resume")
def verify_resume_of(
    plan: PlanName,
    snapshot: Annotated[str, typer.Option(help="Name of a snapshot, or 'current'.")] = "current",
    seed: Annotated[int | None, typer.Option(help="Of the steps to kill at; drawn if left out.")] = None,
    until: Annotated[StageName, typer.Option(help="Last stage to train and compare.")] = "converge",
    start_from: StartFromRun = None,
    as_json: AsJson = False,
) -> None:
    """Train a plan straight and again with kills; compare every byte. Takes twice its training time."""
    from dataclasses import asdict

    from medpipe.lake.layout import open_lake
    from medpipe.pretrain.configured import configured_plan
    from medpipe.pretrain.verify_resume import verify_resume
    from medpipe.tokens.snapshot import read_snapshot

    settings = settings_from(start_from, plan=plan)
    lake = open_lake(settings)
    compared = verify_resume(
        configured_plan(settings),
        read_snapshot(lake, snapshot),
        lake,
        seed=seed,
        until=until,
        say=lambda text: typer.echo(text, err=True),
    )
    if as_json:
        print_json([asdict(each) | {"different": each.different} for each in compared])
    else:
        table = Table("stage", "killed at", *compared[0].straight, title="straight and killed")
        for each in compared:
            cells = ["differs" if part in each.different else "equal" for part in each.straight]
            table.add_row(each.stage, ", ".join(each.killed_at), *cells)
        Console().print(table)
    if any(each.different for each in compared):
        raise typer.Exit(1)


@app.command("sample")
def sample_of(
    checkpoint: Annotated[Path, typer.Argument(help="Folder of a checkpoint.")],
    prompt: Annotated[list[str], typer.Option(help="Text to go on from; may be given several times.")] = [""],  # noqa: B006 - typer takes no tuple
    tokens: Annotated[int, typer.Option(min=1, help="Most new tokens.")] = 48,
    top_k: Annotated[int, typer.Option(min=1, help="Draw among so many likeliest tokens; 1 is greedy.")] = 20,
    temperature: Annotated[
        float, typer.Option(min=0.01, help="Below 1 keeps closer to the likeliest.")
    ] = 1.0,
    seed: Annotated[int, typer.Option(help="Of the draws.")] = 0,
    as_json: AsJson = False,
) -> None:
    """Let a checkpoint's model write: what it says is a sign of training, no medical advice."""
    from medpipe.pretrain.generate import Sampling, continue_prompts

    sampling = Sampling(max_new_tokens=tokens, top_k=top_k, temperature=temperature, seed=seed)
    texts = continue_prompts(checkpoint, prompt, sampling=sampling)
    if as_json:
        print_json([{"prompt": given, "text": text} for given, text in zip(prompt, texts, strict=True)])
    else:
        typer.echo("\n\n".join(texts))


def main() -> None:
    """Entry point of `python -m medpipe.cli`."""
    app()


if __name__ == "__main__":
    main()
