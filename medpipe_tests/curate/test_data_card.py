"""The card says what the corpus is made of, always in the same bytes."""

from __future__ import annotations

import json
from typing import Any

import pytest
import yaml

from medpipe.curate.data_card import DataCard, FilterFacts, Overlap, build_card, source_facts
from medpipe.curate.licences import LicencePurpose, gate
from medpipe_tests.making import make_source

BOOKS = make_source(
    "books",
    title="Nobody/books | old [1]",
    licence={"name": None, "note": "nothing stated; older than any copyright"},
    files=[{"path": "a.txt", "domain": "tcm"}, {"path": "b.txt", "domain": "textbook"}],
    page="https://example.org/books",
    genre="textbook",
)
TALKS = make_source(
    "talks",
    title="Nobody/talks",
    licence={"name": "mit", "verified": True},
    derived_from=["Nobody/books"],
    language="en",
)

GOLDEN = """\
---
language:
- zh
- en
license: other
license_name: see-the-table-of-sources
size_categories:
- 1K<n<10K
tags:
- medical
---

# corpus/documents

1,500 records of 2 sources, built for the purpose **research**. Licences are quoted as their publishers state \
them; this card is no legal advice.

## Sources

| source | revision | licence | language | domain | in | kept |
| --- | --- | --- | --- | --- | --- | --- |
| `books` [Nobody/books \\| old \\[1\\]](https://example.org/books) | c0ffee | no licence stated, nothing stated; \
older than any copyright, not verified | zh | textbook, tcm | 1,200 | 1,000 |
| `talks` [Nobody/talks](https://huggingface.co/datasets/nobody/talks) | beef | mit | en | disease | 600 | 500 |

- `talks` repeats Nobody/books

## Licences that need a look

- books: no licence is known of books (no licence stated, nothing stated; older than any copyright, not verified)
- talks: Nobody/books, which talks repeats, is not in the catalog

## What is in it

| by | value | records |
| --- | --- | --- |
| language | en | 500 |
| language | zh | 1,000 |
| domain | disease | 500 |
| domain | tcm | 1,000 |
| tier | raw | 1,500 |
| split | train | 1,470 |
| split | validation | 30 |

## What was left out

| reason | records | by source |
| --- | --- | --- |
| `exact_duplicate` | 250 | books 150, talks 100 |
| `too_short` | 50 | books 50 |

## Rules

| rule | measures | thresholds | reference |
| --- | --- | --- | --- |
| `a_v1` | share of a \\| b | en 0.1, zh 0.25 |  |
| `refined_v1` | clean prose | least 50 | Nobody 2020 |

## Personal data

| replaced by rule | replacements |
| --- | --- |
| `privacy_v1/mobile` | 3 |
| `privacy_v1/qq` | 0 |

## Duplicates

| fact | value |
| --- | --- |
| `bands` | 14 |
| `near` | true |
| `threshold` | 0.8 |

## Overlap of sources

| source | other | kind | records |
| --- | --- | --- | --- |
| `books` | `talks` | exact | 100 |

## Exam items

| fact | value |
| --- | --- |
| `characters` | 30 |
| `removed` | cmb_exam 2, medqa_exam 1 |

## Known limits

- Names of persons in texts are not replaced.
"""  # noqa: E501


def facts(**changes: Any) -> dict[str, Any]:
    sources = [
        source_facts(TALKS, revision="beef", records=600, kept=500, rejected={"exact_duplicate": 100}),
        source_facts(
            BOOKS,
            revision="c0ffee",
            records=1200,
            kept=1000,
            rejected={"too_short": 50, "exact_duplicate": 150},
        ),
    ]
    given: dict[str, Any] = {
        "gate": gate([TALKS, BOOKS], LicencePurpose.RESEARCH, catalog=[TALKS]),
        "sources": sources,
        "languages": {"zh": 1000, "en": 500, "other": 0},
        "domains": {"tcm": 1000, "disease": 500},
        "splits": {"validation": 30, "train": 1470},
        "tiers": {"raw": 1500},
        "filters": [
            FilterFacts(
                name="refined_v1", measures="clean prose", thresholds={"least": 50}, reference="Nobody 2020"
            ),
            FilterFacts(name="a_v1", measures="share of a | b", thresholds={"zh": 0.25, "en": 0.1}),
        ],
        "privacy": {"privacy_v1/mobile": 3, "privacy_v1/qq": 0},
        "deduplication": {"threshold": 0.8, "bands": 14, "near": True},
        "overlaps": [
            Overlap(source="books", other="talks", records=100),
            Overlap(source="books", other="others", records=0),
        ],
        "contamination": {"removed": {"medqa_exam": 1, "cmb_exam": 2}, "characters": 30},
        "limits": ["Names of persons in texts are not replaced."],
    }
    return given | changes


def card(**changes: Any) -> DataCard:
    return build_card("corpus/documents", **facts(**changes))


def test_the_card_says_everything_in_markdown() -> None:
    assert card().markdown() == GOLDEN


def test_the_order_of_the_facts_makes_no_difference() -> None:
    given = facts()
    turned = {
        name: dict(reversed(value.items())) if isinstance(value, dict) else list(reversed(value))
        for name, value in given.items()
        if isinstance(value, (dict, list)) and name != "limits"
    }
    other = build_card("corpus/documents", **(given | turned))
    assert other.markdown() == card().markdown()
    assert other.json_text() == card().json_text()


def test_the_json_is_read_back_as_the_same_card() -> None:
    text = card().json_text()
    assert DataCard.model_validate_json(text) == card()
    assert json.loads(text)["sources"][0]["licence"].startswith("no licence stated")
    assert "书" in card(limits=["书"]).json_text()


def test_the_front_matter_is_what_the_hub_reads() -> None:
    _, front, _ = card().markdown().split("---\n", 2)
    assert yaml.safe_load(front)["size_categories"] == ["1K<n<10K"]


def test_sections_without_facts_are_left_out() -> None:
    empty = build_card(
        "corpus/preferences",
        gate=gate([], LicencePurpose.COMMERCIAL),
        sources=[],
        languages={},
        domains={},
        splits={},
    )
    assert "##" not in empty.markdown()
    assert "0 records of 0 sources, built for the purpose **commercial**" in empty.markdown()


def test_text_of_a_publisher_is_no_markup() -> None:
    bad = make_source("bad", title="<script>`x`\nline", licence={"name": "a|b<c"})
    sources = [source_facts(bad, revision="r", records=0, kept=0)]
    text = build_card(
        "corpus/documents",
        gate=gate([bad], LicencePurpose.RESEARCH),
        sources=sources,
        languages={},
        domains={},
        splits={},
    ).markdown()
    assert "<script>" not in text
    assert r"a\|b&lt;c" in text


def test_counts_that_do_not_add_up_are_refused() -> None:
    with pytest.raises(ValueError, match="talks: 500 kept and 1 rejected records are not the 600"):
        source_facts(TALKS, revision="r", records=600, kept=500, rejected={"too_short": 1})
    with pytest.raises(ValueError, match="the records by domains are 7, the kept ones 1,500"):
        card(domains={"tcm": 7})
    twice = facts()["sources"]
    with pytest.raises(ValueError, match="talks stands twice"):
        card(sources=[*twice, twice[0]])
