"""Parquet parts: digest and layout depend on the rows only."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from itertools import pairwise
from pathlib import Path

import polars as pl
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from polars.testing import assert_frame_equal

from medpipe.lake import parquet
from medpipe.lake.digest import FrameDigest, digest_value, sha256_file
from medpipe.lake.parquet import ROW_GROUP_ROWS, ParquetSink, scan_parts

REPOSITORY = Path(__file__).parents[2]
SCHEMA = pl.Schema(
    {
        "id": pl.String,
        "row": pl.Int64,
        "tier": pl.Enum(["raw", "refined"]),
        "turns": pl.List(pl.Struct({"role": pl.String, "content": pl.String})),
        "note": pl.String,
    }
)


def rows(count: int) -> pl.DataFrame:
    number = pl.int_range(count)
    turn = pl.struct(role=pl.lit("user"), content=pl.lit("甲") + number.cast(pl.String))
    return pl.select(
        id=number.cast(pl.String),
        row=number,
        tier=pl.when(number % 3 == 0).then(pl.lit("raw")).otherwise(pl.lit("refined")),
        turns=pl.concat_list(turn),
        note=pl.when(number % 2 == 0).then(pl.lit("乙")),
    ).cast(dict(SCHEMA))


def write(path: Path, frames: list[pl.DataFrame]) -> str:
    with ParquetSink(path, schema=SCHEMA) as sink:
        for frame in frames:
            sink.write(frame)
    return sink.content.hexdigest()


def test_the_digest_may_be_of_some_columns_that_say_all(tmp_path: Path) -> None:
    frame = rows(10)
    whole = FrameDigest()
    whole.update(frame.select("id", "tier"))
    digests = set()
    for name, written in (("a", frame), ("b", frame.with_columns(row=pl.col("row") + 1))):
        with ParquetSink(tmp_path / name, schema=SCHEMA, digest_columns=["id", "tier"]) as sink:
            sink.write(written)
        assert_frame_equal(pl.read_parquet(tmp_path / name), written)
        digests.add(sink.content.hexdigest())
    assert digests == {whole.hexdigest()}


@given(st.lists(st.integers(1, 19_999), max_size=6))
@settings(max_examples=6, deadline=None)
def test_batch_cuts_change_neither_digest_nor_bytes(cuts: list[int]) -> None:
    frame = rows(20_000)
    edges = [0, *sorted(cuts), frame.height]
    pieces = [frame.slice(start, end - start) for start, end in pairwise(edges)]
    with tempfile.TemporaryDirectory() as folder:
        whole, cut = Path(folder) / "whole.parquet", Path(folder) / "cut.parquet"
        assert write(whole, [frame]) == write(cut, pieces)
        assert sha256_file(whole) == sha256_file(cut)


def test_threads_change_neither_digest_nor_bytes(tmp_path: Path) -> None:
    program = (
        "import sys, json; from pathlib import Path; import polars as pl\n"
        "from medpipe_tests.lake.test_parquet import rows, write\n"
        "from medpipe.lake.digest import sha256_file\n"
        "path = Path(sys.argv[1])\n"
        "frame = rows(40_000).lazy().filter(pl.col('row') % 7 != 0).sort('note', 'row', nulls_last=True)\n"
        "digest = write(path, [frame.collect(engine='streaming')])\n"
        "print(json.dumps([pl.thread_pool_size(), digest, sha256_file(path)]))"
    )
    results = []
    for threads in (1, 2, 8):
        run = subprocess.run(
            [sys.executable, "-c", program, str(tmp_path / f"{threads}.parquet")],
            env=os.environ | {"POLARS_MAX_THREADS": str(threads)},
            capture_output=True,
            text=True,
            check=True,
            timeout=120,
            cwd=REPOSITORY,
        )
        pool, *result = json.loads(run.stdout)
        assert pool == threads
        results.append(result)
    assert results[0] == results[1] == results[2]


def test_what_is_written_is_read_back_with_its_types(tmp_path: Path) -> None:
    frame = rows(20_000)
    path = tmp_path / "part.parquet"
    write(path, [frame.slice(0, 3), frame.slice(3)])
    assert_frame_equal(scan_parts([path], schema=SCHEMA).collect(), frame)
    assert group_rows(path) == [ROW_GROUP_ROWS, 20_000 - ROW_GROUP_ROWS]


def group_rows(path: Path) -> list[int]:
    groups = pq.ParquetFile(path).metadata
    return [groups.row_group(n).num_rows for n in range(groups.num_row_groups)]


@given(st.lists(st.integers(1, 299), max_size=6))
@settings(max_examples=20, deadline=None)
def test_long_rows_make_small_groups_however_they_come(cuts: list[int]) -> None:
    """Or the rows that wait for their group to fill would take ever more memory."""
    long = pl.when(pl.col("row") % 10 == 0).then(pl.lit("长" * 1_000)).otherwise(pl.lit("短"))
    frame = rows(300).with_columns(
        turns=pl.concat_list(pl.struct(role=pl.lit("user"), content=long), pl.col("turns").list.first())
    )
    edges = [0, *sorted(cuts), frame.height]
    pieces = [frame.slice(start, end - start) for start, end in pairwise(edges)]
    with tempfile.TemporaryDirectory() as folder, pytest.MonkeyPatch.context() as patch:
        patch.setattr(parquet, "ROW_GROUP_BYTES", 9_000)
        whole, cut = Path(folder) / "whole.parquet", Path(folder) / "cut.parquet"
        assert write(whole, [frame]) == write(cut, pieces)
        assert sha256_file(whole) == sha256_file(cut)
        assert_frame_equal(pl.read_parquet(cut).match_to_schema(SCHEMA), frame)
        # A group ends at its third long row.
        assert group_rows(cut) == [21, *[30] * 9, 9]


def test_no_rows_and_no_parts_have_the_schema_too(tmp_path: Path) -> None:
    write(tmp_path / "empty.parquet", [])
    for parts in ([tmp_path / "empty.parquet"], []):
        frame = scan_parts(parts, schema=SCHEMA).collect()
        assert frame.schema == SCHEMA and frame.is_empty()


def test_other_columns_are_refused(tmp_path: Path) -> None:
    for wrong in (rows(3).drop("note"), rows(3).with_columns(row=pl.lit("x")), rows(3).with_columns(more=1)):
        with pytest.raises(pl.exceptions.SchemaError), ParquetSink(tmp_path / "p", schema=SCHEMA) as sink:
            sink.write(wrong)
    digest = FrameDigest()
    digest.update(rows(2))
    with pytest.raises(ValueError, match="the batches before it have"):
        digest.update(rows(2).drop("note"))


def digest_frames(*frames: pl.DataFrame) -> str:
    digest = FrameDigest()
    for frame in frames:
        digest.update(frame)
    return digest.hexdigest()


def test_the_digest_sees_each_value_the_order_and_the_types() -> None:
    frame = rows(5)
    others = [
        frame.reverse(),
        frame.head(4),
        frame.with_columns(note=pl.lit(None, dtype=pl.String)),
        frame.with_columns(note=pl.col("note").fill_null("")),
        frame.with_columns(pl.col("row").cast(pl.Int32)),
        frame.rename({"note": "remark"}),
    ]
    digests = [digest_frames(each) for each in (frame, *others)]
    assert len(set(digests)) == len(digests)
    assert digest_frames(frame.head(2), frame.tail(3)) == digests[0]


@given(
    st.dictionaries(st.text(), st.integers() | st.text() | st.none()).filter(
        lambda value: all(not isinstance(v, int) or abs(v) < 2**53 for v in value.values())
    )
)
def test_the_order_of_keys_does_not_matter(value: dict[str, object]) -> None:
    assert digest_value(value) == digest_value(dict(reversed(value.items())))
    assert digest_value(value) != digest_value({**value, "one more key": 1})
