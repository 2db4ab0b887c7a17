"""Tracing: from a passage to its row, its shard and its steps."""

from __future__ import annotations

import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from medpipe.lineage.passages import EXACT, FOLDED, find_in, matching_rows
from medpipe.lineage.planning import plan_withdrawal
from medpipe.lineage.stages import LineageError
from medpipe.lineage.step import documents_of_step
from medpipe.lineage.trace import Trace, TraceOptions, trace
from medpipe.pretrain.seen import find_run, list_runs
from medpipe.tokens.snapshot import read_snapshot
from medpipe.tokens.tokenizer import load_tokenizer
from medpipe_tests.lineage.world import SECRET, World
from medpipe_tests.making import article

PASSAGE = "海边小镇拔牙后牙龈红肿"


def asked(world: World, text: str | None = None, record_id: str | None = None, **options: object) -> Trace:
    return trace(
        world.lake,
        world.sources,
        text=text,
        record_id=record_id,
        options=TraceOptions(**options),  # type: ignore[arg-type]
    )


def test_a_passage_leads_to_its_rows(built: World) -> None:
    found = asked(built, PASSAGE)
    assert found.total == 2 and found.notes == ()
    first, copy = found.records
    assert (first.record.source, first.record.path, first.record.row) == ("first", "a.jsonl", 40)
    assert first.title == "nobody/first" and first.record.how == EXACT
    assert (copy.record.source, copy.record.path, copy.record.row) == ("second", "b.json", 30)
    (kept,), (left_out,) = first.corpus, copy.corpus
    assert (kept.state, kept.domain) == ("kept", "disease")
    assert (left_out.state, left_out.reason) == ("rejected", "exact_duplicate")
    assert left_out.stayed == (first.record.id,)
    assert [each.source for each in first.copies] == ["second"]
    assert asked(built, record_id=first.record.id).records[0].record.row == 40


def test_the_tokens_of_a_passage(built: World) -> None:
    (place,) = asked(built, PASSAGE).records[0].places
    assert place.extent == "passage"
    tokenizer = load_tokenizer(_tokenizer(built))
    tokens = np.fromfile(place.file, dtype="<u2")
    around = tokenizer.decode(tokens[place.start : place.stop].tolist())
    assert PASSAGE in around and len(around) < len(PASSAGE) + 12
    assert tokenizer.decode(tokens[place.offset : place.offset + place.length - 1].tolist()) == SECRET
    assert tokens[place.offset + place.length - 1] == 0
    # Fewer tokens would not hold it.
    assert PASSAGE not in tokenizer.decode(tokens[place.start + 1 : place.stop].tolist())
    assert PASSAGE not in tokenizer.decode(tokens[place.start : place.stop - 1].tolist())


def _tokenizer(world: World):  # type: ignore[no-untyped-def]
    from medpipe.lake.dataset import current

    return current(world.lake, "tokenizer", "medical-bpe")


def test_typed_otherwise_it_is_found_too(built: World) -> None:
    found = asked(built, "海边小镇 拔牙后，牙龈红肿。医生嘱咐")
    assert [each.record.how for each in found.records] == [FOLDED, FOLDED]
    (place,) = found.records[0].places
    assert place.extent == "passage"
    assert asked(built, "海边小镇拔牙后牙龈肿痛").total == 0


def test_only_the_first_are_shown_and_all_are_counted(built: World) -> None:
    found = asked(built, "建议", limit=3)
    assert len(found.records) == 3
    texts = [article(n) for n in [*range(80), *range(200, 230), *range(400, 440)]] + [SECRET]
    assert found.total == sum("建议" in text for text in texts)


