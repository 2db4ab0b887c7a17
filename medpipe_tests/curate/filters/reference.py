"""What the kernels count, in plain and slow Python."""

from __future__ import annotations

import re
from collections import Counter

from medpipe.curate.filters import code_points as k
from medpipe.curate.filters.lines_kernel import SHORT_LINE
from medpipe.curate.filters.repetition_kernel import WINDOW
from medpipe.curate.filters.walk_kernel import PIECE, STOP_WORDS

LABEL = re.compile(
    r"\[(?:User|QUESTION|Function|Observation|Assistant|ANSWER)\]|(?m:(?<=^)(?:Instruction:|Output:))"
)
ANSWER = ("[Assistant]", "[ANSWER]", "Output:")
RUN = (k.LATIN, k.LETTER, k.MARK, k.DIGIT)
SPACES = (k.SPACE, k.NEWLINE)


def kind(character: str) -> int:
    return int(k.kinds()[ord(character)]) & k.KIND_BITS


def labels(text: str) -> list[tuple[int, int]]:
    """Where role labels stand; a label of lines may have spaces before it."""
    found, at = [], 0
    while at < len(text):
        behind = None
        if text[at] == "[":
            behind = re.match(r"\[(?:User|QUESTION|Function|Observation|Assistant|ANSWER)\]", text[at:])
        elif all(kind(character) == k.SPACE for character in text[text.rfind("\n", 0, at) + 1 : at]):
            behind = re.match(r"Instruction:|Output:", text[at:])
        if behind:
            found.append((at, at + behind.end()))
            at += behind.end()
        else:
            at += 1
    return found


def turns(text: str) -> list[str]:
    """The text between the labels."""
    ends = [(0, 0), *labels(text), (len(text), len(text))]
    return [text[ends[place][1] : ends[place + 1][0]] for place in range(len(ends) - 1)]


def words(turn: str) -> list[str]:
    """Runs of letters and digits, and every other visible character by itself."""
    found: list[str] = []
    in_run = False
    for place, character in enumerate(turn):
        if kind(character) == k.INVISIBLE:
            continue
        follows = place + 1 < len(turn) and kind(turn[place + 1]) in RUN
        if kind(character) in RUN or (in_run and character in "'’-." and follows):
            found.append(character) if not in_run else found.__setitem__(-1, found[-1] + character)
            in_run = True
        else:
            in_run = False
            if kind(character) not in SPACES:
                found.append(character)
    return found


def is_run(word: str) -> bool:
    return kind(word[0]) in RUN


def pieces(word: str) -> list[str]:
    return [word[at : at + PIECE] for at in range(0, len(word), PIECE)]


def top(units: list[str], length: int) -> int:
    """Characters in the n-gram that occurs most often without overlap, and at least twice."""
    times: Counter[tuple[str, ...]] = Counter()
    behind: dict[tuple[str, ...], int] = {}
    for place in range(len(units) - length + 1):
        gram = tuple(units[place : place + length])
        if place >= behind.get(gram, 0):
            times[gram] += 1
            behind[gram] = place + length
    most = max(times.values(), default=0)
    return max((len("".join(g)) * n for g, n in times.items() if n == most), default=0) if most > 1 else 0


def duplicate(units: list[str], length: int) -> int:
    """Characters in n-grams that stood before, after datatrove's `find_all_duplicate`."""
    seen, characters, place = set(), 0, 0
    while place <= len(units) - length:
        gram = tuple(units[place : place + length])
        if gram in seen:
            characters += len("".join(gram))
            place += length
        else:
            seen.add(gram)
            place += 1
    return characters


def repeated(text: str) -> tuple[list[int], int, int]:
    """Repeated characters of all n-gram lengths, units and their characters."""
    found, count, characters = [0] * 9, 0, 0
    for turn in turns(text):
        units = [piece for word in words(turn) for piece in (pieces(word) if is_run(word) else [word])]
        count += len(units)
        characters += len("".join(units))
        for at in range(0, len(units), WINDOW):
            window = units[at : at + WINDOW]
            for place, length in enumerate(range(2, 11)):
                found[place] += top(window, length) if length < 5 else duplicate(window, length)
    return found, count, characters


def stripped(line: str) -> str:
    while line and kind(line[0]) in SPACES:
        line = line[1:]
    while line and kind(line[-1]) in SPACES:
        line = line[:-1]
    return line


def line_measures(text: str) -> dict[str, float]:
    lines = [stripped(line) for line in text.split("\n")]
    paragraphs, open_paragraph = [], []
    for line in [*lines, ""]:
        if line:
            open_paragraph.append(line)
        elif open_paragraph:
            paragraphs.append(tuple(open_paragraph))
            open_paragraph = []
    lines = [line for line in lines if line]

    def share(of: list[str]) -> float:
        return len(of) / len(lines) if lines else 0.0

    total = sum(map(len, lines))
    again = [line for place, line in enumerate(lines) if line in lines[:place]]
    twice = [each for place, each in enumerate(paragraphs) if each in paragraphs[:place]]
    return {
        "lines": len(lines),
        "longest_line": max(map(len, lines), default=0),
        "mean_line_length": total / len(lines) if lines else 0.0,
        "bullet_lines": share([line for line in lines if line[0] in k.BULLETS]),
        "ellipsis_lines": share([line for line in lines if line.endswith(("…", "..."))]),
        "ended_lines": share([line for line in lines if line[-1] in k.LINE_ENDS]),
        "short_lines": share([line for line in lines if len(line) <= SHORT_LINE]),
        "duplicate_lines": share(again),
        "duplicate_line_characters": sum(map(len, again)) / total if total else 0.0,
        "duplicate_paragraphs": len(twice) / len(paragraphs) if paragraphs else 0.0,
        "duplicate_paragraph_characters": (
            sum(len(line) for each in twice for line in each) / total if total else 0.0
        ),
    }


def measures(text: str) -> dict[str, float]:
    """The measures of a text that are no phrases, as far as they are not plain counts of kinds."""
    all_words = [word for turn in turns(text) for word in words(turn)]
    runs = [word for word in all_words if is_run(word)]
    single = [word for word in all_words if not is_run(word) and kind(word) in (k.HAN, k.KANA)]
    count = len(runs) + len(single)
    found, units, characters = repeated(text)
    names = [f"top_{n}_gram" for n in (2, 3, 4)] + [f"duplicate_{n}_gram" for n in range(5, 11)]
    ends = [end for start, end in labels(text) if text[start:end] in ANSWER]
    answer = sum(kind(character) not in SPACES for character in text[ends[0] :]) if len(ends) == 1 else None
    plain = "".join(turns(text))
    return {
        "units": units,
        "words": count,
        "mean_word_length": sum(map(len, runs)) / len(runs) if runs else 0.0,
        "longest_word": max(map(len, runs), default=0),
        "alphabetic_words": (
            sum(any(kind(x) in (k.LATIN, k.LETTER) for x in run) for run in runs) + len(single)
        )
        / count
        if count
        else 0.0,
        "stop_words": sum(run in STOP_WORDS for run in runs),
        "hashes": plain.count("#") / count if count else 0.0,
        "curly_brackets": plain.count("{"),
        "answers": len(ends),
        "answer_characters": answer,
        **{name: part / characters if characters else 0.0 for name, part in zip(names, found, strict=True)},
        **line_measures(text),
    }
