"""Signatures and clusters beside datatrove's minhash: `python -m bench.near_duplicates [--megabytes N]`.

Both sides have 60 values a document and the same bands. datatrove cuts Chinese by jieba; another run has
medpipe's units. It compares no texts: what shares a band is one cluster.
"""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path

import polars as pl

from bench.inputs import Inputs
from bench.medpipe_sides import CLUSTERS
from bench.options import Options, options
from bench.planted import Quality, quality, read_texts
from bench.rounds import Side, add_value, alternate, compare_rates, keep
from bench.text import read_planted

SCRIPT = "near_duplicates"
FIGURE = "signatures and clusters"
PEER, UNITS = "datatrove minhash (zh)", "datatrove minhash, characters"
TARGET, QUALITY_TARGET = ">= 30", ">= 0.95"
PEER_CLUSTERS = "clusters.json"


def sides(peer_rounds: int) -> tuple[Side, ...]:
    """medpipe, datatrove as it is, and datatrove with medpipe's units, which is run once."""
    step = ("near_duplicates",)
    module = "bench.peers.datatrove_steps"
    return (
        Side("medpipe", "bench.medpipe_sides", step),
        Side(PEER, module, step, needs="datatrove", rounds=peer_rounds),
        Side(UNITS, module, (*step, "--words", "characters"), needs="datatrove", rounds=1),
    )


def compare(chosen: Options) -> tuple[dict[str, list[float]], dict[str, Quality]]:
    """Measures all sides; rates in MB/s, and how well each finds what was planted."""
    inputs = chosen.inputs
    planted = read_planted(inputs.raw)
    ids, texts = read_texts(inputs)
    rates: defaultdict[str, list[float]] = defaultdict(list)
    found: dict[str, Quality] = {}
    about = {"megabytes": inputs.megabytes, "facts": inputs.facts}
    for side, run, output in alternate(
        sides(chosen.peer_rounds), inputs.folder, rounds=chosen.rounds, script=SCRIPT, about=about
    ):
        # Of datatrove the fourth step, which writes the texts that stay, is left out.
        seconds = run["seconds"] - run["steps"].get("filter", 0.0)
        rates[side.name].append(inputs.megabytes / seconds)
        if side.name not in found:
            found[side.name] = quality(clusters_of(output, inputs, ids), planted, texts)
            keep(SCRIPT, {"side": side.name, "quality": found[side.name].as_row(), **about})
    return dict(rates), found


def clusters_of(output: Path, inputs: Inputs, ids: Sequence[str]) -> dict[str, int]:
    """Cluster by id, from what a side left."""
    if (output / CLUSTERS).exists():
        return {ids[row]: cluster for row, cluster in pl.read_parquet(output / CLUSTERS).iter_rows()}
    starts = [0]
    for half in inputs.halves:
        starts.append(starts[-1] + pl.scan_parquet(half).select(pl.len()).collect().item())
    found = {}
    for place, cluster in json.loads((output / PEER_CLUSTERS).read_text()).items():
        number, row = map(int, place.split("-"))
        found[ids[starts[number] + row]] = cluster
    return found


def main() -> None:
    """Runs the comparison."""
    with options(__doc__, peer_rounds=2) as chosen:
        rates, found = compare(chosen)
    compare_rates(FIGURE, rates, targets={PEER: TARGET})
    for side, each in found.items():
        print(side, each)
    for name in ("recall", "precision"):
        for peer in found:
            if peer != "medpipe":
                add_value(
                    f"planted near-duplicates, {name}",
                    getattr(found["medpipe"], name),
                    peer=getattr(found[peer], name),
                    peer_name=peer,
                    unit="share",
                    target=f"medpipe {QUALITY_TARGET}",
                )


if __name__ == "__main__":
    main()
