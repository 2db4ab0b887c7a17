"""Withdrawals: written once, read by everybody, never ignored."""

from __future__ import annotations

from pathlib import Path

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from medpipe.lake.layout import Lake
from medpipe.lake.tombstones import (
    TombstoneError,
    Tombstones,
    read_tombstones,
    read_withdrawals,
    withdraw,
)

A, B, C = ("a" * 32, "b" * 32, "c" * 32)
HASH = st.text("0123456789abcdef", min_size=32, max_size=32)


def records(*rows: tuple[str, str, str]) -> pl.DataFrame:
    return pl.DataFrame(
        rows, schema={"id": pl.String, "content_key": pl.String, "source": pl.String}, orient="row"
    )


def test_no_folder_is_no_tombstone(tmp_path: Path) -> None:
    found = read_tombstones(Lake(tmp_path))
    assert not found
    assert found.of_source("one") == ""


def test_withdrawals_add_up(tmp_path: Path) -> None:
    lake = Lake(tmp_path)
    withdraw(lake, records((A, B, "one")), reason="asked by the author")
    withdraw(lake, records(), sources=["two"], reason="licence")
    found = read_tombstones(lake)
    assert (found.ids, found.content_keys, found.sources) == (
        frozenset({A}),
        frozenset({B}),
        frozenset({"two"}),
    )
    assert [w.reason for _, w in read_withdrawals(lake)] in (
        ["asked by the author", "licence"],
        ["licence", "asked by the author"],
    )


def test_only_the_sources_concerned_have_a_digest(tmp_path: Path) -> None:
    lake = Lake(tmp_path)
    withdraw(lake, records((A, C, "one"), (B, C, "two")))
    before = read_tombstones(lake)
    assert before.of_source("one") and before.of_source("two") and not before.of_source("three")
    withdraw(lake, records((C, A, "two")))
    after = read_tombstones(lake)
    assert after.of_source("one") == before.of_source("one")
    assert after.of_source("two") != before.of_source("two")
    assert after.digest() != before.digest()
    withdraw(lake, records(), sources=["one"])
    assert read_tombstones(lake).of_source("one") not in ("", before.of_source("one"))


def test_the_same_withdrawal_is_written_once(tmp_path: Path) -> None:
    lake = Lake(tmp_path)
    first = withdraw(lake, records((A, B, "one"), (B, C, "one")), reason="x")
    assert withdraw(lake, records((B, C, "one"), (A, B, "one")), reason="x") == first
    assert len(list(first.parent.iterdir())) == 1


def test_rows_by_id_by_key_and_by_source(tmp_path: Path) -> None:
    lake = Lake(tmp_path)
    withdraw(lake, records((A, B, "one")), sources=["gone"])
    rows = records((A, C, "x"), (C, B, "y"), (C, C, "gone"), (C, C, "one"), (B, A, "z"))
    assert rows.select(read_tombstones(lake).is_withdrawn()).to_series().to_list() == [True] * 3 + [False] * 2
    lazy = rows.lazy().filter(read_tombstones(lake).is_withdrawn()).collect(engine="streaming")
    assert lazy.height == 3


@pytest.mark.parametrize("height", [0, 1, 3])
def test_without_tombstones_every_row_stays(height: int) -> None:
    rows = records(*[(A, B, "one")] * height)
    assert rows.filter(~Tombstones().is_withdrawn()).height == height
    assert rows.with_columns(w=Tombstones().is_withdrawn())["w"].to_list() == [False] * height


@pytest.mark.parametrize("damage", ["empty", "cut", "not_json", "edited", "newer", "renamed", "dangling"])
def test_a_broken_file_is_an_error_that_names_it(tmp_path: Path, damage: str) -> None:
    lake = Lake(tmp_path)
    path = withdraw(lake, records((A, B, "one")))
    text = path.read_text()
    if damage == "renamed":
        path = path.rename(path.with_name(f"20200101T000000-{C}.json"))
    elif damage == "dangling":
        path.unlink()
        path.symlink_to(tmp_path / "nowhere")
    else:
        changed = {
            "empty": "",
            "cut": text[: len(text) // 2],
            "not_json": "withdrawn: all of it",
            "edited": text.replace(A, C),
            "newer": text.replace('"schema_version": 1', '"schema_version": 2'),
        }[damage]
        assert changed != text
        path.write_text(changed)
    with pytest.raises(TombstoneError, match=path.name):
        read_tombstones(lake)
    with pytest.raises(TombstoneError, match=path.name):
        withdraw(lake, records((B, B, "one")))


def test_deleting_the_file_undoes_it(tmp_path: Path) -> None:
    lake = Lake(tmp_path)
    withdraw(lake, records((A, B, "one"))).unlink()
    assert not read_tombstones(lake)


@pytest.mark.parametrize(
    ("rows", "sources"), [([], []), ([("short", B, "one")], []), ([(A, None, "one")], []), ([], ["../x"])]
)
def test_what_cannot_be_withdrawn(
    tmp_path: Path, rows: list[tuple[str, str, str]], sources: list[str]
) -> None:
    with pytest.raises(ValueError, match=r"withdraw|folder of the lake"):
        withdraw(Lake(tmp_path), records(*rows), sources=sources)
    assert not (tmp_path / "tombstones").exists()


@given(rows=st.lists(st.tuples(HASH, HASH, st.sampled_from(["one", "two"])), min_size=1, max_size=5))
def test_round_trip(tmp_path_factory: pytest.TempPathFactory, rows: list[tuple[str, str, str]]) -> None:
    lake = Lake(tmp_path_factory.mktemp("lake"))
    withdraw(lake, records(*rows))
    found = read_tombstones(lake)
    assert found.ids == {row[0] for row in rows}
    assert found.content_keys == {row[1] for row in rows}
    assert {s: set(ids) for s, ids in found.ids_of.items()} == {
        source: {i for i, _, s in rows if s == source} for source in {s for _, _, s in rows}
    }
