"""What was withdrawn gives no record, and rows still add up."""

from __future__ import annotations

import json
from pathlib import Path

import polars as pl
import pytest

from medpipe.lake.layout import Lake
from medpipe.lake.tombstones import TombstoneError, read_tombstones, withdraw
from medpipe.normalize.records import Normalized
from medpipe.normalize.run import normalize_source, recipe_of
from medpipe.normalize.withdrawn import without_withdrawn
from medpipe.records.kinds import Kind, record_columns, rejected_columns
from medpipe_tests.normalize.sources import check_funnel, make_raw, make_source, records_of, rejected_of

TEXTS = ["感冒时应多喝水。", "肺炎需要及时就医。", "感冒时，应多喝水！", "胃炎患者饮食宜清淡。"]


@pytest.fixture
def raw(tmp_path: Path) -> Path:
    folder = tmp_path / "raw"
    folder.mkdir()
    rows = [*({"text": text} for text in TEXTS), {"text": ""}]
    (folder / "a.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    return folder


def test_a_record_and_what_has_its_content(raw: Path, tmp_path: Path) -> None:
    lake, source = Lake(tmp_path / "lake"), make_source("a.jsonl", layout={"layout": "text"})
    before = normalize_source(source, make_raw(raw), lake=lake).dataset
    records = records_of(before)
    withdraw(lake, records.head(1).select("id", "content_key", "source"))
    built = normalize_source(source, make_raw(raw), lake=lake)
    assert not built.reused and built.dataset.digest != before.digest
    facts = check_funnel(built.dataset)
    assert (facts["kept"], facts["rejected"], facts["records_withdrawn"]) == (2, 3, 2)
    assert records_of(built.dataset)["text"].to_list() == [TEXTS[1], TEXTS[3]]
    rejected = rejected_of(built.dataset).filter(reason="withdrawn")
    assert rejected.select("row", "detail", "raw").rows() == [
        (0, records["id"][0], None),
        (2, records["id"][2], None),
    ]
    assert normalize_source(source, make_raw(raw), lake=lake).reused
    for path in built.dataset.path.rglob("*.parquet"):
        texts = pl.read_parquet(path).select(pl.col(pl.String))
        assert not any("应多喝水" in value for column in texts for value in column.drop_nulls())


def test_without_a_withdrawal_of_its_own_a_source_keeps_its_recipe(raw: Path, tmp_path: Path) -> None:
    lake, source = Lake(tmp_path / "lake"), make_source("a.jsonl", layout={"layout": "text"})
    first = normalize_source(source, make_raw(raw), lake=lake).dataset
    assert first.manifest.recipe == recipe_of(source, make_raw(raw))
    other = pl.DataFrame({"id": ["0" * 32], "content_key": ["1" * 32], "source": ["other"]})
    withdraw(lake, other)
    assert normalize_source(source, make_raw(raw), lake=lake).reused


def test_of_a_withdrawn_source_every_row_is_rejected(raw: Path, tmp_path: Path) -> None:
    lake, source = Lake(tmp_path / "lake"), make_source("a.jsonl", layout={"layout": "text"})
    nothing = pl.DataFrame(schema={"id": pl.String, "content_key": pl.String, "source": pl.String})
    withdraw(lake, nothing, sources=["a_source"])
    dataset = normalize_source(source, make_raw(raw), lake=lake).dataset
    facts = check_funnel(dataset)
    assert (facts["published"], facts["kept"]) == (5, 0)
    assert facts["rejected_by_reason"] == {"withdrawn": 5}
    rejected = rejected_of(dataset)
    assert rejected["row"].to_list() == [0, 1, 2, 3, 4] and rejected["raw"].null_count() == 5


def test_of_a_row_with_several_records_only_the_withdrawn_one_goes(tmp_path: Path) -> None:
    schema = record_columns(Kind.DOCUMENT)
    common = {
        "source": "s",
        "revision": "r",
        "path": "a",
        "split": "train",
        "lang": "zh",
        "domain": "disease",
    }
    common |= {"text": "文", "tier": "raw"}
    records = pl.DataFrame(
        [
            common | {"id": f"{n:032x}", "content_key": f"{n:032x}", "row": r, "part": p}
            for n, (r, p) in enumerate([(0, 0), (0, 1), (1, 0), (1, 1)])
        ],
        schema=schema,
    )
    batch = Normalized(records, rejected_columns().to_frame())
    lake = Lake(tmp_path / "lake")
    withdraw(lake, records.filter(pl.col("part") == 0).head(1).select("id", "content_key", "source"))
    left = without_withdrawn(batch, read_tombstones(lake))
    assert left.records.select("row", "part").rows() == [(0, 1), (1, 0), (1, 1)]
    assert left.rejected.height == 0
    withdraw(lake, records.tail(2).select("id", "content_key", "source"))
    left = without_withdrawn(batch, read_tombstones(lake))
    assert left.records.select("row", "part").rows() == [(0, 1)]
    assert left.rejected["detail"].to_list() == [f"{2:032x}, {3:032x}"]


def test_a_broken_tombstone_stops_normalising(raw: Path, tmp_path: Path) -> None:
    lake, source = Lake(tmp_path / "lake"), make_source("a.jsonl", layout={"layout": "text"})
    records = records_of(normalize_source(source, make_raw(raw), lake=lake).dataset)
    path = withdraw(lake, records.head(1).select("id", "content_key", "source"))
    path.write_text("{")
    with pytest.raises(TombstoneError, match=path.name):
        normalize_source(source, make_raw(raw), lake=lake)
