"""The command `medpipe verdict`: did the curriculum help?"""

from __future__ import annotations

import signal
import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console
from rich.table import Table

from medpipe.cli_output import AsJson, print_json
from medpipe.evaluate.arm_names import SMALLEST_GAIN, ArmName
from medpipe.plan_cli import PlanName
from medpipe.settings import Settings

if TYPE_CHECKING:
    from medpipe.evaluate.verdict_facts import Verdict


def verdict(
    plan: PlanName,
    seeds: Annotated[int, typer.Option(min=1, help="Runs of each arm; one decides nothing.")] = 3,
    against: Annotated[
        list[ArmName] | None,
        typer.Option(help="Compare with this arm; may be given again. control, shuffled, cosine if not."),
    ] = None,
    snapshot: Annotated[
        str | None,
        typer.Option(help="Name of a snapshot, or 'current'. The one the plan's runs are pinned to if not."),
    ] = None,
    maximum_epochs: Annotated[
        float | None, typer.Option(min=0.1, help="Let arms repeat a source so often, over the plan's cap.")
    ] = None,
    smallest_gain: Annotated[
        float, typer.Option(min=0.0, help="Bits per byte worth having: less is 'did not help'.")
    ] = SMALLEST_GAIN,
    track: Annotated[bool, typer.Option(help="Follow every arm in MLflow.")] = True,
    report: Annotated[
        Path | None, typer.Option(help="Also write the report here: FILE.html (one page) or FILE.md.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Train a curriculum beside a control decay, shuffled data and a cosine; say whether it helped.

    All start from one stable checkpoint, the cosine from the plan's first weights, over equal
    tokens. What is complete is not trained again: stopped with Ctrl-C or killed, the same command goes on.
    """
    from medpipe.evaluate.arm_training import ArmError
    from medpipe.evaluate.verdict_run import DEFAULT_ARMS, run_verdict
    from medpipe.evaluate.verdict_snapshot import verdict_snapshot
    from medpipe.lake.layout import open_lake
    from medpipe.pretrain.plan import find_plan, load_plan

    if report is not None and report.suffix not in (".html", ".md"):
        raise typer.BadParameter(f"{report} ends neither in .html nor in .md", param_hint="--report")
    # A shell starts background jobs with SIGINT ignored, and the trainer would never be told to stop.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    settings = Settings()
    lake = open_lake(settings)
    started = time.monotonic()

    def say(text: str) -> None:
        typer.echo(text, err=True)

    try:
        settled = run_verdict(
            find_plan(plan),
            verdict_snapshot(load_plan(plan), lake, name=snapshot, say=say),
            settings=settings,
            lake=lake,
            arms=against or DEFAULT_ARMS,
            seeds=seeds,
            maximum_epochs=maximum_epochs,
            smallest_gain=smallest_gain,
            is_tracked=track,
            say=say,
        )
    except ArmError as error:
        typer.echo(f"medpipe: {error}", err=True)
        raise typer.Exit(1) from error
    except KeyboardInterrupt:
        typer.echo("stopped; the same command goes on from here", err=True)
        raise typer.Exit(128 + signal.SIGINT) from None
    if report is not None:
        _write_report(report, settled.verdict, settled.pictures)
    where = report or settled.dataset.path
    if as_json:
        print_json(settled.verdict.as_json() | {"report": where.as_posix(), "trained": settled.trained})
        return
    _print(settled.verdict, Console())
    typer.echo(f"{settled.trained} stages trained, the others reused; {time.monotonic() - started:.0f} s")
    typer.echo(f"The report is in {where}")


def _write_report(path: Path, verdict: Verdict, pictures: dict[str, bytes]) -> None:
    from medpipe.evaluate.verdict_report import as_html, as_markdown
    from medpipe.lake.files import write_bytes_atomically

    path.parent.mkdir(parents=True, exist_ok=True)
    if path.suffix == ".html":
        write_bytes_atomically(path, as_html(verdict, pictures).encode())
        return
    for name, picture in pictures.items():
        write_bytes_atomically(path.with_name(f"{path.stem}-{name}"), picture)
    write_bytes_atomically(path, as_markdown(verdict, picture_prefix=f"{path.stem}-").encode())


def _print(verdict: Verdict, console: Console) -> None:
    from medpipe.evaluate.verdict_words import range_in_words

    table = Table("against", "text", "gain", "95 % interval", "answer", "all together", title="Bits per byte")
    for each in verdict.comparisons:
        table.add_row(
            each["against"],
            each["text"],
            f"{each['gain']:+.4f}",
            range_in_words(each["low"], each["high"]),
            each["answer"],
            "stands" if each["stands_together"] else "",
        )
    console.print(table)
    for each in verdict.questions:
        console.print(f"{each['question']}:\n  {each['answer']}", highlight=False)
    for name, reason in verdict.left_out.items():
        console.print(f"left out: {name}: {reason}", highlight=False)
