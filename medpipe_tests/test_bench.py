"""The bench compares equal work: both sides make the same texts and keys. Speed is no matter of tests."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import orjson
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bench import disease_records, figures, near_duplicates, plain_python, sides, text, tokenise
from bench.clock import MARK
from bench.disease_records import EMPTY_EVERY, INPUTS, Input, write_records
from bench.figures import Figure
from bench.inputs import Inputs, make_inputs
from bench.planted import quality
from bench.rounds import has_peer, run
from bench.text import HARD, NEGATIVE, POSITIVE, Planted
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


@pytest.fixture(scope="module")
def inputs(tmp_path_factory: pytest.TempPathFactory) -> Inputs:
    shared_data("bentsao")
    return make_inputs(tmp_path_factory.mktemp("bench") / "text", megabytes=0.3, pairs=30, vocabulary=600)


def test_copies_are_no_near_duplicates() -> None:
    shared_data("bentsao")
    texts = text.published_texts()[:300]
    made = [list(text.copies(texts, seed=seed)) for seed in (5, 6)]
    assert [len(each) for each in made] == [300, 300]
    for ours, theirs in ((list(texts), made[0]), (list(texts), made[1]), (made[0], made[1])):
        assert max(text.similarity(one, other) for one, other in zip(ours, theirs, strict=True)) < 0.7
    assert list(text.copies(texts, seed=5)) == made[0]


@pytest.mark.slow
def test_planted_pairs_are_as_similar_as_stated(inputs: Inputs) -> None:
    lines = [orjson.loads(line) for name in text.FILES for line in (inputs.raw / name).open()]
    by_id = {line["id"]: line["text"] for line in lines}
    planted = text.read_planted(inputs.raw)
    assert len(by_id) == len(lines) == inputs.facts["documents"] and len(planted) == 45
    for number, pair in enumerate(planted):
        bounds = POSITIVE if number < 30 else HARD if number < 35 else NEGATIVE
        assert bounds[0] <= pair.similarity <= bounds[1]
        assert pair.similarity == text.similarity(by_id[pair.one], by_id[pair.other])


def test_similarity_is_that_of_sets_of_shingles() -> None:
    assert text.similarity("ABCDEF", "a，b c.d e f") == 1
    assert text.similarity("abcdef", "abcdex") == 1 / 3
    assert text.similarity("abcde", "fghij") == 0


def test_quality_counts_pairs_below_the_threshold_against_precision() -> None:
    planted = [Planted("a", "b", 0.9), Planted("c", "d", 0.85), Planted("e", "f", 0.6)]
    texts = dict.fromkeys("abcde", "甲乙丙丁戊己庚") | {"f": "子丑寅卯辰巳午"}
    found = quality({"a": 1, "b": 1, "e": 2, "f": 2, "c": 3, "d": 4}, planted, texts)
    assert (found.recall, found.precision) == (1 / 2, 1 / 2)
    assert (found.near_duplicates, found.others, found.clusters) == (2, 1, 4)
    assert found.pairs == 1 / 2


@pytest.mark.slow
def test_all_sides_write_the_same_ids(inputs: Inputs, tmp_path: Path) -> None:
    digests = {}
    for side in tokenise.sides(1):
        if side.name.startswith("datatrove") and not has_peer("datatrove"):
            continue
        output = tmp_path / side.module
        output.mkdir()
        done = run(side, inputs.folder, output)
        digests[side.name] = (
            tokenise.token_digest(output) if side.name == "medpipe" else tokenise.digest_of(done["files"])
        )
    assert len(digests) >= 2 and len(set(digests.values())) == 1


@pytest.mark.slow
def test_medpipe_finds_what_was_planted(inputs: Inputs, tmp_path: Path) -> None:
    run(near_duplicates.sides(1)[0], inputs.folder, tmp_path)
    ids, texts = near_duplicates.read_texts(inputs)
    clusters = near_duplicates.clusters_of(tmp_path, inputs, ids)
    found = quality(clusters, text.read_planted(inputs.raw), texts)
    assert found.near_duplicates == 30
    assert found.recall >= 0.9 and found.precision >= 0.9


_WORK_AFTER_A_LARGER_BLOCK = """
import numpy as np
from bench.clock import resident_megabytes, timed
before = np.ones(25_000_000)
print(resident_megabytes("VmHWM"))
del before

def work():
    np.ones(5_000_000)

timed(work)
"""


def test_peak_memory_is_that_of_the_work_alone() -> None:
    if not Path("/proc/self/clear_refs").exists():
        pytest.skip("no /proc/self/clear_refs")
    # As the benches do it: the allocator of a process that did much else serves a block from what it kept.
    command = [sys.executable, "-c", _WORK_AFTER_A_LARGER_BLOCK]
    lines = subprocess.run(command, check=True, capture_output=True, text=True).stdout.splitlines()
    peak, row = float(lines[0]), json.loads(lines[1].removeprefix(MARK))
    assert row["base_megabytes"] <= row["peak_megabytes"] < peak - 100
    assert row["peak_megabytes"] - row["base_megabytes"] > 30
