"""What goes wrong under a trainer: each ends with a message that names the fix, and loses nothing.

The table breaks one thing under a run that was stopped halfway. The trainer must refuse it, must not touch a
checkpoint, and must end with the bytes of an undisturbed run once the thing is mended.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import dagster as dg
import pytest
import torch
import yaml
from safetensors.torch import load_file, save_file

from medpipe.lake.digest import sha256_file
from medpipe.lake.layout import Lake
from medpipe.lake.manifest import MANIFEST
from medpipe.pretrain import worker
from medpipe.pretrain.checkpoint import OPTIMIZER, STATE, WEIGHTS, list_checkpoints
from medpipe.pretrain.launch import trainer_command, trainer_environment
from medpipe.pretrain.plan import Plan, builtin_plans
from medpipe.pretrain.refusals import in_plain_words, killed_in_words
from medpipe.pretrain.result import read_result, trainer_failure
from medpipe.pretrain.training import Training
from medpipe_tests.pretrain.conftest import stage_run
from medpipe_tests.pretrain.corpus import Corpus
from medpipe_tests.pretrain.test_stage_run import StopAfter, arguments, digests, losses, tiny

REACHED = 8
LATER = 10**10

Mend = Callable[[], object]


def copy_of(corpus: Corpus, root: Path) -> Corpus:
    shutil.copytree(corpus.lake.root, root)
    return Corpus(Lake(root), corpus.snapshot, corpus.tokenizer, corpus.eos_id)


def kept(folder: Path) -> dict[str, str]:
    """Digest of every file of every checkpoint."""
    files = [path for path in sorted((folder / "checkpoints").rglob("*")) if path.is_file()]
    return {path.relative_to(folder).as_posix(): sha256_file(path) for path in files}


@pytest.fixture(scope="module")
def straight(corpus: Corpus, tmp_path_factory: pytest.TempPathFactory) -> tuple[dict[str, str], Any]:
    """Weights, moments and losses of an undisturbed run."""
    torch.set_num_threads(1)
    own = copy_of(corpus, tmp_path_factory.mktemp("straight") / "lake")
    run = stage_run(own, tiny(), "fast")
    run.run()
    return digests(run.folder), losses(run.folder)


@pytest.fixture
def halfway(own_corpus: Corpus, plan: Plan, monkeypatch: pytest.MonkeyPatch) -> Corpus:
    """A run that was stopped after eight of twenty steps; checkpoints 6 and 8 are there."""
    from medpipe.pretrain.stop import Stopped

    with monkeypatch.context() as patch, pytest.raises(Stopped):
        stage_run(own_corpus, plan, "fast", stop=StopAfter(patch, REACHED)).run()
    return own_corpus


def run_folder(corpus: Corpus) -> Path:
    return stage_run(corpus, tiny(), "fast").folder


def shard_file(corpus: Corpus) -> Path:
    ref = corpus.snapshot.shards[0]
    folder = corpus.lake.dataset("shards", ref.domain, ref.source, digest=ref.digest)
    return sorted(folder.glob("*.bin"))[0]


def tokenizer_file(corpus: Corpus) -> Path:
    name, digest = corpus.snapshot.tokenizer.name, corpus.snapshot.tokenizer.digest
    return corpus.lake.dataset("tokenizer", name, digest=digest) / "tokenizer.json"


def replaced(path: Path, content: bytes | None) -> Mend:
    """Changes or removes a file; what is returned puts it back as it was."""
    old, times = path.read_bytes(), (path.stat().st_atime_ns, path.stat().st_mtime_ns)
    path.unlink()
    if content is not None:
        path.write_bytes(content)
        os.utime(path, ns=(times[0] + LATER, times[1] + LATER))

    def mend() -> None:
        path.write_bytes(old)
        os.utime(path, ns=times)

    return mend


def flipped(path: Path) -> bytes:
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    return bytes(content)


def sealed(checkpoint: Path, name: str) -> None:
    """States the bytes that a file of a checkpoint has now in its manifest."""
    manifest = json.loads((checkpoint / MANIFEST).read_text())
    for file in manifest["files"]:
        if file["path"] == name:
            file |= {
                "sha256": sha256_file(checkpoint / name),
                "bytes": (checkpoint / name).stat().st_size,
            }
    (checkpoint / MANIFEST).write_text(json.dumps(manifest))


def shard_missing(corpus: Corpus) -> Mend:
    return replaced(shard_file(corpus), None)


def shard_truncated(corpus: Corpus) -> Mend:
    return replaced(shard_file(corpus), shard_file(corpus).read_bytes()[:-2])


def shard_changed(corpus: Corpus) -> Mend:
    return replaced(shard_file(corpus), flipped(shard_file(corpus)))


def shards_gone(corpus: Corpus) -> Mend:
    folder = shard_file(corpus).parent
    folder.rename(folder.with_name("elsewhere"))
    return lambda: folder.with_name("elsewhere").rename(folder)


def tokenizer_swapped(corpus: Corpus) -> Mend:
    values = json.loads(tokenizer_file(corpus).read_text())
    values["model"]["merges"][-2:] = reversed(values["model"]["merges"][-2:])
    return replaced(tokenizer_file(corpus), json.dumps(values).encode())


def tokenizer_missing(corpus: Corpus) -> Mend:
    return replaced(tokenizer_file(corpus), None)


def foreign(corpus: Corpus, field: str, value: object) -> Mend:
    """A checkpoint that something else wrote, whole in itself, placed in the run folder as the newest."""
    checkpoints = run_folder(corpus) / "checkpoints"
    placed = checkpoints / "00000019"
    shutil.copytree(list_checkpoints(checkpoints)[-1], placed)
    state = json.loads((placed / STATE).read_text()) | {field: value}
    (placed / STATE).write_text(json.dumps(state))
    sealed(placed, STATE)
    return lambda: shutil.rmtree(placed)


def checkpoint_of_another_stage(corpus: Corpus) -> Mend:
    return foreign(corpus, "stage_digest", "f" * 32)


def checkpoint_of_another_seed(corpus: Corpus) -> Mend:
    return foreign(corpus, "seed", 8)


def all_checkpoints_damaged(corpus: Corpus) -> Mend:
    found = [path / WEIGHTS for path in list_checkpoints(run_folder(corpus) / "checkpoints")]
    mends = [replaced(path, flipped(path)) for path in found]
    return lambda: [mend() for mend in mends]


def all_checkpoints_gone(corpus: Corpus) -> Mend:
    folder = run_folder(corpus) / "checkpoints"
    folder.rename(folder.with_name("elsewhere"))
    return lambda: folder.with_name("elsewhere").rename(folder)


def nan_in_the_checkpoint(corpus: Corpus, file: str = WEIGHTS) -> Mend:
    newest = list_checkpoints(run_folder(corpus) / "checkpoints")[-1]
    mends = [replaced(newest / name, (newest / name).read_bytes()) for name in (file, MANIFEST)]
    tensors = load_file(newest / file)
    name = sorted(name for name in tensors if "layers.1" in name and not name.endswith(".step"))[0]
    tensors[name].view(-1)[3] = float("nan")
    save_file(tensors, newest / file, metadata={"format": "pt"})
    sealed(newest, file)
    return lambda: [mend() for mend in mends]


def nan_in_the_moments(corpus: Corpus) -> Mend:
    return nan_in_the_checkpoint(corpus, OPTIMIZER)


def spool_broken(corpus: Corpus) -> Mend:
    spool = run_folder(corpus) / "metrics.jsonl"
    return replaced(spool, b"not a line\n" + spool.read_bytes())


@dataclass(frozen=True)
class Case:
    """One thing that is broken, and what must be said of it."""

    broken: Callable[[Corpus], Mend]
    says: str
    before_torch: bool = False
    """It is found while the plan is compiled: there is no note in the run folder."""


CASES = [
    Case(shard_missing, r"\.bin is missing; materialise shards/\w+ again with force"),
    Case(shard_truncated, r"\.bin has [\d,]+ bytes instead of [\d,]+; materialise shards/\w+ again"),
    Case(shard_changed, r"\.bin does not have the bytes that were written; materialise shards/\w+ again"),
    Case(shards_gone, r"materialise", before_torch=True),
    Case(tokenizer_swapped, r"tokenizer\.json was swapped.*materialise the tokenizer again"),
    Case(tokenizer_missing, r"tokenizer\.json cannot be read.*materialise the tokenizer again"),
    Case(checkpoint_of_another_stage, r"00000019 belongs to stage digest f{32}.*move the folder away"),
    Case(checkpoint_of_another_seed, r"00000019 was trained with seed 8, the plan has 7; move it away"),
    Case(all_checkpoints_damaged, r"every checkpoint in .* is damaged; bring one back, or remove"),
    Case(all_checkpoints_gone, r"names checkpoints/00000008, but .* holds no checkpoint; bring it back"),
    Case(nan_in_the_checkpoint, r"00000008: model\.layers\.1\.\S+ holds NaN .*; remove this checkpoint"),
    Case(nan_in_the_moments, r"00000008: model\.layers\.1\.\S+\.exp_avg holds NaN or infinity"),
    Case(spool_broken, r"metrics\.jsonl has a broken line at byte 0 .*; delete that line"),
]


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.broken.__name__)
def test_refused_by_name_and_nothing_lost(
    case: Case, halfway: Corpus, straight: tuple[dict[str, str], Any], capsys: pytest.CaptureFixture[str]
) -> None:
    folder = run_folder(halfway)
    mend = case.broken(halfway)
    before = kept(folder)
    capsys.readouterr()
    assert worker.main(arguments(halfway)) == 1
    said = capsys.readouterr().err
    assert re.search(f"fast: error: .*{case.says}", said.replace("\n", " ")), said
    assert "Traceback" not in said and "step 1/" not in said
    assert case.before_torch or re.search(case.says, str(trainer_failure(folder)))
    assert kept(folder) == before
    assert read_result(folder) is None
    mend()
    assert worker.main(arguments(halfway)) == 0
    assert f"resuming after step {REACHED} of 20" in capsys.readouterr().err
    assert (digests(folder), losses(folder)) == straight


def test_a_typo_in_the_plan(halfway: Corpus, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    before = kept(run_folder(halfway))
    typo = tmp_path / "typo.yaml"
    typo.write_text(builtin_plans()["tiny"].read_text().replace("sequence_length:", "sequence_lenght:"))
    assert worker.main(arguments(halfway, plan=str(typo))) == 1
    said = capsys.readouterr().err
    assert "unknown field 'sequence_lenght'; did you mean 'sequence_length'?" in said
    assert kept(run_folder(halfway)) == before


def test_a_damaged_newest_checkpoint_is_passed_over_and_said(
    halfway: Corpus, straight: tuple[dict[str, str], Any], capsys: pytest.CaptureFixture[str]
) -> None:
    folder = run_folder(halfway)
    newest = list_checkpoints(folder / "checkpoints")[-1]
    (newest / WEIGHTS).write_bytes(flipped(newest / WEIGHTS))
    assert worker.main(arguments(halfway)) == 0
    said = capsys.readouterr().err
    assert "00000008: model.safetensors does not have the bytes" in said and "trying the one before" in said
    assert "resuming after step 6 of 20" in said
    assert (digests(folder), losses(folder)) == straight


def test_a_finished_stage_whose_checkpoints_are_gone_is_not_trained_from_zero(
    own_corpus: Corpus, plan: Plan, capsys: pytest.CaptureFixture[str]
) -> None:
    run = stage_run(own_corpus, plan, "fast")
    run.run()
    shutil.rmtree(run.folder / "checkpoints")
    (run.folder / "metrics.jsonl").unlink()
    assert worker.main(arguments(own_corpus)) == 1
    said = capsys.readouterr().err
    assert "result.json is there, but" in said and f"remove {run.folder} to train the stage" in said
    shutil.rmtree(run.folder)
    assert worker.main(arguments(own_corpus)) == 0


def test_steps_without_a_checkpoint_are_said_to_begin_again(
    own_corpus: Corpus, plan: Plan, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    original = Training.train_step

    def failing(training: Training) -> Any:
        if training.step == 3:
            raise RuntimeError("the roof fell in")
        return original(training)

    with monkeypatch.context() as patch, pytest.raises(RuntimeError):
        patch.setattr(Training, "train_step", failing)
        worker.main(arguments(own_corpus))
    assert worker.main(arguments(own_corpus)) == 0
    assert "step 3 was reached before, without a checkpoint; the stage begins" in capsys.readouterr().err


def test_a_start_from_a_checkpoint_that_its_folder_did_not_write(
    own_corpus: Corpus, plan: Plan, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folders = []
    for stage in ("fast", "stable"):
        run = stage_run(own_corpus, plan, stage)
        run.run()
        folders.append(run.folder)
    placed = folders[1] / "checkpoints" / "00000039"
    shutil.copytree(list_checkpoints(folders[0] / "checkpoints")[-1], placed)
    values = yaml.safe_load(builtin_plans()["tiny"].read_text())
    path = tmp_path / "branch.yaml"
    path.write_text(yaml.safe_dump(values | {"name": "branch", "start_from": {"checkpoint": str(placed)}}))
    assert worker.main(arguments(own_corpus, "anneal", plan=str(path))) == 1
    said = capsys.readouterr().err
    assert "was not written by the stage of" in said and "name another one" in said
    assert not (own_corpus.lake.root / "runs" / "branch").exists()


# What a trainer produces itself.


def test_a_nan_that_training_produces_is_not_saved(
    own_corpus: Corpus,
    plan: Plan,
    straight: tuple[dict[str, str], Any],
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The update of step 12 is the bad one: its loss was fine, its checkpoint would have been poisoned."""
    original = Training.train_step

    def poisoning(training: Training) -> Any:
        result = original(training)
        if training.step == 12:
            with torch.no_grad():
                dict(training.model.named_parameters())["model.norm.weight"][5] = float("inf")
        return result

    with monkeypatch.context() as patch:
        patch.setattr(Training, "train_step", poisoning)
        assert worker.main(arguments(own_corpus)) == 1
    said = capsys.readouterr().err
    assert "error:" in said and re.search(r"(?i)the (last checkpoint|one before) is intact", said)
    folder = run_folder(own_corpus)
    assert [path.name for path in list_checkpoints(folder / "checkpoints")] == ["00000006"]
    # Either the next step names its batch, or the save names the weight: whichever comes first.
    told = str(trainer_failure(folder))
    assert "model.norm.weight holds NaN or infinity, so this checkpoint was not written" in told or (
        "step 13 of stage fast: loss" in told and "_source/" in told
    )
    assert worker.main(arguments(own_corpus)) == 0
    assert (digests(folder), losses(folder)) == straight


