"""Which files of the lake hold what was withdrawn: what `--purge` deletes or rewrites."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

import orjson
import polars as pl

from medpipe.curate.purposes import Purpose
from medpipe.lake.dataset import Dataset
from medpipe.lake.layout import HEAD, Lake, UnsafePathError
from medpipe.lake.manifest import MANIFEST, ManifestError, read_manifest
from medpipe.lake.tombstones import Tombstones
from medpipe.lineage.chosen import Chosen
from medpipe.lineage.places import places_in_dataset
from medpipe.lineage.rows import Row
from medpipe.lineage.stages import CORPUS, NORMALIZED, LineageError
from medpipe.pretrain.seen import RecordedRun

RAW, SHARDS = "raw", "shards"
_OWN = frozenset({RAW, NORMALIZED, SHARDS, "tokenizer", "runs", "snapshots", "tombstones", "withdrawals"})
"""Folders of the lake that are no rooms of data sets made of records, or are looked at by themselves."""
_DEPTH = 3
"""Folders above a data set, at most: room, domain, source."""


@dataclass(frozen=True, kw_only=True)
class RawRows:
    """Rows of one raw file."""

    source: str
    revision: str
    path: str
    rows: tuple[int, ...]


@dataclass(frozen=True, kw_only=True)
class Holders:
    """What holds what was withdrawn."""

    datasets: tuple[Path, ...]
    """Folders of data sets, and work folders of shards."""
    snapshots: tuple[Path, ...]
    """Files of snapshots that name one of them."""
    raw: tuple[RawRows, ...]
    raw_folders: tuple[Path, ...]
    """Raw snapshots that go as a whole: of a source that was withdrawn, or whose rows are joined with a
    second table; or that nobody has read yet, so that nothing is known of their rows."""

    def runs_without_snapshot(self, runs: Iterable[RecordedRun]) -> list[RecordedRun]:
        """The runs whose snapshot goes: these can no longer be resumed exactly."""
        names = {path.stem for path in self.snapshots}
        return [run for run in runs if run.snapshot in names]


def find_holders(
    lake: Lake,
    chosen: Chosen,
    sources: Collection[str],
    tombstones: Tombstones,
    *,
    rows: Collection[Row],
) -> Holders:
    """Finds them, in current and old data sets alike; nothing is changed.

    A data set that was computed of one that holds a withdrawn record counts, too.

    Args:
        lake: the lake.
        chosen: the records of the withdrawal.
        sources: sources that are withdrawn as a whole.
        tombstones: those that were there, and what is withdrawn now.
        rows: the published rows that the records came of.

    Raises:
        LineageError: a part of the lake is a symbolic link, behind which nothing is deleted.
    """
    gone = _normalized(lake, chosen, sources, tombstones)
    digests = {path.name for path in gone}
    others = list(_datasets(lake))
    while more := [each for each in others if each.path not in gone and _is_made_of(each, digests)]:
        gone |= {each.path for each in more}
        # All that are empty have one digest, whatever they were made of; and they hold nothing.
        digests |= {each.digest for each in more if each.manifest.rows}
    gone |= set(_shards(lake, chosen, sources))
    parts = [row for row in rows if row[0] not in sources]
    raw, raw_folders = raw_of_rows(lake, parts, set(chosen.sources) - set(sources))
    raw_folders += [folder for source in sorted(set(sources)) for folder in whole_raw(lake, source)]
    found = Holders(
        datasets=tuple(sorted(gone)),
        snapshots=tuple(_snapshots(lake, gone)),
        raw=tuple(raw),
        raw_folders=tuple(raw_folders),
    )
    for path in (*found.datasets, *found.snapshots, *found.raw_folders):
        refuse_links(lake, path)
    return found


def refuse_links(lake: Lake, path: Path) -> None:
    """Refuses a path that leads through a symbolic link, or out of the lake.

    Raises:
        LineageError: it does.
    """
    try:
        lake.inside(path)
    except UnsafePathError as error:
        raise LineageError(f"{error}; nothing is deleted there") from None
    relative = path.relative_to(lake.root)
    for parent in (*relative.parents, relative):
        if parent.parts and (lake.root / parent).is_symlink():
            raise LineageError(
                f"{lake.root / parent} is a symbolic link; nothing is deleted behind it: replace it by what "
                "it leads to, or delete that yourself"
            )


def _folders(folder: Path) -> list[Path]:
    """Real folders in a folder, without those of unfinished work."""
    if not folder.is_dir():
        return []
    return sorted(path for path in folder.iterdir() if path.is_dir() and path.name[0] != ".")


def _normalized(lake: Lake, chosen: Chosen, sources: Collection[str], tombstones: Tombstones) -> set[Path]:
    """Normalized data sets with a withdrawn record, and folders that lost their manifest."""
    gone: set[Path] = set()
    for room in _folders(lake.room(NORMALIZED)):
        for folder in _folders(room):
            try:
                dataset = Dataset(folder, read_manifest(folder))
            except ManifestError:
                gone.add(folder)  # what a killed purge left
                continue
            if room.name in sources:
                if dataset.manifest.recipe.config.get("withdrawn") != tombstones.of_source(room.name):
                    gone.add(folder)
                continue
            parts = [path for path in dataset.files("part-*.parquet") if path.is_file()]
            if parts and _holds(parts, chosen):
                gone.add(folder)
    return gone


def _holds(parts: list[Path], chosen: Chosen) -> bool:
    named = pl.col("id").is_in(list(chosen.ids)) | pl.col("content_key").is_in(list(chosen.content_keys))
    return bool(pl.scan_parquet(parts).filter(named).select("id").head(1).collect().height)


def _datasets(lake: Lake) -> Iterator[Dataset]:
    """The data sets of every room that is computed of records."""
    for room in _folders(lake.root):
        if room.name in _OWN:
            continue
        for depth in range(1, _DEPTH + 1):
            for path in sorted(room.glob("/".join([*["*"] * depth, MANIFEST]))):
                try:
                    yield Dataset(path.parent, read_manifest(path.parent))
                except ManifestError:
                    continue


def _is_made_of(dataset: Dataset, digests: set[str]) -> bool:
    return not digests.isdisjoint(dataset.manifest.recipe.inputs.values())


def _shards(lake: Lake, chosen: Chosen, sources: Collection[str]) -> Iterator[Path]:
    """Shard data sets with a withdrawn document, and unfinished ones of the sources concerned."""
    for domain in _folders(lake.room(SHARDS)):
        for room in _folders(domain):
            if room.name not in chosen.sources and room.name not in sources:
                continue
            yield from sorted(path for path in room.glob(".work-*") if path.is_dir())
            for folder in _folders(room):
                try:
                    dataset = Dataset(folder, read_manifest(folder))
                except ManifestError:
                    yield folder
                    continue
                if room.name in sources or any(places_in_dataset(dataset, chosen.ids)):
                    yield folder


def _snapshots(lake: Lake, gone: set[Path]) -> Iterator[Path]:
    """Snapshots that name one of some data sets."""
    documents = lake.room(CORPUS, Purpose.DOCUMENTS.value)
    for path in sorted(lake.snapshots.glob("*.json")):
        try:
            content = orjson.loads(path.read_bytes())
        except orjson.JSONDecodeError:
            continue
        if "shards" not in content:  # the file that names the current one
            continue
        named = {
            lake.dataset(SHARDS, shard["domain"], shard["source"], digest=shard["digest"])
            for shard in content["shards"]
        }
        if not gone.isdisjoint({documents / content["documents"], *named}):
            yield path


def raw_of_rows(
    lake: Lake, known: Collection[Row], sources: Collection[str]
) -> tuple[list[RawRows], list[Path]]:
    """The raw files of some rows, and the raw snapshots that go as a whole instead.

    Args:
        lake: the lake.
        known: the rows.
        sources: sources of which something is withdrawn, some of it maybe of rows that nobody knows.
    """
    rows: dict[tuple[str, str, str], set[int]] = {}
    for source, revision, path, row in known:
        rows.setdefault((source, revision, path), set()).add(row)
    joined = {source for source, *_ in rows if _has_lookup(lake, source)}
    found = [
        RawRows(source=source, revision=revision, path=path, rows=tuple(sorted(numbers)))
        for (source, revision, path), numbers in sorted(rows.items())
        if source not in joined and (lake.raw(source) / revision).is_dir()
    ]
    folders = []
    for source in sorted({*sources, *(source for source, *_ in rows)}):
        read = {revision for name, revision, *_ in known if name == source} | _read_revisions(lake, source)
        for folder in _folders(lake.raw(source)):
            # The text may stand in the second table of any revision, also where no row uses it any more.
            if source in joined or folder.name not in read:
                folders.append(folder)
        folders += sorted(path for path in lake.raw(source).glob(".partial-*") if path.is_dir())
    return found, folders


def whole_raw(lake: Lake, source: str) -> list[Path]:
    """All raw snapshots of a source, with those that are not fetched to the end."""
    partial = sorted(path for path in lake.raw(source).glob(".partial-*") if path.is_dir())
    return _folders(lake.raw(source)) + partial


def _has_lookup(lake: Lake, source: str) -> bool:
    """Whether any normalized data set of a source was joined with a second table."""
    for folder in _folders(lake.room(NORMALIZED, source)):
        try:
            files = read_manifest(folder).recipe.config.get("files", [])
        except ManifestError:
            continue
        if any(file.get("lookup") for file in files):
            return True
    return False


def _read_revisions(lake: Lake, source: str) -> set[str]:
    """The raw snapshots that any normalized data set was made of."""
    found = set()
    for folder in _folders(lake.room(NORMALIZED, source)):
        try:
            found.add(read_manifest(folder).recipe.inputs.get("raw", ""))
        except ManifestError:
            continue
    return found


def heads(lake: Lake) -> set[Path]:
    """The current data sets of all rooms."""
    found = set()
    for depth in range(2, _DEPTH + 1):
        for path in lake.root.glob("/".join([*["*"] * depth, HEAD])):
            found.add(path.parent / path.read_text().strip())
    return found
