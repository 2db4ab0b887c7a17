"""Filters, near-duplicates, exams, personal data and licences, together in one corpus."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from medpipe.curate.config import CurateConfig
from medpipe.curate.corpus import build_corpus
from medpipe.curate.filters.config import FilterConfig
from medpipe.curate.filters.registry import RULES
from medpipe.curate.plots import draw_funnel
from medpipe.curate.purposes import Purpose
from medpipe.lake.dataset import Dataset
from medpipe.lake.layout import Lake
from medpipe.records.kinds import Kind
from medpipe_tests.making import article, make_source, publish_records, turns

QUESTION = "一名五十岁的男子三天来反复胸闷，活动后加重，休息数分钟就能缓解，他最可能得的是哪一种病？"


@pytest.fixture
def lake(tmp_path: Path) -> Lake:
    return Lake(tmp_path / "lake")


def documents(lake: Lake, *texts: str, name: str = "text", **columns: Any) -> Dataset:
    return publish_records(lake, name, Kind.DOCUMENT, [{"text": text, **columns} for text in texts])


def build(lake: Lake, purpose: Purpose = Purpose.DOCUMENTS, **normalized: Dataset) -> Dataset:
    """A corpus of sources that hold documents, save for one that is called `chat`."""
    kinds = {name: Kind.CONVERSATION if name == "chat" else Kind.DOCUMENT for name in normalized}
    sources = {
        name: make_source(
            name, kind, uses=["pretraining", "finetuning"] if name == "chat" else ["pretraining"]
        )
        for name, kind in kinds.items()
    }
    # These texts are made of few sentences, which the rules against repetition would reject.
    config = CurateConfig(validation_share=0, filters=FilterConfig(groups={}))
    return build_corpus(purpose, normalized, sources, lake=lake, config=config).dataset


def kept(corpus: Dataset, source: str = "text") -> pl.DataFrame:
    return pl.read_parquet(corpus.files(f"{source}/part-*.parquet"))


def reasons(corpus: Dataset) -> dict[int, str]:
    frame = pl.read_parquet(corpus.path / "rejected")
    return dict(frame.select("row", "reason").iter_rows())


def long_article(number: int) -> str:
    return "".join(article(number * 10 + part) for part in range(6))


def test_of_near_duplicates_the_best_stays_and_the_others_name_it(lake: Lake) -> None:
    text = long_article(1)
    corpus = build(
        lake, text=documents(lake, text, long_article(2), text.replace("第11号", "第99号") + "完。")
    )
    assert list(reasons(corpus).values()) == ["near_duplicate"]
    assert kept(corpus).height == 2
    rejected = pl.read_parquet(corpus.path / "rejected")
    assert rejected["detail"].item() in kept(corpus)["id"].to_list()
    assert corpus.manifest.facts["overlap"] == [
        {"source": "text", "other": "text", "groups": 1, "documents": 2, "kind": "near"}
    ]


@pytest.mark.parametrize("is_near", [True, False])
def test_facts_and_card_tell_exact_copies_of_sources_from_near_ones(lake: Lake, is_near: bool) -> None:
    exact = [long_article(n) for n in range(10)]
    near = [long_article(n) for n in range(20, 24)]
    normalized = {
        "one": documents(lake, *exact, *near, long_article(50), name="one"),
        "other": documents(
            lake,
            *(text.replace("，", " ，") for text in exact),
            *(f"{text}完。" for text in near),
            name="other",
        ),
    }
    sources = {name: make_source(name) for name in normalized}
    config = CurateConfig(filters=FilterConfig(groups={}))
    if not is_near:
        config = config.model_copy(update={"near_duplicates": None})
    corpus = build_corpus(Purpose.DOCUMENTS, normalized, sources, lake=lake, config=config).dataset
    counts = {"exact": 10} | ({"near": 4} if is_near else {})
    assert corpus.manifest.facts["overlap"] == [
        {"source": source, "other": other, "groups": number, "documents": number, "kind": kind}
        for source, other in (("one", "other"), ("other", "one"))
        for kind, number in counts.items()
    ]
    card = json.loads((corpus.path / "card.json").read_text())
    assert {(each["source"], each["kind"]): each["records"] for each in card["overlaps"]} == {
        (source, kind): number for source in normalized for kind, number in counts.items()
    }


def test_personal_data_is_replaced_in_every_text_also_in_what_is_rejected(lake: Lake) -> None:
    secret = "13812345678"
    told = f"我的手机号是{secret}，请回电。"
    chats = publish_records(
        lake, "chat", Kind.CONVERSATION, [{"turns": turns(f"头痛怎么办？{told}", article(3))}]
    )
    texts = documents(lake, article(1) + told, article(2), f"啊{secret}")
    for corpus, source in (
        (build(lake, text=texts, chat=chats), "text"),
        (build(lake, Purpose.CONVERSATIONS, chat=chats), "chat"),
    ):
        assert corpus.manifest.facts["privacy"]
        for path in corpus.path.rglob("*"):
            if path.suffix == ".parquet":
                assert secret not in str(pl.read_parquet(path).rows()), path
        assert "[电话]" in str(kept(corpus, source).rows())
        assert pl.read_parquet(corpus.path / "review/privacy.parquet").height > 0


def test_what_repeats_an_exam_is_left_out_and_names_the_item(lake: Lake) -> None:
    exam = publish_records(
        lake, "exam", Kind.CONVERSATION, [{"turns": turns(QUESTION, "心绞痛。"), "split": "test"}]
    )
    texts = documents(lake, article(1) + QUESTION + article(2), article(3))
    sources = {
        "text": make_source("text"),
        "exam": make_source("exam", Kind.CONVERSATION, uses=["evaluation"]),
    }
    corpus = build_corpus(Purpose.DOCUMENTS, {"text": texts, "exam": exam}, sources, lake=lake).dataset
    assert reasons(corpus) == {0: "repeats_exam_item"}
    detail = pl.read_parquet(corpus.path / "rejected")["detail"].item()
    assert pl.read_parquet(exam.files("part-*.parquet"))["id"].item() in detail


def test_a_filter_rejects_with_the_name_of_its_rule(lake: Lake) -> None:
    normalized = {"text": documents(lake, article(1), "头痛" * 200)}
    corpus = build_corpus(Purpose.DOCUMENTS, normalized, {"text": make_source("text")}, lake=lake).dataset
    rejected = pl.read_parquet(corpus.path / "rejected")
    assert rejected["row"].to_list() == [1]
    assert rejected["reason"].item() in RULES
    assert rejected["raw"].item() == "头痛" * 200
    assert corpus.manifest.facts["by_source"]["text"]["rejected_by_reason"] == {rejected["reason"].item(): 1}


def test_relatives_of_a_held_out_record_are_held_out(lake: Lake) -> None:
    first = "名称：甲病。症状：" + article(1)
    second = "名称：甲病。病因：" + article(2)
    held = documents(lake, first, name="held", split="validation")
    corpus = build(lake, held=held, text=documents(lake, second, article(3)))
    assert kept(corpus)["split"].to_list() == ["validation", "train"]


def test_a_record_never_changes_its_side_when_others_come(lake: Lake) -> None:
    before = build(lake, text=documents(lake, *(article(number) for number in range(30))))
    trained = set(kept(before).filter(pl.col("split") == "train")["id"])
    sources = {"text": make_source("text")}
    more = documents(lake, *(article(number) for number in range(60)))
    after = build_corpus(
        Purpose.DOCUMENTS, {"text": more}, sources, lake=lake, config=CurateConfig(validation_share=0.5)
    ).dataset
    now = dict(kept(after).select("id", "split").iter_rows())
    assert {now[each] for each in trained} == {"train"}
    assert sum(split == "validation" for split in now.values()) > 5


def test_only_what_changed_is_judged_again(lake: Lake) -> None:
    one, other = documents(lake, article(1), name="one"), documents(lake, article(2), name="other")
    build(lake, one=one, other=other)
    stamps = {path: path.stat().st_mtime_ns for path in lake.root.rglob("judgements/one/*/part-*.parquet")}
    stamps |= {path: path.stat().st_mtime_ns for path in lake.root.rglob("signatures/one/*/signatures.u8")}
    assert len(stamps) == 2
    build(lake, one=one, other=documents(lake, article(2), article(3), name="other"))
    assert stamps == {path: path.stat().st_mtime_ns for path in stamps}
    assert len([*lake.root.glob("judgements/other/*/manifest.json")]) == 2


def test_every_corpus_has_a_card_that_adds_up(lake: Lake) -> None:
    corpus = build(lake, text=documents(lake, article(1), article(2), article(1), "无。"))
    card = json.loads((corpus.path / "card.json").read_text())
    assert card["sources"][0]["rejected"] == {"exact_duplicate": 1, "too_short": 1}
    assert card["splits"] == {"train": 2}
    assert "# corpus/documents" in (corpus.path / "card.md").read_text()


def test_no_settings_leave_texts_as_they_are(lake: Lake) -> None:
    texts = documents(lake, article(1) + "我的手机号是13812345678。", article(2))
    config = CurateConfig(
        validation_share=0, privacy=None, near_duplicates=None, contamination=None, repeated_passages=None
    )
    corpus = build_corpus(
        Purpose.DOCUMENTS, {"text": texts}, {"text": make_source("text")}, lake=lake, config=config
    ).dataset
    assert kept(corpus)["text"].to_list() == [article(1) + "我的手机号是13812345678。", article(2)]
    assert not [*lake.root.glob("signatures/*")]


def test_the_funnel_is_a_picture_for_any_number_of_reasons() -> None:
    many = {"records": 40, "kept": 20, "rejected_by_reason": {f"rule_{n}": 2 for n in range(10)}}
    for by_source in ({}, {"a": many, "b": many | {"kept": 40, "rejected_by_reason": {}}}):
        assert draw_funnel(by_source).startswith(b"\x89PNG")


def test_copies_of_a_test_record_that_came_late_stay(lake: Lake) -> None:
    """What is left out because it was seen must not take what was trained on with it."""
    trained = documents(lake, article(1), article(2))
    build(lake, text=trained)
    late = documents(lake, article(1), name="late", split="test")
    corpus = build(lake, late=late, text=trained)
    rejected = pl.read_parquet(corpus.path / "rejected")
    assert rejected.select("source", "reason").rows() == [("late", "held_out_but_seen")]
    assert kept(corpus)["text"].to_list() == [article(1), article(2)]
    assert set(kept(corpus)["split"]) == {"train"}


def test_a_source_that_was_off_for_a_while_keeps_its_sides(lake: Lake) -> None:
    one = documents(lake, *(article(number) for number in range(20)), name="one")
    other = documents(lake, *(article(number) for number in range(100, 120)), name="other")
    first = dict(kept(build(lake, one=one, other=other), "one").select("id", "split").iter_rows())
    build(lake, other=other)
    sources = {"one": make_source("one")}
    config = CurateConfig(validation_share=0.9, filters=FilterConfig(groups={}))
    again = build_corpus(Purpose.DOCUMENTS, {"one": one}, sources, lake=lake, config=config).dataset
    assert dict(kept(again, "one").select("id", "split").iter_rows()) == first


def test_half_a_number_is_no_number_that_stays(lake: Lake) -> None:
    spaces = "头痛" * 996
    corpus = build_corpus(
        Purpose.DOCUMENTS,
        {"text": documents(lake, article(1), f"{spaces}电话13812345678")},
        {"text": make_source("text")},
        lake=lake,
    ).dataset
    raw = pl.read_parquet(corpus.path / "rejected")["raw"].item()
    assert "1381" not in raw and len(raw) <= 2_000