KILL = "import os, signal; os.kill(os.getpid(), signal.SIGKILL)"
AT_STEP = """
import pathlib, time
from medpipe.pretrain.training import Training
original = Training.train_step
def train_step(self):
    result = original(self)
    if self.step == {step}:
        while not list(pathlib.Path({runs!r}).glob("tiny/*/checkpoints/00000006")):
            time.sleep(0.01)  # it is written beside the training
        {action}
    return result
Training.train_step = train_step
from medpipe.pretrain import worker
raise SystemExit(worker.main())
"""


def trainer_with(corpus: Corpus, action: str, step: int) -> list[str]:
    """Command of a trainer that does something after a step."""
    options = trainer_command(lake=corpus.lake.root, plan="tiny", snapshot="current", stage="fast")
    options = options[options.index("medpipe.pretrain.worker") + 1 :]
    code = AT_STEP.format(action=action, step=step, runs=str(corpus.lake.root / "runs"))
    return [sys.executable, "-c", code, *options]


def ended(command: list[str]) -> subprocess.CompletedProcess[str]:
    environment = os.environ | trainer_environment()
    return subprocess.run(command, capture_output=True, text=True, timeout=300, env=environment)


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
            folder=run.folder,
            complete=False,
            command=trainer_with(own_corpus, KILL, 9),
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
    done = ended(trainer_with(own_corpus, action, 9))
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
        done = ended(trainer_with(own_corpus, action, 9))
    assert done.returncode == -signal.SIGKILL, done.stderr
    told = str(trainer_failure(run_folder(own_corpus), done.returncode))
    assert "killed by the system (SIGKILL)" in told and "go on from step 6" in told


def test_two_trainers_on_one_run(
    own_corpus: Corpus, straight: tuple[dict[str, str], Any], capsys: pytest.CaptureFixture[str]
) -> None:
    folder = run_folder(own_corpus)
    command = trainer_with(own_corpus, "import time; time.sleep(600)", 9)
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
    [(9, 400_000, "checkpoints"), (9, 0, "metrics.jsonl")],
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
