"""A refresh beside the full build of ten sources: `python -m bench.refresh [--megabytes N] [--rounds R]`.

The text of `bench.text` is dealt to ten sources of a folder hub. Measured are the full build of all data
assets (raw to snapshot) in an empty lake, a refresh of everything where nothing changed, and the run that the
sensor requests after one source changed by 1 %: half of that new records, half of it records that are gone.
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
STEPS = ("full build", "nothing changed", "one source of ten changed by 1 %")
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
    count = round(len(dealt["source_0"]) * CHANGED / 2)
    spare, dealt["source_0"] = dealt["source_0"][:count], dealt["source_0"][count:]
    for source, lines in dealt.items():
        write(work / "hub", source, lines)
    found: dict[str, Run] = {}
    for step in STEPS:
        if step == STEPS[2]:
            write(work / "hub", "source_0", [*dealt["source_0"][count:], *spare])
        changed = ("source_0",) if step == STEPS[2] else ()
        side = Side("medpipe", "bench.refresh_side", changed or ("all",))
        done = run(side, work, work)
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
    seconds = {step: statistics.median(each[step]["seconds"] for each in rounds) for step in STEPS}
    full = seconds[STEPS[0]]
    for step in STEPS[1:]:
        add_value(
            f"refresh, {step}",
            seconds[step],
            peer=full,
            peer_name=STEPS[0],
            unit="s",
            target=TARGET if step == STEPS[2] else "",
        )
    # The tokenizer is trained once in a lake's life and then pinned: no refresh could save it.
    without = statistics.median(each[STEPS[0]]["seconds"] - _tokenizer(each[STEPS[0]]) for each in rounds)
    add_value(
        f"refresh, {STEPS[2]}, beside the build without training the tokenizer",
        seconds[STEPS[2]],
        peer=without,
        peer_name=STEPS[0],
        unit="s",
        target=TARGET,
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
