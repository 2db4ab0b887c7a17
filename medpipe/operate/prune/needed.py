"""What must stay: what snapshots, runs, registered models and other data sets need."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Callable, Collection, Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

import orjson

from medpipe.lake.layout import HEAD, Lake, UnsafePathError
from medpipe.lake.manifest import MANIFEST, ManifestError, read_manifest
from medpipe.operate.doctor.lake import dataset_folders
from medpipe.pretrain.configured import permitted_plans
from medpipe.pretrain.plan import plan_values
from medpipe.pretrain.run_folder import RESULT, STAGE
from medpipe.settings import Settings
from medpipe.tokens.snapshot import CorpusSnapshot, SnapshotError, list_snapshots, read_snapshot
from medpipe.tracking.checkpoints import CHECKPOINT_TAG
from medpipe.tracking.store import client, talking_to

T = TypeVar("T")

_MODEL = re.compile(r"/(m-[0-9a-f]{32})(?:/|$)")
"""Id of a logged model in an address; what is stored of a version names it nowhere else."""


@dataclass(frozen=True, kw_only=True)
class Registered:
    """What the models of the registry were made of."""

    checkpoints: frozenset[str] = frozenset()
    """Their digests."""
    snapshots: frozenset[str] = frozenset()
    places: tuple[str, ...] = ()
    """Addresses of their files, in case somebody registered a run folder's checkpoint as it lies."""


def registered(settings: Settings) -> Registered:
    """Asks the registry: every version of every model counts, with an alias or without one.

    Raises:
        TrackingError: MLflow cannot be reached.
    """
    mlflow = client(settings)
    checkpoints, snapshots, places = set(), set(), []
    with talking_to(settings.tracking_uri):
        token: str | None = None
        while token != "":
            page = mlflow.search_model_versions(max_results=1000, page_token=token)
            for version in page:
                # Whoever registers a model in MLflow's own UI copies no tag of it.
                model = if_there(mlflow.get_logged_model, _model_id(version.source))
                tags = {**(model.tags if model else {}), **version.tags}
                checkpoints.add(str(tags.get(CHECKPOINT_TAG, "")))
                places.append(str(version.source))
                run = if_there(mlflow.get_run, version.run_id or (model and model.source_run_id))
                snapshots.add(run.data.params.get("corpus_snapshot", "") if run else "")
            token = page.token or ""
    return Registered(
        checkpoints=frozenset(checkpoints - {""}), snapshots=frozenset(snapshots - {""}), places=tuple(places)
    )


def _model_id(source: str | None) -> str | None:
    """Of `models:/m-…`, or of the place of its files; None of any other address."""
    found = _MODEL.search(source or "")
    return found[1] if found else None


def if_there(get: Callable[[str], T], name: str | None) -> T | None:
    """What has an id; None where it has been deleted for good: then it needs nothing any more."""
    from mlflow.exceptions import MlflowException

    try:
        return get(name) if name else None
    except MlflowException as error:
        if error.error_code != "RESOURCE_DOES_NOT_EXIST":
            raise
        return None


def pinned_snapshots(lake: Lake) -> set[str]:
    """Snapshots that a name stands for, a curriculum is pinned to, or a run was trained on."""
    found: set[str] = set()
    for path in lake.snapshots.glob("*.json"):
        content = _read(path)
        if "shards" not in content:
            found.add(str(content.get("name", "")))
    for path in (lake.root / "runs").glob("*/pinned*.json"):
        found.add(str(_read(path).get("snapshot", "")))
    for path in (lake.root / "runs").glob(f"*/*/{STAGE}"):
        content = _read(path)
        found.add(str(content.get("snapshot", "")))
        found.add(str((content.get("start_from") or {}).get("snapshot", "")))
    return found - {""}


def asked_for(lake: Lake, *, setting: str, run_configs: Iterable[object]) -> set[str]:
    """Snapshots that nothing was trained on yet, but somebody has said to.

    Args:
        lake: the lake.
        setting: what `MEDPIPE_SNAPSHOT` says.
        run_configs: of the runs of Dagster that have not ended; a form may name a snapshot.
    """
    said = {setting, *(name for config in run_configs for name in _named_snapshots(config))}
    found = set()
    for name in said - {""}:
        # Whoever asks for what cannot be is refused when the run begins.
        with contextlib.suppress(SnapshotError, UnsafePathError):
            found.add(read_snapshot(lake, name).name)
    return found


def _named_snapshots(config: object) -> Iterator[str]:
    """What stands behind the word `snapshot`, wherever that is in a run's configuration."""
    inside = list(config) if isinstance(config, list) else []
    if isinstance(config, dict):
        inside = list(config.values())
        if isinstance(name := config.get("snapshot"), str):
            yield name
    for each in inside:
        yield from _named_snapshots(each)


def _read(path: Path) -> dict[str, Any]:
    """A JSON object.

    Raises:
        ValueError: it is none; nothing may be deleted on the strength of half of what is known.
    """
    try:
        content = orjson.loads(path.read_bytes())
    except orjson.JSONDecodeError:
        content = None
    if not isinstance(content, dict):
        raise ValueError(f"{path} is no JSON object; nothing is pruned before it is mended or removed")
    return content


