"""`medpipe doctor` finds what killed processes left, mends it, and leaves the living alone."""

from __future__ import annotations

import json
import os
import shlex
import signal
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import dagster as dg
import pytest
from dagster._core.events import EngineEventData
from dagster._core.remote_origin import (
    GrpcServerCodeLocationOrigin,
    RemoteJobOrigin,
    RemoteRepositoryOrigin,
)
from typer.testing import CliRunner

from medpipe.cli import app
from medpipe.lake.dataset import publish
from medpipe.lake.layout import HEAD, Lake
from medpipe.lake.manifest import MANIFEST, Recipe
from medpipe.lake.process import ProcessIdentity, boot_id
from medpipe.operate.doctor.examine import examine
from medpipe.operate.doctor.finding import Finding
from medpipe.operate.doctor.lake import datasets
from medpipe.operate.doctor.trainers import orphan_trainers
from medpipe.operate.instance import open_instance
from medpipe.operate.keeper import TRAINER
from medpipe.pretrain.guard import LAUNCHER_VARIABLE
from medpipe.pretrain.launch import trainer_environment
from medpipe.settings import Settings
from medpipe.tracking.runs import SEED_TAG, STAGE_TAG
from medpipe.tracking.store import client, experiment_id
from medpipe_tests.operate.dev import is_alive
from medpipe_tests.pretrain.corpus import build_corpus

PUBLISH = """
import os, pathlib, signal, sys
from medpipe.lake.dataset import publish
from medpipe.lake.layout import Lake
from medpipe.lake.manifest import Recipe

lake, recipe = Lake(pathlib.Path(sys.argv[1])), Recipe(inputs={}, code_version="1")
with publish(lake, "normalized", sys.argv[2], recipe=recipe) as draft:
    (draft.path / "part-00000.parquet").write_bytes(b"half")
    print(draft.path, flush=True)
    if sys.argv[3] == "dies":
        os.kill(os.getpid(), signal.SIGKILL)
    sys.stdin.read()
"""
TRAIN = """
import subprocess, sys
command = [sys.executable, "-c", "import time; time.sleep(600)", *sys.argv[1:]]
trainer = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL)
print(trainer.pid, flush=True)
if "lives" in sys.argv:
    sys.stdin.read()
"""
HOLD = """
import pathlib, sys
from medpipe.pretrain.guard import run_lock
with run_lock(pathlib.Path(sys.argv[1])):
    print("held", flush=True)
    sys.stdin.read()
"""


@dg.op
def nothing() -> None:
    """Does nothing."""


@dg.job
def idle() -> None:
    """A job for runs that nobody executes."""
    nothing()


class Helpers:
    """Processes that live until the test ends, or are dead when it begins."""

    def __init__(self) -> None:
        self._alive: list[subprocess.Popen[str]] = []
        self.grandchildren: list[int] = []

    def start(self, code: str, *arguments: str, env: dict[str, str] | None = None) -> tuple[int, str]:
        """Starts one and waits for its first line; returns its id and the line."""
        process = subprocess.Popen(
            [sys.executable, "-c", code, *arguments],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env=os.environ | (env or {}),
        )
        assert process.stdout is not None
        line = process.stdout.readline().strip()
        if "dies" in arguments:
            process.wait(30)
        self._alive.append(process)
        return process.pid, line

    def end(self) -> None:
        for pid in filter(is_alive, self.grandchildren):
            os.kill(pid, signal.SIGKILL)
        for process in self._alive:
            process.kill()
            process.communicate()


@dataclass
class Wreck:
    """A home after a crash, with somebody alive in it, too."""

    settings: Settings
    lake: Lake
    broken: dict[str, str]
    """What is wrong, by a name for it: part of the finding's `thing`."""
    kept: list[Path]
    """Of the living."""
    orphan: int
    trainer: int
    """Of a launcher that lives."""
    runs: dict[str, str]
    mlflow: dict[str, str]


@pytest.fixture(scope="module")
def wreck(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Wreck]:
    home = tmp_path_factory.mktemp("wreck")
    with pytest.MonkeyPatch.context() as patch:
        for name in ("DAGSTER_HOME", "MLFLOW_TRACKING_URI", "MEDPIPE_LAKE"):
            patch.delenv(name, raising=False)
        patch.setenv("MEDPIPE_HOME", str(home))
        patch.setenv("DAGSTER_HOME", "")
        helpers = Helpers()
        try:
            yield _wreck(home, helpers)
        finally:
            helpers.end()


