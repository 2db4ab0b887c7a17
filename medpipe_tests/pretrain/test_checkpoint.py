from __future__ import annotations

import json
import random
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from transformers import AutoModelForCausalLM, AutoTokenizer

from medpipe.lake.digest import sha256_file
from medpipe.lake.files import DiskFullError
from medpipe.lake.manifest import MANIFEST
from medpipe.pretrain import checkpoint as checkpoint_module
from medpipe.pretrain.checkpoint import (
    OPTIMIZER,
    STATE,
    WEIGHTS,
    CheckpointError,
    checkpoint_folder,
    list_checkpoints,
    load_checkpoint,
    newest_checkpoint,
    read_state,
    verify_checkpoint,
    write_checkpoint,
)
from medpipe.pretrain.compile import CompiledPlan
from medpipe.pretrain.dataset import StageData, batch_tensors
from medpipe.pretrain.generate import Sampling, generate_tokens
from medpipe.pretrain.model import Compute, logits_of
from medpipe.pretrain.plan import Precision
from medpipe.pretrain.rng import restore_rng, rng_state
from medpipe.pretrain.training import Training
from medpipe.tokens.shard import open_shards
from medpipe_tests.pretrain.corpus import Corpus

FP32 = Compute(torch.device("cpu"), Precision.FP32)


@pytest.fixture
def training(corpus: Corpus, compiled: CompiledPlan) -> Training:
    stage = compiled.stage("fast")
    opened = {(s.domain, s.name): s.tokens for s in open_shards(corpus.lake, corpus.snapshot, split="train")}
    data = StageData(stage, [opened[s.domain, s.name] for s in stage.shards], seed=7, eos_id=0)
    return Training.begin(compiled, stage, data=data, compute=FP32)


def steps(training: Training, count: int) -> list[float]:
    return [training.train_step().loss for _ in range(count)]


def test_loss_goes_down(training: Training) -> None:
    losses = steps(training, 20)
    assert np.mean(losses[-3:]) < 0.7 * losses[0]


def test_round_trip_is_bitwise_and_training_goes_on_the_same(
    training: Training, corpus: Corpus, compiled: CompiledPlan, tmp_path: Path
) -> None:
    steps(training, 3)
    path = training.save(tmp_path)
    assert path.name == "00000003"
    expected = steps(training, 3)
    final = training.save(tmp_path / "straight")

    random.seed(0)
    np.random.seed(0)
    torch.manual_seed(0)
    again = Training.begin(compiled, training.stage, data=training.data, compute=FP32)
    with torch.no_grad():
        for parameter in again.model.parameters():
            parameter.add_(1.0)
    assert again.restore(path) == []
    assert (again.step, again.tokens, again.cursor) == (3, read_state(path).tokens, 48)
    assert steps(again, 3) == expected
    resumed = again.save(tmp_path / "resumed")
    for name in (WEIGHTS, OPTIMIZER):
        assert sha256_file(final / name) == sha256_file(resumed / name)
    states = [read_state(p).model_dump(exclude={"seconds"}) for p in (final, resumed)]
    assert states[0] == states[1]


def test_contents(training: Training, tmp_path: Path, compiled: CompiledPlan) -> None:
    steps(training, 2)
    path = training.save(tmp_path)
    names = {p.name for p in path.iterdir()}
    assert names >= {WEIGHTS, OPTIMIZER, STATE, MANIFEST, "config.json", "tokenizer.json"}
    assert {file.path for file in verify_checkpoint(path).files} == names - {MANIFEST}
    weights, moments = load_file(path / WEIGHTS), load_file(path / OPTIMIZER)
    assert all(tensor.dtype == torch.float32 for tensor in weights.values())
    assert set(moments) == {f"{n}.{k}" for n in weights for k in ("exp_avg", "exp_avg_sq", "step")}
    state = read_state(path)
    assert state.tokenizer == compiled.tokenizer.digest
    assert state.shards == tuple(s.key for s in compiled.stage("fast").shards)
    assert sum(state.tokens_by_source["fast"].values()) == state.tokens
    assert state.torch_version == torch.__version__
    assert state.threads == torch.get_num_threads()