def kept_snapshots(lake: Lake, *, keep: int, needed: Collection[str]) -> list[CorpusSnapshot]:
    """The newest ones, and those that anybody needs.

    Args:
        lake: the lake.
        keep: the newest so many.
        needed: digests of those that stay beside the ones that the lake itself says are needed.
    """
    needed = pinned_snapshots(lake) | set(needed)
    return [
        snapshot
        for number, (snapshot, _) in enumerate(list_snapshots(lake))
        if number < keep or snapshot.name in needed
    ]


@dataclass
class _Walk:
    """Data sets by digest, and those that are needed."""

    by_digest: dict[str, list[Path]] = field(default_factory=dict)
    needed: set[Path] = field(default_factory=set)


def needed_datasets(lake: Lake, snapshots: Iterable[CorpusSnapshot]) -> tuple[set[Path], set[Path]]:
    """Data sets that stay, and all there are.

    Those that are current, that a snapshot names or a run reads, and whatever any of them was made of.
    """
    folders = list(dataset_folders(lake))
    walk = _Walk()
    for folder in folders:
        walk.by_digest.setdefault(folder.name, []).append(folder)
    for folder in folders:
        if (folder.parent / HEAD).is_file() and (folder.parent / HEAD).read_text().strip() == folder.name:
            _need(walk, folder)
    digests: set[str] = set()
    for snapshot in snapshots:
        digests |= {each.digest for each in snapshot.shards} | set(snapshot.revisions.values())
        digests |= {snapshot.documents, snapshot.tokenizer.digest}
    for path in (lake.root / "runs").glob(f"*/*/{STAGE}"):
        content = _read(path)
        keys = [key for component in content.get("components", ()) for key in component["shards"]]
        digests |= {key.split("/")[-2] for key in (*keys, *content.get("validation", ()))}
        digests.add(str(content.get("tokenizer", "")))
    # A revision that waits for a person's word is named there only.
    for path in (lake.root / "raw").glob("*/held.json"):
        digests.add(str(_read(path).get("revision", "")))
    for digest in digests:
        for folder in walk.by_digest.get(digest, ()):
            _need(walk, folder)
    return walk.needed, set(folders)


def _need(walk: _Walk, folder: Path) -> None:
    waiting = [folder]
    while waiting:
        each = waiting.pop()
        if each in walk.needed:
            continue
        walk.needed.add(each)
        try:
            inputs = read_manifest(each).recipe.inputs.values()
        except ManifestError:
            continue
        for digest in inputs:
            # A label may hold a digest among other words.
            waiting += [found for word in digest.split("/") for found in walk.by_digest.get(word, ())]


@dataclass(frozen=True, kw_only=True)
class Begun:
    """Checkpoints on the way that another curriculum began with, or that a plan says to begin with."""

    digests: frozenset[str]
    paths: frozenset[Path]


def begun_with(lake: Lake, settings: Settings) -> Begun:
    """Reads the runs of the lake and the plans of the installation.

    Runs are asked for the digest and not for the path: the lake may lie elsewhere by now.

    Raises:
        ValueError: a plan cannot be read.
    """
    stages = [_read(path) for path in (lake.root / "runs").glob(f"*/*/{STAGE}")]
    digests = {str((stage.get("start_from") or {}).get("content", "")) for stage in stages}
    plans = [plan_values(each) for each in permitted_plans(settings).values()]
    starts = [plan.get("start_from") for plan in plans if isinstance(plan, dict)]
    named = [
        str(start[key])
        for start in starts
        if isinstance(start, dict)
        for key in ("checkpoint", "model")
        if start.get(key)
    ]
    # The name of a model on a hub is no folder that is here; taken for one, it protects nothing.
    paths = {(Path.cwd() / Path(name).expanduser()).resolve() for name in named}
    return Begun(digests=frozenset(digests - {""}), paths=frozenset(paths))


def needed_checkpoints(folder: Path, *, keep: int, models: Registered, begun: Begun) -> set[Path]:
    """Checkpoints of a finished run that stay; all of an unfinished one do.

    Args:
        folder: the run folder.
        keep: the newest so many.
        models: of the registry.
        begun: what other curricula begin with.
    """
    present = sorted(path for path in (folder / "checkpoints").glob("*") if path.name.isdigit())
    if not (folder / RESULT).is_file():
        return set(present)
    result = _read(folder / RESULT)
    steps = {int(result.get("best_step") or -1), int(Path(str(result["checkpoint"])).name)}
    digests = models.checkpoints | begun.digests
    return {
        path
        for number, path in enumerate(reversed(present))
        if number < keep
        or int(path.name) in steps
        or path.resolve() in begun.paths
        or not (path / MANIFEST).is_file()
        or read_manifest(path).digest in digests
        or any(path.as_posix() in place for place in models.places)
    }