def _wreck(home: Path, helpers: Helpers) -> Wreck:
    settings = Settings(home=home)
    lake = Lake(settings.lake)
    build_corpus(lake.root, documents=40)
    root = str(lake.root)
    _, dead_draft = helpers.start(PUBLISH, root, "dead", "dies")
    living, live_draft = helpers.start(PUBLISH, root, "alive", "lives")
    shards = sorted(path.parent for path in lake.root.glob("shards/*/*/*/manifest.json"))
    cut_short, damaged = shards[0], shards[1]
    (cut_short / MANIFEST).unlink()
    next(damaged.glob("*.bin")).write_bytes(b"")
    (lake.room("normalized", "headless")).mkdir(parents=True)
    (lake.room("normalized", "headless") / HEAD).write_text("0" * 32)

    folders = {name: lake.runs("tiny") / f"{name * 32}-1" for name in ("a", "b")}
    for folder in folders.values():
        folder.mkdir(parents=True)
    helpers.start(HOLD, str(folders["b"]))
    command = [TRAINER, "--lake", root, "--stage", "fast"]
    dead_launcher, orphan = helpers.start(TRAIN, *command, "dies", env=_launched_by_nobody())
    launcher, trainer = helpers.start(TRAIN, *command, "lives", env=trainer_environment())

    helpers.grandchildren += [int(orphan), int(trainer)]

    mlflow, experiment = client(settings), experiment_id(settings)
    found = {}
    for name in folders:
        parent = mlflow.create_run(experiment, run_name=f"parent-{name}").info.run_id
        tags = {STAGE_TAG: name * 32, SEED_TAG: "1", "mlflow.parentRunId": parent}
        found[name] = mlflow.create_run(experiment, run_name=f"stage-{name}", tags=tags).info.run_id
        found[f"parent-{name}"] = parent
    with open_instance(settings) as instance:
        runs = {
            "stuck": _run(instance, dead_launcher, dg.DagsterRunStatus.STARTED),
            "ended": _run(instance, dead_launcher, dg.DagsterRunStatus.FAILURE),
            "queued": _run(instance, None, dg.DagsterRunStatus.QUEUED),
        }
        storage = instance.event_log_storage
        for number, run in enumerate(("ended", "stuck")):
            storage.set_concurrency_slots(f"pool-{number}", 1)
            storage.claim_concurrency_slot(f"pool-{number}", runs[run], "step")
    assert living and launcher
    return Wreck(
        settings=settings,
        lake=lake,
        broken={
            "draft": Path(dead_draft).name,
            "cut short": cut_short.relative_to(lake.root).as_posix(),
            "damaged": damaged.relative_to(lake.root).as_posix(),
            "head": "normalized/headless/HEAD",
            "its head": f"{cut_short.parent.relative_to(lake.root).as_posix()}/HEAD",
            "snapshot": "snapshots/",
            "orphan": f"process {orphan}:",
            "stuck": runs["stuck"],
            "slot": f"pool-0 held by run {runs['ended']}",
            "daemon": "queued_run_coordinator",
        },
        kept=[Path(live_draft), folders["b"]],
        orphan=int(orphan),
        trainer=int(trainer),
        runs=runs,
        mlflow=found,
    )


def _launched_by_nobody() -> dict[str, str]:
    """The environment of a trainer whose launcher has ended."""
    code = "from medpipe.pretrain.launch import *; import json; print(json.dumps(trainer_environment()))"
    said = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    environment: dict[str, str] = json.loads(said.stdout)
    return environment


def _run(instance: dg.DagsterInstance, pid: int | None, status: dg.DagsterRunStatus) -> str:
    location = GrpcServerCodeLocationOrigin(host="localhost", port=9)
    origin = RemoteJobOrigin(RemoteRepositoryOrigin(location, "__repository__"), "idle")
    run = instance.create_run_for_job(job_def=idle, status=status, remote_job_origin=origin)
    if pid is not None:
        message = f"Started process for run (pid: {pid})."
        instance.report_engine_event(message, run, EngineEventData.in_process(pid))
    return run.run_id


def found_of(findings: list[Finding], thing: str) -> Finding:
    (found,) = [each for each in findings if thing in each.thing]
    return found


