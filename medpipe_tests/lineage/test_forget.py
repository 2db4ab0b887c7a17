"""Forgetting: nothing current holds it, it does not come back, and what it does not concern stays."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import polars as pl
import pytest
from typer.testing import CliRunner, Result

from medpipe.cli import app
from medpipe.curate.config import CurateConfig
from medpipe.lake.dataset import current
from medpipe.lake.tombstones import read_tombstones
from medpipe.lineage.forget import Forgotten, carry_out
from medpipe.lineage.planning import Plan, plan_withdrawal
from medpipe.lineage.stages import LineageError
from medpipe.lineage.trace import trace
from medpipe.tokens.snapshot import read_snapshot
from medpipe.tokens.verify import verify
from medpipe_tests.lineage.world import CONFIG, NEAR, SECRET, SHARDS, World
from medpipe_tests.making import article

COPY = SECRET.replace("，", ", ")


def forget(world: World, *ids: str, **options: object) -> tuple[Plan, Forgotten]:
    plan = plan_withdrawal(world.lake, ids=ids, reason="asked for", **options)  # type: ignore[arg-type]
    return plan, carry_out(plan, world.lake, world.sources, lambda _: None)


def current_files(world: World) -> list[Path]:
    """The files of all that is current, from records to shards."""
    lake = world.lake
    folders = [current(lake, "normalized", name).path for name in world.sources]
    folders.append(current(lake, "corpus", "documents").path)
    folders += [dataset.path for dataset in world.shard_sets(read_snapshot(lake)).values()]
    return folders


def test_a_record_and_its_copies_go(world: World) -> None:
    old = read_snapshot(world.lake)
    before = world.shard_sets(old)
    plan, done = forget(world, world.record(SECRET))
    assert [record.source for record in plan.records] == ["first", "second"]
    new = read_snapshot(world.lake)
    assert (done.old_snapshot, done.new_snapshot) == (old.name, new.name)
    assert old.name != new.name
    for folder in current_files(world):
        assert world.holds(SECRET, folder) == [] and world.holds(COPY, folder) == []
        assert not world.holds(SECRET[:20], folder)
    # What it does not concern is the very same.
    after = world.shard_sets(new)
    assert after["tcm", "third"] == before["tcm", "third"]
    assert after["disease", "second"].digest == before["disease", "second"].digest
    assert list(done.shards) == ["disease/first"] and "rewritten" in done.shards["disease/first"].values()
    assert not any(verify(dataset.path) for dataset in after.values())
    # An old snapshot is as it was.
    assert read_snapshot(world.lake, old.name) == old
    assert world.holds(SECRET, before["disease", "first"].path) != []


def test_the_row_is_rejected_and_rows_add_up(world: World) -> None:
    record_id = world.record(SECRET)
    forget(world, record_id)
    dataset = current(world.lake, "normalized", "first")
    facts = dataset.manifest.facts
    assert facts["rejected_by_reason"] == {"withdrawn": 1} and facts["records_withdrawn"] == 1
    assert facts["published"] == facts["kept"] + facts["rejected"] == 81
    rejected = pl.read_parquet(dataset.files("rejected/*.parquet"))
    assert rejected.select("row", "reason", "detail", "raw").rows() == [(40, "withdrawn", record_id, None)]


def test_it_does_not_come_back(world: World) -> None:
    forget(world, world.record(SECRET))
    new = read_snapshot(world.lake)
    assert world.refresh() == new, "a refresh makes what forgetting made"
    # Neither by a new revision nor in another wrapping of a source that never had it.
    world.write("first", "a.jsonl", [SECRET, *(article(n) for n in range(70))])
    world.write("third", "c.jsonl", [*(article(n) for n in range(400, 430)), f"  {COPY} "])
    world.refresh()
    for folder in current_files(world):
        assert not world.holds(SECRET, folder) and not world.holds(COPY, folder)
    # A person deletes the tombstone.
    for path in (world.lake.root / "tombstones").iterdir():
        path.unlink()
    world.refresh()
    assert any(world.holds(SECRET, folder) for folder in current_files(world))


def test_settings_stay_as_they_were(world: World) -> None:
    forget(world, world.record(SECRET))
    recipe = current(world.lake, "corpus", "documents").manifest.recipe
    assert CurateConfig.model_validate(recipe.config["curate"]) == CONFIG != CurateConfig()
    shards = current(world.lake, "shards", "disease", "first").manifest.recipe
    assert shards.config["max_tokens_per_shard"] == SHARDS.max_tokens_per_shard


def test_trace_says_withdrawn(world: World) -> None:
    record_id = world.record(SECRET)
    _, done = forget(world, record_id)
    found = trace(world.lake, world.sources, record_id=record_id)
    assert found.records[0].found_in == "older records"
    assert found.withdrawn[0].reason == "asked for" and found.withdrawn[0].tombstone == done.tombstone
    # Which checkpoints read it is known as long as their shards are there.
    assert found.records[0].runs[0].steps == done.runs[0].steps
    assert trace(world.lake, world.sources, text=SECRET).total == 0


def test_checkpoints_that_read_it_are_named(world: World) -> None:
    traced = trace(world.lake, world.sources, record_id=world.record(SECRET)).records[0]
    plan, done = forget(world, world.record(SECRET))
    assert plan.runs == done.runs == traced.runs
    assert [run.run.split("/")[1] for run in done.runs] == ["fast", "stable"]
    assert any("tokenizer" in note and "stays" in note for note in done.notes)


def test_near_duplicates_stay_unless_asked_for(world: World) -> None:
    world.write("third", "c.jsonl", [*(article(n) for n in range(400, 440)), NEAR])
    world.refresh()
    plan = plan_withdrawal(world.lake, ids=[world.record(SECRET)])
    assert [(each.source, each.row) for each in plan.near_duplicates] == [("third", 40)]
    plan, _ = forget(world, world.record(SECRET), near_duplicates=True)
    assert {record.source for record in plan.records} == {"first", "second", "third"}
    assert plan.near_duplicates == ()
    for folder in current_files(world):
        assert not world.holds(SECRET, folder) and not world.holds(NEAR, folder)


def test_a_whole_source(world: World) -> None:
    plan, done = forget(world, sources=["first"])
    assert plan.source_records == {"first": 81} and plan.copies_elsewhere == 1
    facts = current(world.lake, "normalized", "first").manifest.facts
    assert (facts["kept"], facts["rejected_by_reason"]) == (0, {"withdrawn": 81})
    new = read_snapshot(world.lake)
    assert {ref.source for ref in new.shards} == {"second", "third"}
    # The copy of another publisher was left out as a copy; now it is the only one.
    documents = current(world.lake, "corpus", "documents")
    assert world.holds(COPY, documents.path / "second")
    assert any("disable" in note for note in done.notes)
    assert {run.run.split("/")[1] for run in done.runs} == {"fast", "stable"}
    assert world.refresh() == new


def test_an_id_that_is_nowhere(world: World) -> None:
    with pytest.raises(LineageError, match=r"no record .*medpipe trace"):
        plan_withdrawal(world.lake, ids=["0" * 32])
    with pytest.raises(LineageError, match="no records of the source nobody; it has first, second, third"):
        plan_withdrawal(world.lake, sources=["nobody"])
    assert not read_tombstones(world.lake)


def test_raw_rows_that_are_gone_name_the_fix(world: World) -> None:
    import shutil

    record_id = world.record(SECRET)
    shutil.rmtree(world.lake.raw("first"))
    with pytest.raises(LineageError, match="materialise raw/first, then run the same command again"):
        forget(world, record_id)
    assert record_id in read_tombstones(world.lake).ids
    world.refresh()
    for folder in current_files(world):
        assert not world.holds(SECRET, folder)


def test_purge_leaves_nothing(world: World) -> None:
    old = read_snapshot(world.lake)
    plan, done = forget(world, world.record(SECRET), purge=True)
    assert [name.split("/")[1] for name in plan.stranded] == [
        "fast",
        "stable",
    ] and done.stranded == plan.stranded
    assert world.holds(SECRET) == [] and world.holds(COPY) == []
    assert not (world.lake.snapshots / f"{old.name}.json").exists()
    new = read_snapshot(world.lake)
    assert new.name == done.new_snapshot
    assert not any(verify(dataset.path) for dataset in world.shard_sets(new).values())
    # JSON Lines lost one row and keep their numbers; the JSON array went as a whole and comes again.
    revision = current(world.lake, "normalized", "first").manifest.recipe.inputs["raw"]
    lines = (world.lake.raw("first") / revision / "a.jsonl").read_text().splitlines()
    assert len(lines) == 81 and lines[40] == "{}" and json.loads(lines[41])["text"] == article(40)
    assert any(note.startswith("raw/second/") for note in done.notes)
    assert world.refresh() == new
    # What the purge made impossible to find out was kept before.
    steps = done.runs[0].steps
    assert steps and plan_withdrawal(world.lake, ids=[*plan.named]).runs[0].steps == steps
    traced = trace(world.lake, world.sources, text=article(41)[:40]).records[0]
    assert "not in the lake any more" in str(traced.runs[0].unknown)


def test_a_rewritten_raw_file_can_be_normalised_again(world: World) -> None:
    from medpipe.normalize.run import normalize_source

    _, done = forget(world, world.record(SECRET), purge=True)
    assert len(done.blanked) == 1
    source = world.sources["first"]
    raw = current(world.lake, "raw", "first")
    again = normalize_source(source, raw, lake=world.lake, force=True).dataset
    facts = again.manifest.facts
    assert (facts["published"], facts["kept"], facts["rejected"]) == (81, 80, 1)


def test_purging_a_source(world: World) -> None:
    forget(world, sources=["first"], purge=True)
    # `second` published the secret itself.
    assert [path for path in world.holds(SECRET) if "second" not in path] == []
    assert not list(world.lake.raw("first").glob("*/a.jsonl"))
    assert not list((world.lake.root / "shards").glob("*/first/*"))


def test_half_files_of_killed_processes_go_too(world: World) -> None:
    ended = subprocess.run(
        [sys.executable, "-c", "import os; print(os.getpid())"], capture_output=True, text=True
    )
    room = world.lake.room("shards", "tcm", "third")  # nothing is published there
    left = room / f".draft.{ended.stdout.strip()}-0123abcd.tmp"
    alive = room / f".draft.{os.getppid()}-0123abcd.tmp"
    for folder in (left, alive):
        folder.mkdir()
        (folder / "part.txt").write_text(SECRET)
    forget(world, world.record(SECRET), purge=True)
    assert not left.exists() and alive.exists()


def test_nothing_is_deleted_behind_a_link(world: World, tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    (world.lake.root / "corpus").rename(outside)
    (world.lake.root / "corpus").symlink_to(outside)
    with pytest.raises(LineageError, match=r"lies outside|symbolic link"):
        plan_withdrawal(world.lake, ids=[world.record(SECRET)], purge=True)
    assert not read_tombstones(world.lake) and list(outside.rglob("*.parquet"))


SCRIPT = """
import sys
from pathlib import Path
from medpipe.lineage.forget import carry_out
from medpipe.lineage.planning import plan_withdrawal
from medpipe_tests.lineage.world import World
world = World(Path(sys.argv[1]))
print("ready", flush=True)
plan = plan_withdrawal(world.lake, ids=[sys.argv[2]], purge=True)
carry_out(plan, world.lake, world.sources, lambda line: print(line, flush=True))
"""


@pytest.mark.slow
def test_killed_anywhere_the_same_command_finishes(world: World) -> None:
    record_id = world.record(SECRET)
    command = [sys.executable, "-c", SCRIPT, str(world.root), record_id]
    # Each try is killed one reported line later than the one before, until one ends by itself.
    kills = 0
    while True:
        process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=os.environ)
        assert process.stdout is not None and process.stdout.readline() == "ready\n"
        if not all(process.stdout.readline() for _ in range(kills)):
            assert process.wait(60) == 0
            break
        process.send_signal(signal.SIGKILL)
        process.wait(60)
        kills += 1
        snapshot = read_snapshot(world.lake)
        for dataset in world.shard_sets(snapshot).values():
            assert verify(dataset.path) == []
    done = subprocess.run(command, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    assert kills > 3 and world.holds(SECRET) == [] and world.holds(COPY) == []
    new = read_snapshot(world.lake)
    assert world.refresh() == new


@pytest.fixture
def command(world: World, monkeypatch: pytest.MonkeyPatch) -> World:
    monkeypatch.setenv("MEDPIPE_HOME", str(world.settings.home))
    monkeypatch.setenv("MEDPIPE_HUB", str(world.settings.hub))
    monkeypatch.setenv("MEDPIPE_SOURCES", str(world.settings.sources))
    monkeypatch.setenv("COLUMNS", "200")
    return world


def run(*arguments: object, answer: str = "") -> Result:
    return CliRunner().invoke(app, [str(argument) for argument in arguments], input=answer)


def test_commands(command: World) -> None:
    found = run("trace", "--text", SECRET[2:30], "--json")
    assert found.exit_code == 0, found.output
    record_id = json.loads(found.stdout)["records"][0]["record"]["id"]
    shown = run("trace", "--id", record_id, "--raw")
    assert "nobody/first" in shown.stdout and "tokens" in shown.stdout and SECRET[:20] in shown.stdout
    step = json.loads(found.stdout)["records"][0]["runs"][0]["steps"][0]
    in_step = run("batch", "tiny/fast", "--step", step, "--json")
    assert record_id in {each["id"] for each in json.loads(in_step.stdout)["documents"]}
    assert record_id in run("batch", "tiny/fast", "--step", step).stdout
    refused = run("forget", record_id, answer="n\n")
    assert refused.exit_code == 1 and "nothing was changed" in refused.stderr
    assert run("forget", record_id).exit_code == 1 and not read_tombstones(command.lake)
    done = run("forget", record_id, "--yes", "--json")
    assert done.exit_code == 0, done.output
    assert [each["source"] for each in json.loads(done.stdout)["planned"]["records"]] == ["first", "second"]
    assert "withdrawn" in run("trace", "--id", record_id).stdout
    again = run("forget", record_id, "--yes")
    assert again.exit_code == 0 and "snapshot" in again.stdout


@pytest.mark.parametrize(
    ("arguments", "status"),
    [
        (["trace"], 2),
        (["trace", "--text", "a", "--id", "b"], 2),
        (["forget"], 2),
        (["batch", "tiny/fast"], 2),
        (["trace", "--id", "0" * 32], 1),
        (["trace", "--text", "这里没有这样一句话啊"], 1),
        (["forget", "0" * 32, "--yes"], 1),
        (["batch", "nobody", "--step", "1"], 1),
        (["batch", "tiny/fast", "--step", "41"], 1),
    ],
)
def test_exit_status(command: World, arguments: list[str], status: int) -> None:
    result = run(*arguments)
    assert result.exit_code == status
    assert "Traceback" not in result.output


def test_a_purge_of_a_lake_in_a_store_is_refused_before_anything_is_done(world: World) -> None:
    plan = plan_withdrawal(world.lake, ids=[world.record(SECRET)], reason="asked for", purge=True)
    before = current_files(world)
    store = replace(world.lake, store="s3://nowhere/lake")
    with pytest.raises(LineageError, match=r"(?s)nothing was done.*manifest\.json.*files/.*every machine"):
        carry_out(plan, store, world.sources, lambda _: None)
    assert current_files(world) == before and not read_tombstones(world.lake)
