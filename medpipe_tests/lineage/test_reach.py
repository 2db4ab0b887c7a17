"""What a withdrawal reaches: tried again after a kill, in every form of a row, beside the row itself."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from medpipe.curate.corpus import build_corpus
from medpipe.curate.licences import LicenceConfig, LicencePurpose
from medpipe.curate.purposes import Purpose
from medpipe.lake.dataset import current
from medpipe.lake.manifest import write_manifest
from medpipe.lake.tombstones import read_withdrawals
from medpipe.lineage.forget import Forgotten, carry_out
from medpipe.lineage.planning import Plan, plan_withdrawal
from medpipe.lineage.trace import trace
from medpipe.records.kinds import Kind
from medpipe.tokens.snapshot import CorpusSnapshot, read_snapshot
from medpipe_tests.lineage.world import CONFIG, NEAR, SECRET, World
from medpipe_tests.making import article, make_source, publish_records

COPY = SECRET.replace("，", ", ")


def train(world: World) -> CorpusSnapshot:
    """The runs of before make room for one on a new snapshot."""
    shutil.rmtree(world.lake.root / "runs")
    snapshot = world.refresh()
    world.next_run(snapshot, world.run(snapshot))
    return snapshot


class Killed(BaseException):
    pass


def forget(world: World, *ids: str, kill_at: str | None = None, **options: Any) -> tuple[Plan, Forgotten]:
    """Carried out; killed at the first line of news that begins in some way."""

    def say(line: str) -> None:
        if kill_at is not None and line.startswith(kill_at):
            raise Killed

    plan = plan_withdrawal(world.lake, ids=ids, **options)
    return plan, carry_out(plan, world.lake, world.sources, say)


def held(world: World, *texts: str) -> list[str]:
    return [path for text in texts for path in world.holds(text)]


def test_killed_after_every_deletion(world: World) -> None:
    record_id = world.record(SECRET)
    first = plan_withdrawal(world.lake, ids=[record_id], purge=True)
    kills = 0
    while True:
        try:
            plan, done = forget(world, record_id, kill_at="deleted", purge=True)
        except Killed:
            kills += 1
            assert kills < 100
            # Whatever is left is known to the next try, before anybody confirms it.
            plan = plan_withdrawal(world.lake, ids=[record_id], purge=True)
            assert plan.runs == first.runs and plan.stranded == first.stranded
            assert plan.holders is not None
            listed = {*plan.holders.datasets, *plan.holders.snapshots, *plan.holders.raw_folders}
            listed |= {world.lake.raw(rows.source) / rows.revision for rows in plan.holders.raw}
            for path in held(world, SECRET, COPY):
                assert listed & {*(world.lake.root / path).parents, world.lake.root / path}, path
            continue
        break
    assert kills > 10 and done.runs == first.runs
    assert held(world, SECRET, COPY) == []
    assert len(read_withdrawals(world.lake)) == 1
    assert world.refresh() == read_snapshot(world.lake)


def test_killed_while_the_raw_snapshot_went(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """A raw folder that lost its manifest alone is no snapshot any more, but holds the text."""

    def rmtree(path: Path, **options: Any) -> None:
        if "raw" in Path(path).parts:
            raise Killed
        real(path, **options)

    real = shutil.rmtree
    record_id = world.record(SECRET)
    monkeypatch.setattr(shutil, "rmtree", rmtree)
    with pytest.raises(Killed):
        forget(world, record_id, purge=True)
    monkeypatch.undo()
    assert world.holds(COPY, world.lake.root / "raw")
    forget(world, record_id, purge=True)
    assert held(world, SECRET, COPY) == []


@pytest.fixture
def nearby(world: World) -> World:
    """Its source `third` has a near-duplicate of the secret."""
    world.write("third", "c.jsonl", [*(article(n) for n in range(400, 440)), NEAR])
    train(world)
    return world


@pytest.mark.parametrize("kill_at", [None, "deleted"])
@pytest.mark.parametrize("flag", [True, False])
def test_near_duplicates_are_purged_by_a_second_try(nearby: World, kill_at: str | None, flag: bool) -> None:
    record_id = nearby.record(SECRET)
    if kill_at is None:
        first, _ = forget(nearby, record_id, near_duplicates=True)
    else:
        first = plan_withdrawal(nearby.lake, ids=[record_id], near_duplicates=True, purge=True)
        with pytest.raises(Killed):
            forget(nearby, record_id, near_duplicates=True, purge=True, kill_at=kill_at)
    assert first.runs
    _, done = forget(nearby, record_id, near_duplicates=flag, purge=True)
    assert done.runs == first.runs
    assert held(nearby, SECRET, COPY, NEAR) == []
    assert len(read_withdrawals(nearby.lake)) == 1


def test_what_was_planned_only_does_not_go(nearby: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """Notes of a try that left no tombstone withdraw nothing."""
    from medpipe.lineage import forget as module

    def withdraw(*_: object, **__: object) -> Path:
        raise Killed

    record_id = nearby.record(SECRET)
    monkeypatch.setattr(module, "withdraw", withdraw)
    with pytest.raises(Killed):
        forget(nearby, record_id, near_duplicates=True)
    monkeypatch.undo()
    forget(nearby, record_id, purge=True)
    assert held(nearby, SECRET, COPY) == [] and nearby.holds(NEAR)


def test_a_tombstone_without_notes_takes_the_raw_snapshot(world: World) -> None:
    """Neither a record nor a note tells the row any more."""
    record_id = world.record(SECRET)
    with pytest.raises(Killed):
        forget(world, record_id, purge=True, kill_at="rows taken out")
    shutil.rmtree(world.lake.root / "withdrawals")
    dataset = current(world.lake, "normalized", "second")
    for folder in (path for path in dataset.path.parent.iterdir() if path.is_dir()):
        if folder != dataset.path:
            shutil.rmtree(folder)
    facts = {name: value for name, value in dataset.manifest.facts.items() if name != "withdrawn"}
    write_manifest(dataset.path, dataset.manifest.model_copy(update={"facts": facts}))
    plan, _ = forget(world, record_id, purge=True)
    assert plan.holders is not None
    assert [path.parent.name for path in plan.holders.raw_folders] == ["second"]
    assert world.holds(COPY, world.lake.root / "raw") == []


TRADITIONAL = "患者周某三年前在海邊小鎮拔牙後牙齦紅腫，醫生囑咐用淡鹽水漱口並忌食辛辣，兩周後複查時已經痊癒。"


def test_the_row_goes_in_every_form(world: World) -> None:
    world.write("first", "a.jsonl", [*(article(n) for n in range(40)), TRADITIONAL])
    snapshot = train(world)
    before = world.record(TRADITIONAL)
    entry = world.root / "catalog" / "test.yaml"
    entry.write_text(entry.read_text().replace("- id: first", "- id: first\n    simplify: true"))
    world.refresh()
    frame = pl.read_parquet(current(world.lake, "normalized", "first").files("part-*.parquet"))
    row = frame.filter(pl.col("row") == 40)
    assert row["text"][0] != TRADITIONAL
    plan, _ = forget(world, row["id"][0], purge=True)
    assert plan.chosen.why[before] == "of the same published row"
    assert any(run.snapshot == snapshot.name for run in plan.runs), "the run trained on the older form"
    assert held(world, TRADITIONAL, row["text"][0]) == []


CALL = "周先生术后伤口渗液，随访护士建议每日换药两次，如有发热请拨打手机{}联系责任医生，三天后门诊拆线复查。"


def test_what_differs_in_personal_data_alone_goes_too(world: World) -> None:
    one, other = CALL.format("13812345678"), CALL.format("13998765432")
    world.write("first", "a.jsonl", [*(article(n) for n in range(40)), one])
    world.write("third", "c.jsonl", [*(article(n) for n in range(400, 440)), other])
    train(world)
    dropped, kept = world.record(other, "third"), world.record(one)
    traced = trace(world.lake, world.sources, record_id=dropped).records[0]
    assert traced.corpus[0].reason == "exact_duplicate" and traced.copies == ()
    assert [each.id for each in traced.alike] == [kept]
    assert traced.places and traced.runs, "the other's document is the text that was read"
    plan, done = forget(world, dropped, purge=True)
    assert plan.chosen.why == {kept: "the same but for personal data"} and done.runs
    assert held(world, one, other, CALL.partition("{}")[0]) == []


def test_undone_is_undone_for_copies_that_came_later(world: World) -> None:
    forget(world, world.record(SECRET))
    world.write("third", "c.jsonl", [*(article(n) for n in range(400, 440)), f"{SECRET} "])
    world.refresh()
    facts = current(world.lake, "normalized", "third").manifest.facts
    assert facts["records_withdrawn"] == 1
    stays = current(world.lake, "normalized", "third").digest
    world.refresh()
    assert current(world.lake, "normalized", "third").digest == stays
    for path in (world.lake.root / "tombstones").iterdir():
        path.unlink()
    world.refresh()
    dataset = current(world.lake, "normalized", "third")
    assert dataset.manifest.rows == 41 and "records_withdrawn" not in dataset.manifest.facts


def test_a_copy_that_came_later_is_purged(world: World) -> None:
    """No record tells it: it was taken out before it was ever one."""
    record_id = world.record(SECRET)
    forget(world, record_id)
    world.write("third", "c.jsonl", [*(article(n) for n in range(400, 440)), f"{SECRET} "])
    world.refresh()
    assert any("raw/third" in path for path in world.holds(SECRET))
    forget(world, record_id, purge=True)
    assert held(world, SECRET, COPY) == []


def test_quotes_of_an_exam_item_are_listed(world: World) -> None:
    lake = world.lake
    exam = "一名六十七岁男性教师晨起突发右侧肢体无力伴言语含糊两小时，既往高血压病史十二年，首选头颅平扫。"
    sources = {"ex": make_source("ex", uses=["evaluation"]), "d": make_source("d")}
    items = publish_records(
        lake, "ex", Kind.DOCUMENT, [{"text": exam, "split": "test"}, {"text": article(999)}]
    )
    quote = f"教学讨论。{exam}请同学们讨论此病例的治疗方案。"
    rows = [{"text": article(n)} for n in range(600, 625)]
    documents = publish_records(lake, "d", Kind.DOCUMENT, [*rows, {"text": quote}])
    build_corpus(Purpose.DOCUMENTS, {"ex": items, "d": documents}, sources, lake=lake)
    frame = pl.read_parquet(items.files("part-*.parquet"))
    item, other = (frame.filter(pl.col("text") == text)["id"][0] for text in (exam, article(999)))
    plan = plan_withdrawal(lake, ids=[item])
    assert [(each.source, each.row) for each in plan.quotes] == [("d", 25)]
    assert plan_withdrawal(lake, sources=["ex"]).quotes == plan.quotes
    assert plan_withdrawal(lake, ids=[other]).quotes == ()


def test_licences_that_do_not_allow_it_are_said(world: World) -> None:
    """The corpus was built by hand for a purpose that nobody has checked its licences for."""
    licences = LicenceConfig(purpose=LicencePurpose.COMMERCIAL)
    normalized = {name: current(world.lake, "normalized", name) for name in world.sources}
    config = CONFIG.model_copy(update={"licences": licences})
    build_corpus(Purpose.DOCUMENTS, normalized, world.sources, lake=world.lake, config=config)
    _, done = forget(world, world.record(SECRET))
    assert [note for note in done.notes if "licence" in note and "third" in note]
    assert read_snapshot(world.lake).name == done.new_snapshot, "a withdrawal is never refused for it"
