"""A refresh beside the full build of ten sources: `python -m bench.refresh [--megabytes N] [--rounds R]`.

The text of `bench.text` is dealt to ten sources of a folder hub. Measured are the full build of all data
assets (raw to snapshot) in an empty lake, a refresh of everything where nothing changed, and the runs that
the sensor requests after one source changed by 1 %: half of that new records, half of it records that are
gone. Which source it is matters, for the first of the catalog keeps what several have: where a record of the
last one goes, no other source changes; where one of the first goes, its copy in another comes back.
"""

from __future__ import annotations

import argparse
import os
import shutil
import statistics
from pathlib import Path

import yaml

from bench.options import add_arguments, work_folder
from bench.rounds import Run, Side, add_value, keep, run
from bench.text import FILES, make_text

SCRIPT = "refresh"
SOURCES = 10
CHANGED = 0.01
"""Share of the records of one source."""
FULL, UNCHANGED = "full build", "nothing changed"
CHANGES = {
    "the last source of ten changed by 1 %": f"source_{SOURCES - 1}",
    "the first source of ten changed by 1 %": "source_0",
}
TARGET = "<= 0.2"


def deal(folder: Path, *, megabytes: float) -> dict[str, list[str]]:
    """Lines of JSON by source, about as many bytes each; some more of the first one are kept back.

    Args:
        folder: takes the text.
        megabytes: millions of bytes of text in all.
    """
    make_text(folder / "text", megabytes=megabytes)
    lines = [line for name in FILES for line in (folder / "text" / name).read_text().splitlines()]
    return {f"source_{number}": lines[number::SOURCES] for number in range(SOURCES)}


def write(hub: Path, source: str, lines: list[str]) -> None:
    """Writes a source's only file."""
    path = hub / "bench" / source / "a.jsonl"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(line + "\n" for line in lines), encoding="utf-8")


def catalog(sources: list[str]) -> str:
    """Catalog entries of the sources, in two domains."""
    entries = [
        {
            "id": source,
            "title": source,
            "description": "Chinese medical text of a chosen size.",
            "repository": f"bench/{source}",
            "files": [{"path": "*.jsonl", "domain": "disease" if number % 2 else "encyclopedia"}],
            "kind": "document",
            "layout": {"layout": "text", "text": "text"},
            "language": "zh",
            "licence": {"name": None},
            "uses": ["pretraining"],
        }
        for number, source in enumerate(sources)
    ]
    return yaml.safe_dump({"sources": entries})


def measure(folder: Path, *, megabytes: float) -> dict[str, Run]:
    """One round: the three runs, each in a fresh process on the same lake."""
    dealt = deal(folder, megabytes=megabytes)
    work = folder / "refresh"
    shutil.rmtree(work, ignore_errors=True)
    (work / "sources").mkdir(parents=True)
    (work / "sources" / "catalog.yaml").write_text(catalog(list(dealt)))
    spare = {}
    for source in CHANGES.values():
        count = round(len(dealt[source]) * CHANGED / 2)
        spare[source], dealt[source] = dealt[source][:count], dealt[source][count:]
    for source, lines in dealt.items():
        write(work / "hub", source, lines)
    found: dict[str, Run] = {}
    for step in (FULL, UNCHANGED, *CHANGES):
        source = CHANGES.get(step)
        if source is not None:
            write(work / "hub", source, [*dealt[source][len(spare[source]) :], *spare[source]])
        done = run(Side("medpipe", "bench.refresh_side", (source or "all",)), work, work)
        keep(SCRIPT, {"step": step, "asked_megabytes": megabytes, "load": os.getloadavg(), **done})
        print(
            f"{step}: {done['seconds']:.2f} s, {done['reused']} of {done['assets']} assets reused", flush=True
        )
        print(
            "  " + ", ".join(f"{name} {seconds:.2f}" for name, seconds in done["steps"].items()), flush=True
        )
        found[step] = done
    shutil.rmtree(work)
    return found


def report(rounds: list[dict[str, Run]]) -> None:
    """Appends the figures: medians, and shares of the full build."""
    seconds = {
        step: statistics.median(each[step]["seconds"] for each in rounds)
        for step in (FULL, UNCHANGED, *CHANGES)
    }
    # The tokenizer is trained once in a lake's life and then pinned: no refresh could save it.
    without = statistics.median(each[FULL]["seconds"] - _tokenizer(each[FULL]) for each in rounds)
    for step, took in seconds.items():
        if step == FULL:
            continue
        target = TARGET if step in CHANGES else ""
        add_value(f"refresh, {step}", took, peer=seconds[FULL], peer_name=FULL, unit="s", target=target)
        add_value(
            f"refresh, {step}, beside the build without training the tokenizer",
            took,
            peer=without,
            peer_name=FULL,
            unit="s",
            target="",
        )


def _tokenizer(done: Run) -> float:
    return float(done["steps"]["tokenizer"])


def main() -> None:
    """Runs all rounds."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    add_arguments(parser)
    parser.add_argument(
        "--megabytes", type=float, default=100, help="text of all sources, in millions of bytes"
    )
    parser.add_argument("--rounds", type=int, default=3)
    chosen = parser.parse_args()
    with work_folder(chosen.folder) as folder:
        report([measure(folder, megabytes=chosen.megabytes) for _ in range(chosen.rounds)])


if __name__ == "__main__":
    main()
