"""Whatever is killed, a curriculum goes on by itself and ends with the same weights; never two trainers."""

from __future__ import annotations

import contextlib
import signal
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest
import yaml

from medpipe.lake.digest import sha256_file
from medpipe.pretrain import worker
from medpipe.pretrain.plan import builtin_plans
from medpipe_tests.operate.conftest import free_port
from medpipe_tests.operate.dev import (
    RELOAD,
    ask,
    everything,
    is_alive,
    launch,
    retry_of,
    start_dev,
    status_of,
    stop_dev,
    trainers,
    wait_for,
    wait_until_served,
)
from medpipe_tests.pretrain.corpus import build_corpus

pytestmark = pytest.mark.slow

STEPS, INTERVAL = 200, 20


def write_plan(path: Path, *, steps: int = STEPS) -> Path:
    """Two stages of some seconds, and two that are not run."""
    plan: dict[str, Any] = yaml.safe_load(builtin_plans()["tiny"].read_text(encoding="utf-8"))
    plan |= {"name": "long", "checkpoint_every_steps": INTERVAL, "maximum_epochs": 1000}
    for stage in plan["stages"]:
        budget = steps if stage["name"] in ("fast", "stable") else 8
        stage["tokens"] = budget * plan["batch_sequences"] * plan["sequence_length"]
    path.write_text(yaml.safe_dump(plan, allow_unicode=True), encoding="utf-8")
    return path


class Watch(threading.Thread):
    """Counts the trainers of a home for as long as the block runs."""

    def __init__(self, home: Path) -> None:
        super().__init__(daemon=True)
        self.home, self.most, self._ended = home, 0, threading.Event()

    def run(self) -> None:
        while not self._ended.wait(0.1):
            self.most = max(self.most, len(trainers(self.home)))

    def __enter__(self) -> Watch:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ended.set()
        self.join()


def final_weights(lake: Path, stage: str) -> str | None:
    """Digest of a finished stage's weights."""
    for result in lake.glob("runs/*/*/result.json"):
        facts = yaml.safe_load(result.read_text())
        if facts["stage"] == stage:
            return sha256_file(result.parent / facts["checkpoint"] / "model.safetensors")
    return None


def steps_saved(lake: Path, first: int) -> int:
    """Steps behind `first` that the newest whole checkpoint holds."""
    numbers = [int(path.parent.name) for path in lake.glob("runs/*/*/checkpoints/[!.]*/manifest.json")]
    return max([number - first for number in numbers], default=0)


def kill(processes: list[psutil.Process]) -> None:
    for process in processes:
        with contextlib.suppress(psutil.NoSuchProcess):
            process.send_signal(signal.SIGKILL)


def workers_of(trainer: psutil.Process) -> tuple[psutil.Process, psutil.Process]:
    """Step worker and run worker above a trainer; between the two is the fork server."""
    step = trainer.parent()
    return step, step.parent().parent()


@pytest.fixture
def undisturbed(tmp_path: Path) -> Iterator[dict[str, str]]:
    """Weights after each stage in a run that nobody disturbed."""
    home = tmp_path / "undisturbed"
    build_corpus(home / "lake", documents=200)
    plan = write_plan(tmp_path / "plan.yaml")
    for stage in ("fast", "stable"):
        options = {"lake": home / "lake", "plan": plan, "snapshot": "current", "stage": stage}
        assert worker.main([f"--{name}={value}" for name, value in options.items()]) == 0
    yield {stage: str(final_weights(home / "lake", stage)) for stage in ("fast", "stable")}


def test_a_curriculum_goes_on_by_itself(tmp_path: Path, undisturbed: dict[str, str]) -> None:
    home, lake = tmp_path / "home", tmp_path / "home" / "lake"
    build_corpus(lake, documents=200)
    (home / "hub").mkdir()
    dagster, mlflow = free_port(), free_port()
    url = f"http://127.0.0.1:{dagster}"
    settings = {"MEDPIPE_PLAN": str(tmp_path / "plan.yaml"), "MEDPIPE_HUB": str(home / "hub")}

    def succeeded(run: str) -> bool | None:
        status = status_of(url, run)
        assert status != "FAILURE", (home / "dev.log").read_text()[-6000:]
        return True if status == "SUCCESS" else None

    def stopped_trainer_after(run: str, *, first: int, saved: int) -> psutil.Process | None:
        """The trainer, which goes no step further: a fast one would be through before it is killed."""
        found = trainers(home)
        if found and steps_saved(lake, first) >= saved:
            found[0].suspend()
            return found[0]
        assert status_of(url, run) != "FAILURE", (home / "dev.log").read_text()[-6000:]
        return None

    with Watch(home) as watch:
        process = start_dev(home, dagster=dagster, mlflow=mlflow, **settings)
        try:
            wait_until_served(home, url, process)
            run = launch(url, "pretrain_curriculum", "pretrain/fast")
            trainer = wait_for(
                lambda: stopped_trainer_after(run, first=0, saved=INTERVAL), seconds=300, what="a checkpoint"
            )
            kill(everything(home))
            process.wait(10)
            wait_for(lambda: None if everything(home) else True, seconds=60, what="the end of all")
            wait_for(lambda: None if is_alive(trainer.pid) else True, seconds=60, what="the trainer's end")
            assert final_weights(lake, "fast") is None, "it was killed too late to prove anything"
        finally:
            stop_dev(process)
        process = start_dev(home, dagster=dagster, mlflow=mlflow, **settings)
        try:
            wait_until_served(home, url, process)
            began = time.monotonic()
            wait_for(
                lambda: True if status_of(url, run) == "FAILURE" else None, seconds=300, what="the failure"
            )
            retry = wait_for(lambda: retry_of(url, run), seconds=300, what="the retry")
            wait_for(lambda: succeeded(retry), seconds=300, what="the end of the retry")
            print(f"went on by itself within {time.monotonic() - began:.0f} s")
            assert final_weights(lake, "fast") == undisturbed["fast"]

            run = launch(url, "pretrain_curriculum", "pretrain/stable")
            for saved, victim in ((INTERVAL, 0), (3 * INTERVAL, 1)):
                trainer = wait_for(
                    lambda run=run, saved=saved: stopped_trainer_after(run, first=STEPS, saved=saved),
                    seconds=300,
                    what=f"checkpoint {saved}",
                )
                ask(url, RELOAD, name="medpipe.definitions")  # its new server has never heard of the run
                kill([workers_of(trainer)[victim]])
                trainer.resume()
                wait_for(lambda t=trainer: None if is_alive(t.pid) else True, seconds=60, what="its end")
                run = wait_for(lambda run=run: retry_of(url, run), seconds=300, what="the retry")
            wait_for(lambda: succeeded(run), seconds=300, what="the end of the second retry")
            assert final_weights(lake, "stable") == undisturbed["stable"]
        finally:
            stop_dev(process)
    assert watch.most == 1
