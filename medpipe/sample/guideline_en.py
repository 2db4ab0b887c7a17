"""English guideline documents and question rows in the layouts of two public data sets."""

from __future__ import annotations

import hashlib
import random
from pathlib import Path
from typing import Any

import orjson

from medpipe.sample.guideline_dialogues import ASKS, dialogue
from medpipe.sample.guideline_documents import KINDS, Document, guideline_document
from medpipe.sample.guideline_facts import load_conditions
from medpipe.sample.guideline_phrases import PhraseBook
from medpipe.sample.writing import Record, SampleFile, rng, write_jsonl

GUIDELINES_PATH = "epfl-llm/guidelines/open_guidelines.jsonl"
"""Where the guideline documents are written, below the hub."""

FINETUNE_FOLDER = "shibing624/medical/finetune"
"""Where the question rows are written, below the hub."""

_SOURCES = ("who", "nice", "cdc", "wikidoc", "cma")
_TITLED = ("cma", "nice", "wikidoc")
_LINKED = ("nice", "wikidoc")
_BROKEN_ROW = 97
_NBSP_EVERY = 11
_NO_TITLE_EVERY = 29
_SMALL_SPLIT = 18


def guideline_records() -> list[dict[str, Any]]:
    """Writes all guideline documents as records.

    Returns:
        The records in a fixed mixed order; every run gives the same records.
    """
    pairs = [(condition, kind) for condition in load_conditions() for kind in KINDS]
    rng("guideline", "order").shuffle(pairs)
    records = []
    for number, (condition, kind) in enumerate(pairs):
        random_ = rng("guideline", condition.name, kind)
        document = guideline_document(condition, kind, random_)
        records.append(_record(document, number, random_))
    return records


def write_guidelines(hub: Path) -> list[SampleFile]:
    """Writes the guideline documents as JSON lines; one line is cut off, as after a broken download.

    Args:
        hub: root folder of the hub.

    Returns:
        The single file written.
    """
    rows: list[Record] = list(guideline_records())
    whole = orjson.dumps(rows[_BROKEN_ROW]).decode("utf-8")
    rows[_BROKEN_ROW] = whole[: len(whole) * 3 // 5]
    return [write_jsonl(hub, GUIDELINES_PATH, rows)]


def finetune_rows(part: str) -> list[dict[str, str]]:
    """Writes the question rows of one split.

    Args:
        part: "train", "valid" or "test"; only "train" holds every condition with every kind of question.

    Returns:
        The rows in a fixed mixed order.
    """
    pairs = [(condition, ask) for condition in load_conditions() for ask in ASKS]
    rng("guideline-dialogue", part, "order").shuffle(pairs)
    chosen = pairs if part == "train" else pairs[:_SMALL_SPLIT]
    return [dialogue(condition, ask, part) for condition, ask in chosen]


def write_finetune_en(hub: Path) -> list[SampleFile]:
    """Writes the English question rows, one file for every split.

    Args:
        hub: root folder of the hub.

    Returns:
        The files written: train, valid and test.
    """
    parts = ("train", "valid", "test")
    return [write_jsonl(hub, f"{FINETUNE_FOLDER}/{part}_en_1.json", finetune_rows(part)) for part in parts]


def _record(document: Document, number: int, random_: random.Random) -> dict[str, Any]:
    source = random_.choice(_SOURCES)
    text = document.text
    if number % _NBSP_EVERY == 0:
        text = text.replace(" mg", "\u00a0mg").replace(" %", "\u00a0%").replace(" mmol", "\u00a0mmol")
    key = hashlib.sha256(f"{number}\n{document.title}".encode()).hexdigest()[:40]
    record: dict[str, Any] = {"id": key, "source": source}
    if source in _TITLED:
        record["title"] = None if number % _NO_TITLE_EVERY == 0 else document.title
    if source in _LINKED:
        record["url"] = f"https://{source}.example.org/guidance/{key[:10]}"
    record["raw_text"] = _cluttered(text, random_)
    record["clean_text"] = text
    if source == "nice":
        record["overview"] = "" if random_.random() < 0.2 else document.overview
    return record


def _cluttered(text: str, random_: random.Random) -> str:
    """Returns `text` with page numbers, navigation remains and extra blank lines between paragraphs."""
    book = PhraseBook("guideline_patterns.yaml", random_)
    paragraphs = text.split("\n\n")
    pages = max(2, len(paragraphs) // 4)
    pieces = []
    for place, paragraph in enumerate(paragraphs):
        pieces.append(paragraph)
        if random_.random() < 0.3:
            page = 1 + place * pages // len(paragraphs)
            pieces.append(book.say("clutter", page=page, pages=pages))
        if random_.random() < 0.2:
            pieces.append("")
    return "\n\n".join(pieces) + "\n"
