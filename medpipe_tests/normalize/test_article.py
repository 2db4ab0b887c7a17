"""Articles: title, abstract and sections in the shapes in which they are published."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from medpipe.catalog.layouts import ArticleLayout
from medpipe.ingest.readers import read_rows
from medpipe.records.kinds import Language
from medpipe_tests.normalize.reading import read
from medpipe_tests.shared_data import shared_data

SENTENCES = ArticleLayout(
    title=None, abstract="abstract_text", sections="sections", section_titles="section_names"
)


def text_of(layout: ArticleLayout, row: Any) -> str:
    frame, reasons = read(layout, row, language=Language.EN)
    assert reasons == {}
    return str(frame["text"].item())


def test_an_article_as_the_reader_of_xml_gives_it() -> None:
    row = {
        "pmid": "1",
        "title": "A trial of rest",
        "abstract": ["BACKGROUND: Rest helps.", "RESULTS: 5&#956;g did not."],
        "sections": [
            {"title": "Introduction", "text": ["First.", " ", "Second\u00a0one."], "sections": []},
            {
                "title": "Methods",
                "text": [],
                "sections": [
                    {"title": "Patients", "text": ["Twelve of them."], "sections": []},
                    {"title": "Nothing", "text": [""], "sections": []},
                ],
            },
            {"title": "Funding", "text": [], "sections": []},
            {"title": None, "text": "No heading.", "sections": None},
        ],
        "journal": "A journal",
    }
    assert text_of(ArticleLayout(), row) == (
        "A trial of rest\n\n"
        "BACKGROUND: Rest helps.\nRESULTS: 5μg did not.\n\n"
        "Introduction\nFirst.\nSecond one.\n\n"
        "Methods\n\n"
        "Patients\nTwelve of them.\n\n"
        "No heading."
    )


def test_sections_of_sentences_with_their_names_beside_them() -> None:
    who = "twelve patients of both sexes were seen at the clinic ."
    first, second = (
        "they took 5 mg of the first drug every day .",
        "then 0.5 - 1.0 g of the second drug for one more week each .",
    )
    row = {
        "article_id": "PMC1",
        "article_text": ["a .", "b ."],
        "abstract_text": ["<S> we asked . </S>", "<S> n < 12 g / dl . </S>"],
        "section_names": ["Introduction", "Methods", "Patients", "Drugs", "Second", "Results", "Empty"],
        "sections": [
            ["a .", "b ."],
            ["c .", f"{who} {first}", second],
            [who],
            [first, second],
            [second],
            ["a ."],
            [],
        ],
    }
    assert text_of(SENTENCES, row) == (
        "we asked . n < 12 g / dl .\n\n"
        "Introduction\na . b .\n\n"
        f"Methods\nc .\n\nPatients\n{who}\n\nDrugs\n{first}\n\nSecond\n{second}\n\n"
        "Results\na ."
    )


@pytest.mark.parametrize(
    ("layout", "row", "text"),
    [
        (ArticleLayout(), {"title": "题", "abstract": "摘要。", "sections": []}, "题\n\n摘要。"),
        (
            ArticleLayout(),
            {"title": "题", "abstract": None, "sections": ["一。", "二。"]},
            "题\n\n一。\n\n二。",
        ),
        (ArticleLayout(), {"title": "题", "sections": "全文"}, "题\n\n全文"),
        (ArticleLayout(), {"title": "题", "abstract": ["摘", None, "要"]}, "题\n\n摘\n要"),
        (ArticleLayout(), {"title": "题", "abstract": "题目如下", "sections": []}, "题目如下"),
        (
            ArticleLayout(sections="body", section_title="h", section_text="p"),
            {"title": None, "abstract": "", "body": [{"h": "引言", "p": "文<br>字"}]},
            "引言\n文\n字",
        ),
        # Sentences of Chinese are not spaced.
        (
            ArticleLayout(title=None, section_titles="names"),
            {"names": ["方法"], "sections": [["甲。", "乙5mg。", "丙"]]},
            "方法\n甲。乙5mg。丙",
        ),
        # The abstract is the first section once more, with and without its heading.
        (
            ArticleLayout(),
            {
                "title": "T",
                "abstract": "Rest  helps.",
                "sections": [{"title": "Abstract", "text": "Rest helps."}],
            },
            "T\n\nAbstract\nRest helps.",
        ),
        (
            ArticleLayout(),
            {"title": "T", "abstract": ["Rest", "helps."], "sections": ["Rest helps. More."]},
            "T\n\nRest helps. More.",
        ),
        # A number of titles that does not fit would put a heading over the wrong section.
        (
            ArticleLayout(title=None, section_titles="names"),
            {"names": ["一", "二"], "sections": ["甲"]},
            "甲",
        ),
    ],
)
def test_golden(layout: ArticleLayout, row: Any, text: str) -> None:
    assert text_of(layout, row) == text


def nested(depth: int) -> list[dict[str, Any]]:
    section: dict[str, Any] = {"title": "s", "text": "t"}
    for _ in range(depth):
        section = {"title": "s", "text": "t", "sections": [section]}
    return [section]


@pytest.mark.parametrize(
    ("row", "reason"),
    [
        ({"title": "T"}, "missing_field"),
        ("T", "missing_field"),
        ({"title": "T", "abstract": "", "sections": []}, "empty_text"),
        ({"title": "T", "abstract": " ", "sections": [{"title": "S", "text": "&nbsp;"}]}, "empty_text"),
        ({"title": ["T"], "abstract": "a", "sections": []}, "unexpected_type"),
        ({"title": "T", "abstract": 5, "sections": []}, "unexpected_type"),
        ({"title": "T", "abstract": "a", "sections": [5]}, "unexpected_type"),
        ({"title": "T", "abstract": "a", "sections": [{"text": {"p": "x"}}]}, "unexpected_type"),
        ({"title": "T", "abstract": "a", "sections": nested(400)}, "unexpected_type"),
    ],
)
def test_rows_that_give_no_article(row: Any, reason: str) -> None:
    frame, reasons = read(ArticleLayout(), row, {"title": "T", "abstract": "a"})
    assert frame["text"].to_list() == ["T\n\na"]
    assert reasons == {100: reason}


words = st.text(alphabet="ab", min_size=1, max_size=3)
sections = st.recursive(
    st.fixed_dictionaries({"title": words, "text": st.lists(words, max_size=2)}),
    lambda inner: st.fixed_dictionaries(
        {"title": words, "text": st.lists(words, max_size=2), "sections": st.lists(inner, max_size=3)}
    ),
    max_leaves=6,
)


@settings(max_examples=60)
@given(st.lists(sections, min_size=1, max_size=3))
def test_every_paragraph_is_there_once_and_no_heading_stands_alone(tree: list[dict[str, Any]]) -> None:
    def paragraphs(section: dict[str, Any]) -> list[str]:
        return section["text"] + [p for inner in section.get("sections", []) for p in paragraphs(inner)]

    wanted = [p for section in tree for p in paragraphs(section)]
    frame, reasons = read(ArticleLayout(title=None, abstract=None), {"sections": tree})
    if not wanted:
        assert reasons == {100: "empty_text"}
        return
    blocks = frame["text"].item().split("\n\n")
    assert [line for block in blocks for line in block.split("\n")[1:]] == wanted
    assert "\n" in blocks[-1]


def test_published_articles_lose_nothing_and_repeat_little() -> None:
    for batch in read_rows(shared_data("scientific-papers-pubmed/train.txt")):
        for row in batch.values:
            text = text_of(SENTENCES, row)
            squeezed = "".join(text.split())
            published = ["".join("".join(section).split()) for section in row["sections"]]
            for at, section in enumerate(published):
                if not any(other in section for other in published[at + 1 :] if len(other) >= 40):
                    assert section in squeezed
            # Methods are published up to three times.
            whole = len("".join("".join(row["article_text"] + row["abstract_text"]).split()))
            assert len(squeezed) < 0.85 * whole
            assert set(row["section_names"]) <= set(text.split("\n"))
            assert "<S>" not in text


@pytest.mark.parametrize("file", ["1471-2180-11-174.nxml", "pone.0046493.nxml", "pubmed-29768149.xml"])
def test_published_xml(file: str) -> None:
    (batch,) = read_rows(shared_data(f"pubmed-xml/{file}"))
    for value in batch.values:
        text = text_of(ArticleLayout(), value)
        assert text.startswith(value["title"].strip() + "\n\n")
        assert len(text) > sum(len(paragraph) for paragraph in value["abstract"])
        assert "</" not in text


def test_words_for_a_missing_value_are_no_text() -> None:
    section = {"title": "None", "text": ["nan", "Rest helps."]}
    row = {"title": "None", "abstract": "nan", "sections": [section, {"title": "Aims", "text": "null"}]}
    assert text_of(ArticleLayout(), row) == "Rest helps."
    frame, reasons = read(ArticleLayout(), {"title": "None", "abstract": "nan", "sections": ["N/A"]})
    assert frame.height == 0
    assert reasons == {100: "empty_text"}
