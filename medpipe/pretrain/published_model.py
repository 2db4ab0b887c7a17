"""A published model as a start: safetensors only, at a pinned commit, with its own tokenizer."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import orjson

from medpipe.lake.dataset import Dataset, publish
from medpipe.lake.digest import digest_value, sha256_file
from medpipe.lake.layout import Lake
from medpipe.lake.manifest import ManifestError, Recipe, read_manifest
from medpipe.pretrain.corpus import TokenizerInfo
from medpipe.pretrain.plan import ModelShape, Plan, StartFrom
from medpipe.tokens.config import TokenizerConfig

ROOM = "models"
ARCHITECTURES = ("llama", "qwen3")
FETCHED = (
    *("*.safetensors", "*.safetensors.index.json", "config.json", "generation_config.json"),
    *("tokenizer.json", "tokenizer_config.json", "tokenizer.model", "*.tiktoken", "LICENSE*"),
)
"""What is taken of a hub model: neither pickled weights nor code."""
_WEIGHTS, _INDEX = "model.safetensors", "model.safetensors.index.json"


class PublishedModelError(ValueError):
    """A published model cannot be used; the message names the fix."""


@dataclass(frozen=True, kw_only=True)
class PublishedModel:
    """What is known of a published model without reading its weights."""

    folder: Path
    content: str
    """Digest of configuration and weights."""
    shape: ModelShape
    vocabulary_size: int
    """Rows of the embedding; publishers round them up."""


def model_folder(start: StartFrom, lake: Lake) -> Path:
    """Folder of the model that a plan names: the person's own, or where the hub's is fetched to."""
    if start.model is None:
        raise ValueError("start_from names no published model")
    if start.is_folder:
        return Path.cwd() / Path(start.model).expanduser()
    return lake.dataset(ROOM, *start.model.split("/"), digest=start.revision or "")


def tokenizer_file(folder: Path) -> Path | None:
    """The tokenizer that lies beside a model, in the form that is closest to its ids."""
    named = [folder / "tokenizer.json", folder / "tokenizer.model", *sorted(folder.glob("*.tiktoken"))]
    return next((path for path in named if path.is_file()), None)


def tokenizer_config(plan: Plan, lake: Lake) -> TokenizerConfig:
    """What the tokenizer is made of: for a plan that starts from a published model, that model's own file.

    A `file` in the plan's tokenizer goes before it.
    """
    start = plan.start_from
    if start is None or start.model is None or plan.tokenizer.file is not None:
        return plan.tokenizer
    folder = model_folder(start, lake)
    return plan.tokenizer.model_copy(update={"file": tokenizer_file(folder) or folder / "tokenizer.json"})


def model_shape(folder: Path) -> tuple[ModelShape, int]:
    """Shape of a model and the rows of its embedding, from its config.json.

    Raises:
        PublishedModelError: there is none, or it describes a model that medpipe cannot train.
    """
    from transformers import AutoConfig

    try:
        raw = orjson.loads((folder / "config.json").read_bytes())
    except (OSError, orjson.JSONDecodeError) as error:
        raise PublishedModelError(
            f"{folder} has no readable config.json ({error}); name another folder"
        ) from None
    if not isinstance(raw, dict):
        raise PublishedModelError(f"{folder / 'config.json'} is no mapping of fields; name another folder")
    kind = raw.get("model_type")
    if kind not in ARCHITECTURES:
        raise PublishedModelError(
            f"{folder} is a model of type {kind}; medpipe trains {' and '.join(ARCHITECTURES)}, and runs no "
            "publisher's code"
        )
    for field in ("quantization_config", "use_sliding_window"):
        if raw.get(field):
            raise PublishedModelError(
                f"{folder}: {field} in config.json is not supported; name a plain model"
            )
    try:
        config = AutoConfig.from_pretrained(folder, trust_remote_code=False, local_files_only=True)
        return _shape_of(config, kind), int(config.vocab_size)
    except (ArithmeticError, AttributeError, LookupError, TypeError, ValueError) as error:
        raise PublishedModelError(
            f"{folder / 'config.json'} describes no {kind} that medpipe knows "
            f"({' '.join(str(error).split())}); name another folder"
        ) from None


def _shape_of(config: Any, kind: str) -> ModelShape:
    width = getattr(config, "head_dim", None) or config.hidden_size // config.num_attention_heads
    plain = width * config.num_attention_heads == config.hidden_size
    return ModelShape(
        architecture=kind,
        hidden_size=config.hidden_size,
        layers=config.num_hidden_layers,
        heads=config.num_attention_heads,
        kv_heads=config.num_key_value_heads,
        head_dim=None if plain else width,
        intermediate_size=config.intermediate_size,
        tie_embeddings=config.tie_word_embeddings,
        rope_theta=config.rope_parameters["rope_theta"],
        max_position=config.max_position_embeddings,
    )


def read_published_model(
    start: StartFrom, lake: Lake, *, config: TokenizerConfig, tokenizer: TokenizerInfo
) -> tuple[PublishedModel, list[str]]:
    """Checks the model that a plan names against the corpus' tokenizer; weights are hashed, not loaded.

    Returns:
        The model, and what is wrong with its tokenizer.

    Raises:
        PublishedModelError: it is not there, has no safetensors, or is of a kind that cannot be trained.
    """
    folder = model_folder(start, lake)
    if not folder.is_dir():
        fix = "correct start_from.model" if start.is_folder else "run `medpipe plan fetch` on this plan first"
        raise PublishedModelError(f"{start.model} is not in {folder}; {fix}")
    shape, vocabulary_size = model_shape(folder)
    files = ["config.json", *_weight_files(folder)]
    digests = _known_digests(folder)
    content = digest_value([[name, digests.get(name) or sha256_file(folder / name)] for name in files])
    model = PublishedModel(folder=folder, content=content, shape=shape, vocabulary_size=vocabulary_size)
    return model, _tokenizer_problems(model, config, tokenizer)


def _weight_files(folder: Path) -> list[str]:
    if (folder / _WEIGHTS).is_file():
        return [_WEIGHTS]
    if not (folder / _INDEX).is_file():
        is_pickled = any(folder.glob("*.bin")) or any(folder.glob("*.pt*"))
        why = "pickled weights are never loaded, convert them" if is_pickled else "name a folder with weights"
        raise PublishedModelError(f"{folder} has no {_WEIGHTS}; {why}")
    try:
        names = sorted(set(orjson.loads((folder / _INDEX).read_bytes())["weight_map"].values()))
    except (orjson.JSONDecodeError, LookupError, TypeError, AttributeError) as error:
        raise PublishedModelError(
            f"{folder / _INDEX} names no files ({error!r}); fetch the model again"
        ) from None
    missing = [name for name in names if Path(name).name != name or not (folder / name).is_file()]
    if missing:
        raise PublishedModelError(f"{folder} lacks {', '.join(missing)}; fetch the model again")
    return [_INDEX, *names]


def _known_digests(folder: Path) -> dict[str, str]:
    """What a manifest states of files, so that gigabytes are hashed once; empty without one."""
    try:
        return {file.path: file.sha256 for file in read_manifest(folder).files}
    except ManifestError:
        return {}


def _tokenizer_problems(model: PublishedModel, config: TokenizerConfig, ours: TokenizerInfo) -> list[str]:
    """Whether the corpus was encoded with the model's own tokenizer."""
    from tokenizers import Tokenizer

    from medpipe.tokens.published import TokenizerError, read_published

    problems = []
    if ours.vocabulary_size > model.vocabulary_size:
        problems.append(
            f"the tokenizer has {ours.vocabulary_size:,} entries, the model embeds "
            f"{model.vocabulary_size:,}; name the publisher's own pad_token and no "
            "more_special_tokens in the plan's tokenizer"
        )
    path = tokenizer_file(model.folder)
    if path is None:
        return [
            *problems,
            f"{model.folder} has no tokenizer to compare with the corpus'; add its tokenizer.json",
        ]
    fix = f"set tokenizer.file to {path}, eos_token to its own, and materialise tokenizer and shards again"
    try:
        theirs = read_published(config.model_copy(update={"file": path}), sample=())
    except TokenizerError as error:
        return [*problems, f"{error}; {fix}"]
    published, used = (orjson.loads(t.to_str()) for t in (theirs, Tokenizer.from_file(str(ours.path))))
    parts = [name for name in ("model", "normalizer", "pre_tokenizer") if published[name] != used[name]]
    if _added(published) != _added(used):
        parts.append("special tokens")
    if parts:
        problems.append(f"the corpus' tokenizer is not the model's: they differ in {', '.join(parts)}; {fix}")
    return problems