def test_a_crash_is_found_and_mended_and_the_living_are_left_alone(wreck: Wreck) -> None:
    before = examine(wreck.settings)
    assert {name: [t.kind for t in before if part in t.thing] for name, part in wreck.broken.items()} == {
        "draft": ["data set"],
        "cut short": ["data set"],
        "damaged": ["data set"],
        "head": ["data set"],
        "its head": ["data set"],
        "snapshot": ["data set"],
        "orphan": ["trainer"],
        "stuck": ["run"],
        "slot": ["pool slot"],
        "daemon": ["daemon"],
    }
    # The run that is stuck does not count as executed, so that MLflow is looked at.
    assert (
        found_of(before, wreck.mlflow["a"]).kind
        == found_of(before, wreck.mlflow["parent-a"]).kind
        == "mlflow run"
    )
    living = (
        f"process {wreck.trainer}:",
        *(path.name for path in wreck.kept),
        wreck.mlflow["b"],
        wreck.mlflow["parent-b"],
    )
    assert not [each for each in before if any(name in each.thing for name in living)]
    assert len(before) == len(wreck.broken) + 2, [each.thing for each in before]
    assert is_alive(wreck.orphan), "looking changed something"

    after = examine(wreck.settings, repair=True)
    by_name = {name: found_of(after, part).outcome for name, part in wreck.broken.items()}
    left = {"damaged": "found", "snapshot": "found", "daemon": "found"}
    assert by_name == dict.fromkeys(wreck.broken, "repaired") | left
    assert not is_alive(wreck.orphan) and is_alive(wreck.trainer)
    assert all(path.exists() for path in wreck.kept)
    mlflow = client(wreck.settings)
    status = {name: mlflow.get_run(run).info.status for name, run in wreck.mlflow.items()}
    assert status == {"a": "KILLED", "parent-a": "KILLED", "b": "RUNNING", "parent-b": "RUNNING"}
    with open_instance(wreck.settings) as instance:
        found = {name: instance.get_run_by_id(run) for name, run in wreck.runs.items()}
        states = {name: run.status.value for name, run in found.items() if run is not None}
        assert states == {"stuck": "FAILURE", "ended": "FAILURE", "queued": "QUEUED"}
        storage = instance.event_log_storage
        for pool in storage.get_concurrency_keys():
            assert storage.get_concurrency_info(pool).active_slot_count == 0

    said = CliRunner().invoke(app, ["doctor", "--json"])
    facts: list[dict[str, Any]] = json.loads(said.stdout)
    assert said.exit_code == 1, "something is left for a person to do"
    assert {each["outcome"] for each in facts} == {"found"} and len(facts) == len(left)
    assert not any(each["repairable"] for each in facts) and all(each["fix"] for each in facts)


def test_a_folder_of_a_person_is_told_of_and_never_removed(tmp_path: Path) -> None:
    lake = Lake(tmp_path)
    with publish(lake, "raw", "guide", recipe=Recipe(inputs={}, code_version="1")) as draft:
        (draft.path / "f").write_text("a")
    mine = lake.raw("guide") / "my-notes"
    mine.mkdir()
    (mine / "notes.txt").write_text("look at row 7 again")
    (found,) = list(datasets(lake, read_all=False))
    assert found.repair is None and "my-notes" in found.fix


def test_a_trainer_in_a_container_is_left_alone(tmp_path: Path) -> None:
    """Its launcher's id is one of the container's: here it means nobody, or somebody else."""
    inside = [sys.executable, "-c", "import time; print(1, flush=True); time.sleep(600)"]
    inside += [TRAINER, "--lake", str(tmp_path)]
    command = ["unshare", "--pid", "--fork", "--kill-child", "sh", "-c", f"exec {shlex.join(inside)}"]
    launcher = ProcessIdentity(2**22 - 1, 5, boot_id())
    with subprocess.Popen(
        command,
        env=os.environ | {LAUNCHER_VARIABLE: str(launcher)},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdout is not None and process.stderr is not None
        if process.stdout.readline() != "1\n":
            pytest.skip(f"no namespaces here: {process.stderr.read().strip()}")
        try:
            assert list(orphan_trainers(tmp_path)) == []
        finally:
            process.kill()


def test_a_whole_home_has_nothing_to_find(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DAGSTER_HOME", "")
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    monkeypatch.setenv("MEDPIPE_HOME", str(tmp_path))
    build_corpus(tmp_path / "lake", documents=40)
    said = CliRunner().invoke(app, ["doctor", "--read-all"])
    assert said.exit_code == 0 and said.stdout.startswith("nothing found"), said.stdout
