"""General Chinese articles in the layout of `pleisto/wikipedia-cn-20230720-filtered`: one JSON array."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path

import orjson

from medpipe.sample.general_articles import comparison_article, subject_article, survey_article
from medpipe.sample.general_facts import Kind, load_kinds
from medpipe.sample.writing import SampleFile, rng, write_text

GENERAL_PATH = "pleisto/wikipedia-cn-20230720-filtered/wikipedia-cn-20230720-filtered.json"
"""Where the articles are written, below the hub."""

_SOURCE = "wikipedia.zh2307"
_COMPARISONS = 6
_SURVEYS = 2
_SURVEY_SHARE = 0.6


def general_articles() -> list[str]:
    """Writes all general articles.

    Returns:
        The articles in a fixed mixed order; every run gives the same texts.
    """
    articles = [article for kind in load_kinds() for article in _kind_articles(kind)]
    rng("general", "order").shuffle(articles)
    return articles


def write_general(hub: Path) -> list[SampleFile]:
    """Writes the general articles as one JSON array with one record a line.

    Args:
        hub: root folder of the hub.

    Returns:
        The single file written.
    """
    lines = [
        orjson.dumps({"completion": article, "source": _SOURCE}).decode("utf-8")
        for article in general_articles()
    ]
    written = write_text(hub, GENERAL_PATH, "[" + ",\n".join(lines) + "]\n")
    return [SampleFile(path=written.path, records=len(lines), bytes=written.bytes)]


def _kind_articles(kind: Kind) -> list[str]:
    articles = [subject_article(kind, entry, rng("general", kind.key, entry.name)) for entry in kind.entries]
    pairing = rng("general", kind.key, "pairs")
    order = pairing.sample(kind.entries, len(kind.entries))
    pairs = list(pairwise(order))[:_COMPARISONS]
    for first, second in pairs:
        key = rng("general", kind.key, first.name, second.name)
        articles.append(comparison_article(kind, first, second, key))
    for number in range(_SURVEYS):
        survey = rng("general", kind.key, "survey", number)
        chosen = survey.sample(kind.entries, round(len(kind.entries) * _SURVEY_SHARE))
        articles.append(survey_article(kind, chosen, survey))
    return articles
