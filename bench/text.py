"""Chinese medical text of any size, made of the real records: `python -m bench.text FOLDER --megabytes N`.

The first copy of each record is the record as it is published, with the duplicates that the sets have. Every
further copy is another text: clauses with 60 % of its characters are replaced by those of other records, the
clauses are shuffled, and 8 of 100 Chinese characters are replaced by others, drawn as often as they occur.
So no copy is a near-duplicate of the record or of another copy. Among them lie pairs of documents whose
similarity was chosen and measured. The same arguments give the same bytes.
"""

from __future__ import annotations

import argparse
import csv
import hashlib
import json
import re
import unicodedata
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from functools import lru_cache
from pathlib import Path
from random import Random
from typing import Any

import numpy as np

from bench.disease_records import RECORDS

REPLACED_CHARACTERS = 0.6
"""Least share of a copy's characters that stand in clauses of other records."""
CHANGED_CHARACTERS = 0.08
"""Share of the Chinese characters of a copy that are replaced one by one."""
SHINGLE = 5
"""Letters and digits of a shingle, by which similarity is measured."""
THRESHOLD = 0.8
"""From here on two texts are near-duplicates."""
LETTERS = (150, 800)
"""Least and most characters of the texts that planted pairs are made of."""
LEAST_SHINGLES = 100
"""Different shingles of such a text."""
POSITIVE, HARD, NEGATIVE = (0.8, 0.97), (0.7, 0.79), (0.5, 0.7)
"""Similarity of planted pairs: near-duplicates, others close to the threshold, others."""
PAIRS = 600
"""Planted pairs that are near-duplicates; there are half as many of the other two sorts together."""
FILES = ("text-0.jsonl", "text-1.jsonl")
"""Two, as datatrove gives each worker files of its own."""
PLANTED, FACTS = "planted.jsonl", "facts.json"

_LEAST_HAN, _MOST_CHARACTERS, _BATCH = 30, 2_000, 2_000
_EDIT = 3 * SHINGLE
_HAN = re.compile(r"[\u4e00-\u9fff]")
_CLAUSE = re.compile(r"[^，。！？；\n]+[，。！？；\n]*|[，。！？；\n]+")
_SKIPPED = ("tokenizers/*", "**/README*", "**/*dataset_info*")
_FOLDERS = (
    "apollo-medbase",
    "bentsao",
    "caregpt",
    "chatmed",
    "cmb",
    "disc-med-sft",
    "huatuo-26m",
    "imcs21",
    "llm-pretrain-finetune",
    "med-chatglm",
    "medicalkgqa",
    "nlp-guild_medical-data",
    "promptcblue",
    "qizhengpt",
    "shennong-tcm",
    "shibing624_medical",
    "tcm-ancient-books",
    "toyhom_chinese-medical-dialogue",
    "zhongjing",
)


@dataclass(frozen=True)
class Planted:
    """Two documents and how similar they are, measured on the sets of all their shingles."""

    one: str
    other: str
    """Their ids."""
    similarity: float


def letters(text: str) -> str:
    """Letters and digits alone, without width and case: what similarity is measured on."""
    return "".join(
        character for character in unicodedata.normalize("NFKC", text).lower() if character.isalnum()
    )


def similarity(one: str, other: str) -> float:
    """Jaccard similarity of the sets of shingles of two texts."""
    left, right = (_shingles(letters(text)) for text in (one, other))
    return len(left & right) / max(1, len(left | right))


def _shingles(folded: str) -> frozenset[str]:
    return frozenset(folded[at : at + SHINGLE] for at in range(max(1, len(folded) - SHINGLE + 1)))


@lru_cache(maxsize=1)
def published_texts() -> tuple[str, ...]:
    """The Chinese medical records of the sample data, one text each: its strings, a line each."""
    texts: list[str] = []
    for folder in _FOLDERS:
        for path in sorted((RECORDS / folder).rglob("*")):
            if path.is_file() and not any(path.match(pattern) for pattern in _SKIPPED):
                texts += [text for text in _texts(path) if len(_HAN.findall(text)) >= _LEAST_HAN]
    # In the order of the files a small input would be of one sort.
    Random(0).shuffle(texts)
    return tuple(texts)


