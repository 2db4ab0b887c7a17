"""Checkpoints: everything the next step needs, written atomically, verified before use, nothing pickled."""

from __future__ import annotations

import contextlib
import errno
import os
import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import orjson
from pydantic import ValidationError
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from medpipe.lake.digest import digest_value, sha256_file
from medpipe.lake.files import fsync_path, naming_a_full_disk, temporary_sibling
from medpipe.lake.manifest import (
    MANIFEST,
    DatasetFile,
    Manifest,
    ManifestError,
    Recipe,
    read_manifest,
    write_manifest,
)
from medpipe.pretrain.corpus import TokenizerInfo
from medpipe.pretrain.finite import NonFiniteError, first_non_finite
from medpipe.pretrain.optimizer import (
    Optimizer,
    OptimizerStateError,
    load_tensors,
    optimizer_tensors,
    whole_weights,
)
from medpipe.pretrain.ranks import whole
from medpipe.pretrain.training_state import TrainingState
from medpipe.pretrain.zero import shape_of

WEIGHTS = "model.safetensors"
OPTIMIZER = "optimizer.safetensors"
STATE = "state.json"
FORMAT_VERSION = "1"


class CheckpointError(ValueError):
    """A checkpoint is damaged or belongs to something else; the message names it and the fix."""


@dataclass(frozen=True, kw_only=True)
class Contents:
    """What a checkpoint's files are written from."""

    weights: dict[str, Tensor]
    """fp32, by parameter name; a tied matrix once."""
    moments: dict[str, Tensor]
    """See `optimizer_tensors`."""
    config: str
    """The model's `config.json`."""
    state: TrainingState
    tokenizer: TokenizerInfo


def checkpoint_contents(
    model: nn.Module, optimizer: Optimizer, state: TrainingState, tokenizer: TokenizerInfo
) -> Contents:
    """A copy of everything that training goes on to change, in the host's memory.

    Where the model is sharded every rank must call it; the first one's copy is written.
    """
    config: Any = model.config
    return Contents(
        # named_parameters yields a tied matrix once, under the name that transformers ties the other to.
        weights={name: _copied(each) for name, each in whole_weights(model, optimizer).items()},
        moments={name: _copied(each) for name, each in optimizer_tensors(model, optimizer).items()},
        config=config.to_json_string(use_diff=True),
        state=state,
        tokenizer=tokenizer,
    )


def _copied(tensor: Tensor) -> Tensor:
    return whole(tensor).to("cpu", copy=True).contiguous()


def write_checkpoint(folder: Path, contents: Contents, *, keep: int) -> Path:
    """Writes `<folder>/<step>/` and drops all but the newest `keep` checkpoints and the best one.

    The files are written under a temporary name and flushed, the manifest with their digests last, and a
    rename publishes them: a reader finds a whole checkpoint or none. Checkpoints of later steps, which the
    run passed over as damaged when it was resumed, go too.

    Returns:
        The checkpoint's folder.

    Raises:
        DiskFullError: the disk filled; earlier checkpoints are unchanged.
        NonFiniteError: a weight or moment is NaN or infinite; nothing is written.
    """
    state = contents.state
    poisoned = first_non_finite(contents.weights | contents.moments)
    if poisoned is not None:
        raise NonFiniteError(
            f"after step {state.step} {poisoned} holds NaN or infinity, so this checkpoint was not written; "
            "the one before is intact. Lower optimizer.peak_learning_rate, or use precision fp32"
        )
    folder.mkdir(parents=True, exist_ok=True)
    for leftover in folder.glob(".*.tmp"):  # of a killed trainer; the run's lock is ours
        shutil.rmtree(leftover, ignore_errors=True)
    final = checkpoint_folder(folder, state.step)
    draft, replaced = temporary_sibling(final), temporary_sibling(final)
    try:
        with naming_a_full_disk(folder), _safetensors_as_os_errors():
            draft.mkdir()
            _write_files(draft, contents)
            write_manifest(draft, _manifest(draft, final, state))
            fsync_path(draft)
            if final.exists():  # a damaged one, or one that was to be measured yet
                final.rename(replaced)
            draft.rename(final)
            fsync_path(folder)
    finally:
        shutil.rmtree(draft, ignore_errors=True)
        shutil.rmtree(replaced, ignore_errors=True)
    best = None if state.best is None else checkpoint_folder(folder, state.best.step)
    published = list_checkpoints(folder)
    up_to_here = [path for path in published if path <= final]
    for path in published:
        if path not in (*up_to_here[-keep:], best):
            shutil.rmtree(path, ignore_errors=True)
    return final


def checkpoint_folder(folder: Path, step: int) -> Path:
    """Where the checkpoint of a global step lies in a run's `checkpoints`."""
    return folder / f"{step:08d}"


def _write_files(draft: Path, contents: Contents) -> None:
    save_file(contents.weights, draft / WEIGHTS, metadata={"format": "pt"})
    save_file(contents.moments, draft / OPTIMIZER)
    (draft / "config.json").write_text(contents.config, encoding="utf-8")
    shutil.copyfile(contents.tokenizer.path, draft / "tokenizer.json")
    (draft / "tokenizer_config.json").write_bytes(_tokenizer_config(contents.tokenizer))
    state = contents.state.model_dump(mode="json")
    (draft / STATE).write_bytes(orjson.dumps(state, option=orjson.OPT_INDENT_2 | orjson.OPT_SORT_KEYS))


