"""Articles: title, abstract and sections as one text with headings."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import polars as pl

from medpipe.catalog.layouts import ArticleLayout
from medpipe.normalize.extracted import Batch, UnusableRowError, type_name
from medpipe.normalize.layouts.pool import TextPool
from medpipe.normalize.layouts.sections import Section, joined_sentences, read_sections, squeezed, strings
from medpipe.normalize.layouts.values import UnexpectedTypeError, said

_MARKED_SENTENCE = re.compile(r"\s*<S>(.*)</S>\s*", re.DOTALL)
"""A sentence of an abstract as scientific_papers publishes it."""


@dataclass(frozen=True)
class _Article:
    """An article whose strings are numbers in a pool."""

    position: int
    title: int | None
    abstract: list[int]
    sections: list[Section]


def read_article(batch: Batch, layout: ArticleLayout) -> pl.DataFrame:
    """Documents: title, abstract, then each section below its heading, with an empty line between them.

    Paragraphs stand on lines of their own; a list of sentences is one paragraph. A section is left without
    its heading where neither it nor a subsection has text, the abstract is left out where the first section
    starts with it, and the title where the text does. An article without a text besides its title is
    rejected.
    """
    pool = TextPool()
    articles: list[_Article] = []
    for position in range(len(batch.values)):
        try:
            articles.append(_article(position, batch.expect_object(position), layout, pool))
        except UnusableRowError as error:
            batch.reject(position, error.reason, error.detail)
    cleaned = pool.cleaned()
    frame = pl.DataFrame(
        {
            "position": pl.Series([article.position for article in articles], dtype=pl.Int64),
            "text": pl.Series([_text(article, cleaned) for article in articles], dtype=pl.String),
        }
    )
    empty = frame.filter(pl.col("text") == "")["position"]
    batch.reject_all(empty, "empty_text", "neither the abstract nor a section has text")
    return batch.kept(frame)


def _article(position: int, row: dict[str, Any], layout: ArticleLayout, pool: TextPool) -> _Article:
    names = [name for name in (layout.abstract, layout.sections) if name is not None]
    if not any(name in row for name in names):
        raise UnusableRowError("missing_field", f"no field {' or '.join(map(repr, names))}")
    title = row.get(layout.title) if layout.title else None
    if title is not None and type(title) is not str:
        raise UnexpectedTypeError(f"field '{layout.title}': expected a string, got {type_name(title)}")
    abstract = _paragraphs(row.get(layout.abstract), layout.abstract) if layout.abstract else []
    return _Article(
        position=position,
        title=None if title is None else pool.add(said(title)),
        abstract=[pool.add(paragraph) for paragraph in abstract],
        sections=read_sections(row, layout, pool),
    )


def _paragraphs(value: Any, name: str) -> list[str]:
    """The paragraphs of an abstract; marked sentences are one."""
    paragraphs = strings(value, name)
    marked = [match[1] for text in paragraphs if (match := _MARKED_SENTENCE.fullmatch(text)) is not None]
    return [joined_sentences(marked)] if marked and len(marked) == len(paragraphs) else paragraphs


def _text(article: _Article, cleaned: Sequence[str]) -> str:
    blocks = [block for section in article.sections for block in section.blocks(cleaned)]
    abstract = "\n".join(cleaned[number] for number in article.abstract if cleaned[number])
    first = next((text for _, text in blocks if text), "")
    if abstract and not squeezed(first).startswith(squeezed(abstract)):
        blocks.insert(0, ("", abstract))
    text = "\n\n".join("\n".join(filter(None, block)) for block in blocks)
    title = "" if article.title is None else cleaned[article.title]
    return f"{title}\n\n{text}" if title and text and not text.startswith(title) else text
