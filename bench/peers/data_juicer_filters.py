"""Data-Juicer's filters: `python -m bench.peers.data_juicer_filters INPUTS OUTPUT`.

Its operators by `datasets.map` in two processes, statistics and verdicts in one pass: less than its own
executor does, which passes over the data twice for each operator.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import datasets
from data_juicer.ops.filter.alphanumeric_filter import AlphanumericFilter
from data_juicer.ops.filter.average_line_length_filter import AverageLineLengthFilter
from data_juicer.ops.filter.character_repetition_filter import CharacterRepetitionFilter
from data_juicer.ops.filter.maximum_line_length_filter import MaximumLineLengthFilter
from data_juicer.ops.filter.special_characters_filter import SpecialCharactersFilter
from data_juicer.ops.filter.text_length_filter import TextLengthFilter
from data_juicer.utils.constant import Fields

from bench.clock import timed

PROCESSES = 2
FILTERS = (
    CharacterRepetitionFilter,
    AlphanumericFilter,
    SpecialCharactersFilter,
    TextLengthFilter,
    AverageLineLengthFilter,
    MaximumLineLengthFilter,
)


def main() -> None:
    """Judges every text by every filter and writes whether it is kept."""
    inputs, output = (Path(name) for name in sys.argv[1:3])
    filters = [each() for each in FILTERS]

    def judge(batch: Mapping[str, Any]) -> dict[str, Any]:
        count = len(batch["text"])
        samples = {"text": batch["text"], Fields.stats: [{} for _ in range(count)]}
        samples[Fields.context] = [{} for _ in range(count)]
        kept = [True] * count
        for each in filters:
            samples = each.compute_stats_batched(samples)
            kept = [a and b for a, b in zip(kept, each.process_batched(samples), strict=True)]
        return {"kept": kept}

    def work() -> dict[str, Any]:
        files = sorted(str(path) for path in (inputs / "halves").glob("*.parquet"))
        texts = datasets.load_dataset(
            "parquet", data_files=files, split="train", columns=["text"], cache_dir=str(output / "cache")
        )
        judged = texts.map(judge, batched=True, num_proc=PROCESSES, remove_columns=["text"])
        judged.to_parquet(output / "verdicts.parquet")
        return {"documents": len(judged)}

    timed(work, packages=("py-data-juicer", "datasets"))


if __name__ == "__main__":
    main()
