"""Which copy is kept, and on which side of the hold-out a key stands."""

from __future__ import annotations

import hashlib

import numpy as np
import polars as pl
from hypothesis import given, settings
from hypothesis import strategies as st

from medpipe.curate.duplicates import first_of_each
from medpipe.curate.family import MOST_RECORDS
from medpipe.curate.record_table import DOMAINS, NONE, Keys, RecordTable, Rows, Verdict, hex_keys, rank
from medpipe.curate.split import HELD_OUT, TRAINED, UNKNOWN, Sides, drawn, groups, sides
from medpipe.records.kinds import Kind, record_columns

_TYPES = record_columns(Kind.DOCUMENT)


def key(number: int) -> str:
    return hashlib.blake2b(str(number).encode(), digest_size=16).hexdigest()


def halves(keys: list[str]) -> Keys:
    return np.array([[int(each[:16], 16), int(each[16:], 16)] for each in keys], np.uint64).reshape(-1, 2)


NOTHING = pl.DataFrame(schema={"content_key": pl.String, "split": pl.String})


def table(records: pl.DataFrame) -> RecordTable:
    rows = records.height
    return RecordTable(
        rows_of={"text": slice(0, rows)},
        ids=np.zeros((rows, 2), np.uint64),
        keys=halves(records["content_key"].to_list()),
        scrubbed=(np.zeros(0, np.uint32), np.zeros((0, 2), np.uint64)),
        domains=np.array([DOMAINS.index(each) for each in records["domain"]], np.uint8),
        is_published=(records["split"].cast(pl.String) != "train").to_numpy(),
        characters=np.zeros(rows, np.uint32),
        is_refined=np.zeros(rows, bool),
        families=records["family"].hash().to_numpy() * records["family"].is_not_null().to_numpy(),
        questions=records["question"].fill_null(0).to_numpy(),
        verdicts=np.zeros(rows, np.uint8),
    )


def clusters_of(records: pl.DataFrame) -> Rows:
    return records["cluster"].fill_null(int(NONE)).to_numpy().astype(np.uint32)


def grouped(records: pl.DataFrame) -> list[int]:
    one = table(records)
    ranks, scrubbed = rank(one.keys, one.scrubbed[1])
    return groups(one, ranks, scrubbed, clusters_of(records)).tolist()


def decided(
    records: pl.DataFrame, *, share: float = 0, earlier: pl.DataFrame = NOTHING, kept: bool = True
) -> Sides:
    one = table(records)
    ranks, scrubbed = rank(one.keys, one.scrubbed[1])
    before = dict(earlier.select("content_key", pl.col("split").cast(pl.String)).iter_rows())
    known = [before.get(each) for each in records["content_key"]]
    codes = {None: UNKNOWN, "train": TRAINED, "validation": HELD_OUT}
    return sides(
        one,
        ranks,
        groups(one, ranks, scrubbed, clusters_of(records)),
        [np.ones(records.height, bool)] if kept else [],
        np.array([codes[each] for each in known], np.uint8),
        share=share,
        minimum_documents=20,
    )


def members(numbers: list[int], *, split: str = "train", domain: str = "disease") -> pl.DataFrame:
    return pl.DataFrame(
        {
            "content_key": [key(number) for number in numbers],
            "split": [split] * len(numbers),
            "domain": [domain] * len(numbers),
            "cluster": [None] * len(numbers),
            "family": [None] * len(numbers),
            "question": [None] * len(numbers),
        },
        schema_overrides={
            "split": _TYPES["split"],
            "domain": _TYPES["domain"],
            "cluster": pl.Int64,
            "family": pl.String,
            "question": pl.UInt64,
        },
    )


def held_out(
    records: pl.DataFrame, *, share: float = 0, earlier: pl.DataFrame = NOTHING, kept: bool = True
) -> list[bool]:
    """Whether each record is held out, all of them being kept if `kept`."""
    return decided(records, share=share, earlier=earlier, kept=kept).is_held_out.tolist()


def is_drawn(records: pl.DataFrame, share: float) -> pl.Series:
    return pl.Series(drawn(halves(records["content_key"].to_list())[:, 1], share))


@given(st.lists(st.integers(0, 12), max_size=60))
def test_exactly_the_first_member_of_each_group_is_kept(numbers: list[int]) -> None:
    kept = first_of_each(np.array(numbers, np.uint32)).tolist()
    assert kept == [numbers.index(number) for number in numbers]


