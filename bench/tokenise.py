"""Text to uint16 ids on disk, beside datatrove and datasets: `python -m bench.tokenise [--megabytes N]`.

All sides read the same texts from Parquet and use the same `tokenizer.json`; the ids that they leave on disk
must be the same, byte for byte.
"""

from __future__ import annotations

import hashlib
from collections import defaultdict
from collections.abc import Iterable
from pathlib import Path

from bench.medpipe_sides import token_digest
from bench.options import Options, options
from bench.rounds import Side, alternate, compare_rates

SCRIPT = "tokenise"
FIGURE = "text to uint16 ids on disk"
TARGET = ">= 4"


def sides(peer_rounds: int) -> tuple[Side, ...]:
    """medpipe and its peers."""
    return (
        Side("medpipe", "bench.medpipe_sides", ("tokenise",)),
        Side(
            "datatrove DocumentTokenizer",
            "bench.peers.datatrove_steps",
            ("tokenise",),
            needs="datatrove",
            rounds=peer_rounds,
        ),
        Side(
            "datasets.map + tokenizers", "bench.peers.datasets_tokens", needs="datatrove", rounds=peer_rounds
        ),
    )


def compare(chosen: Options) -> dict[str, list[float]]:
    """Measures all sides and returns their rates in MB/s.

    Raises:
        RuntimeError: two sides wrote different ids.
    """
    inputs = chosen.inputs
    rates: defaultdict[str, list[float]] = defaultdict(list)
    digests: dict[str, str] = {}
    about = {"megabytes": inputs.megabytes, "facts": inputs.facts}
    for side, run, output in alternate(
        sides(chosen.peer_rounds), inputs.folder, rounds=chosen.rounds, script=SCRIPT, about=about
    ):
        rates[side.name].append(inputs.megabytes / run["seconds"])
        digests[side.name] = token_digest(output) if side.name == "medpipe" else digest_of(run["files"])
        if len(set(digests.values())) > 1:
            raise RuntimeError(f"the sides wrote different ids: {digests}")
    print(f"ids are equal: {', '.join(digests)}")
    return dict(rates)


def digest_of(files: Iterable[str]) -> str:
    """Digest of files one after the other."""
    digest = hashlib.sha256()
    for name in files:
        digest.update(Path(name).read_bytes())
    return digest.hexdigest()


def main() -> None:
    """Runs the comparison."""
    with options(__doc__) as chosen:
        rates = compare(chosen)
        compare_rates(FIGURE, rates, targets=dict.fromkeys(rates, TARGET))


if __name__ == "__main__":
    main()
