"""Which copy is kept, and on which side of the hold-out a key stands."""

from __future__ import annotations

import hashlib

import polars as pl
from hypothesis import given, settings
from hypothesis import strategies as st

from medpipe.curate.duplicates import mark_duplicates
from medpipe.curate.split import drawn, held_out_keys
from medpipe.records.kinds import Kind, record_columns

_TYPES = record_columns(Kind.DOCUMENT)


def key(number: int) -> str:
    return hashlib.blake2b(str(number).encode(), digest_size=16).hexdigest()


def members(numbers: list[int], *, split: str = "train", domain: str = "disease") -> pl.DataFrame:
    return pl.DataFrame(
        {
            "content_key": [key(number) for number in numbers],
            "split": [split] * len(numbers),
            "domain": [domain] * len(numbers),
        },
        schema_overrides={"split": _TYPES["split"], "domain": _TYPES["domain"]},
    )


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
    train = members([1, 2, 3])
    for split in ("validation", "test"):
        keys = held_out_keys(
            pl.concat([train, members([2], split=split)]), [train], share=0, minimum_documents=20
        )
        assert keys.to_list() == [key(2)]


def test_a_domain_with_enough_documents_gives_one_up() -> None:
    enough = members(list(range(20)))
    too_few = members(list(range(100, 119)), domain="tcm")
    everything = pl.concat([enough, too_few])
    keys = held_out_keys(everything, [everything], share=0, minimum_documents=20)
    assert keys.to_list() == [min(enough["content_key"])]


def test_a_domain_that_has_a_held_out_record_gives_no_other_up() -> None:
    kept = members(list(range(40)))
    published = members([7], split="test")
    keys = held_out_keys(pl.concat([kept, published]), [kept], share=0, minimum_documents=20)
    assert keys.to_list() == [key(7)]