def _texts(path: Path) -> Iterator[str]:
    content = path.read_bytes()
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError:
        text = content.decode("gb18030", errors="replace").replace("\ufffd", "")
    if path.suffix == ".csv":
        yield from ("\n".join(_strings(row)) for row in csv.reader(text.splitlines()))
        return
    records = _json_records(text)
    if records is not None:
        yield from ("\n".join(_strings(record)) for record in records)
        return
    # A book or a list: pieces of so many characters, cut at line ends.
    lines, size = [], 0
    for line in text.splitlines():
        lines.append(line.strip())
        size += len(line)
        if size >= _MOST_CHARACTERS:
            yield "\n".join(lines)
            lines, size = [], 0
    yield "\n".join(lines)


def _json_records(text: str) -> list[Any] | None:
    """Records of JSON or of JSON lines; None if it is neither."""
    try:
        found = json.loads(text)
    except ValueError:
        try:
            return [json.loads(line) for line in text.splitlines() if line.strip()]
        except ValueError:
            return None
    if isinstance(found, dict):
        return list(found.values())
    return found if isinstance(found, list) else None


def _strings(value: Any) -> Iterator[str]:
    """Strings with Chinese in them, without empty lines."""
    if isinstance(value, str):
        if _HAN.search(value):
            yield "\n".join(line.strip() for line in value.splitlines() if line.strip())
    elif isinstance(value, dict):
        for each in value.values():
            yield from _strings(each)
    elif isinstance(value, list):
        for each in value:
            yield from _strings(each)


def copies(texts: tuple[str, ...], *, seed: int) -> Iterator[str]:
    """Another text for each text; other seeds give other texts."""
    pool = _clauses()
    random = Random(seed)
    numbers = np.random.default_rng(seed)
    for start in range(0, len(texts), _BATCH):
        batch = [_exchanged(text, pool, random) for text in texts[start : start + _BATCH]]
        yield from _changed("\0".join(batch), numbers).split("\0")


@lru_cache(maxsize=1)
def _clauses() -> tuple[str, ...]:
    return tuple(clause for text in published_texts() for clause in _CLAUSE.findall(text))


def _exchanged(text: str, pool: tuple[str, ...], random: Random) -> str:
    clauses = _CLAUSE.findall(text.replace("\0", ""))
    random.shuffle(clauses)
    left = REPLACED_CHARACTERS * sum(map(len, clauses))
    for place, clause in enumerate(clauses):
        if left <= 0:
            break
        left -= len(clause)
        clauses[place] = pool[int(random.random() * len(pool))].replace("\0", "")
    random.shuffle(clauses)
    return "".join(clauses)


def _changed(text: str, numbers: np.random.Generator) -> str:
    codes = np.frombuffer(text.encode("utf-32-le", "surrogatepass"), np.uint32).copy()
    han = np.flatnonzero((codes >= 0x4E00) & (codes <= 0x9FFF))
    chosen = han[numbers.random(len(han)) < CHANGED_CHARACTERS]
    if len(chosen):
        codes[chosen] = codes[han[numbers.integers(0, len(han), len(chosen))]]
    return codes.tobytes().decode("utf-32-le", "surrogatepass")