@given(st.lists(st.tuples(st.integers(0, 3), st.integers(0, 3)), max_size=30), st.integers(0, 30))
def test_ranks_are_the_order_of_keys_whatever_their_halves(keys: list[tuple[int, int]], cut: int) -> None:
    whole = np.array(keys, np.uint64).reshape(-1, 2)
    ranks = np.concatenate(rank(whole[:cut], whole[cut:])).tolist()
    different = sorted(set(keys))
    assert ranks == [different.index(each) for each in keys]


def test_keys_are_written_as_they_were_read() -> None:
    keys = [key(number) for number in range(20)] + ["0" * 32, "f" * 32]
    assert hex_keys(halves(keys)) == keys


@given(st.sets(st.integers(0, 10_000), min_size=1, max_size=200), st.floats(0, 0.99), st.randoms())
@settings(deadline=None)
def test_the_draw_depends_on_the_key_alone(numbers: set[int], share: float, random) -> None:
    ordered = sorted(numbers)
    shuffled = ordered.copy()
    random.shuffle(shuffled)
    sides = [
        dict(frame.select("content_key", side=is_drawn(frame, share)).iter_rows())
        for frame in (members(ordered), members(shuffled), members(shuffled[: len(shuffled) // 2 + 1]))
    ]
    assert sides[0] == sides[1]
    assert sides[2].items() <= sides[0].items()


def test_the_draw_is_a_fair_share() -> None:
    assert 0.045 < is_drawn(members(list(range(20_000))), 0.05).mean() < 0.055
    assert not is_drawn(members(list(range(1000))), 0).any()


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
    assert grouped(records) == [0, 0, 0, 3, 4]
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
    ).unique("content_key")
    sides_before = dict(earlier.iter_rows())
    out = records.with_columns(is_out=pl.Series(held_out(records, share=share, earlier=earlier)))
    for column in ("content_key", "cluster", "family"):
        sides_of = out.drop_nulls(column).group_by(column).agg(pl.col("is_out").n_unique())
        assert sides_of["is_out"].max() in (None, 1)
    now = decided(records, share=share, earlier=earlier)
    for (content_key, split), is_out, is_left in zip(
        [(each, sides_before.get(each)) for each in records["content_key"]],
        now.is_held_out,
        now.was_seen,
        strict=True,
    ):
        # A key keeps its side, or is left out where its relatives are trained on.
        assert split is None or is_left or is_out == (split == "validation"), content_key


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
    now = decided(records, earlier=earlier, kept=False)
    assert now.is_held_out.tolist() == [False, False, True]
    assert now.was_seen.tolist() == [False, True, False]


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


def test_what_was_held_out_is_left_out_when_a_relative_was_trained_on() -> None:
    records = members([1, 2]).with_columns(cluster=pl.Series([7, 7], dtype=pl.Int64))
    earlier = pl.DataFrame({"content_key": [key(1), key(2)], "split": ["train", "validation"]})
    now = decided(records, earlier=earlier)
    assert now.is_held_out.tolist() == [False, False]
    assert now.was_seen.tolist() == [False, True]


def test_a_question_that_opens_too_many_different_records_relates_none() -> None:
    def asked(different: int) -> list[int]:
        numbers = [*range(different), 0]
        return grouped(members(numbers).with_columns(question=pl.lit(5, dtype=pl.UInt64)))

    assert asked(MOST_RECORDS) == [0] * (MOST_RECORDS + 1)
    assert asked(MOST_RECORDS + 1) == [*range(MOST_RECORDS + 1), 0]


def test_what_was_withdrawn_relates_and_holds_out_nothing() -> None:
    records = pl.concat([members([1]), members([1], split="test"), members([2])]).with_columns(
        cluster=pl.Series([None, 3, 3], dtype=pl.Int64)
    )
    one = table(records)
    one.verdicts[1] = Verdict.WITHDRAWN
    ranks, scrubbed = rank(one.keys, one.scrubbed[1])
    group = groups(one, ranks, scrubbed, clusters_of(records))
    assert group.tolist() == [0, 1, 2]
    now = sides(one, ranks, group, [], np.zeros(3, np.uint8), share=0, minimum_documents=20)
    assert not now.is_held_out[[0, 2]].any()
    one.verdicts[1] = Verdict.FILTERED
    assert groups(one, ranks, scrubbed, clusters_of(records)).tolist() == [0, 0, 0]


def test_records_that_are_equal_without_personal_data_stand_on_one_side() -> None:
    one = table(members([1, 2, 3]))
    changed = np.array([0, 2], np.uint32), halves([key(9), key(9)])
    ranks, scrubbed = rank(one.keys, changed[1])
    same = RecordTable(**(vars(one) | {"scrubbed": changed}))
    assert groups(same, ranks, scrubbed, clusters_of(members([1, 2, 3]))).tolist() == [0, 1, 0]
