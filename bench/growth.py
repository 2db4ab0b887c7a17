"""Time and memory of each stage on 1, 3 and 10 times the input: `python -m bench.growth [--megabytes N]`.

Each stage runs in a fresh process on what the stage before left; only medpipe is measured.
"""

from __future__ import annotations

import argparse
import math
import os
import shutil
from pathlib import Path

from bench.inputs import make_inputs
from bench.options import add_arguments, work_folder
from bench.rounds import Run, Side, add_value, keep, run

SCRIPT = "growth"
FACTORS = (1, 3, 10)
STAGES = ("normalise", "judge", "signatures", "clusters", "corpus", "encode")
PEAK_RATIO, PEAK_MEGABYTES = 1.3, 3_000


def measure(
    folder: Path, *, megabytes: float, factors: tuple[int, ...] = FACTORS
) -> dict[int, dict[str, Run]]:
    """Runs by size and stage; the inputs of each size are gone when it is done."""
    found: dict[int, dict[str, Run]] = {}
    for factor in factors:
        inputs = make_inputs(folder / f"growth-{factor}", megabytes=factor * megabytes)
        output = inputs.folder / "output"
        shutil.rmtree(output, ignore_errors=True)
        output.mkdir()
        found[factor] = {}
        for stage in STAGES:
            side = Side("medpipe", "bench.medpipe_sides", (f"growth_{stage}",))
            done = run(side, inputs.folder, output)
            about = {"factor": factor, "stage": stage, "megabytes": inputs.megabytes, "load": os.getloadavg()}
            keep(SCRIPT, {**about, **done})
            rate = inputs.megabytes / done["seconds"]
            print(
                f"{inputs.megabytes:,.0f} MB, {stage}: {done['seconds']:.2f} s, {rate:.1f} MB/s, "
                f"{done['peak_megabytes']:,.0f} MB at most, {done['base_megabytes']:,.0f} MB before",
                flush=True,
            )
            found[factor][stage] = {**done, "megabytes": inputs.megabytes}
        shutil.rmtree(inputs.folder)
    return found


def report(found: dict[int, dict[str, Run]]) -> None:
    """Appends the figures: peak of all stages, and the exponent of time."""
    small, large = min(found), max(found)
    for stage in (*STAGES, "all stages"):
        stages = STAGES if stage == "all stages" else (stage,)
        peaks, seconds, sizes = {}, {}, {}
        for factor in (small, large):
            runs = [found[factor][each] for each in stages]
            peaks[factor] = max(each["peak_megabytes"] for each in runs)
            seconds[factor] = sum(each["seconds"] for each in runs)
            sizes[factor] = runs[0]["megabytes"]
        times = sizes[large] / sizes[small]
        add_value(
            f"peak memory, {stage}, {times:.0f} x the input",
            peaks[large],
            peer=peaks[small],
            peer_name=f"{sizes[small]:.0f} MB of text",
            unit="MB",
            target=f"<= {PEAK_RATIO:g} x, < {PEAK_MEGABYTES:,} MB",
        )
        add_value(
            f"exponent of time, {stage}",
            math.log(seconds[large] / seconds[small]) / math.log(times),
            peer=sizes[large] / seconds[large],
            peer_name=f"MB/s on {sizes[large]:.0f} MB",
            unit="",
            target="about 1",
        )


def main() -> None:
    """Runs all sizes."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    add_arguments(parser)
    parser.add_argument("--megabytes", type=float, default=60, help="text of the smallest size")
    chosen = parser.parse_args()
    with work_folder(chosen.folder) as folder:
        report(measure(folder, megabytes=chosen.megabytes))


if __name__ == "__main__":
    main()
