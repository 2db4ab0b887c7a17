"""What the machine does to a trainer: it kills it, or runs out of memory or disk. Nothing is lost by it."""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import signal
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import dagster as dg
import pytest
import torch

from medpipe.lake.manifest import MANIFEST
from medpipe.pretrain import worker
from medpipe.pretrain.checkpoint import WEIGHTS, list_checkpoints
from medpipe.pretrain.launch import trainer_environment
from medpipe.pretrain.refusals import in_plain_words, killed_in_words
from medpipe.pretrain.result import trainer_failure
from medpipe.pretrain.training import Training
from medpipe_tests.pretrain.conftest import stage_run
from medpipe_tests.pretrain.corpus import Corpus
from medpipe_tests.pretrain.trainers import (
    AT_STEP,
    KILL,
    arguments,
    copy_of,
    digests,
    ended,
    kept,
    losses,
    run_folder,
    tiny,
    trainer_with,
)


def behind_step_9(corpus: Corpus, action: str) -> list[str]:
    """A trainer that does something behind step 9, once the checkpoint of step 6 is on the disk."""
    runs = str(corpus.lake.root / "runs")
    saved = f"""
import pathlib, time
def saved():
    while not list(pathlib.Path({runs!r}).glob("tiny/*/checkpoints/00000006")):
        time.sleep(0.01)  # it is written beside the training
"""
    return trainer_with(corpus, saved + AT_STEP.format(step=9, action=f"saved(); {action}"))


def test_a_trainer_that_is_killed_is_told_from_one_that_failed(
    own_corpus: Corpus, straight: tuple[dict[str, str], Any], capsys: pytest.CaptureFixture[str]
) -> None:
    """As the launcher runs it, under Dagster's Pipes."""
    from medpipe.pretrain.assets import _train
    from medpipe.pretrain.result import ResultError
    from medpipe.pretrain.tracked import TrackedStage
    from medpipe.settings import Settings
    from medpipe.tracking.replay import SpoolReplay

    run = stage_run(own_corpus, tiny(), "fast")
    caught: list[str] = []

    @dg.op
    def train(context) -> None:  # type: ignore[no-untyped-def] # Dagster reads no deferred annotation
        tracked = TrackedStage(
            compiled=run.compiled,
            stage="fast",
            lake=own_corpus.lake,
            folder=run.folder,
            complete=False,
            command=behind_step_9(own_corpus, KILL),
            replay=SpoolReplay(Settings(), run.folder / "metrics.jsonl", lambda: pytest.fail("not polled")),
        )
        try:
            _train(context, dg.PipesSubprocessClient(), tracked, is_retry=False)
        except ResultError as error:
            caught.append(str(error))

    @dg.job
    def job() -> None:
        train()

    assert job.execute_in_process(raise_on_error=True).success
    [told] = caught
    assert "killed by the system (SIGKILL), most likely because memory ran out: lower micro_batch" in told
    assert "Checkpoint 00000006 has all its files: run again to go on from step 6" in told
    assert worker.main(arguments(own_corpus)) == 0
    assert "resuming after step 6 of 20" in capsys.readouterr().err
    assert (digests(run.folder), losses(run.folder)) == straight
    assert trainer_failure(run.folder) is None


def test_what_is_said_of_other_signals(tmp_path: Path) -> None:
    assert "was ended by SIGSEGV before it could say why" in killed_in_words(tmp_path, -signal.SIGSEGV)
    assert "No checkpoint of this stage was written yet" in killed_in_words(tmp_path, 1)


def test_what_is_said_of_checkpoints_is_looked_at(halfway: Corpus) -> None:
    folder = run_folder(halfway)
    older, newest = list_checkpoints(folder / "checkpoints")
    assert "Checkpoint 00000008 has all its files" in killed_in_words(folder, None)
    (newest / WEIGHTS).write_bytes(b"")
    assert "Checkpoint 00000006 has all its files: run again to go on from step 6" in killed_in_words(
        folder, None
    )
    (older / MANIFEST).unlink()
    assert f"has all its files: bring one back, or remove {folder}" in killed_in_words(folder, None)


def test_memory_that_ends_is_a_plain_message(
    own_corpus: Corpus, straight: tuple[dict[str, str], Any]
) -> None:
    """The trainer's address space is closed after step 9: torch's own allocator refuses."""
    action = (
        "import resource, torch; resource.setrlimit(resource.RLIMIT_AS, (2**20, 2**20)); torch.empty(2**28)"
    )
    done = ended(behind_step_9(own_corpus, action))
    assert done.returncode == 1, done.stderr
    assert "memory ran out" in done.stderr and "lower micro_batch_sequences" in done.stderr
    assert "Traceback" not in done.stderr
    folder = run_folder(own_corpus)
    assert "go on from step 6" in str(trainer_failure(folder))
    assert worker.main(arguments(own_corpus)) == 0
    assert (digests(folder), losses(folder)) == straight


@pytest.mark.parametrize(
    "error",
    [
        MemoryError(),
        torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB."),
        RuntimeError("[enforce fail at alloc_cpu.cpp:118] DefaultCPUAllocator: can't allocate memory"),
        OSError(12, "Cannot allocate memory"),
    ],
    ids=lambda error: type(error).__name__,
)
def test_every_way_of_running_out_of_memory(error: Exception, tmp_path: Path) -> None:
    assert "lower micro_batch_sequences" in str(in_plain_words(error, tmp_path))
    assert in_plain_words(RuntimeError("shape mismatch"), tmp_path) is None


