"""What of a corpus the lake holds: records, curated data sets, shards; as it is now or as pinned."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import polars as pl

from medpipe.curate.purposes import REJECTED, Purpose, kept_parts
from medpipe.lake.dataset import Dataset, find_current, is_whole
from medpipe.lake.layout import Lake
from medpipe.lake.manifest import ManifestError, read_manifest
from medpipe.lake.remote import names_in
from medpipe.records.kinds import Kind, rejected_columns
from medpipe.tokens.snapshot import CURRENT, CorpusSnapshot, SnapshotError, read_snapshot

NORMALIZED = "normalized"
CORPUS = "corpus"

_KIND_BY_COLUMN = {
    "text": Kind.DOCUMENT,
    "turns": Kind.CONVERSATION,
    "chosen": Kind.PREFERENCE,
    "question": Kind.EXAM_ITEM,
}


class LineageError(ValueError):
    """A question about the lake has no answer, or a command cannot be carried out; the message says why."""


@dataclass(frozen=True, kw_only=True)
class Stages:
    """The data sets of one corpus, from records to shards."""

    lake: Lake
    normalized: dict[str, Dataset]
    """By source id."""
    corpora: dict[Purpose, Dataset]
    snapshot: CorpusSnapshot | None
    missing: tuple[str, ...]
    """What is not there, each with how to make it."""


def stages_of(lake: Lake, snapshot: str | None = None) -> Stages:
    """Finds the data sets of a snapshot, or of the lake as it is now.

    Args:
        lake: the lake.
        snapshot: the name of one. Then the documents are those that it pins, and the records those that they
            were made of; other corpora than the documents are no part of a snapshot.

    Raises:
        SnapshotError: there is no such snapshot, or its file is broken.
    """
    missing = []
    pinned: CorpusSnapshot | None = None
    try:
        pinned = read_snapshot(lake, snapshot or CURRENT)
    except SnapshotError as error:
        if snapshot is not None or (lake.snapshots / f"{CURRENT}.json").exists():
            raise
        missing.append(str(error))
    if snapshot is None or pinned is None:
        normalized = current_normalized(lake)
        corpora = {each: found for each in Purpose if (found := find_current(lake, CORPUS, each.value))}
    else:
        normalized, corpora, gone = _pinned(lake, pinned)
        missing += gone
    if not normalized:
        missing.append(f"no records in {lake.root / NORMALIZED}; materialise normalized/<source>")
    if not corpora:
        missing.append(f"no corpus in {lake.root / CORPUS}; materialise corpus/documents")
    return Stages(lake=lake, normalized=normalized, corpora=corpora, snapshot=pinned, missing=tuple(missing))


def current_normalized(lake: Lake) -> dict[str, Dataset]:
    """The current records of every source that the lake has any of, by source id."""
    found = {name: find_current(lake, NORMALIZED, name) for name in source_names(lake)}
    return {name: dataset for name, dataset in found.items() if dataset is not None}


def source_names(lake: Lake) -> list[str]:
    """Ids of the sources that were ever normalised."""
    return names_in(lake, NORMALIZED)


def _pinned(
    lake: Lake, snapshot: CorpusSnapshot
) -> tuple[dict[str, Dataset], dict[Purpose, Dataset], list[str]]:
    documents = find_dataset(lake, CORPUS, Purpose.DOCUMENTS.value, digest=snapshot.documents)
    if documents is None:
        return {}, {}, [f"the documents {snapshot.documents} of snapshot {snapshot.name} are gone"]
    normalized, missing = {}, []
    for source, digest in documents.manifest.recipe.inputs.items():
        dataset = find_dataset(lake, NORMALIZED, source, digest=digest)
        if dataset is None:
            missing.append(f"the records {digest} of {source}, which the snapshot was made of, are gone")
        else:
            normalized[source] = dataset
    return normalized, {Purpose.DOCUMENTS: documents}, missing


def find_dataset(lake: Lake, room: str, *names: str, digest: str) -> Dataset | None:
    """A data set by its digest; None where it is not there or not whole."""
    folder = lake.dataset(room, *names, digest=digest)
    try:
        manifest = read_manifest(folder)
    except ManifestError:
        return None
    return Dataset(folder, manifest) if is_whole(folder, manifest) else None


def kind_of(normalized: Dataset) -> Kind | None:
    """The kind of a normalized data set, by its columns; None where it has no part."""
    for part in normalized.files("part-*.parquet"):
        columns = pl.read_parquet_schema(part)
        return next(kind for column, kind in _KIND_BY_COLUMN.items() if column in columns)
    return None


def rejected_files(dataset: Dataset) -> list[Path]:
    """The files that hold what a data set left out."""
    folder = dataset.path / REJECTED
    return [path for path in dataset.files() if folder in path.parents and path.suffix == ".parquet"]


def scan_rejected(dataset: Dataset) -> pl.LazyFrame:
    """What a data set left out, with the reasons; in the order of the records."""
    files = rejected_files(dataset)
    return pl.scan_parquet(files) if files else pl.LazyFrame(schema=rejected_columns())


def record_files(normalized: dict[str, Dataset]) -> dict[str, tuple[list[Path], Kind]]:
    """The files of some normalized data sets and their kind, by source id; without those that are empty."""
    kinds = {source: kind_of(dataset) for source, dataset in normalized.items()}
    return {
        source: (normalized[source].files("part-*.parquet"), kind)
        for source, kind in kinds.items()
        if kind is not None
    }


def document_files(documents: Dataset) -> dict[str, tuple[list[Path], Kind]]:
    """The files of `corpus/documents` by source id, as `record_files` gives those of records."""
    found: dict[str, tuple[list[Path], Kind]] = {}
    for path in kept_parts(documents):
        found.setdefault(path.parent.name, ([], Kind.DOCUMENT))[0].append(path)
    return found


def kept_files(corpus: Dataset, source: str) -> list[Path]:
    """The files of a corpus that hold the kept records of a source."""
    return [path for path in kept_parts(corpus) if path.parent.name == source]
