"""Data-Juicer's text filters with their defaults: JSON lines in, verdicts out, as `filters_datatrove.py`.

Runs in an environment of its own with `py-data-juicer`, `aiohttp` and `ray`. Left out are the filters that
load a model or a word list from the web (language, perplexity, stop words, flagged words, number of tokens)
or that ask a language model. Words are what spaces part, as its default is.
"""

from __future__ import annotations

import contextlib
import json
import sys

from data_juicer.ops.filter.alphanumeric_filter import AlphanumericFilter
from data_juicer.ops.filter.average_line_length_filter import AverageLineLengthFilter
from data_juicer.ops.filter.character_repetition_filter import CharacterRepetitionFilter
from data_juicer.ops.filter.maximum_line_length_filter import MaximumLineLengthFilter
from data_juicer.ops.filter.special_characters_filter import SpecialCharactersFilter
from data_juicer.ops.filter.text_length_filter import TextLengthFilter
from data_juicer.ops.filter.word_repetition_filter import WordRepetitionFilter
from data_juicer.ops.filter.words_num_filter import WordsNumFilter
from data_juicer.utils.constant import Fields

FILTERS = (
    AlphanumericFilter,
    AverageLineLengthFilter,
    CharacterRepetitionFilter,
    MaximumLineLengthFilter,
    SpecialCharactersFilter,
    TextLengthFilter,
    WordRepetitionFilter,
    WordsNumFilter,
)


def main() -> None:
    """Judges every text by every filter."""
    lines = sys.stdin.read().splitlines()
    # Its log goes to the standard output.
    with contextlib.redirect_stdout(sys.stderr):
        filters = {each.__name__: each() for each in FILTERS}
        found = [_verdicts(json.loads(line)["text"], filters) for line in lines]
    for verdicts in found:
        print(json.dumps(verdicts))


def _verdicts(text: str, filters: dict[str, object]) -> dict[str, str | None]:
    verdicts: dict[str, str | None] = {}
    for name, each in filters.items():
        texts = {"text": [text], Fields.stats: [{}], Fields.context: [{}]}
        kept = list(each.process_batched(each.compute_stats_batched(texts)))
        verdicts[name] = None if kept[0] else "rejected"
    return verdicts


if __name__ == "__main__":
    main()
