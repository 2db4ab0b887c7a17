"""Which copy is kept, and on which side of the hold-out a key stands."""

from __future__ import annotations

import hashlib

import polars as pl
from hypothesis import given, settings
from hypothesis import strategies as st

from medpipe.curate.duplicates import mark_duplicates
from medpipe.curate.split import drawn, groups, sides
from medpipe.records.kinds import Kind, record_columns

_TYPES = record_columns(Kind.DOCUMENT)


def key(number: int) -> str:
    return hashlib.blake2b(str(number).encode(), digest_size=16).hexdigest()


NOTHING = pl.DataFrame(schema={"content_key": pl.String, "split": pl.String})


def members(numbers: list[int], *, split: str = "train", domain: str = "disease") -> pl.DataFrame:
    return pl.DataFrame(
        {
            "content_key": [key(number) for number in numbers],
            "split": [split] * len(numbers),
            "domain": [domain] * len(numbers),
            "cluster": [None] * len(numbers),
            "family": [None] * len(numbers),
        },
        schema_overrides={
            "split": _TYPES["split"],
            "domain": _TYPES["domain"],
            "cluster": pl.Int64,
            "family": pl.String,
        },
    )


def held_out(
    records: pl.DataFrame, *, share: float = 0, earlier: pl.DataFrame = NOTHING, kept: bool = True
) -> list[bool]:
    """Whether each record is held out, all of them being kept if `kept`."""
    grouped = records.with_columns(groups(records))
    decided = sides(grouped, [grouped] if kept else [], earlier, share=share, minimum_documents=20)
    return decided["is_held_out"].to_list()


@given(st.lists(st.integers(0, 12), max_size=60))
def test_exactly_the_first_member_of_each_group_is_kept(numbers: list[int]) -> None:
    frame = pl.DataFrame(
        {"id": [f"id{position}" for position in range(len(numbers))], "content_key": numbers},
        schema={"id": pl.String, "content_key": pl.Int64},
    )
    marked = mark_duplicates(frame.lazy()).collect()
    first: dict[int, str] = {}
    for record_id, number, duplicate_of in marked.iter_rows():
        assert duplicate_of == first.get(number)
        first.setdefault(number, record_id)
    assert marked["id"].to_list() == frame["id"].to_list()


@given(st.sets(st.integers(0, 10_000), min_size=1, max_size=200), st.floats(0, 0.99), st.randoms())
@settings(deadline=None)
def test_the_draw_depends_on_the_key_alone(numbers: set[int], share: float, random) -> None:
    ordered = sorted(numbers)
    shuffled = ordered.copy()
    random.shuffle(shuffled)
    sides = [
        dict(frame.select("content_key", side=drawn(share)).iter_rows())
        for frame in (members(ordered), members(shuffled), members(shuffled[: len(shuffled) // 2 + 1]))
    ]
    assert sides[0] == sides[1]
    assert sides[2].items() <= sides[0].items()


def test_the_draw_is_a_fair_share() -> None:
    held_out = members(list(range(20_000))).filter(drawn(0.05)).height
    assert 0.045 < held_out / 20_000 < 0.055
    assert members(list(range(1000))).filter(drawn(0)).is_empty()


def test_what_one_publisher_holds_out_is_held_out_for_all() -> None:
    for split in ("validation", "test"):
        assert held_out(pl.concat([members([1, 2, 3]), members([2], split=split)])) == [
            False,
            True,
            False,
            True,
        ]


def test_relatives_stand_on_one_side() -> None:
    records = members([1, 2, 3, 4, 5]).with_columns(
        cluster=pl.Series([0, None, 0, None, None], dtype=pl.Int64),
        family=pl.Series([None, "name:甲病", "name:甲病", None, None]),
        split=pl.Series(["train", "test", "train", "train", "train"], dtype=_TYPES["split"]),
    )
    assert groups(records).to_list() == [0, 0, 0, 3, 4]
    assert held_out(records) == [True, True, True, False, False]


@given(
    st.lists(
        st.tuples(st.integers(0, 9), st.none() | st.integers(0, 3), st.none() | st.sampled_from("ab")),
        min_size=1,
        max_size=30,
    ),
    st.floats(0, 0.9),
    st.lists(st.tuples(st.integers(0, 9), st.sampled_from(["train", "validation"])), max_size=5),
)
@settings(deadline=None)
def test_no_relation_ever_crosses_the_hold_out(
    rows: list[tuple[int, int | None, str | None]], share: float, before: list[tuple[int, str]]
) -> None:
    records = members([number for number, _, _ in rows]).with_columns(
        cluster=pl.Series([cluster for _, cluster, _ in rows], dtype=pl.Int64),
        family=pl.Series([family for _, _, family in rows], dtype=pl.String),
    )
    earlier = pl.DataFrame(
        {"content_key": [key(number) for number, _ in before], "split": [split for _, split in before]},
        schema=NOTHING.schema,
    )
    out = records.with_columns(is_out=pl.Series(held_out(records, share=share, earlier=earlier)))
    for column in ("content_key", "cluster", "family"):
        sides_of = out.drop_nulls(column).group_by(column).agg(pl.col("is_out").n_unique())
        assert sides_of["is_out"].max() in (None, 1)
    trained = set(earlier.filter(pl.col("split") == "train")["content_key"])
    assert not out.filter(pl.col("content_key").is_in(trained))["is_out"].any()


def test_a_group_stays_where_an_earlier_corpus_put_it() -> None:
    records = members(list(range(50)))
    earlier = records.select("content_key", split=pl.lit("train"))
    assert not any(held_out(records, share=0.9, earlier=earlier, kept=False))
    earlier = earlier.with_columns(split=pl.lit("validation"))
    assert all(held_out(records, earlier=earlier, kept=False))


def test_a_test_record_whose_relative_was_trained_on_is_known_as_seen() -> None:
    records = pl.concat([members([1]), members([2, 3], split="test")]).with_columns(
        cluster=pl.Series([7, 7, None], dtype=pl.Int64)
    )
    earlier = pl.DataFrame({"content_key": [key(1)], "split": ["train"]})
    grouped = records.with_columns(groups(records))
    decided = sides(grouped, [], earlier, share=0, minimum_documents=20)
    assert decided.rows() == [(False, False), (False, True), (True, False)]


def test_the_size_of_a_group_does_not_change_its_chance() -> None:
    records = members(list(range(20_000))).with_columns(cluster=pl.int_range(pl.len()) // 10)
    assert 0.03 < sum(held_out(records, share=0.05, kept=False)) / 20_000 < 0.07


def test_a_domain_with_enough_documents_gives_one_up() -> None:
    enough = members(list(range(20)))
    too_few = members(list(range(100, 119)), domain="tcm")
    out = held_out(pl.concat([enough, too_few]))
    assert out == [each == min(enough["content_key"]) for each in enough["content_key"]] + [False] * 19


def test_a_domain_that_has_a_held_out_record_gives_no_other_up() -> None:
    out = held_out(pl.concat([members(list(range(40))), members([7], split="test")]))
    assert [number for number, is_out in enumerate(out) if is_out] == [7, 40]