def planted_pairs(count: int, *, seed: int) -> list[tuple[str, str, float]]:
    """So many near-duplicates, and half as many pairs that are none, with their measured similarity."""
    random = Random(seed)
    sorts = [POSITIVE] * count + [HARD] * (count // 6) + [NEGATIVE] * (count // 2 - count // 6)
    chosen = [text for text in published_texts() if LETTERS[0] <= len(text) <= LETTERS[1]]
    random.shuffle(chosen)
    originals = [
        text
        for text in copies(tuple(chosen[: 3 * len(sorts)]), seed=seed + 1)
        # A text of few shingles, or of such that repeat, has no copy of every similarity.
        if len(_shingles(letters(text))) >= LEAST_SHINGLES
    ][: len(sorts)]
    if len(originals) < len(sorts):
        raise ValueError(f"there are texts for {len(originals)} pairs only, not for {len(sorts)}")
    return [_edited(text, bounds, random) for text, bounds in zip(originals, sorts, strict=True)]


def _edited(text: str, bounds: tuple[float, float], random: Random) -> tuple[str, str, float]:
    """The text, the text with edits at random places, and their similarity within the bounds."""
    while True:
        level, changed, measured = random.uniform(*bounds), list(text), 1.0
        while measured > level:
            # An edit changes five shingles at most, of the text and of its copy.
            for _ in range(max(1, int((measured - level) * len(text) / _EDIT))):
                _edit(changed, text, random)
            measured = similarity(text, "".join(changed))
        if measured >= bounds[0]:
            return text, "".join(changed), measured


def _edit(changed: list[str], text: str, random: Random) -> None:
    """Replaces, deletes or inserts a character."""
    at, action = random.randrange(len(changed)), random.random()
    if action < 0.5:
        changed[at] = random.choice(text)
    elif action < 0.75:
        del changed[at]
    else:
        changed.insert(at, random.choice(text))


def documents(*, size: int, seed: int) -> Iterator[str]:
    """Texts until there are so many bytes of them: the records, then copies of all of them, and again."""
    texts, copy = published_texts(), 0
    while True:
        for text in texts if copy == 0 else copies(texts, seed=seed + copy):
            size -= len(text.encode("utf-8", "replace"))
            yield text
            if size <= 0:
                return
        copy += 1


def make_text(folder: Path, *, megabytes: float, seed: int = 1, pairs: int = PAIRS) -> dict[str, Any]:
    """Writes `FILES`, lines of `{"id", "text"}`, the planted pairs and what there is; again only if it must.

    Args:
        folder: takes the files.
        megabytes: millions of bytes of UTF-8 text, the planted pairs not counted.
        seed: of all that is random.
        pairs: planted near-duplicates.

    Returns:
        `documents`, `text_bytes`, `planted`, and the arguments.
    """
    asked = {"megabytes": megabytes, "seed": seed, "pairs": pairs, "code": _code()}
    facts = folder / FACTS
    if facts.exists() and (found := json.loads(facts.read_text()))["asked"] == asked:
        return dict(found)
    folder.mkdir(parents=True, exist_ok=True)
    size = int(megabytes * 1e6)
    planted = planted_pairs(pairs, seed=seed + 1_000_003)
    waiting = [(pair, side) for pair in range(len(planted)) for side in (0, 1)]
    Random(seed).shuffle(waiting)
    extra = sum(len(text.encode()) for pair in planted for text in pair[:2])
    ids: dict[tuple[int, int], str] = {}
    counts, written, published_bytes, number = [0, 0], 0, 0, 0
    with (folder / FILES[0]).open("w") as first, (folder / FILES[1]).open("w") as second:

        def write(text: str) -> str:
            nonlocal written
            half = int(2 * written >= size + extra)
            identity = f"{half}-{counts[half]:08d}"
            line = json.dumps({"id": identity, "text": text}, ensure_ascii=False) + "\n"
            (second if half else first).write(line)
            counts[half] += 1
            written += len(text.encode())
            return identity

        for text in documents(size=size, seed=seed):
            write(text)
            published_bytes += len(text.encode())
            # Spread evenly over the text.
            while waiting and number * size < published_bytes * 2 * len(planted):
                pair, side = waiting.pop()
                ids[pair, side] = write(planted[pair][side])
                number += 1
        while waiting:
            pair, side = waiting.pop()
            ids[pair, side] = write(planted[pair][side])
    with (folder / PLANTED).open("w") as file:
        for number, (_, _, measured) in enumerate(planted):
            file.write(json.dumps(asdict(Planted(ids[number, 0], ids[number, 1], measured))) + "\n")
    result = {
        "asked": asked,
        "documents": sum(counts),
        "text_bytes": written,
        "planted": len(planted),
        "published_bytes": sum(len(text.encode()) for text in published_texts()),
    }
    facts.write_text(json.dumps(result))
    return result


def read_planted(folder: Path) -> list[Planted]:
    """The planted pairs of a text."""
    return [Planted(**json.loads(line)) for line in (folder / PLANTED).read_text().splitlines()]


def _code() -> str:
    return hashlib.sha256(Path(__file__).read_bytes()).hexdigest()[:12]


def main() -> None:
    """Makes a text and says what it is."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--megabytes", type=float, default=100)
    chosen = parser.parse_args()
    print(make_text(chosen.folder, megabytes=chosen.megabytes))


if __name__ == "__main__":
    main()
