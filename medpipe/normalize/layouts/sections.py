"""Sections of articles as a tree, in whatever shape they are published."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from medpipe.catalog.layouts import ArticleLayout
from medpipe.normalize.extracted import type_name
from medpipe.normalize.layouts.pool import TextPool
from medpipe.normalize.layouts.values import UnexpectedTypeError, said

_DEEPEST = 24
"""Subsections that are nested deeper are no article."""
_ENOUGH = 40
"""Characters of a section, without blanks, that are no coincidence in another one."""
_ENDS_WITHOUT_SPACE = re.compile(r"[\u3000-\u9FFF\uFF00-\uFFEF…”’]$")


@dataclass(frozen=True)
class Section:
    """A section whose title and paragraphs are numbers of strings in a pool."""

    title: int | None
    paragraphs: list[int]
    children: list[Section]

    def blocks(self, cleaned: Sequence[str]) -> Iterator[tuple[str, str]]:
        """Heading and text of the section, then of its subsections; nothing where none has text."""
        text = "\n".join(cleaned[number] for number in self.paragraphs if cleaned[number])
        below = [block for child in self.children for block in child.blocks(cleaned)]
        if text or below:
            yield "" if self.title is None else cleaned[self.title], text
            yield from below


def read_sections(row: dict[str, Any], layout: ArticleLayout, pool: TextPool) -> list[Section]:
    """The sections of an article, whose strings go into the pool.

    Titles that stand beside the sections are used where there are as many of them, lest a heading be wrong.

    Raises:
        UnexpectedTypeError: something is neither a section, nor a paragraph, nor a sentence.
    """
    value = row.get(layout.sections)
    items = value if type(value) is list else [] if value is None else [value]
    titles = row.get(layout.section_titles) if layout.section_titles else None
    if type(titles) is not list or len(titles) != len(items):
        titles = [None] * len(items)
    if items and all(type(item) is list for item in items):
        return _nested([joined_sentences(strings(item, layout.sections)) for item in items], titles, pool)
    return [_section(item, title, layout, pool, 0) for item, title in zip(items, titles, strict=True)]


def strings(value: Any, name: str) -> list[str]:
    """A string or a list of strings as a list; nulls and words for them, such as `nan`, are left out.

    Raises:
        UnexpectedTypeError: it is anything else.
    """
    items = value if type(value) is list else [value]
    for item in items:
        if item is not None and type(item) is not str:
            raise UnexpectedTypeError(f"field '{name}': expected strings, got {type_name(item)}")
    return [item for item in items if item is not None and said(item)]


def joined_sentences(sentences: Sequence[str]) -> str:
    """Sentences as a paragraph, with spaces between those of a script that writes them."""
    parts = [sentence.strip() for sentence in sentences if sentence.strip()]
    return "".join(part if _ENDS_WITHOUT_SPACE.search(part) else f"{part} " for part in parts).strip()


def squeezed(text: str) -> str:
    """A text without its blanks, which publishers set differently in one text and the same."""
    return "".join(text.split())


def _section(item: Any, title: Any, layout: ArticleLayout, pool: TextPool, depth: int) -> Section:
    """A section that is a string, or an object with title, text and subsections."""
    if depth > _DEEPEST:
        raise UnexpectedTypeError(f"sections are nested deeper than {_DEEPEST} levels")
    if type(item) is not dict:
        return Section(_title(title, pool), [pool.add(text) for text in strings(item, layout.sections)], [])
    paragraphs = strings(item.get(layout.section_text), layout.section_text)
    inner = item.get("sections")
    children = [
        _section(child, None, layout, pool, depth + 1) for child in (inner if type(inner) is list else [])
    ]
    return Section(
        _title(item.get(layout.section_title), pool), [pool.add(text) for text in paragraphs], children
    )


def _title(title: Any, pool: TextPool) -> int | None:
    return pool.add(said(title)) if type(title) is str else None


def _nested(texts: Sequence[str], titles: Sequence[Any], pool: TextPool, depth: int = 0) -> list[Section]:
    """Sections in a row as a tree: one that repeats the text of sections behind it becomes their parent.

    scientific_papers publishes a section's text together with that of its subsections, and these again.
    """
    bare = [squeezed(text) for text in texts]
    sections = []
    start = 0
    while start < len(texts):
        behind = range(start + 1, len(texts)) if depth < _DEEPEST else ()
        repeated = [at for at in behind if len(bare[at]) >= _ENOUGH and bare[at] in bare[start]]
        end = repeated[-1] + 1 if repeated else start + 1
        own = texts[start]
        for at in repeated:
            own = _without(own, bare[at])
        children = _nested(texts[start + 1 : end], titles[start + 1 : end], pool, depth + 1)
        sections.append(Section(_title(titles[start], pool), [pool.add(own)], children))
        start = end
    return sections


def _without(text: str, part: str) -> str:
    """A text without a part of it that is given without its blanks."""
    first = squeezed(text).find(part)
    if first < 0:
        return text
    places = [at for at, character in enumerate(text) if not character.isspace()]
    before, after = text[: places[first]], text[places[first + len(part) - 1] + 1 :]
    return f"{before.rstrip()} {after.lstrip()}".strip()
