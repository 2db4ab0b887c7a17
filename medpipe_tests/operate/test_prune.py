"""`medpipe prune` keeps to its limits, and to what snapshots, runs and registered models need."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import dagster as dg
import pytest
from typer.testing import CliRunner

from medpipe.cli import app
from medpipe.lake.dataset import Dataset, find_reusable, publish
from medpipe.lake.files import write_json_atomically
from medpipe.lake.layout import HEAD, Lake
from medpipe.lake.manifest import Recipe
from medpipe.operate.doctor.examine import examine
from medpipe.operate.instance import open_instance
from medpipe.operate.prune import plan as prune_plan
from medpipe.operate.prune.doomed import Limits, remove_folder
from medpipe.operate.prune.events import old_runs, unfinished_configs
from medpipe.operate.prune.needed import registered
from medpipe.operate.prune.plan import plan_lake
from medpipe.settings import Settings
from medpipe.tokens.snapshot import CorpusSnapshot, read_snapshot
from medpipe.tokens.snapshot_names import snapshot_names
from medpipe.tracking.checkpoints import CHECKPOINT_TAG, checkpoint_digest
from medpipe.tracking.store import client, experiment_id
from medpipe_tests.pretrain.corpus import build_corpus

HELD = "folder-" + "5" * 32
LIMITS = Limits(snapshots=1, checkpoints=1, event_days=30, idle_hours=0)
STEPS = (10, 20, 30, 40, 50)


@pytest.fixture(scope="module", autouse=True)
def home(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    folder = tmp_path_factory.mktemp("prune")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("DAGSTER_HOME", "")
        patch.delenv("MLFLOW_TRACKING_URI", raising=False)
        patch.delenv("MEDPIPE_LAKE", raising=False)
        patch.setenv("MEDPIPE_HOME", str(folder))
        yield folder


@pytest.fixture(scope="module")
def world(home: Path) -> World:
    return build_world(home)


@dataclass
class World:
    """A home with five corpora, a finished and an unfinished run, and a registered model."""

    settings: Settings
    lake: Lake
    snapshots: list[CorpusSnapshot]
    finished: Path
    unfinished: Path


def build_world(home: Path) -> World:
    settings = Settings(home=home)
    lake = Lake(settings.lake)
    snapshots = [
        build_corpus(lake.root, documents=20 + number, validation=4, vocabulary_size=300).snapshot
        for number in range(5)
    ]
    finished, unfinished = (lake.runs("tiny") / f"{name * 32}-1" for name in "ab")
    for folder, snapshot, steps in ((finished, snapshots[1], STEPS), (unfinished, snapshots[2], STEPS[:2])):
        for step in steps:
            write_checkpoint(lake, folder, step)
        shard = snapshot.shards[0]
        key = f"{shard.domain}/{shard.source}/{shard.digest}/00000"
        facts = {"snapshot": snapshot.name, "tokenizer": snapshot.tokenizer.digest}
        write_json_atomically(folder / "stage.json", {**facts, "components": [{"shards": [key]}]})
    write_json_atomically(finished / "result.json", {"checkpoint": "checkpoints/00000040", "best_step": 20})

    # What waits for a person's word, and is named nowhere else: a state of a folder, which has no commit.
    for revision in ("folder-" + "4" * 32, HELD):
        with publish(
            lake,
            "raw",
            "guide",
            recipe=Recipe(inputs={}, code_version="1"),
            digest=revision,
            make_current=revision != HELD,
        ) as draft:
            (draft.path / "f").write_text(revision)
    write_json_atomically(lake.raw("guide") / "held.json", {"source": "guide", "revision": HELD})

    # What is registered: a checkpoint on the way, of a curriculum whose run folder is gone but for that.
    mlflow = client(settings)
    run = mlflow.create_run(experiment_id(settings)).info.run_id
    mlflow.log_param(run, "corpus_snapshot", snapshots[0].name)
    mlflow.create_registered_model("tiny")
    digest = checkpoint_digest(finished / "checkpoints" / "00000030")
    mlflow.create_model_version(
        "tiny", (home / "elsewhere").as_uri(), run_id=run, tags={CHECKPOINT_TAG: digest}
    )
    return World(settings, lake, snapshots, finished, unfinished)


def write_checkpoint(lake: Lake, folder: Path, step: int) -> None:
    with publish(lake, "made", "x", recipe=Recipe(inputs={}, code_version=str(step))) as draft:
        (draft.path / "model.safetensors").write_bytes(bytes(1000 + step))
    folder = folder / "checkpoints" / f"{step:08d}"
    folder.parent.mkdir(parents=True, exist_ok=True)
    draft.dataset.path.rename(folder)
    (lake.room("made", "x") / HEAD).unlink()


def prune(*options: str, status: int = 0) -> dict[str, Any]:
    limits = ["--snapshots", "1", "--checkpoints", "1", "--idle-hours", "0", "--event-days", "30"]
    said = CliRunner().invoke(app, ["prune", "--json", *limits, *options])
    assert said.exit_code == status, said.output
    facts: dict[str, Any] = json.loads(said.stdout)
    return facts


def used_by(folder: Path) -> int:
    """Bytes on the disk: a file of several names counts once; the locks of run folders do not count."""
    files = [path for path in folder.rglob("*") if path.is_file() and path.name != "lock"]
    return sum({(each.stat().st_ino): each.stat().st_size for each in files}.values())


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in (folder / "checkpoints").iterdir())


def test_without_mlflow_nothing_that_a_model_may_need_goes(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://ann:hidden-word@127.0.0.1:9")
    said = prune("--yes", status=1)
    assert said["found"] == [] and "registered models may need them" in said["refused"][0]
    assert "hidden-word" not in json.dumps(said)
    assert names(world.finished) == [f"{step:08d}" for step in STEPS]


def test_what_becomes_current_while_it_is_pruned_stays(world: World) -> None:
    """A refresh that goes back to an earlier state makes an old data set current again in that moment."""
    plan = plan_lake(world.settings, LIMITS)
    (old,) = [each for each in plan.doomed if each.name.startswith("shards/general/")]
    (folder,) = old.paths
    head = folder.parent / HEAD
    current = head.read_text()
    assert not remove_folder(folder, is_needed=lambda: bool(head.write_text(folder.name)))
    assert folder.is_dir()
    assert not old.remove(), "it is current"
    head.write_text(current)
    # The other way round: whoever makes it current finds it gone.
    made: list[Dataset] = []
    recipe = Recipe(inputs={}, code_version="1")
    for content in (b"a", b"b"):
        with publish(world.lake, "corpus", "x", recipe=recipe) as draft:
            (draft.path / "f").write_bytes(content)
        made.append(draft.dataset)
    with pytest.MonkeyPatch.context() as patch:
        real = prune_plan.remove_folder

        def name_and_lose(path: Path, data: bytes) -> None:
            path.write_bytes(data)
            lost = path.parent / data.decode()
            if lost == made[1].path:
                real(lost)

        patch.setattr("medpipe.lake.dataset.write_bytes_atomically", name_and_lose)
        found = find_reusable(world.lake, "corpus", "x", recipe=recipe)
    assert found is not None and found.path == made[0].path and made[0].path.is_dir()
    found.path.parent.rename(world.settings.home / "done")


@dg.asset
def thing() -> int:
    """An asset."""
    return 1


def test_what_was_registered_by_hand_keeps_its_checkpoint_and_its_snapshot(world: World) -> None:
    """MLflow's own UI registers a logged model without medpipe's tags."""
    mlflow = client(world.settings)
    experiment = experiment_id(world.settings)
    run = mlflow.create_run(experiment).info.run_id
    mlflow.log_param(run, "corpus_snapshot", "a" * 32)
    tags = {CHECKPOINT_TAG: "d" * 32}
    model = mlflow.create_logged_model(experiment, name="by-hand", source_run_id=run, tags=tags)
    mlflow.create_registered_model("by-hand")
    mlflow.create_model_version("by-hand", model.artifact_location, run_id=run, model_id=model.model_id)
    found = registered(world.settings)
    assert "d" * 32 in found.checkpoints and "a" * 32 in found.snapshots
    mlflow.delete_logged_model(model.model_id)
    assert "d" * 32 not in registered(world.settings).checkpoints, "it is refused, or asks for what is gone"


def test_a_snapshot_that_somebody_will_train_on_stays(world: World) -> None:
    """By the setting, or by the form of a run that waits in the queue."""
    unneeded = world.snapshots[3].name

    def doomed(settings: Settings, run_configs: list[object]) -> set[str]:
        plan = plan_lake(settings, LIMITS, run_configs=run_configs)
        return {each.name for each in plan.doomed if each.kind == "snapshot"}

    (day,) = (name for digest, name in snapshot_names(world.lake).items() if digest == unneeded)
    assert doomed(world.settings, []) == {unneeded}
    assert doomed(world.settings.model_copy(update={"snapshot": unneeded[:8]}), []) == set()
    assert doomed(world.settings, [{"plan": "demo", "snapshot": day}]) == set()
    form = {
        "resources": {"form": {"config": {"snapshot": day}}},
        "ops": {"x": [{"snapshot": None}, {"snapshot": "../x"}]},
    }
    assert doomed(world.settings, [form]) == set()
    with open_instance(world.settings) as instance:
        run = instance.create_run_for_job(
            dg.define_asset_job("j", [thing]).resolve(
                asset_graph=dg.Definitions([thing]).resolve_asset_graph()
            ),
            run_config={},
            status=dg.DagsterRunStatus.STARTED,
        )
        assert unfinished_configs(instance) == [run.run_config]
        instance.delete_run(run.run_id)


def test_a_checkpoint_on_the_way_that_somebody_goes_on_from_stays(world: World) -> None:
    def doomed() -> set[str]:
        plan = plan_lake(world.settings, LIMITS)
        return {each.name.rpartition("/")[2] for each in plan.doomed if each.kind == "checkpoint"}

    checkpoint = world.finished / "checkpoints" / "00000010"
    assert doomed() == {checkpoint.name}
    # By a plan that was not run yet.
    plan = world.settings.home / "plans" / "branch.yaml"
    plan.parent.mkdir()
    plan.write_text(f"start_from: {{checkpoint: {checkpoint}}}\n")
    assert doomed() == set()
    plan.write_text("start_from: {checkpoint: [\n")
    with pytest.raises(ValueError, match=r"branch\.yaml"):
        doomed()
    plan.unlink()
    # By a run that began before the lake was moved.
    stage = world.unfinished / "stage.json"
    before = stage.read_bytes()
    begun = {"checkpoint": "/moved/since/00000010", "content": checkpoint_digest(checkpoint)}
    write_json_atomically(stage, {**json.loads(before), "start_from": begun})
    assert doomed() == set()
    stage.write_bytes(before[:20])
    with pytest.raises(ValueError, match=r"stage\.json is no JSON object; nothing is pruned"):
        doomed()
    stage.write_bytes(before)


def test_what_nobody_can_say_is_needed_is_put_back(tmp_path: Path) -> None:
    folder = tmp_path / "x"
    folder.mkdir()

    def unreadable() -> bool:
        raise OSError("HEAD cannot be read")

    with pytest.raises(OSError, match="HEAD cannot be read"):
        remove_folder(folder, is_needed=unreadable)
    assert [path.name for path in tmp_path.iterdir()] == ["x"]


def test_only_what_nobody_needs_goes(world: World) -> None:
    home = world.settings.home
    before = sorted(path for path in home.glob("lake/**/*") if path.is_file())
    used = used_by(home / "lake")
    planned = prune()
    assert sorted(path for path in home.glob("lake/**/*") if path.is_file()) == before, "it was to look only"
    # Snapshot 0 is that of a registered model, 1 and 2 of runs, 4 the newest.
    gone = {(each["kind"], each["name"].rpartition("/")[2]) for each in planned["found"]}
    unneeded = {("data set", shard.digest) for shard in world.snapshots[3].shards}
    assert unneeded <= gone
    assert {name for kind, name in gone if kind == "snapshot"} == {world.snapshots[3].name}
    assert {name for kind, name in gone if kind == "checkpoint"} == {"00000010"}
    assert {each["outcome"] for each in planned["found"]} == {"would go"}

    done = prune("--yes")
    assert {each["outcome"] for each in done["found"]} == {"deleted"} and done["bytes"] == planned[
        "bytes"
    ] > 0
    assert used - used_by(home / "lake") == done["bytes"], "more or less is freed than was said"
    assert names(world.finished) == ["00000020", "00000030", "00000040", "00000050"]
    assert names(world.unfinished) == ["00000010", "00000020"]
    for number in (0, 1, 2, 4):
        kept = read_snapshot(world.lake, world.snapshots[number].name)
        for shard in kept.shards:
            assert (world.lake.dataset("shards", shard.domain, shard.source, digest=shard.digest)).is_dir()
    assert (world.lake.raw("guide") / HELD).is_dir(), "it waits to be accepted"
    assert prune()["found"] == []
    assert examine(world.settings) == [], "it left something behind"


def test_events_go_but_an_asset_stays_made(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    settings = Settings(home=home)
    with open_instance(settings) as instance:
        runs = [dg.materialize([thing], instance=instance).run_id for _ in range(3)]
        assert old_runs(instance, settings.dagster_home, LIMITS) == []
        monkeypatch.setattr("medpipe.operate.prune.events._DAY_S", 0.0)
        old = old_runs(instance, settings.dagster_home, LIMITS)
        assert {each.name.split()[-1] for each in old} == set(runs[:2])
        assert all(each.remove() for each in old)
        assert [run.run_id for run in instance.get_runs()] == runs[2:]
        latest = instance.get_latest_materialization_event(thing.key)
        assert latest is not None and latest.run_id == runs[2]
        assert not list((settings.dagster_home / "history" / "runs").glob(f"{runs[0]}*"))


def test_of_a_lake_in_a_store_nothing_goes_and_what_to_do_there_is_said(tmp_path: Path) -> None:
    plan = plan_lake(Settings(home=tmp_path, lake_root="s3://nowhere/lake"), LIMITS)
    assert not plan.doomed
    [refused] = plan.refused
    assert "s3://nowhere/lake" in refused and "manifest.json" in refused and "files/" in refused
