"""What a document is about, and what was asked."""

from __future__ import annotations

from pathlib import Path

import polars as pl
import pytest

from medpipe.curate.config import CurateConfig
from medpipe.curate.corpus import build_corpus
from medpipe.curate.family import family, first_question, question_key
from medpipe.curate.filters.config import FilterConfig
from medpipe.curate.purposes import Purpose
from medpipe.lake.layout import Lake
from medpipe.records.kinds import Kind, record_columns
from medpipe_tests.making import article, make_source, publish_records, turns


@pytest.mark.parametrize(
    ("text", "domain", "expected"),
    [
        ("名称：甲病。症状：发热", "disease", "name:甲病"),
        ("名称： 甲病\n症状：发热", "disease", "name:甲病"),
        ("Name: Alpha Fever", "disease", "name:alpha fever"),
        ("病名：甲病。", "disease", None),
        ("他的名称：甲病。", "general", None),
        ("Guideline on Asthma, 2019\nText.", "guideline", "title:guidelineonasthma"),
        ("Guideline on asthma (2023)\nOther text.", "guideline", "title:guidelineonasthma"),
        ("Guideline on Asthma, 2019\nText.", "textbook", None),
        ("One line only", "guideline", None),
    ],
)
def test_family(text: str, domain: str, expected: str | None) -> None:
    assert pl.select(family(pl.lit(text), pl.lit(domain))).item() == expected


QUESTION = "我家孩子咳嗽三天了怎么办"


def keys_of(kind: Kind, *rows: dict[str, object]) -> list[int | None]:
    columns = {name: dtype for name, dtype in record_columns(kind).items() if name in rows[0]}
    frame = pl.DataFrame(rows, schema=columns)
    return frame.select(question_key(first_question(kind))).to_series().to_list()


def test_a_question_has_one_key_in_every_kind_of_record() -> None:
    (chat,) = keys_of(Kind.CONVERSATION, {"turns": turns(f"问：{QUESTION}？", "多喝水。")})
    (pair,) = keys_of(Kind.PREFERENCE, {"prompt": turns(QUESTION, "几岁？", "三岁")})
    texts = keys_of(
        Kind.DOCUMENT,
        {"text": f"[QUESTION] {QUESTION}？ [ANSWER] 去医院。"},
        {"text": f"问题：{QUESTION}\n\n回答：去医院。\n回答：再等等。"},
        {"text": f"Instruction: {QUESTION}\nOutput: 去医院。"},
        {"text": f"[User] {QUESTION}\n[Assistant] 几岁？\n[User] 三岁"},
        {"text": f"{QUESTION}？去医院。"},
        {"text": f"他问：{QUESTION}\n答：去医院。"},
    )
    assert chat is not None
    assert [pair, *texts] == [chat] * 5 + [None, None]
    assert keys_of(Kind.EXAM_ITEM, {"question": QUESTION}) == [None]


def test_a_short_or_missing_question_has_no_key() -> None:
    system_only = [{"role": "assistant", "content": QUESTION}]
    rows = [turns("我该怎么办呢？"), system_only, [], turns("我现在该怎么办呢？")]
    found = keys_of(Kind.CONVERSATION, *({"turns": each} for each in rows))
    assert found[:3] == [None] * 3
    assert found[3] is not None


def test_one_question_stands_on_one_side_in_every_kind_and_data_set(tmp_path: Path) -> None:
    lake = Lake(tmp_path / "lake")
    told = [f"{QUESTION}？", f"{article(1)}那么怎么办？"]
    chats = [{"turns": turns(question, article(number + 10))} for number, question in enumerate(told)]
    pairs = [
        {"prompt": turns(question), "chosen": article(number + 20), "rejected": article(number + 30)}
        for number, question in enumerate(told)
    ]
    texts = [{"text": f"[QUESTION] {question} [ANSWER] {article(n + 40)}"} for n, question in enumerate(told)]
    # The publisher of the pairs holds the first one out.
    pairs[0]["split"] = "test"
    normalized = {
        "chat": publish_records(lake, "chat", Kind.CONVERSATION, chats),
        "pair": publish_records(lake, "pair", Kind.PREFERENCE, pairs),
        "text": publish_records(lake, "text", Kind.DOCUMENT, texts),
    }
    sources = {
        "chat": make_source("chat", Kind.CONVERSATION, uses=["pretraining", "finetuning"]),
        "pair": make_source("pair", Kind.PREFERENCE),
        "text": make_source("text"),
    }
    config = CurateConfig(validation_share=0, filters=FilterConfig(groups={}), near_duplicates=None)
    expected = {
        Purpose.DOCUMENTS: ["chat", "text"],
        Purpose.CONVERSATIONS: ["chat"],
        Purpose.PREFERENCES: ["pair"],
    }
    for purpose, names in expected.items():
        corpus = build_corpus(purpose, normalized, sources, lake=lake, config=config).dataset
        for name in names:
            kept = pl.read_parquet(corpus.files(f"{name}/part-*.parquet"))
            assert kept["split"].to_list() == ["validation", "train"], (purpose, name)
