"""What catalog entries take out of their own sources' texts, and what they ask about them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import polars as pl
import pytest

from medpipe.catalog.load import builtin_sources, read_catalog_folder
from medpipe.catalog.source import Source
from medpipe.ingest.readers import read_rows
from medpipe.records.kinds import Language
from medpipe_tests.normalize.reading import read, talks
from medpipe_tests.shared_data import shared_data

SHARED = {
    source.id: source for source in read_catalog_folder(Path(__file__).parents[1] / "shared_data_catalog")
}


def text_of(source: Source, row: Any) -> str:
    frame, reasons = read(source.record_layout, row, language=Language.EN)
    assert reasons == {}
    return str(frame["text"].item())


@pytest.mark.parametrize(
    ("published", "kept"),
    [
        (
            "From trials [bib_ref] Rest, Lee [/bib_ref] [bib_ref] Rest [in French], Wu [/bib_ref] and 5 mg",
            "From trials and 5 mg",
        ),
        (
            "See [fig_ref] Table 2: Doses of 5 mg [/fig_ref]. Then rest.",
            "See Table 2: Doses of 5 mg. Then rest.",
        ),
        ("A dose of 5 [bib_ref] Lee [/bib_ref] 10 mg", "A dose of 5 10 mg"),
        (
            "The mark [bib_ref] without an end, [ref] and [5]",
            "The mark [bib_ref] without an end, [ref] and [5]",
        ),
    ],
)
def test_references_within_guidelines(published: str, kept: str) -> None:
    assert text_of(SHARED["shared_apollo_guideline_passages"], [published]) == kept
    (guidelines,) = (source for source in builtin_sources() if source.id == "epfl_guidelines")
    assert text_of(guidelines, {"clean_text": published, "title": None}) == kept


@pytest.mark.parametrize(
    ("published", "kept"),
    [
        ("Rest for 5 days, Lee [/bib_ref] is advised", "is advised"),
        ("Rest is advised. [bib_ref] Rest for 5 days", "Rest is advised."),
    ],
)
def test_passages_cut_within_a_reference(published: str, kept: str) -> None:
    assert text_of(SHARED["shared_apollo_guideline_passages"], [published]) == kept


def test_published_passages_keep_no_mark() -> None:
    layout = SHARED["shared_apollo_guideline_passages"].record_layout
    (batch,) = read_rows(shared_data("apollo-medbase/guidelines_en_1.dev.jsonl"))
    frame, _ = read(layout, *batch.values, language=Language.EN)
    published = pl.Series([row[0] for row in batch.values])
    assert published.str.contains(r"\[/?(?:bib|fig)_ref\]").sum() == 21
    assert not frame["text"].str.contains(r"\[/?(?:bib|fig)_ref\]").any()


def test_published_articles_of_wikipedia_hold_one_wording() -> None:
    layout = SHARED["shared_wiki2019zh_layout"].record_layout
    texts = [row["text"] for batch in read_rows(shared_data("wikipedia-zh/wiki_00")) for row in batch.values]
    assert sum("-{" in text for text in texts) == 18
    frame, _ = read(layout, *({"text": text} for text in texts))
    # The eighteenth marks a Latin name, as chemists mark a group of atoms.
    assert frame["text"].str.contains(r"-\{").sum() == 1
    assert frame["text"].str.contains(r"-\{[A-Z][a-z]+ [A-Z][a-z]+\}-").sum() == 1


def test_the_chapter_of_a_question_is_asked_for() -> None:
    layout = SHARED["shared_bentsao_benchmark"].record_layout
    frame, _ = read(layout, {"question": "咳嗽怎么办？", "ICD-10": "Diseases of the respiratory system"})
    ((asked, answered),) = talks(frame)
    assert "ICD-10" in asked[1] and "英文名称" in asked[1] and asked[1].endswith("\n咳嗽怎么办？")
    assert answered == ("assistant", "Diseases of the respiratory system")
