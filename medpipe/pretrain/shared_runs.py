"""Training runs of a lake with a store: local while they train, sent once a stage is finished.

A finished stage is one manifest in the store, `runs/<curriculum>/<stage digest>-<seed>/manifest.json`: its
result, its facts, its metrics and its checkpoints, each file by digest as in a data set. Another machine
fetches it when it compiles the same plan, and trains on from there or reports it as reused.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import orjson

from medpipe.lake.digest import digest_value, sha256_file
from medpipe.lake.layout import Lake
from medpipe.lake.manifest import MANIFEST, DatasetFile, Manifest, Recipe
from medpipe.pretrain.guard import RunLockedError, run_lock
from medpipe.pretrain.plan_parts import StartFrom
from medpipe.pretrain.run_folder import CHECKPOINTS, RESULT, SPOOL, STAGE

_KEPT = (STAGE, SPOOL, RESULT)


def share_run(lake: Lake, folder: Path) -> None:
    """Sends a finished stage to the store; does nothing where the lake has none, or has it already.

    Args:
        lake: the lake.
        folder: the stage's run folder.

    Raises:
        StoreError: the store cannot be reached; the next run of the stage sends it.
    """
    if lake.store is None or not (folder / RESULT).is_file():
        return
    from medpipe.lake.remote import manifest_of, push

    key = lake.key(folder)
    names = [name for name in _KEPT if (folder / name).is_file()]
    names += [
        path.relative_to(folder).as_posix()
        for manifest in sorted((folder / CHECKPOINTS).glob(f"[!.]*/{MANIFEST}"))
        for path in sorted(manifest.parent.iterdir())
        if path.is_file()
    ]
    there = manifest_of(lake, key)
    known = {} if there is None else {(file.path, file.bytes): file for file in there.files}
    files = tuple(_described(folder, name, known) for name in names)
    if there is None or files != there.files:
        result = orjson.loads((folder / RESULT).read_bytes())
        made = Manifest(
            room="runs",
            name="/".join(folder.parts[-2:]),
            digest=digest_value([[file.path, file.sha256] for file in files]),
            recipe=Recipe(inputs={"stage": str(result["digest"])}, code_version="1"),
            rows=0,
            bytes=sum(file.bytes for file in files),
            files=files,
        )
        push(lake, folder, made, key=key)


def _described(folder: Path, name: str, known: dict[tuple[str, int], DatasetFile]) -> DatasetFile:
    path = folder / name
    size = path.stat().st_size
    # A checkpoint never changes; it is hashed once, not each time that the stage is looked at.
    if name.startswith(f"{CHECKPOINTS}/") and (name, size) in known:
        return known[name, size]
    return DatasetFile(path=name, bytes=size, sha256=sha256_file(path))


def fetch_run(lake: Lake, folder: Path) -> None:
    """Fetches a finished stage that another machine trained; one that trains here is left alone.

    Raises:
        StoreError: the store cannot be reached, or an object is damaged.
    """
    if lake.store is None:
        return
    from medpipe.lake.remote import fetch, manifest_of

    manifest = manifest_of(lake, lake.key(folder))
    if manifest is None:
        return
    missing = [file for file in manifest.files if not _is_here(folder / file.path, file)]
    # The result last: from then on the stage is complete.
    first = [file for file in missing if file.path != RESULT]
    if not missing or ((folder / RESULT).is_file() and all(not _is_checkpoint(file) for file in first)):
        return
    try:
        with run_lock(folder):
            for part in (first, [file for file in missing if file.path == RESULT]):
                fetch(lake, folder, manifest, part, key=lake.key(folder), keep_manifest=False)
    except RunLockedError:
        return


def _is_here(path: Path, file: DatasetFile) -> bool:
    return path.is_file() and path.stat().st_size == file.bytes


def _is_checkpoint(file: DatasetFile) -> bool:
    return file.path.startswith(f"{CHECKPOINTS}/")


def fetch_runs(lake: Lake, folders: Iterable[Path]) -> None:
    """Fetches those of some run folders that the store has; see `fetch_run`."""
    for folder in folders:
        fetch_run(lake, folder)


def fetch_origin(lake: Lake, start: StartFrom | None) -> None:
    """Fetches the runs that a plan goes on from, and those that these went on from.

    Raises:
        StoreError: the store cannot be reached, or an object is damaged.
    """
    if lake.store is None or start is None or start.run is None:
        return
    from medpipe.lake.remote import store_of

    curriculum, _, name = start.run.partition("/")
    store, seen = store_of(lake), set[str]()
    waiting = [f"{curriculum}/{each}" for each in ([name] if name else store.folders(f"runs/{curriculum}"))]
    while waiting:
        run = waiting.pop()
        if run in seen:
            continue
        seen.add(run)
        folder = lake.runs(run.partition("/")[0]) / run.partition("/")[2]
        fetch_run(lake, folder)
        if (folder / STAGE).is_file():
            facts = orjson.loads((folder / STAGE).read_bytes())
            seed = folder.name.rpartition("-")[2]
            before = facts.get("parent_run") or (
                facts.get("parent") and f"{folder.parent.name}/{facts['parent']}-{seed}"
            )
            waiting += [before] if before else []