def _added(tokenizer: dict[str, Any]) -> list[tuple[int, str]]:
    return [(token["id"], token["content"]) for token in tokenizer["added_tokens"]]


def fetch_model(
    start: StartFrom, lake: Lake, *, endpoint: str | None, token: str | None, progress: Callable[[str], None]
) -> Path:
    """Downloads a hub model at its pinned commit into the lake; what is there already is kept.

    Args:
        start: names model and revision.
        lake: the model goes to `models/<owner>/<name>/<commit>/`.
        endpoint: a mirror of the hub.
        token: credential for a gated model; None sends none.
        progress: told what happens.

    Returns:
        The folder.

    Raises:
        PublishedModelError: no access, no network, or a folder is named, of which nothing is to fetch.
        DiskFullError: the disk filled.
    """
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import HfHubHTTPError, LocalEntryNotFoundError, RepositoryNotFoundError

    folder = model_folder(start, lake)
    if start.is_folder or start.model is None or start.revision is None:
        raise PublishedModelError(f"{start.model} is a folder; nothing is to fetch")
    if _known_digests(folder):
        progress(f"{start.model} is in {folder} already")
        return folder
    cache = lake.room(ROOM, *start.model.split("/")) / ".download"
    progress(f"fetching {start.model} at {start.revision}")
    try:
        snapshot = Path(
            snapshot_download(
                start.model,
                revision=start.revision,
                cache_dir=cache,  # what a killed download left is gone on with
                allow_patterns=list(FETCHED),
                endpoint=endpoint,
                token=token or False,
            )
        )
    except (HfHubHTTPError, LocalEntryNotFoundError, RepositoryNotFoundError) as error:
        reason = " ".join(str(error).split())
        raise PublishedModelError(
            f"{start.model} at {start.revision} cannot be fetched ({reason}); check name, revision, network, "
            "HF_ENDPOINT and HF_TOKEN"
        ) from error
    recipe = Recipe(inputs={"revision": start.revision}, code_version="1", config={"repository": start.model})
    with publish(lake, ROOM, *start.model.split("/"), recipe=recipe, digest=start.revision) as draft:
        for path in sorted(snapshot.iterdir()):
            if path.is_file():
                os.link(path.resolve(), draft.path / path.name)
        _weight_files(draft.path)
    shutil.rmtree(cache, ignore_errors=True)
    published: Dataset = draft.dataset
    return published.path
