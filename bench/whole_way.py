"""Lines of JSON to deduplicated shards, beside datatrove: `python -m bench.whole_way [--megabytes N]`.

medpipe does all that its assets do; datatrove the steps that both have, with medpipe's limits for Chinese.
"""

from __future__ import annotations

from collections import defaultdict

from bench.options import Options, options
from bench.rounds import Side, alternate, compare_rates

SCRIPT = "whole_way"
FIGURE = "lines of JSON to shards, the whole way"
PEER, UNITS = "datatrove (zh)", "datatrove, same units"
TARGET = ">= 6, aim 12"


def sides(peer_rounds: int) -> tuple[Side, ...]:
    """medpipe, datatrove as it is, and datatrove with medpipe's units, which is run once."""
    module = "bench.peers.datatrove_steps"
    return (
        Side("medpipe", "bench.medpipe_sides", ("whole_way",)),
        Side(PEER, module, ("whole_way",), needs="datatrove", rounds=peer_rounds),
        Side(UNITS, module, ("whole_way", "--words", "characters"), needs="datatrove", rounds=1),
    )


def compare(chosen: Options) -> dict[str, list[float]]:
    """Measures all sides and returns their rates in MB/s."""
    inputs = chosen.inputs
    rates: defaultdict[str, list[float]] = defaultdict(list)
    about = {"megabytes": inputs.megabytes, "facts": inputs.facts}
    for side, run, _ in alternate(
        sides(chosen.peer_rounds), inputs.folder, rounds=chosen.rounds, script=SCRIPT, about=about
    ):
        rates[side.name].append(inputs.megabytes / run["seconds"])
        steps = ", ".join(f"{name} {seconds:.1f} s" for name, seconds in run["steps"].items())
        print(f"  {run['documents']:,} of {inputs.facts['documents']:,} documents kept, {steps}")
    return dict(rates)


def main() -> None:
    """Runs the comparison."""
    with options(__doc__, peer_rounds=2) as chosen:
        rates = compare(chosen)
    compare_rates(FIGURE, rates, targets=dict.fromkeys((PEER, UNITS), TARGET))


if __name__ == "__main__":
    main()