def test_transformers_loads_it_with_equal_logits(training: Training, tmp_path: Path) -> None:
    steps(training, 4)
    path = training.save(tmp_path)
    loaded = AutoModelForCausalLM.from_pretrained(path, local_files_only=True)
    ids = torch.tensor([[0, 50, 60, 70, 80]])
    with torch.no_grad():
        ours = training.model(ids).logits
        theirs = loaded(ids).logits
    assert torch.equal(ours, theirs)
    batch = training.data.read(training.data.samples(0, 2))
    tensors = batch_tensors(batch, torch.device("cpu"))
    tensors.pop("targets")
    with torch.no_grad():
        assert torch.equal(logits_of(training.model, FP32, **tensors), logits_of(loaded, FP32, **tensors))
    assert loaded.config.eos_token_id == loaded.config.bos_token_id == 0


def test_transformers_loads_the_tokenizer(training: Training, tmp_path: Path, corpus: Corpus) -> None:
    tokenizer = AutoTokenizer.from_pretrained(training.save(tmp_path), local_files_only=True)
    assert tokenizer.eos_token_id == 0
    assert tokenizer.pad_token_id == 1
    text = "感冒常见的表现是发热。"
    assert tokenizer(text)["input_ids"] == corpus.tokenizer.encode(text).ids


def test_generation_with_cache_equals_without(training: Training, tmp_path: Path) -> None:
    steps(training, 10)
    for sampling in (Sampling(max_new_tokens=40), Sampling(max_new_tokens=40, top_k=5, seed=3)):
        for prompt in ([], [50, 60]):
            cached, plain = (
                generate_tokens(training.model, prompt, eos_id=0, sampling=sampling, use_cache=use)
                for use in (True, False)
            )
            assert cached == plain
            assert cached
    assert training.model.training


def test_generation_ends_with_the_models_positions(training: Training) -> None:
    training.model.config.max_position_embeddings = 12  # type: ignore[union-attr, assignment]
    new = generate_tokens(training.model, [5] * 9, eos_id=0, sampling=Sampling(max_new_tokens=50))
    assert len(new) <= 2


def test_the_command_lets_a_checkpoint_write(training: Training, tmp_path: Path) -> None:
    from typer.testing import CliRunner

    from medpipe.cli import app

    steps(training, 3)
    path = str(training.save(tmp_path))
    options = ["--tokens", "8", "--prompt", "感冒", "--prompt", "<eos>"]
    done = [CliRunner().invoke(app, ["sample", path, *options, "--json"]) for _ in range(2)]
    assert done[0].exit_code == 0 and done[0].stdout == done[1].stdout
    first, second = json.loads(done[0].stdout)
    assert first["prompt"] == "感冒" and first["text"].startswith("感冒") and len(first["text"]) > 2
    assert second["text"].startswith("<eos>")  # plain text, not the mark
    assert CliRunner().invoke(app, ["sample", path, "--tokens", "8"]).exit_code == 0
    flip_a_byte(Path(path) / WEIGHTS)
    for folder, says in ((path, "does not have the bytes"), (str(tmp_path), "name a checkpoint's folder")):
        refused = CliRunner().invoke(app, ["sample", folder])
        assert refused.exit_code == 1 and says in refused.stderr


def test_only_the_newest_stay(training: Training, tmp_path: Path) -> None:
    for _ in range(4):
        steps(training, 1)
        training.save(tmp_path)
    assert [p.name for p in list_checkpoints(tmp_path)] == ["00000003", "00000004"]


def two_checkpoints(training: Training, folder: Path) -> list[Path]:
    paths = []
    for _ in range(2):
        steps(training, 1)
        paths.append(training.save(folder))
    return paths


def flip_a_byte(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)


@pytest.mark.parametrize("damage", ["flip", "truncate", "missing", "no manifest", "broken manifest"])
def test_a_damaged_newest_one_is_passed_over_with_a_warning(
    training: Training, tmp_path: Path, damage: str
) -> None:
    good, bad = two_checkpoints(training, tmp_path)
    match damage:
        case "flip":
            flip_a_byte(bad / WEIGHTS)
        case "truncate":
            (bad / OPTIMIZER).write_bytes((bad / OPTIMIZER).read_bytes()[:-10])
        case "missing":
            (bad / STATE).unlink()
        case "no manifest":
            (bad / MANIFEST).unlink()
        case "broken manifest":
            (bad / MANIFEST).write_text("{")
    said: list[str] = []
    digest = training.stage.digest
    assert newest_checkpoint(tmp_path, stage_digest=digest, warn=said.append) == good
    [warning] = said
    assert str(bad) in warning and "trying the one before" in warning


