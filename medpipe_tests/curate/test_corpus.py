"""The corpus data sets: accounting, duplicates across sources and kinds, one side a key, reuse."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from medpipe.curate.config import CurateConfig
from medpipe.curate.corpus import (
    CurateError,
    build_corpus,
)
from medpipe.curate.purposes import Purpose
from medpipe.lake.dataset import Dataset, current
from medpipe.lake.layout import Lake
from medpipe.records.kinds import Kind
from medpipe.records.schemas import SCHEMAS, Conversation, Document, Preference, Rejected
from medpipe_tests.making import article, make_source, publish_records, turns
from medpipe_tests.shared_data import shared_data


@pytest.fixture
def lake(tmp_path: Path) -> Lake:
    return Lake(tmp_path / "lake")


def texts(*values: str, **columns: Any) -> list[dict[str, Any]]:
    return [{"text": value, **columns} for value in values]


def kept(dataset: Dataset, source: str = "*") -> pl.DataFrame:
    parts = [p for p in dataset.files(f"{source}/part-*.parquet") if p.parent.name != "rejected"]
    return pl.read_parquet(parts)


def rejected(dataset: Dataset) -> pl.DataFrame:
    frame = pl.read_parquet(dataset.path / "rejected")
    Rejected.validate(frame)
    return frame


def accounted(dataset: Dataset, normalized: dict[str, int]) -> None:
    """Every record of every source is kept or rejected, and the facts say so."""
    facts = dataset.manifest.facts
    assert {source: of["records"] for source, of in facts["by_source"].items()} == normalized
    for source, of in facts["by_source"].items():
        assert of["records"] == of["kept"] + of["rejected"]
        assert of["kept"] == kept(dataset, source).height
        assert of["rejected"] == rejected(dataset).filter(pl.col("source") == source).height
    assert sum(facts["rejected_by_reason"].values()) == rejected(dataset).height
    assert sum(sum(counts.values()) for counts in facts["by_domain"].values()) == dataset.manifest.rows


def test_the_first_source_keeps_a_text_and_the_rejected_name_it(lake: Lake) -> None:
    first = publish_records(lake, "first", Kind.DOCUMENT, texts(article(1), article(2)))
    second = publish_records(
        lake, "second", Kind.DOCUMENT, texts(article(3), article(2).replace("，", " , "), article(3), "无。")
    )
    sources = {name: make_source(name) for name in ("first", "second")}
    built = build_corpus(Purpose.DOCUMENTS, {"first": first, "second": second}, sources, lake=lake)
    assert not built.reused
    accounted(built.dataset, {"first": 2, "second": 4})
    Document.validate(kept(built.dataset))
    assert kept(built.dataset, "first")["text"].to_list() == [article(1), article(2)]
    assert kept(built.dataset, "second")["text"].to_list() == [article(3)]
    out = rejected(built.dataset)
    by_text = dict(kept(built.dataset).select("text", "id").iter_rows())
    assert out.select("row", "reason", "detail", "raw").rows() == [
        (1, "exact_duplicate", by_text[article(2)], None),
        (2, "exact_duplicate", by_text[article(3)], None),
        (3, "too_short", None, "无。"),
    ]
    reversed_order = build_corpus(
        Purpose.DOCUMENTS, {"second": second, "first": first}, sources, lake=lake
    ).dataset
    assert kept(reversed_order, "first")["text"].to_list() == [article(1)]


def test_a_conversation_and_the_same_text_are_one_content(lake: Lake) -> None:
    question, answer = "哮喘患者可以运动吗？", article(5)
    conversations = publish_records(lake, "qa", Kind.CONVERSATION, [{"turns": turns(question, answer)}])
    joined = publish_records(lake, "joined", Kind.DOCUMENT, texts(question + "\n" + answer))
    sources = {"qa": make_source("qa", Kind.CONVERSATION, template="B"), "joined": make_source("joined")}
    dataset = build_corpus(
        Purpose.DOCUMENTS, {"qa": conversations, "joined": joined}, sources, lake=lake
    ).dataset
    accounted(dataset, {"qa": 1, "joined": 1})
    assert kept(dataset)["text"].to_list() == [f"Instruction: {question}\nOutput: {answer}"]
    published = pl.read_parquet(conversations.files("part-*.parquet"))
    assert kept(dataset)["id"].to_list() == published["id"].to_list()
    assert kept(dataset)["content_key"].to_list() == published["content_key"].to_list()


def test_a_held_out_row_of_one_publisher_is_trained_on_nowhere(lake: Lake) -> None:
    """The copy stands in another kind, in a source of another use, and its publisher calls it test."""
    question, answer = "贫血要查什么？", article(7)
    documents = publish_records(lake, "text", Kind.DOCUMENT, texts(question + answer, article(8)))
    exam = publish_records(
        lake, "exam", Kind.CONVERSATION, [{"turns": turns(question, answer), "split": "test"}]
    )
    sources = {
        "text": make_source("text"),
        "exam": make_source("exam", Kind.CONVERSATION, uses=["finetuning"]),
    }
    normalized = {"text": documents, "exam": exam}
    config = CurateConfig(validation_share=0)
    corpus = build_corpus(Purpose.DOCUMENTS, normalized, sources, lake=lake, config=config).dataset
    accounted(corpus, {"text": 2})
    assert kept(corpus)["split"].to_list() == ["validation", "train"]
    tuning = build_corpus(Purpose.CONVERSATIONS, normalized, sources, lake=lake, config=config).dataset
    Conversation.validate(kept(tuning))
    assert kept(tuning)["split"].to_list() == ["validation"]


def test_only_allowed_uses_feed_a_data_set(lake: Lake) -> None:
    pair = {"prompt": turns("头痛怎么办？"), "chosen": article(1), "rejected": "不知道，去看看吧。"}
    normalized = {
        "text": publish_records(lake, "text", Kind.DOCUMENT, texts(article(1))),
        "chat": publish_records(
            lake, "chat", Kind.CONVERSATION, [{"turns": turns("失眠怎么办？", article(2))}]
        ),
        "pairs": publish_records(lake, "pairs", Kind.PREFERENCE, [pair, pair | {"row": 1}]),
    }
    sources = {
        "text": make_source("text"),
        "chat": make_source("chat", Kind.CONVERSATION, uses=["finetuning"]),
        "pairs": make_source("pairs", Kind.PREFERENCE),
    }
    documents = build_corpus(Purpose.DOCUMENTS, normalized, sources, lake=lake).dataset
    conversations = build_corpus(Purpose.CONVERSATIONS, normalized, sources, lake=lake).dataset
    preferences = build_corpus(Purpose.PREFERENCES, normalized, sources, lake=lake).dataset
    accounted(documents, {"text": 1})
    accounted(conversations, {"chat": 1})
    accounted(preferences, {"pairs": 2})
    Preference.validate(kept(preferences))
    assert preferences.manifest.facts["rejected_by_reason"] == {"exact_duplicate": 1}


def test_each_large_enough_domain_has_validation_documents(lake: Lake) -> None:
    rows = [
        {"text": article(number), "domain": domain}
        for number, domain in enumerate(["disease"] * 25 + ["tcm"] * 30 + ["textbook"] * 3)
    ]
    source = publish_records(lake, "text", Kind.DOCUMENT, rows)
    dataset = build_corpus(
        Purpose.DOCUMENTS,
        {"text": source},
        {"text": make_source("text")},
        lake=lake,
        config=CurateConfig(validation_share=0),
    ).dataset
    assert dataset.manifest.facts["by_domain"] == {
        "disease": {"train": 24, "validation": 1},
        "tcm": {"train": 29, "validation": 1},
        "textbook": {"train": 3, "validation": 0},
    }


def test_the_second_build_is_reused_and_settings_or_force_build_again(lake: Lake) -> None:
    normalized = {"text": publish_records(lake, "text", Kind.DOCUMENT, texts(article(1), article(2)))}
    sources = {"text": make_source("text")}
    first = build_corpus(Purpose.DOCUMENTS, normalized, sources, lake=lake)
    second = build_corpus(Purpose.DOCUMENTS, normalized, sources, lake=lake)
    assert (first.reused, second.reused) == (False, True)
    assert second.dataset == first.dataset == current(lake, "corpus", "documents")
    forced = build_corpus(Purpose.DOCUMENTS, normalized, sources, lake=lake, force=True)
    assert not forced.reused and forced.dataset.digest == first.dataset.digest
    stricter = build_corpus(
        Purpose.DOCUMENTS, normalized, sources, lake=lake, config=CurateConfig(minimum_characters=10_000)
    )
    assert not stricter.reused and stricter.dataset.manifest.rows == 0


def test_a_source_that_changes_leaves_the_shard_digests_of_others(lake: Lake) -> None:
    sources = {name: make_source(name) for name in ("a", "b")}
    a = publish_records(lake, "a", Kind.DOCUMENT, texts(article(1), article(2)))
    same_a = publish_records(lake, "a", Kind.DOCUMENT, texts(article(1), article(2)), revision="r2")
    b = publish_records(lake, "b", Kind.DOCUMENT, texts(article(3)))
    more_b = publish_records(lake, "b", Kind.DOCUMENT, texts(article(3), article(4)))
    facts = [
        build_corpus(Purpose.DOCUMENTS, given, sources, lake=lake).dataset.manifest.facts["by_source"]
        for given in ({"a": a, "b": b}, {"a": same_a, "b": more_b})
    ]
    assert facts[0]["a"]["content_digest"] == facts[1]["a"]["content_digest"]
    assert facts[0]["b"]["content_digest"] != facts[1]["b"]["content_digest"]


def test_how_the_input_is_cut_into_parts_changes_nothing(lake: Lake) -> None:
    rows = texts(*(article(number % 70) for number in range(100)))
    sources = {"a": make_source("a")}
    digests = {
        build_corpus(
            Purpose.DOCUMENTS,
            {"a": publish_records(lake, "a", Kind.DOCUMENT, rows, parts=parts)},
            sources,
            lake=lake,
            force=True,
        ).dataset.digest
        for parts in (1, 3, 7)
    }
    assert len(digests) == 1


def test_wrong_names_are_refused_before_anything_is_written(lake: Lake) -> None:
    dataset = publish_records(lake, "text", Kind.DOCUMENT, texts(article(1)))
    with pytest.raises(CurateError, match="no catalog entry for the normalized data of text"):
        build_corpus(Purpose.DOCUMENTS, {"text": dataset}, {}, lake=lake)
    with pytest.raises(CurateError, match="'rejected'"):
        build_corpus(
            Purpose.DOCUMENTS, {"rejected": dataset}, {"rejected": make_source("rejected")}, lake=lake
        )
    assert not lake.room("corpus").exists()


def test_no_source_at_all_gives_an_empty_data_set(lake: Lake) -> None:
    dataset = build_corpus(Purpose.PREFERENCES, {}, {}, lake=lake).dataset
    assert dataset.manifest.rows == 0
    assert dataset.manifest.facts["by_source"] == {}


def test_real_records(lake: Lake) -> None:
    articles = [json.loads(line)["text"] for line in shared_data("skywork/zh_general.jsonl").open()]
    pairs = [json.loads(line) for line in shared_data("bentsao/llama_data.json").open()]
    # The same questions and answers once more as joined texts: all of them must be found.
    joined = [f"问：{pair['instruction']}\n答：{pair['output']}" for pair in pairs]
    normalized = {
        "web": publish_records(lake, "web", Kind.DOCUMENT, texts(*articles, domain="general")),
        "qa": publish_records(
            lake, "qa", Kind.CONVERSATION, [{"turns": turns(p["instruction"], p["output"])} for p in pairs]
        ),
        "joined": publish_records(lake, "joined", Kind.DOCUMENT, texts(*joined)),
    }
    sources = {
        "web": make_source("web"),
        "qa": make_source("qa", Kind.CONVERSATION),
        "joined": make_source("joined"),
    }
    dataset = build_corpus(Purpose.DOCUMENTS, normalized, sources, lake=lake).dataset
    accounted(dataset, {"web": len(articles), "qa": len(pairs), "joined": len(pairs)})
    SCHEMAS[Kind.DOCUMENT].validate(kept(dataset))
    facts = dataset.manifest.facts
    # What a filter takes for a conversation's defect it cannot see in a joined text.
    assert facts["by_source"]["joined"]["kept"] <= facts["by_source"]["qa"]["rejected"] < 0.05 * len(pairs)
    assert facts["by_source"]["qa"]["kept"] > 0.9 * len(pairs)
    assert facts["by_tier"]["refined"] > 0.8 * dataset.manifest.rows
    assert kept(dataset)["content_key"].is_unique().all()
