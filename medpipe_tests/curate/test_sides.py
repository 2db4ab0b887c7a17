"""Sides are for good, what was withdrawn stays out, and duplicates name what is kept."""

from __future__ import annotations

import shutil
from pathlib import Path

import polars as pl
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from medpipe.curate.config import CurateConfig
from medpipe.curate.corpus import build_corpus
from medpipe.curate.filters.config import FilterConfig
from medpipe.curate.purposes import Purpose, kept_parts
from medpipe.lake.dataset import Dataset, current
from medpipe.lake.layout import Lake
from medpipe.lake.tombstones import withdraw
from medpipe.records.kinds import Kind
from medpipe_tests.making import article, make_source, publish_records, turns

SOURCES = {
    "text": make_source("text"),
    "chat": make_source("chat", Kind.CONVERSATION, uses=["pretraining", "finetuning"]),
}


@pytest.fixture
def lake(tmp_path: Path) -> Lake:
    return Lake(tmp_path / "lake")


def documents(lake: Lake, *texts: str, name: str = "text", **columns: str) -> Dataset:
    return publish_records(lake, name, Kind.DOCUMENT, [{"text": each, **columns} for each in texts])


def chats(lake: Lake, *numbers: int) -> Dataset:
    rows = [{"turns": turns(f"名称：第{n}种病。它要紧吗？", article(n))} for n in numbers]
    return publish_records(lake, "chat", Kind.CONVERSATION, rows)


def build(lake: Lake, purpose: Purpose, share: float = 0.5, **normalized: Dataset) -> Dataset:
    config = CurateConfig(validation_share=share, filters=FilterConfig(groups={}), minimum_characters=2)
    sources = {name: SOURCES.get(name) or make_source(name) for name in normalized}
    return build_corpus(purpose, normalized, sources, lake=lake, config=config).dataset


def kept(corpus: Dataset) -> pl.DataFrame:
    frames = [pl.read_parquet(part).select("id", "content_key", "split") for part in kept_parts(corpus)]
    return pl.concat(frames)


def rejected(corpus: Dataset) -> pl.DataFrame:
    return pl.read_parquet(corpus.path / "rejected").sort("source", "row")


def sides_of_all(lake: Lake) -> dict[str, set[str]]:
    found: dict[str, set[str]] = {}
    for purpose in (Purpose.DOCUMENTS, Purpose.CONVERSATIONS):
        for key, split in kept(current(lake, "corpus", purpose)).select("content_key", "split").iter_rows():
            found.setdefault(key, set()).add(split)
    return found


@pytest.mark.parametrize("is_pruned", [False, True])
def test_no_two_current_data_sets_ever_disagree(lake: Lake, is_pruned: bool) -> None:
    """What is one group in the second data set stood on both sides in the first, which is taken up again."""
    base = chats(lake, *range(30))
    first = build(lake, Purpose.DOCUMENTS, chat=base)
    before = dict(kept(first).select("content_key", "split").iter_rows())
    assert set(before.values()) == {"train", "validation"}
    if is_pruned:
        shutil.rmtree(first.path)
    # One question opens all of these answers, which are near-duplicates of those before.
    rows = [{"turns": turns("名称：同一种病。它要紧吗？", article(n)), "split": "train"} for n in range(30)]
    joined = publish_records(lake, "joined", Kind.CONVERSATION, rows)
    same = pl.read_parquet(base.files("part-*.parquet"))
    keys = set(same["content_key"])
    assert keys.isdisjoint(pl.read_parquet(joined.files("part-*.parquet"))["content_key"])
    sources = SOURCES | {"joined": make_source("joined", Kind.CONVERSATION, uses=["finetuning"])}
    config = CurateConfig(validation_share=0.5, filters=FilterConfig(groups={}), minimum_characters=2)
    second = build_corpus(
        Purpose.CONVERSATIONS, {"chat": base, "joined": joined}, sources, lake=lake, config=config
    ).dataset
    for key, split in kept(second).select("content_key", "split").iter_rows():
        assert before.get(key, split) == split
    left_out = rejected(second)["reason"].to_list()
    assert "held_out_but_seen" in left_out
    again = build(lake, Purpose.DOCUMENTS, chat=base)
    assert again.digest == first.digest
    assert max(map(len, sides_of_all(lake).values())) == 1
    everything = build_corpus(
        Purpose.DOCUMENTS, {"chat": base, "joined": joined}, sources, lake=lake, config=config
    ).dataset
    assert kept(everything).height
    assert max(map(len, sides_of_all(lake).values())) == 1


