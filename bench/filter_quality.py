"""Precision and recall of the filters on the labelled sample, beside peers: `python -m bench.filter_quality`.

datatrove and Data-Juicer judge the same texts with their defaults, in an environment of their own whose
Python is named by `MEDPIPE_BENCH_PEERS_PYTHON`; a peer that is not there is left out, and it is said why.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import polars as pl
from rich.console import Console
from rich.table import Table

from bench.disease_records import RECORDS
from bench.filter_scores import (
    ALL,
    Score,
    class_recall,
    false_drops,
    medpipe_verdicts,
    refined_scores,
    scores,
    views,
)
from medpipe_tests.quality.labelled_sample import load_labelled_sample

RESULTS = Path(__file__).parent / "results" / "filter_quality.jsonl"
PEERS_PYTHON = "MEDPIPE_BENCH_PEERS_PYTHON"
PEERS = {"datatrove": "filters_datatrove.py", "Data-Juicer": "filters_data_juicer.py"}
TIMEOUT = 900
"""Seconds for a peer."""


class PeerMissing(Exception):
    """A peer cannot be run; the message says why."""


def peer_verdicts(script: str, sample: pl.DataFrame) -> dict[str, pl.Series]:
    """What each of a peer's filters drops, with `ALL` of them; Boolean columns.

    Raises:
        PeerMissing: no environment is named, or the peer does not run in it.
    """
    python = os.environ.get(PEERS_PYTHON)
    if not python:
        raise PeerMissing(f"{PEERS_PYTHON} is not set: name the Python of an environment with the peers")
    texts = "".join(json.dumps(row) + "\n" for row in sample.select("text", "lang").to_dicts())
    command = [python, str(Path(__file__).parent / "peers" / script)]
    try:
        done = subprocess.run(command, input=texts, capture_output=True, text=True, timeout=TIMEOUT)
    except OSError as error:
        raise PeerMissing(f"{PEERS_PYTHON} cannot be run: {error}") from error
    if done.returncode != 0:
        raise PeerMissing(f"{script} failed: {done.stderr.strip()[-500:]}")
    reasons = pl.DataFrame([json.loads(line) for line in done.stdout.splitlines()], infer_schema_length=None)
    if reasons.height != sample.height:
        raise PeerMissing(f"{script} judged {reasons.height} of {sample.height} texts")
    dropped = {name: reasons[name].is_not_null() for name in reasons.columns}
    return {ALL: reasons.select(pl.any_horizontal(pl.all().is_not_null())).to_series(), **dropped}


def main() -> None:
    """Measures all sides, prints the tables and leaves the rows behind."""
    if not RECORDS.is_dir():
        sys.exit(f"the real records are not there: put them at {RECORDS}")
    sample = load_labelled_sample()
    console = Console()
    dropped, refined = medpipe_verdicts(sample)
    sides = {"medpipe": dropped}
    for peer, script in PEERS.items():
        try:
            sides[peer] = peer_verdicts(script, sample)
        except PeerMissing as error:
            console.print(f"{peer} is left out: {error}")
    rows: list[dict[str, object]] = [
        {"tool": tool, "verdict": "drop", "view": view, "rule": rule, **found.as_row()}
        for tool, verdict in sides.items()
        for (view, rule), found in scores(verdict, sample).items()
    ]
    rows += [
        {"tool": "medpipe", "verdict": "refined", "view": view, "rule": ALL, **found.as_row()}
        for view, found in refined_scores(refined, sample).items()
    ]
    by_class = {tool: class_recall(verdict[ALL], sample) for tool, verdict in sides.items()}
    by_class["medpipe, not refined"] = class_recall(~refined, sample)
    rows += [
        {"tool": tool, "verdict": "drop", "view": "readers agree", "label": label, **found.as_row()}
        for tool, classes in by_class.items()
        for label, found in classes.items()
    ]
    wrong = false_drops(dropped, sample)
    rows += [{"tool": "medpipe", "verdict": "false drop", **row} for row in wrong.to_dicts()]
    RESULTS.parent.mkdir(exist_ok=True)
    RESULTS.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows), encoding="utf-8")
    _show(console, rows, by_class, wrong, sample)


def _show(
    console: Console,
    rows: list[dict[str, object]],
    by_class: dict[str, dict[str, Score]],
    wrong: pl.DataFrame,
    sample: pl.DataFrame,
) -> None:
    sizes = {view: int(counts.sum()) for view, counts in views(sample).items()}
    table = Table("tool", "verdict", "rule", *(f"{view} ({size})" for view, size in sizes.items()))
    cells: dict[tuple[str, str, str], dict[str, str]] = {}
    for row in rows:
        if "view" in row and "rule" in row:
            key = (str(row["tool"]), str(row["verdict"]), str(row["rule"]))
            cells.setdefault(key, {})[str(row["view"])] = _cell(row)
    for key, by_view in cells.items():
        table.add_row(*key, *(by_view[view] for view in sizes))
    console.print(table, "precision (right / found), recall (right / wanted)\n", sep="\n")
    table = Table("label, both readers", "members", *by_class)
    for label, found in by_class["medpipe"].items():
        table.add_row(label, str(found.wanted), *(f"{each[label].found}" for each in by_class.values()))
    console.print(table)
    table = Table("dropped, but to keep", "row", "part", "rule", "labels")
    for file, number, part, *labels, rule in wrong.iter_rows():
        table.add_row(file, str(number), str(part), rule, ", ".join(map(str, labels)))
    console.print(table)


def _cell(row: dict[str, object]) -> str:
    return " ".join(
        f"{name[0].upper()} –"
        if row[name] is None
        else f"{name[0].upper()} {row[name]:.2f} ({row['right']}/{row[of]})"
        for name, of in (("precision", "found"), ("recall", "wanted"))
    )


if __name__ == "__main__":
    main()
