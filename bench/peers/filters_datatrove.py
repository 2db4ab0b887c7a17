"""datatrove's filters with their defaults: texts as JSON lines on the standard input, verdicts on the output.

Runs in an environment of its own with `datatrove[processing]` and `jieba`, which medpipe does not need. A
line in is `{"text", "lang"}`; a line out is `{filter: reason or null}`. Each filter sees the text as given.
"""

from __future__ import annotations

import json
import sys
from typing import Any

from datatrove.data import Document
from datatrove.pipeline.filters import (
    C4QualityFilter,
    FineWebQualityFilter,
    GopherQualityFilter,
    GopherRepetitionFilter,
)
from datatrove.utils.typeshelper import Languages

FILTERS = (GopherRepetitionFilter, GopherQualityFilter, C4QualityFilter, FineWebQualityFilter)
LANGUAGES = {"zh": Languages.mandarin_chinese, "en": Languages.english, "other": Languages.english}
"""The language decides how words and sentences are cut; no threshold depends on it."""


def _reason(verdict: Any) -> str | None:
    if isinstance(verdict, tuple):
        kept, reason = verdict
        return None if kept else str(reason)
    return None if verdict else "rejected"


def main() -> None:
    """Judges every text by every filter."""
    by_language = {
        language: {each.__name__: each(language=code) for each in FILTERS}
        for language, code in LANGUAGES.items()
    }
    for number, line in enumerate(sys.stdin):
        record = json.loads(line)
        verdicts = {
            name: _reason(each.filter(Document(text=record["text"], id=str(number))))
            for name, each in by_language[record["lang"]].items()
        }
        print(json.dumps(verdicts))


if __name__ == "__main__":
    main()