def test_the_steps_of_runs_are_those_of_a_log(built: World) -> None:
    traced = asked(built, PASSAGE).records[0]
    place = traced.places[0]
    fast, stable = traced.runs
    run = find_run(built.lake, "tiny/fast")
    expected = set()
    for index, sample in enumerate(run.stream):
        reads = range(max(sample.offset - 1, 0), sample.offset + sample.length)
        inputs = set(reads)
        if run.shard_keys[sample.shard] == place.shard and inputs & set(range(place.start, place.stop)):
            expected.add(index // 4 + 1)
    assert expected and set(fast.steps) == expected
    assert fast.first_checkpoint == min(step for step in (10, 40) if step >= min(expected))
    assert stable.steps == () and stable.goes_on_from == (fast.run,)
    assert stable.checkpoints == (50,)


def test_a_run_that_began_in_another_curriculum_has_its_lineage(world: World) -> None:
    fast = find_run(world.lake, "tiny/fast")
    snapshot = read_snapshot(world.lake)
    branch = world.next_run(snapshot, fast.folder, name="anneal", curriculum="aaa")
    last = world.next_run(snapshot, branch, first=50, name="converge", curriculum="aaa")
    names = [run.name for run in list_runs(world.lake)]
    assert names.index(fast.name) > 1, "its name sorts behind those that go on from it"
    begun = {run.folder: run for run in asked(world, PASSAGE).records[0].runs}
    for folder, checkpoint in ((branch, 50), (last, 60)):
        assert begun[str(folder)].goes_on_from == (fast.name,)
        assert begun[str(folder)].checkpoints == (checkpoint,)
    asked_for = asked(world, PASSAGE, run="aaa/converge").records[0]
    assert [run.run.split("/")[1] for run in asked_for.runs] == ["anneal", "converge", "fast"]
    withdrawn = plan_withdrawal(world.lake, ids=[world.record(SECRET)])
    assert {run.folder for run in withdrawn.runs if run.goes_on_from} >= {str(branch), str(last)}


def test_what_a_run_read_behind_the_start_of_another_is_not_in_its_weights(world: World) -> None:
    fast = find_run(world.lake, "tiny/fast")
    steps = asked(world, PASSAGE, run="tiny/fast").records[0].runs[0].steps
    snapshot = read_snapshot(world.lake)
    before = world.next_run(snapshot, fast.folder, first=steps[0] - 1, name="anneal", curriculum="zzy")
    # Its own end lies behind the steps that read it: along a chain the first start counts.
    longer = world.next_run(snapshot, before, first=steps[0] + 9, name="converge", curriculum="zzy")
    after = world.next_run(snapshot, fast.folder, first=steps[0], name="anneal", curriculum="zzz")
    found = {run.folder for run in asked(world, PASSAGE).records[0].runs}
    assert {str(fast.folder), str(after)} <= found
    assert not {str(before), str(longer)} & found


def test_one_run_can_be_asked_for(built: World) -> None:
    traced = asked(built, PASSAGE, run="tiny/stable").records[0]
    assert [run.run.split("/")[1] for run in traced.runs] == ["fast", "stable"]
    assert [run.run.split("/")[1] for run in asked(built, PASSAGE, run="tiny/fast").records[0].runs] == [
        "fast"
    ]


def test_the_raw_row(built: World) -> None:
    found = asked(built, PASSAGE, raw=True)
    assert all("海边小镇" in str(each.raw) for each in found.records)


def test_a_named_snapshot(world: World) -> None:
    old = read_snapshot(world.lake)
    world.write("third", "c.jsonl", [article(n) for n in range(400, 420)])
    new = world.refresh()
    gone = article(435)[:30]
    assert old.name != new.name and asked(world, gone).total == 0
    found = asked(world, gone, snapshot=old.name)
    assert found.total == 1 and found.snapshot == old.name
    assert found.records[0].places[0].shard.startswith("tcm/third/")
    record_id = found.records[0].record.id
    older = asked(world, record_id=record_id)
    assert older.records[0].found_in == "older records" and "of before" in older.notes[-1]


def test_a_passage_with_a_placeholder_is_found_in_the_corpus(world: World) -> None:
    text = article(500) + "预约复诊请在工作日拨打13812345678，先到分诊台登记。"
    world.write("third", "c.jsonl", [*(article(n) for n in range(400, 440)), text])
    world.refresh()
    found = asked(world, "工作日拨打[电话]，先到分诊台")
    assert found.total == 1 and found.records[0].found_in == "corpus"
    assert found.records[0].record.row == 40 and found.records[0].places[0].extent == "passage"
    assert "texts are cleaned" in found.notes[-1]
    # As published it is found, too; of its tokens no more can be said than of the whole document.
    found = asked(world, "工作日拨打13812345678")
    assert found.records[0].found_in == "current records"
    assert found.records[0].places[0].extent == "document"


def test_what_is_missing_is_said(world: World) -> None:
    import shutil

    shutil.rmtree(world.lake.snapshots)
    found = asked(world, PASSAGE)
    assert found.total == 2 and found.records[0].places == ()
    assert "no snapshot yet" in found.notes[0]
    shutil.rmtree(world.lake.root / "corpus")
    assert any("no corpus" in note for note in asked(world, PASSAGE).notes)


@pytest.mark.parametrize(
    "question", [{}, {"text": "x", "record_id": "y"}, {"text": "  "}, {"record_id": "0" * 32}]
)
def test_questions_without_an_answer(built: World, question: dict[str, str]) -> None:
    with pytest.raises(LineageError):
        asked(built, **question)


def test_a_step_names_its_documents(built: World) -> None:
    run = find_run(built.lake, "tiny/fast")
    records = pl.concat(
        [
            pl.read_parquet(path).select("id", "path", "row", "text")
            for path in (built.lake.root / "corpus").rglob("part-*.parquet")
            if path.parent.name in ("first", "second")
        ]
    )
    texts = {row["id"]: row for row in records.iter_rows(named=True)}
    tokenizer = load_tokenizer(_tokenizer(built))
    for number in (1, 17, 40):
        step = documents_of_step(built.lake, run, number, trained_to=40)
        assert step.taken and step.samples == 4
        for each in step.documents:
            row = texts[each.id]
            assert (each.path, each.row) == (row["path"], row["row"])
            ids = [*tokenizer.encode(row["text"]).ids, 0]
            assert each.document_tokens == len(ids)
            file = built.lake.root / "shards" / f"{each.shard}.bin"
            start, stop = each.of_document
            assert np.fromfile(file, "<u2")[each.start : each.stop].tolist() == ids[start:stop]
        assert sum(each.stop - each.start for each in step.documents) == step.tokens


def test_trace_and_batch_agree(built: World) -> None:
    record_id = built.record(SECRET)
    steps = set(asked(built, record_id=record_id).records[0].runs[0].steps)
    run = next(iter(list_runs(built.lake)))
    listed = {
        number
        for number in range(1, 41)
        if record_id
        in {each.id for each in documents_of_step(built.lake, run, number, trained_to=40).documents}
    }
    # A document's first input may be read without any of its tokens being a target, and the other way round
    # its <eos> alone may be one; all else agrees.
    assert listed and len(listed ^ steps) <= 2


CHARACTERS = st.text("问：医a１1.。 ,>", max_size=12)


@given(st.lists(st.one_of(st.none(), CHARACTERS), max_size=8), CHARACTERS.filter(str.strip))
def test_exact_matches_are_those_of_python(texts: list[str | None], passage: str) -> None:
    found = matching_rows(pl.Series(texts, dtype=pl.String), passage)
    exact = found.filter(how=EXACT)["row"].to_list()
    assert exact == [row for row, text in enumerate(texts) if text is not None and passage in text]
    alone = [
        row
        for row, text in enumerate(texts)
        if matching_rows(pl.Series([text], dtype=pl.String), passage).height
    ]
    assert found["row"].to_list() == alone, "a match must not depend on the rows around it"
    for row in exact:
        match = find_in(str(texts[row]), passage)
        assert match is not None and str(texts[row])[match.start : match.stop] == passage


def test_folded_matches() -> None:
    texts = pl.Series(["服用１０ｍｇ，一日3次", "服用1.0mg一日3次", None, "一日", "3次"], dtype=pl.String)
    assert matching_rows(texts, "服用10MG 一日3次").rows() == [(0, FOLDED)]
    assert matching_rows(texts, "一日3次").rows() == [(0, EXACT), (1, EXACT)]
    assert matching_rows(texts, "……").height == 0
    match = find_in("先服用１０ｍｇ，一日3次。", "用10mg一日")
    assert match is not None and (match.start, match.stop, match.how) == (2, 10, FOLDED)
