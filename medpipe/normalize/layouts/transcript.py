"""Consultations written down as lines: headed sections, then what patient and doctor said."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from enum import Enum, auto

import polars as pl

from medpipe.catalog.layouts import TranscriptLayout
from medpipe.normalize.extracted import Batch, UnusableRowError
from medpipe.normalize.layouts.conversation import ASSISTANT, USER, FlatTurns, conversations
from medpipe.normalize.layouts.messages import Turn
from medpipe.normalize.layouts.values import lines, read_strings

_LINE_END = re.compile(r"\r\n?|\n")
_LABEL = re.compile(r"[^：:，。,？?！!\d]{1,40}[：:]")
"""A label at the start of a line, such as `过敏史：`."""


def read_transcript(batch: Batch, layout: TranscriptLayout) -> pl.DataFrame:
    """Conversations: see `conversations` for what makes one whole."""
    reader = _Reader(layout)
    turns = FlatTurns()
    for position, value in enumerate(batch.values):
        try:
            row = {layout.text: value} if type(value) is str else batch.expect_object(position)
            [text] = read_strings(row, [layout.text], lines)
        except UnusableRowError as error:
            batch.reject(position, error.reason, error.detail)
            continue
        if not text.strip():
            batch.reject(position, "empty_text", "no transcript")
        for role, content in reader.turns(text):
            turns.add(position, role, content)
    return conversations(batch, turns)


class _Part(Enum):
    """What a section of a transcript is."""

    ACCOUNT = auto()
    DIALOGUE = auto()
    ADVICE = auto()


@dataclass
class _Section:
    """Text between two headings, and where in it somebody starts to speak."""

    part: _Part
    start: int
    end: int
    spoken: list[tuple[str, re.Match[str]]] = field(default_factory=list)
    """Role, and the line that names it."""


class _Reader:
    """Reads transcripts in one layout."""

    def __init__(self, layout: TranscriptLayout) -> None:
        headings = {
            _Part.ACCOUNT: layout.account,
            _Part.DIALOGUE: layout.dialogue,
            _Part.ADVICE: layout.advice,
        }
        self._parts = {name.casefold(): part for part, names in headings.items() for name in names}
        self._roles = {name.casefold(): USER for name in layout.user}
        self._roles |= {name.casefold(): ASSISTANT for name in layout.assistant}
        names = sorted(self._parts.keys() | self._roles.keys(), key=len, reverse=True)
        self._named_line = re.compile(
            rf"^[^\S\n]*(?P<name>{'|'.join(map(re.escape, names)) or '(?!)'})"
            r"[^\S\n]*(?P<colon>[:：]?)[^\S\n]*(?P<rest>.*)$",
            re.IGNORECASE | re.MULTILINE,
        )

    def turns(self, text: str) -> list[Turn]:
        """What is said, in its order; one speaker may have several turns in a row, and empty ones.

        A section that repeats an earlier one word for word counts once, and an account that the patient
        repeats in the first words spoken is left out.
        """
        text = _LINE_END.sub("\n", text)
        turns: list[Turn] = []
        seen = set()
        for section in self._sections(text):
            words = text[section.start : section.end].strip()
            if (section.part, words) in seen:
                continue
            seen.add((section.part, words))
            match section.part:
                case _Part.ACCOUNT:
                    turns.append((USER, _without_empty_labels(words)))
                case _Part.ADVICE:
                    turns.append((ASSISTANT, _without_empty_labels(words)))
                case _Part.DIALOGUE:
                    turns += _spoken(text, section)
        if len(turns) > 1 and turns[0][0] == turns[1][0] and turns[1][1].startswith(turns[0][1]):
            del turns[0]
        return turns

    def _sections(self, text: str) -> list[_Section]:
        """The headed sections; what stands before the first (ids, addresses, names) is left out.

        A text without headings is one dialogue. A speaker's name that stands alone ends an account.
        """
        lines = list(self._named_line.finditer(text))
        speakers = self._speakers(lines)
        sections: list[_Section] = []
        for line in lines:
            current = sections[-1] if sections else None
            part = self._part_of(line, None if current is None else current.part)
            role = speakers.get(line.start()) if part is None else None
            if role is not None and not line["rest"] and current and current.part is _Part.ACCOUNT:
                part = _Part.DIALOGUE
            if part is not None:
                if current is not None:
                    current.end = line.start()
                sections.append(_Section(part, line.start("rest"), len(text)))
            if role is not None and sections and sections[-1].part is _Part.DIALOGUE:
                sections[-1].spoken.append((role, line))
        if not sections:
            spoken = [(speakers[line.start()], line) for line in lines if line.start() in speakers]
            sections.append(_Section(_Part.DIALOGUE, 0, len(text), spoken))
        return sections

    def _part_of(self, line: re.Match[str], current: _Part | None) -> _Part | None:
        """The section that a line is the heading of.

        A heading stands alone on its line; with a colon it may be a label within a section, so that it
        counts before the first one only. Chinese text can follow a Latin heading without a break.
        """
        name, colon, rest = line["name"], line["colon"], line["rest"]
        alone = not rest or (name.isascii() and not rest[0].isascii())
        counts = current is None if colon else alone
        return self._parts.get(name.casefold()) if counts else None

    def _speakers(self, lines: list[re.Match[str]]) -> dict[int, str]:
        """The role that starts to speak on a line, by the position of the line.

        Names have a colon unless none in the transcript has one. A side whose name stands on lines of its
        own is not named within lines: `患者：女，35岁` in a doctor's turn is no new turn then.
        """
        named = [line for line in lines if line["name"].casefold() in self._roles]
        named = [line for line in named if line["colon"]] or [line for line in named if not line["rest"]]
        roles = {line.start(): self._roles[line["name"].casefold()] for line in named}
        alone = {roles[line.start()] for line in named if not line["rest"]}
        within = {line.start() for line in named if line["rest"] and roles[line.start()] in alone}
        return {start: role for start, role in roles.items() if start not in within}


def _spoken(text: str, section: _Section) -> list[Turn]:
    """The turns of a dialogue; what stands before the first speaker belongs to nobody."""
    next_lines = [line.start() for _, line in section.spoken[1:]]
    return [
        (role, text[line.start("rest") : end].strip())
        for (role, line), end in zip(section.spoken, [*next_lines, section.end], strict=False)
    ]


def _without_empty_labels(text: str) -> str:
    """A section of labelled lines without the labels that no value follows."""
    kept: list[str] = []
    for line in reversed(text.split("\n")):
        stripped = line.strip()
        if not stripped:
            continue
        is_label = stripped[-1] in ":：" and _LABEL.fullmatch(stripped)
        if is_label and (not kept or _LABEL.match(kept[-1])):
            continue
        kept.append(stripped)
    return "\n".join(reversed(kept))