def _tokenizer_config(tokenizer: TokenizerInfo) -> bytes:
    """What transformers' AutoTokenizer wants beside `tokenizer.json`."""
    added = orjson.loads(tokenizer.path.read_bytes()).get("added_tokens", [])
    names = {token["id"]: token["content"] for token in added}
    config = {
        "tokenizer_class": "PreTrainedTokenizerFast",
        "bos_token": names.get(tokenizer.eos_id),
        "eos_token": names.get(tokenizer.eos_id),
        "pad_token": names.get(tokenizer.pad_id),
    }
    return orjson.dumps({key: value for key, value in config.items() if value is not None})


def _manifest(draft: Path, final: Path, state: TrainingState) -> Manifest:
    files = []
    for path in sorted(draft.iterdir()):
        fsync_path(path)
        files.append(DatasetFile(path=path.name, bytes=path.stat().st_size, sha256=sha256_file(path)))
    inputs = {"stage": state.stage_digest, "tokenizer": state.tokenizer}
    return Manifest(
        room="runs",
        name="/".join(final.parts[-4:]),
        digest=digest_value([[file.path, file.sha256] for file in files]),
        recipe=Recipe(inputs=inputs, code_version=FORMAT_VERSION, config={"seed": state.seed}),
        rows=0,
        bytes=sum(file.bytes for file in files),
        files=tuple(files),
        facts={"step": state.step, "tokens": state.tokens, "stage": state.stage},
    )


@contextlib.contextmanager
def _safetensors_as_os_errors() -> Iterator[None]:
    """Safetensors reports a full disk in words only."""
    try:
        yield
    except SafetensorError as error:
        if f"os error {errno.ENOSPC}" in str(error):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC)) from error
        raise


def list_checkpoints(folder: Path) -> list[Path]:
    """Published checkpoints, oldest first; not verified."""
    if not folder.is_dir():
        return []
    return sorted(path for path in folder.iterdir() if path.is_dir() and path.name.isdigit())


def verify_checkpoint(path: Path) -> Manifest:
    """Compares every file with the manifest.

    Raises:
        CheckpointError: the manifest or a file is missing, or a file's bytes changed.
    """
    try:
        manifest = read_manifest(path)
    except ManifestError as error:
        raise CheckpointError(f"checkpoint {path} has no readable {MANIFEST}: {error}") from None
    for file in manifest.files:
        target = path / file.path
        if not target.is_file():
            raise CheckpointError(f"checkpoint {path} lacks {file.path}")
        if target.stat().st_size != file.bytes or sha256_file(target) != file.sha256:
            raise CheckpointError(f"checkpoint {path}: {file.path} does not have the bytes that were written")
    return manifest


def read_state(path: Path) -> TrainingState:
    """Training state of a checkpoint.

    Raises:
        CheckpointError: it is missing or of another version.
    """
    try:
        return TrainingState.model_validate(orjson.loads((path / STATE).read_bytes()))
    except (OSError, orjson.JSONDecodeError, ValidationError) as error:
        raise CheckpointError(f"checkpoint {path}: {STATE} cannot be read ({error})") from error


def newest_checkpoint(folder: Path, *, stage_digest: str, warn: Callable[[str], None]) -> Path | None:
    """The newest whole checkpoint of a run folder; None if there is none.

    Args:
        folder: the run's `checkpoints` folder.
        stage_digest: the stage it must belong to.
        warn: told of every damaged checkpoint that is passed over.

    Raises:
        CheckpointError: a checkpoint belongs to another stage, or there are checkpoints and all are
            damaged: training never starts from zero silently.
    """
    candidates = list_checkpoints(folder)
    for path in reversed(candidates):
        try:
            verify_checkpoint(path)
            state = read_state(path)
        except CheckpointError as error:
            warn(f"{error}; trying the one before")
            continue
        if state.stage_digest != stage_digest:
            raise CheckpointError(
                f"checkpoint {path} belongs to stage digest {state.stage_digest}, this run is "
                f"{stage_digest}; move the folder away or run the plan that made it"
            )
        return path
    if candidates:
        raise CheckpointError(
            f"every checkpoint in {folder} is damaged; bring one back, or remove {folder.parent} to train "
            "the stage from its start"
        )
    return None


def load_checkpoint(path: Path, *, model: nn.Module, optimizer: Optimizer) -> TrainingState:
    """Puts weights and moments of a verified checkpoint into model and optimizer, bit for bit.

    Raises:
        CheckpointError: its tensors do not fit the model, or hold NaN or infinity.
    """
    weights, moments = load_file(path / WEIGHTS), load_file(path / OPTIMIZER)
    poisoned = first_non_finite(weights | moments)
    if poisoned is not None:
        raise CheckpointError(
            f"checkpoint {path}: {poisoned} holds NaN or infinity; remove this checkpoint to go on from the "
            "one before, where its folder has one; else train the stage that wrote it again"
        )
    named = dict(model.named_parameters())
    shapes = {name: tuple(tensor.shape) for name, tensor in weights.items()}
    if shapes != {name: shape_of(p) for name, p in named.items()}:
        raise CheckpointError(f"checkpoint {path}: {WEIGHTS} does not have the shape of the plan's model")
    try:
        load_tensors(model, optimizer, weights, moments)
    except OptimizerStateError as error:
        raise CheckpointError(f"checkpoint {path}: {error}") from error
    return read_state(path)