def test_sides_that_are_damaged_are_taken_from_the_corpora(lake: Lake) -> None:
    base = chats(lake, *range(30))
    before = dict(kept(build(lake, Purpose.DOCUMENTS, chat=base)).select("content_key", "split").iter_rows())
    for path in lake.room("splits").rglob("part-*.parquet"):
        path.write_bytes(b"")
    after = build(lake, Purpose.CONVERSATIONS, 0.0, chat=base)
    assert dict(kept(after).select("content_key", "split").iter_rows()) == before


def test_sides_of_which_bytes_changed_are_put_aside_and_taken_from_the_corpora(lake: Lake) -> None:
    """Not only where they cannot be read: a side that is another one would be believed."""
    base = chats(lake, *range(30))
    first = build(lake, Purpose.DOCUMENTS, chat=base)
    before = dict(kept(first).select("content_key", "split").iter_rows())
    path = current(lake, "splits", "records").files()[0]
    sound = path.read_bytes()
    path.write_bytes(sound[: len(sound) // 2] + bytes(len(sound) - len(sound) // 2))
    said: list[str] = []
    config = CurateConfig(validation_share=0, filters=FilterConfig(groups={}), minimum_characters=2)
    after = build_corpus(
        Purpose.CONVERSATIONS, {"chat": base}, SOURCES, lake=lake, config=config, progress=said.append
    ).dataset
    assert dict(kept(after).select("content_key", "split").iter_rows()) == before
    assert [line for line in said if "splits/records is damaged" in line and ".damaged-" in line]
    assert path.read_bytes() == sound, "found again, and the damaged file is not in the way"


def test_a_corpus_that_is_damaged_says_nothing_of_sides(lake: Lake) -> None:
    first = build(lake, Purpose.DOCUMENTS, chat=chats(lake, *range(30)))
    shutil.rmtree(lake.room("splits"))
    for path in kept_parts(first):
        path.write_bytes(bytes(path.stat().st_size))
    assert kept(build(lake, Purpose.CONVERSATIONS, 0.0, chat=chats(lake, 1, 2))).height == 2


def long(number: int) -> str:
    return "".join(article(number * 10 + part) for part in range(6))


@pytest.mark.parametrize("is_withdrawn", [False, True])
def test_a_duplicate_of_what_was_trained_on_is_never_held_out(lake: Lake, is_withdrawn: bool) -> None:
    """Neither when the source of the better text is gone, nor when that text was withdrawn."""
    worse = documents(lake, *(long(n) for n in range(30)), name="worse")
    better = documents(lake, *(long(n) + "完。" for n in range(30)), name="better")
    first = build(lake, Purpose.DOCUMENTS, 0.0, worse=worse, better=better)
    assert rejected(first)["reason"].to_list() == ["near_duplicate"] * 30
    gone, stays = (better, worse) if rejected(first)["source"][0] == "worse" else (worse, better)
    feeding = {stays.manifest.name: stays}
    if is_withdrawn:
        withdraw(lake, pl.read_parquet(gone.files("part-*.parquet")), reason="asked to")
        feeding[gone.manifest.name] = gone
    second = build(lake, Purpose.DOCUMENTS, 0.9, **feeding)
    assert side_of_row(second) == side_of_row(first)


def side_of_row(corpus: Dataset) -> dict[int, str]:
    parts = [pl.read_parquet(part).select("row", pl.col("split").cast(str)) for part in kept_parts(corpus)]
    sides = dict(pl.concat(parts).iter_rows())
    assert len(sides) == 30 and list(sides.values()).count("validation") == 1, (
        "the one that a domain must have"
    )
    return sides


def test_a_copy_that_is_one_without_its_telephone_number_keeps_the_side(lake: Lake) -> None:
    told = {
        name: [f"{article(n)}我的手机号是138{ending}{n:04d}，请回电。" for n in range(30)]
        for name, ending in (("text", "1234"), ("copy", "5678"))
    }
    both = {name: documents(lake, *texts, name=name) for name, texts in told.items()}
    first = build(lake, Purpose.DOCUMENTS, 0.0, **both)
    assert rejected(first)["reason"].to_list() == ["exact_duplicate"] * 30
    second = build(lake, Purpose.DOCUMENTS, 0.9, copy=both["copy"])
    assert side_of_row(second) == side_of_row(first)


def test_texts_that_differ_in_a_telephone_number_alone_are_one(lake: Lake) -> None:
    told = [f"{article(1)}我的手机号是1381234{n}，请回电。" for n in (1111, 2222)]
    corpus = build(lake, Purpose.DOCUMENTS, 0.0, text=documents(lake, *told, article(2)))
    assert kept(corpus).height == 2
    assert rejected(corpus)["reason"].to_list() == ["exact_duplicate"]
    assert rejected(corpus)["detail"].item() in kept(corpus)["id"].to_list()


TEXTS = st.lists(st.tuples(st.integers(0, 3), st.integers(0, 2), st.booleans()), min_size=2, max_size=12)


@given(TEXTS, TEXTS)
@settings(deadline=None, max_examples=8, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_duplicates_name_a_record_that_is_kept(
    tmp_path_factory: pytest.TempPathFactory,
    one: list[tuple[int, int, bool]],
    other: list[tuple[int, int, bool]],
) -> None:
    """Exact copies and near ones of four texts: a copy's original can be a near-duplicate itself."""
    lake = Lake(tmp_path_factory.mktemp("lake"))

    def text(number: int, ending: int, is_spaced: bool) -> str:
        whole = "".join(article(number * 10 + part) for part in range(6)) + "完" * ending
        return whole.replace("，", "， ") if is_spaced else whole

    corpus = build(
        lake,
        Purpose.DOCUMENTS,
        text=documents(lake, *(text(*each) for each in one)),
        more=documents(lake, *(text(*each) for each in other), name="more"),
    )
    ids = set(kept(corpus)["id"])
    out = rejected(corpus)
    assert len(ids) == len({number for number, _, _ in one + other})
    assert set(out["reason"]) <= {"exact_duplicate", "near_duplicate"}
    assert set(out["detail"]) <= ids
    assert out.filter((pl.col("reason") == "near_duplicate") & pl.col("raw").is_null()).is_empty()


def test_what_was_withdrawn_is_left_out_and_takes_nothing_with_it(lake: Lake) -> None:
    long = "".join(article(part) for part in range(6))
    near = long.replace("第1号", "第9号")
    text = documents(lake, long, near, article(50))
    copy = documents(lake, long.replace("，", "， "), article(51), name="copy")
    before = build(lake, Purpose.DOCUMENTS, 0.0, text=text, copy=copy)
    assert kept(before).height == 3
    published = pl.read_parquet(text.files("part-*.parquet"))
    withdraw(lake, published.filter(pl.col("row") == 0), reason="asked to")
    after = build(lake, Purpose.DOCUMENTS, 0.0, text=text, copy=copy)
    out = rejected(after).select("source", "row", "reason", "detail", "raw").rows()
    assert out == [("copy", 0, "withdrawn", None, None), ("text", 0, "withdrawn", None, None)]
    assert set(published["id"][1:]) <= set(kept(after)["id"])
    assert "tombstones" not in before.manifest.recipe.config
    assert "tombstones" in after.manifest.recipe.config
    assert long not in str([pl.read_parquet(each).rows() for each in after.path.rglob("*.parquet")])


def test_a_source_that_was_withdrawn_gives_nothing(lake: Lake) -> None:
    text, copy = documents(lake, article(1)), documents(lake, article(2), name="copy")
    withdraw(
        lake, pl.DataFrame(schema=dict.fromkeys(("id", "content_key", "source"), pl.String)), sources=["copy"]
    )
    after = build(lake, Purpose.DOCUMENTS, 0.0, text=text, copy=copy)
    assert kept(after).height == 1
    assert rejected(after).select("source", "reason").rows() == [("copy", "withdrawn")]


def test_an_exam_item_that_was_withdrawn_is_no_exam(lake: Lake) -> None:
    question = "一名五十岁的男子三天来反复胸闷，活动后加重，休息数分钟就能缓解，他最可能得的是哪一种病？"
    exam = publish_records(
        lake, "exam", Kind.CONVERSATION, [{"turns": turns(question, "心绞痛。"), "split": "test"}]
    )
    texts = documents(lake, article(1) + question + article(2), article(3))
    sources = SOURCES | {"exam": make_source("exam", Kind.CONVERSATION, uses=["evaluation"])}
    normalized = {"text": texts, "exam": exam}
    before = build_corpus(Purpose.DOCUMENTS, normalized, sources, lake=lake).dataset
    assert rejected(before)["reason"].to_list() == ["repeats_exam_item"]
    withdraw(lake, pl.read_parquet(exam.files("part-*.parquet")), reason="asked to")
    after = build_corpus(Purpose.DOCUMENTS, normalized, sources, lake=lake).dataset
    assert after.manifest.rows == 2