@contextlib.contextmanager
def memory_limit(size: int) -> Iterator[Path]:
    """A control group whose processes the kernel kills beyond `size` bytes."""
    group = Path(f"/sys/fs/cgroup/memory/medpipe-test-{os.getpid()}")
    try:
        group.mkdir()
        (group / "memory.limit_in_bytes").write_text(str(size))
    except OSError as error:
        pytest.skip(f"needs a memory control group (v1) that may be written: {error}")
    try:
        yield group
    finally:
        end = time.monotonic() + 20
        while time.monotonic() < end:
            with contextlib.suppress(OSError):
                group.rmdir()
                break
            time.sleep(0.1)


def test_the_kernels_own_kill(own_corpus: Corpus) -> None:
    with memory_limit(2**30) as group:
        action = f"open('{group}/cgroup.procs', 'w').write(str(__import__('os').getpid())); bytearray(2**31)"
        done = ended(behind_step_9(own_corpus, action))
    assert done.returncode == -signal.SIGKILL, done.stderr
    told = str(trainer_failure(run_folder(own_corpus), done.returncode))
    assert "killed by the system (SIGKILL)" in told and "go on from step 6" in told


def test_two_trainers_on_one_run(
    own_corpus: Corpus, straight: tuple[dict[str, str], Any], capsys: pytest.CaptureFixture[str]
) -> None:
    folder = run_folder(own_corpus)
    command = behind_step_9(own_corpus, "import time; time.sleep(600)")
    first = subprocess.Popen(command, env=os.environ | trainer_environment(), stderr=subprocess.DEVNULL)
    try:
        end = time.monotonic() + 120
        while len(list_checkpoints(folder / "checkpoints")) < 1:
            assert first.poll() is None and time.monotonic() < end
            time.sleep(0.02)
        before = kept(folder)
        assert worker.main(arguments(own_corpus)) == 1
        said = capsys.readouterr().err
        assert f"process {first.pid} is training in {folder}; wait until it ends, or stop it" in said
        assert f"process {first.pid} is training" in str(trainer_failure(folder))
        assert kept(folder) == before
    finally:
        first.kill()
        first.wait(30)
    # The second one's refusal is not taken for the reason of the first one's end.
    assert "killed by the system" in str(trainer_failure(folder, -signal.SIGKILL))
    assert worker.main(arguments(own_corpus)) == 0
    assert (digests(folder), losses(folder)) == straight


# A disk that fills.


@pytest.fixture
def small_disk(corpus: Corpus, tmp_path: Path) -> Iterator[Corpus]:
    """A lake on a file system of its own of 32 MB."""
    place = tmp_path / "disk"
    place.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=32m", "tmpfs", str(place)], capture_output=True, text=True
    )
    if mounted.returncode != 0:
        pytest.skip(f"needs the right to mount a file system: {mounted.stderr.strip()}")
    try:
        yield copy_of(corpus, place / "lake")
    finally:
        subprocess.run(["umount", "--lazy", str(place)], check=False)


def fill(disk: Path, *, leave: int) -> Path:
    """Takes all but so many bytes of a disk."""
    ballast = disk / "ballast"
    with ballast.open("wb") as file:
        os.posix_fallocate(file.fileno(), 0, shutil.disk_usage(disk).free - leave)
    return ballast


def filling(monkeypatch: pytest.MonkeyPatch, disk: Path, step: int, *, leave: int) -> None:
    original = Training.train_step

    def train_step(training: Training) -> Any:
        result = original(training)
        if training.step == step:
            while not list(disk.glob("lake/runs/tiny/*/checkpoints/00000006")):
                time.sleep(0.01)  # it is written beside the training
            fill(disk, leave=leave)
        return result

    monkeypatch.setattr(Training, "train_step", train_step)


@pytest.mark.parametrize(
    ("step", "leave", "names"),
    # The page that the spool writes to may have room for the lines up to the next save.
    [(9, 400_000, "checkpoints"), (9, 0, "(metrics.jsonl|checkpoints)")],
    ids=["while saving", "while spooling"],
)
def test_a_disk_that_fills(
    small_disk: Corpus,
    straight: tuple[dict[str, str], Any],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    step: int,
    leave: int,
    names: str,
) -> None:
    disk = small_disk.lake.root.parent
    folder = run_folder(small_disk)
    with monkeypatch.context() as patch:
        filling(patch, disk, step, leave=leave)
        assert worker.main(arguments(small_disk)) == 1
    said = capsys.readouterr().err
    assert re.search(rf"error: no space left while writing \S*{names}", said), said
    assert "Free some space or set MEDPIPE_LAKE to a larger disk, then run again" in said
    assert "Traceback" not in said
    assert [path.name for path in list_checkpoints(folder / "checkpoints")] == ["00000006"]
    assert not list((folder / "checkpoints").glob(".*"))
    before = kept(folder)
    assert worker.main(arguments(small_disk)) == 1  # still full
    assert kept(folder) == before
    (disk / "ballast").unlink()
    capsys.readouterr()
    assert worker.main(arguments(small_disk)) == 0
    assert "resuming after step 6 of 20" in capsys.readouterr().err
    assert (digests(folder), losses(folder)) == straight
