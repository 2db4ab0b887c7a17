"""What goes wrong under a trainer: each ends with a message that names the fix, and loses nothing.

The table breaks one thing under a run that was stopped halfway. The trainer must refuse it, must not touch a
checkpoint, and must end with the bytes of an undisturbed run once the thing is mended.
"""

from __future__ import annotations

import json
import os
import re
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from safetensors.torch import load_file, save_file

from medpipe.lake.digest import sha256_file
from medpipe.lake.manifest import MANIFEST
from medpipe.pretrain import worker
from medpipe.pretrain.checkpoint import OPTIMIZER, STATE, WEIGHTS, list_checkpoints
from medpipe.pretrain.plan import Plan, builtin_plans
from medpipe.pretrain.result import read_result, trainer_failure
from medpipe.pretrain.training import Training
from medpipe_tests.pretrain.conftest import stage_run
from medpipe_tests.pretrain.corpus import Corpus
from medpipe_tests.pretrain.trainers import REACHED, arguments, digests, kept, losses, run_folder

LATER = 10**10

Mend = Callable[[], object]


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
