"""The same rules beside datatrove's and Data-Juicer's filters: `python -m bench.filters [--megabytes N]`.

medpipe measures all its rules whichever are on. datatrove runs those that medpipe has under known names, with
the same limits, on the same units (a Chinese character, a run of other letters and digits) and, once more,
on jieba's words, which is what it does by itself. How many verdicts agree is printed.
"""

from __future__ import annotations

from collections import defaultdict
from pathlib import Path

import polars as pl

from bench.medpipe_sides import VERDICTS
from bench.options import Options, options
from bench.planted import read_texts
from bench.rounds import Side, alternate, compare_rates, keep

SCRIPT = "filters"
FIGURE = "filters, same rules"
UNITS, JIEBA, JUICER = "datatrove, same units", "datatrove (zh)", "Data-Juicer"
TARGET = ">= 8"
FEW_LINES = 4
"""medpipe judges no shares of fewer lines; datatrove does."""


def sides(peer_rounds: int) -> tuple[Side, ...]:
    """medpipe and its peers."""
    module = "bench.peers.datatrove_steps"
    return (
        Side("medpipe", "bench.medpipe_sides", ("filters",)),
        Side(UNITS, module, ("filters", "--words", "characters"), needs="datatrove", rounds=peer_rounds),
        Side(JIEBA, module, ("filters",), needs="datatrove", rounds=1),
        Side(JUICER, "bench.peers.data_juicer_filters", needs="data_juicer", rounds=peer_rounds),
    )


def compare(chosen: Options) -> dict[str, list[float]]:
    """Measures all sides and returns their rates in MB/s."""
    inputs = chosen.inputs
    ids, texts = read_texts(inputs)
    rates: defaultdict[str, list[float]] = defaultdict(list)
    kept: dict[str, pl.Series] = {}
    about = {"megabytes": inputs.megabytes, "facts": inputs.facts}
    for side, run, output in alternate(
        sides(chosen.peer_rounds), inputs.folder, rounds=chosen.rounds, script=SCRIPT, about=about
    ):
        rates[side.name].append(inputs.megabytes / run["seconds"])
        if side.name != JUICER and side.name not in kept:
            kept[side.name] = kept_by(output, ids)
    has_lines = pl.Series([texts[each].count("\n") + 1 >= FEW_LINES for each in ids])
    for name, verdict in kept.items():
        if name != "medpipe":
            row = agreement(kept["medpipe"], verdict, has_lines)
            keep(SCRIPT, {"side": name, "agreement": row, **about})
            print(f"verdicts of medpipe and {name}: {row}")
    return dict(rates)


def kept_by(output: Path, ids: list[str]) -> pl.Series:
    """Whether each document is kept, from what a side left; Boolean."""
    if (output / VERDICTS).exists():
        return pl.read_parquet(output / VERDICTS, columns=["reason"])["reason"].is_null()
    names = [line for path in (output / "kept").glob("*.txt") for line in path.read_text().splitlines()]
    return pl.Series(ids).is_in(names)


def agreement(ours: pl.Series, theirs: pl.Series, has_lines: pl.Series) -> dict[str, float]:
    """Shares of texts with the same verdict, of all and of those with some lines, and of those kept."""
    same = ours == theirs
    return {
        "same verdict": round(float(same.mean() or 0), 4),
        f"of texts of {FEW_LINES} lines and more": round(float(same.filter(has_lines).mean() or 0), 4),
        "kept by medpipe": round(float(ours.mean() or 0), 4),
        "kept by the peer": round(float(theirs.mean() or 0), 4),
    }


def main() -> None:
    """Runs the comparison."""
    with options(__doc__, peer_rounds=2) as chosen:
        rates = compare(chosen)
    compare_rates(FIGURE, rates, targets={UNITS: TARGET, JUICER: TARGET})


if __name__ == "__main__":
    main()
