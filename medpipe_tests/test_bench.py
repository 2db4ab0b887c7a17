"""The bench compares equal work: both sides make the same texts and keys. Speed is no matter of tests."""

from __future__ import annotations

from pathlib import Path

import orjson
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bench import disease_records, figures, plain_python, sides
from bench.disease_records import EMPTY_EVERY, INPUTS, Input, write_records
from bench.figures import Figure
from medpipe.catalog.layouts import FieldsLayout
from medpipe.normalize.clean import clean_text
from medpipe.normalize.extracted import Batch
from medpipe.normalize.layouts.fields import read_fields
from medpipe.records.keys import content_key, fold_text
from medpipe.records.kinds import Language
from medpipe_tests.shared_data import shared_data


@pytest.fixture(params=INPUTS, ids=lambda chosen: chosen.name)
def chosen(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Input:
    monkeypatch.setattr(disease_records, "RECORDS", shared_data(request.param.name).parent)
    return request.param


def test_plain_python_makes_the_same_texts_and_keys(chosen: Input, tmp_path: Path) -> None:
    write_records(chosen, tmp_path / "a.jsonl", records=EMPTY_EVERY + 20)
    rows = [orjson.loads(line) for line in (tmp_path / "a.jsonl").read_bytes().splitlines()]
    batch = Batch(rows=range(len(rows)), values=rows)
    texts = read_fields(batch, FieldsLayout(expand=chosen.expand), Language.ZH).select(
        "text", content_key=content_key(pl.col("text"))
    )
    names = dict.fromkeys(name for row in rows for name in row)
    columns = {name: [row.get(name) for row in rows] for name in names}
    peer = plain_python.normalize(columns, frozenset(chosen.expand))
    assert texts.height == len(rows) - 1
    assert texts.to_dict(as_series=False) == peer


@pytest.mark.slow
def test_both_sides_write_the_same(chosen: Input, tmp_path: Path) -> None:
    write_records(chosen, tmp_path / "a.jsonl", records=100)
    written = []
    for side in sides.SIDES:
        (tmp_path / side).mkdir()
        run = sides.measure(side, chosen, tmp_path / "a.jsonl", tmp_path / side)
        assert run.records == 100
        assert run.seconds > 0 and run.peak_megabytes > 0
        written.append(sides.texts_and_keys(tmp_path / side))
    assert written[0].equals(written[1])


@settings(max_examples=200)
@given(
    st.text(
        alphabet="病1２½ \t\n\r\u3000\ufffd\u200b\x07\u2126e\u0301<b>&lt;。.,5a👨Ｂ%？：问[]", max_size=30
    )
)
def test_plain_python_cleans_and_folds_alike(text: str) -> None:
    cleaned = clean_text(text)
    assert plain_python.clean(text) == cleaned
    assert plain_python.fold(cleaned) == fold_text(cleaned)


def test_no_two_records_are_equal(chosen: Input, tmp_path: Path) -> None:
    published = len(list(chosen.read()))
    write_records(chosen, tmp_path / "a.jsonl", records=published + 5)
    lines = (tmp_path / "a.jsonl").read_text().splitlines()
    assert len(lines) == published + 5 and len(set(lines[:5] + lines[-5:])) == 10


def test_a_side_that_fails_is_named(chosen: Input, tmp_path: Path) -> None:
    with pytest.raises(RuntimeError, match=rf"medpipe failed on {chosen.name}"):
        sides.measure("medpipe", chosen, tmp_path / "none.jsonl", tmp_path)


def test_figures_are_kept_a_line_each_and_shown(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(figures, "LATEST", tmp_path / "results" / "latest.jsonl")
    for ratio in (5.0, 1.02):
        figures.append(Figure("a figure", 5 * ratio, 5, "a peer", "records/s", ratio, ">= 4"))
    lines = [orjson.loads(line) for line in figures.LATEST.read_bytes().splitlines()]
    assert [line["ratio"] for line in lines] == [5.0, 1.02]
    assert set(lines[0]) == {"figure", "medpipe", "peer", "peer_name", "unit", "ratio", "target"}
    figures.show()
    shown = capsys.readouterr().out
    assert "a figure" in shown and "5.00" in shown and "1.02" in shown
