"""Tokens a second of the training loop, beside others on the same machine: `python -m bench.training`.

The demo's model and plan with 32 windows of 128 tokens a step, two threads; the clock runs over whole
intervals between checkpoints, after eight steps of warming up.
"""

from __future__ import annotations

import argparse
import os
import statistics
from collections import defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path

from bench.rounds import Run, Side, add_value, alternate, compare_rates
from bench.training_inputs import Work, make_training_inputs, work_like_the_demo
from bench.work_folder import work_folder
from medpipe.pretrain.launch import trainer_environment

SCRIPT = "training"
LOOP = {"eager": "medpipe", "compiled": "medpipe, blocks compiled"}
BARE = {"eager": "bare loop", "compiled": "bare loop, blocks compiled"}
STALL = "< 0.02"


def sides(chosen: Sequence[str] = ()) -> tuple[Side, ...]:
    """All sides, or those whose name contains one of the words."""
    ours, nano = "bench.training_sides", "bench.peers.nano_gpt"
    launched = tuple(trainer_environment().items())
    found = (
        Side(LOOP["eager"], ours, ("loop", "eager"), environment=launched),
        Side("Trainer, fp32", "bench.peers.hf_trainer", ("fp32",), needs="accelerate"),
        Side("nanoGPT, GPT, fp32", nano, ("gpt", "fp32", "eager")),
        Side("nanoGPT, Llama, fp32", nano, ("llama", "fp32", "eager")),
        Side(BARE["eager"], ours, ("bare", "eager"), environment=launched),
        Side(LOOP["compiled"], ours, ("loop", "compiled"), environment=launched),
        Side("nanoGPT, GPT, bf16, compiled", nano, ("gpt", "bf16", "compiled")),
        Side(BARE["compiled"], ours, ("bare", "compiled"), environment=launched),
        Side("Trainer, bf16", "bench.peers.hf_trainer", ("bf16",), needs="accelerate"),
        Side("nanoGPT, GPT, bf16", nano, ("gpt", "bf16", "eager")),
        Side("nanoGPT, Llama, bf16", nano, ("llama", "bf16", "eager")),
    )
    return tuple(side for side in found if not chosen or any(word in side.name for word in chosen))


def compare(folder: Path, *, rounds: int, work: Work, only: Sequence[str] = ()) -> dict[str, list[Run]]:
    """Runs all sides in turn."""
    inputs = make_training_inputs(folder, work)
    # Threads wait alike on all sides: where others are at work, spinning and sleeping differ by half.
    os.environ["OMP_WAIT_POLICY"] = trainer_environment()["OMP_WAIT_POLICY"]
    os.environ["OMP_NUM_THREADS"] = str(inputs.facts["threads"])
    found: defaultdict[str, list[Run]] = defaultdict(list)
    about = {"work": inputs.facts["work"], "vocabulary": inputs.facts["vocabulary_size"]}
    for side, run, _ in alternate(sides(only), inputs.folder, rounds=rounds, script=SCRIPT, about=about):
        found[side.name].append(run)
        print(f"  {run['tokens_per_second']:,.0f} tokens/s", flush=True)
    return dict(found)


def report(found: Mapping[str, Sequence[Run]]) -> None:
    """Appends the figures; of a peer's precisions the faster one counts."""
    rates = {name: [run["tokens_per_second"] for run in runs] for name, runs in found.items()}
    for mode, ours in LOOP.items():
        if ours not in rates:
            continue
        peers = {
            BARE[mode]: ">= 0.95",
            _faster(rates, "Trainer,"): ">= 1.5",
            **{_faster(rates, f"nanoGPT, {kind},", mode): ">= 1" for kind in ("GPT", "Llama")},
        }
        targets = {name: target for name, target in peers.items() if name in rates}
        chosen = {"medpipe": rates[ours], **{name: rates[name] for name in targets}}
        compare_rates(f"training, {ours}", chosen, targets=targets, unit="tokens/s")
        share = statistics.median(_share(run) for run in found[ours])
        add_value(
            f"checkpoints, share of the loop's time, {ours}",
            share,
            peer=0,
            peer_name="",
            unit="",
            target=STALL,
        )


def _share(run: Run) -> float:
    """Of the loop's time, what it spent on checkpoints instead of steps."""
    steps = len(run["step_seconds"])
    return float(run["milliseconds"]["time/checkpoint_ms"]) * steps / 1e3 / float(run["counted_seconds"])


def _faster(rates: Mapping[str, Sequence[float]], start: str, mode: str = "eager") -> str:
    """The fastest side of those that are one another's variants; an empty name where there is none."""
    names = [n for n in rates if n.startswith(start) and n.endswith("compiled") == (mode == "compiled")]
    return max(names, key=lambda name: statistics.median(rates[name]), default="")


def main() -> None:
    """Runs the comparison."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--folder", type=Path, help="where inputs are made and kept")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--sequences", type=int, default=32, help="windows of a batch")
    parser.add_argument("--only", nargs="*", default=(), help="sides whose name contains one of these words")
    chosen = parser.parse_args()
    work = work_like_the_demo(sequences=chosen.sequences)
    with work_folder(chosen.folder) as folder:
        found = compare(folder, rounds=chosen.rounds, work=work, only=chosen.only)
    report(found)


if __name__ == "__main__":
    main()