def test_what_is_written_stays_and_what_was_passed_over_goes(training: Training, tmp_path: Path) -> None:
    """Damaged checkpoints of later steps must not count as the newest ones."""
    taken = []
    for _ in range(4):
        steps(training, 1)
        taken.append((training.step, training.contents()))
    for step, contents in taken:
        write_checkpoint(tmp_path, contents, keep=4)
        if step > taken[1][0]:
            flip_a_byte(checkpoint_folder(tmp_path, step) / WEIGHTS)
    again = write_checkpoint(tmp_path, taken[1][1], keep=1)
    assert list_checkpoints(tmp_path) == [again]
    verify_checkpoint(again)


def test_all_damaged_is_an_error_and_no_fresh_start(training: Training, tmp_path: Path) -> None:
    for path in two_checkpoints(training, tmp_path):
        flip_a_byte(path / WEIGHTS)
    with pytest.raises(
        CheckpointError, match=r"every checkpoint in .* is damaged; bring one back, or remove"
    ):
        newest_checkpoint(tmp_path, stage_digest=training.stage.digest, warn=lambda _: None)


def test_a_checkpoint_of_another_stage_is_refused(training: Training, tmp_path: Path) -> None:
    two_checkpoints(training, tmp_path)
    with pytest.raises(CheckpointError, match="belongs to stage digest"):
        newest_checkpoint(tmp_path, stage_digest="f" * 32, warn=lambda _: None)


def test_no_checkpoint_at_all(tmp_path: Path) -> None:
    assert newest_checkpoint(tmp_path / "none", stage_digest="f" * 32, warn=lambda _: None) is None


def test_another_models_checkpoint_is_refused(
    training: Training, tmp_path: Path, compiled: CompiledPlan
) -> None:
    from dataclasses import replace

    steps(training, 1)
    path = training.save(tmp_path)
    shape = compiled.plan.model.model_copy(update={"intermediate_size": 64})
    other = replace(compiled, plan=compiled.plan.model_copy(update={"model": shape}))
    smaller = Training.begin(other, training.stage, data=training.data, compute=FP32)
    with pytest.raises(CheckpointError, match="does not have the shape"):
        load_checkpoint(path, model=smaller.model, optimizer=smaller.optimizer)


def test_a_full_disk_leaves_the_last_checkpoint(
    training: Training, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    steps(training, 1)
    good = training.save(tmp_path)
    steps(training, 1)

    def full(*args: object, **kwargs: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(checkpoint_module, "write_manifest", full)
    with pytest.raises(DiskFullError, match="no space left"):
        training.save(tmp_path)
    assert list(tmp_path.iterdir()) == [good]
    verify_checkpoint(good)


def test_safetensors_on_a_full_device_is_a_full_disk(training: Training, tmp_path: Path) -> None:
    if not Path("/dev/full").exists():
        pytest.skip("needs /dev/full")
    with (
        pytest.raises(OSError, match="No space left") as caught,
        checkpoint_module._safetensors_as_os_errors(),
    ):
        raise checkpoint_module.SafetensorError("I/O error: No space left on device (os error 28)")
    assert caught.value.errno == 28


def test_leftovers_of_a_killed_save_are_removed(training: Training, tmp_path: Path) -> None:
    (tmp_path / ".00000001.99-dead.tmp").mkdir(parents=True)
    (tmp_path / ".00000001.99-dead.tmp" / WEIGHTS).write_bytes(b"half")
    assert list_checkpoints(tmp_path) == []
    steps(training, 1)
    path = training.save(tmp_path)
    assert list(tmp_path.iterdir()) == [path]


def test_generators_come_back() -> None:
    random.seed(1)
    np.random.seed(1)
    torch.manual_seed(1)
    random.gauss(0, 1)
    np.random.normal()
    state = rng_state()
    expected = (random.gauss(0, 1), np.random.normal(), torch.rand(3).tolist())
    import orjson

    restore_rng(orjson.loads(orjson.dumps(state)))
    assert (random.gauss(0, 1), np.random.normal(), torch.rand(3).tolist()) == expected


def test_a_change_of_threads_is_said(training: Training, tmp_path: Path, compiled: CompiledPlan) -> None:
    steps(training, 1)
    path = training.save(tmp_path)
    before = torch.get_num_threads()
    torch.set_num_threads(before + 1)
    again = Training.begin(compiled, training.stage, data=training.data, compute=FP32)
    assert again.restore(path) == [f"threads was {before}, is {before + 1}"]
    shutil.rmtree(path)
