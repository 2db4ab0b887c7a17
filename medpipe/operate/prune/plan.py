"""What `medpipe prune` would delete."""

from __future__ import annotations

import contextlib
import time
from collections import Counter
from collections.abc import Collection, Iterable
from dataclasses import dataclass, replace
from pathlib import Path

from medpipe.lake.layout import HEAD, Lake, open_lake
from medpipe.lake.manifest import MANIFEST
from medpipe.operate.prune.copies import copies
from medpipe.operate.prune.doomed import Doomed, Limits, remove_folder
from medpipe.operate.prune.needed import (
    Begun,
    Registered,
    asked_for,
    begun_with,
    kept_snapshots,
    needed_checkpoints,
    needed_datasets,
    pinned_snapshots,
    registered,
)
from medpipe.pretrain.guard import RunLockedError, run_lock
from medpipe.pretrain.run_folder import STAGE
from medpipe.settings import Settings
from medpipe.tokens.snapshot import list_snapshots
from medpipe.tracking.store import TrackingError


@dataclass(frozen=True, kw_only=True)
class PrunePlan:
    """What would go, and what was left alone for want of knowledge."""

    doomed: tuple[Doomed, ...]
    refused: tuple[str, ...]

    @property
    def bytes(self) -> int:
        """What all of it would free."""
        return sum(each.bytes for each in self.doomed)


def plan_lake(settings: Settings, limits: Limits, *, run_configs: Iterable[object] = ()) -> PrunePlan:
    """Looks through the lake; nothing is changed.

    Args:
        settings: which lake and MLflow.
        limits: what stays although nobody needs it.
        run_configs: of the runs of Dagster that have not ended; a snapshot that one names stays.

    Raises:
        SnapshotError: a snapshot cannot be read.
        ValueError: something that names data cannot be read, so nobody knows what is needed.
    """
    lake = open_lake(settings)
    if lake.store is not None:
        reason = (
            f"the lake lies in {lake.store}, which other machines read: only event logs are pruned; for "
            "space there, delete by hand the manifest.json of data sets that no snapshot, run or registered "
            "model needs, then, while no run works, the objects under files/ whose SHA-256 no manifest names"
        )
        return PrunePlan(doomed=(), refused=(reason,))
    try:
        models = registered(settings)
    except TrackingError as error:
        return PrunePlan(
            doomed=(),
            refused=(
                f"checkpoints, snapshots and data sets stay: registered models may need them ({error})",
            ),
        )
    needed = models.snapshots | asked_for(lake, setting=settings.snapshot, run_configs=run_configs)
    begun = begun_with(lake, settings)
    found = [
        *_snapshots(lake, limits, needed),
        *_datasets(lake, limits, needed),
        *_checkpoints(lake, limits, models, begun),
    ]
    refused: tuple[str, ...] = ()
    try:
        found += copies(settings, limits, models, begun)
    except TrackingError as error:
        refused = (f"copies of checkpoints in MLflow stay ({error})",)
    return PrunePlan(doomed=tuple(with_bytes(found)), refused=refused)


def with_bytes(found: Iterable[Doomed]) -> list[Doomed]:
    """Notes what each would free; a file of several names counts where the last of them goes."""
    found = list(found)
    links: Counter[tuple[int, int]] = Counter()
    sized = []
    for each in found:
        size = 0
        for path in (file for folder in each.paths for file in _files(folder)):
            with contextlib.suppress(OSError):
                status = path.stat()
                links[status.st_dev, status.st_ino] += 1
                size += status.st_size if links[status.st_dev, status.st_ino] == status.st_nlink else 0
        sized.append(replace(each, bytes=size))
    return sized


def _files(path: Path) -> list[Path]:
    return [each for each in path.rglob("*") if each.is_file()] if path.is_dir() else [path]


def _snapshots(lake: Lake, limits: Limits, needed: Collection[str]) -> Iterable[Doomed]:
    kept = {snapshot.name for snapshot in kept_snapshots(lake, keep=limits.snapshots, needed=needed)}
    for snapshot, stored in list_snapshots(lake):
        if snapshot.name not in kept:
            path = lake.snapshots / f"{snapshot.name}.json"
            yield Doomed(
                kind="snapshot",
                name=snapshot.name,
                why=f"of {stored:%Y-%m-%d}; {limits.snapshots} newer ones stay, no run or model needs it",
                paths=(path,),
                remove=lambda path=path: remove_folder(  # type: ignore[misc]
                    path, is_needed=lambda: path.stem in pinned_snapshots(lake)
                ),
            )


def _datasets(lake: Lake, limits: Limits, needed: Collection[str]) -> Iterable[Doomed]:
    def look() -> tuple[set[Path], set[Path]]:
        return needed_datasets(lake, kept_snapshots(lake, keep=limits.snapshots, needed=needed))

    stay, everything = look()
    for folder in sorted(everything - stay):
        if not (folder / MANIFEST).is_file() or _idle_hours(folder) < limits.idle_hours:
            continue
        head = folder.parent / HEAD
        yield Doomed(
            kind="data set",
            name=folder.relative_to(lake.root).as_posix(),
            why="not current, and no snapshot, run or current data set was made of it",
            paths=(folder,),
            remove=lambda folder=folder, head=head: (  # type: ignore[misc]
                folder not in look()[0]
                and remove_folder(
                    folder, is_needed=lambda: head.is_file() and head.read_text().strip() == folder.name
                )
            ),
        )


def _idle_hours(folder: Path) -> float:
    """Since it was made, or another took its place."""
    times = [(folder / MANIFEST).stat().st_mtime]
    if (folder.parent / HEAD).is_file():
        times.append((folder.parent / HEAD).stat().st_mtime)
    return (time.time() - max(times)) / 3600


def _checkpoints(lake: Lake, limits: Limits, models: Registered, begun: Begun) -> Iterable[Doomed]:
    for stage in sorted((lake.root / "runs").glob(f"*/*/{STAGE}")):
        folder = stage.parent
        stay = needed_checkpoints(folder, keep=limits.checkpoints, models=models, begun=begun)
        for path in sorted((folder / "checkpoints").glob("*")):
            if path.name.isdigit() and path not in stay:
                yield Doomed(
                    kind="checkpoint",
                    name=path.relative_to(lake.root).as_posix(),
                    why="of a finished run, neither its last, its best, one of the newest, nor registered",
                    paths=(path,),
                    remove=lambda path=path, folder=folder: _remove_checkpoint(path, folder),  # type: ignore[misc]
                )


def _remove_checkpoint(path: Path, folder: Path) -> bool:
    try:
        with run_lock(folder):
            return remove_folder(path)
    except RunLockedError:
        return False
