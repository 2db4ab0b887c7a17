"""A withdrawal takes the published row in every table, with all records that were made of it."""

from __future__ import annotations

import json
from pathlib import Path

import polars as pl
import pytest

from medpipe.curate.corpus import build_corpus
from medpipe.curate.purposes import Purpose
from medpipe.ingest.snapshot import fetch
from medpipe.lake.dataset import Dataset, current
from medpipe.normalize.run import normalize_source
from medpipe_tests.lineage.test_reach import forget
from medpipe_tests.lineage.world import SECRET, World
from medpipe_tests.making import article


def one_source(root: Path, files: str, rest: str) -> World:
    """A catalog of one source, `first`."""
    (root / "catalog").mkdir(parents=True)
    (root / "catalog" / "test.yaml").write_text(f"""sources:
  - id: first
    title: nobody/first
    description: Written for a test.
    repository: nobody/first
    files: [{files}]
    language: zh
    licence: {{name: apache-2.0}}
{rest}""")
    (root / "hub/nobody/first").mkdir(parents=True)
    return World(root)


def write_rows(world: World, name: str, rows: list[dict[str, object]]) -> None:
    lines = [json.dumps(row, ensure_ascii=False) + "\n" for row in rows]
    (world.root / "hub/nobody/first" / name).write_text("".join(lines))


def build(world: World, purpose: Purpose) -> Dataset:
    source = world.sources["first"]
    raw = fetch(source, lake=world.lake, settings=world.settings).dataset
    records = normalize_source(source, raw, lake=world.lake).dataset
    build_corpus(purpose, {"first": records}, world.sources, lake=world.lake)
    return records


def files_with(world: World, text: str) -> list[Path]:
    found = []
    for path in (each for each in world.lake.root.rglob("*") if each.is_file()):
        is_table = path.suffix == ".parquet"
        content = (
            str(pl.read_parquet(path).to_dicts()) if is_table else path.read_bytes().decode(errors="replace")
        )
        if text in content:
            found.append(path)
    return found


def test_a_second_table_is_purged(tmp_path: Path) -> None:
    lookup = "lookup: {path: q.jsonl, key: qid, take: [content], prefix: question_}"
    world = one_source(
        tmp_path,
        f"{{path: a.jsonl, domain: dialogue, {lookup}}}",
        "    kind: conversation\n"
        "    layout: {layout: question_answer, question: question_content, answer: content}\n"
        "    uses: [pretraining, finetuning]\n",
    )
    write_rows(world, "a.jsonl", [{"qid": n, "content": article(n)} for n in range(30)])
    asked = [SECRET if n == 5 else f"第{n}个问题：发热应如何处理才好呢？" for n in range(30)]
    write_rows(world, "q.jsonl", [{"qid": n, "content": text} for n, text in enumerate(asked)])
    records = build(world, Purpose.DOCUMENTS)
    record_id = pl.read_parquet(records.files("part-*.parquet")).filter(pl.col("row") == 5)["id"][0]
    assert any(path.name == "q.jsonl" for path in files_with(world, SECRET))
    plan, done = forget(world, record_id, purge=True)
    assert plan.holders is not None and len(plan.holders.raw_folders) == 1, "said before it is done"
    assert any("second table" in note for note in done.notes)
    assert files_with(world, SECRET) == []


@pytest.fixture
def ranked(tmp_path: Path) -> World:
    """Three answers a row, so three preferences a row."""
    world = one_source(
        tmp_path,
        "{path: a.jsonl, domain: disease}",
        "    kind: preference\n"
        "    layout: {layout: preference, prompt: [question], ranked: [answers]}\n"
        "    uses: [reward]\n",
    )
    write_rows(
        world,
        "a.jsonl",
        [
            {"question": f"第{n}个问题：发热应如何处理？", "answers": [article(10 * n + k) for k in range(3)]}
            for n in range(30)
        ],
    )
    return world


@pytest.mark.parametrize("in_two_tries", [False, True])
def test_a_row_of_several_records_is_purged_as_a_whole(ranked: World, in_two_tries: bool) -> None:
    lake = ranked.lake
    records = build(ranked, Purpose.PREFERENCES)
    frame = pl.read_parquet(records.files("part-*.parquet"))
    row = frame.filter(pl.col("row") == 5)
    assert row.height == 3 and frame.height == 90
    if in_two_tries:
        forget(ranked, row["id"][0])
        assert current(lake, "normalized", "first").manifest.rows == 89, "the row stays, so its others do"
    plan, _ = forget(ranked, row["id"][0], purge=True)
    assert {each.id for each in plan.records} >= set(row["id"][1:])
    assert {plan.chosen.why[each] for each in row["id"][1:]} == {"of the same published row"}
    assert current(lake, "normalized", "first").manifest.rows == 87
    again = normalize_source(ranked.sources["first"], current(lake, "raw", "first"), lake=lake, force=True)
    assert again.dataset.manifest.rows == 87
