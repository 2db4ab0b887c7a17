"""A snapshot: the list of digests that make one corpus. A training run pins one."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Self

import orjson
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from medpipe.lake.dataset import Dataset, current, find_current, named_dataset
from medpipe.lake.digest import digest_value
from medpipe.lake.files import write_json_atomically
from medpipe.lake.layout import Lake, safe_name
from medpipe.lake.manifest import ManifestError
from medpipe.lake.shared_files import refresh, share
from medpipe.settings import NEWEST_SNAPSHOT
from medpipe.tokens.snapshot_names import name_snapshot, named, newest_names

FOLDER = "snapshots"
CURRENT = NEWEST_SNAPSHOT
_MOST_NAMED = 10


class SnapshotError(ValueError):
    """A snapshot cannot be made or read; the message names the fix."""


class _Entry(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class DatasetRef(_Entry):
    """A data set by name and digest."""

    name: str
    digest: str = Field(pattern=r"^[0-9a-f]{32}$")


class ShardRef(_Entry):
    """The shards of one domain and source."""

    domain: str
    source: str
    digest: str = Field(pattern=r"^[0-9a-f]{32}$")


class CorpusSnapshot(_Entry):
    """Everything a run needs to find its tokens again."""

    name: str = Field(pattern=r"^[0-9a-f]{32}$")
    """Digest of all other fields: the same corpus has the same name."""
    tokenizer: DatasetRef
    shards: tuple[ShardRef, ...]
    """In order of domain and source."""
    documents: str
    """Digest of `corpus/documents`."""
    revisions: dict[str, str]
    """The commit of each source, by source id."""

    @model_validator(mode="after")
    def _name_fits(self) -> Self:
        if self.name != _name(self.model_dump(mode="json", exclude={"name"})):
            raise ValueError(f"the name {self.name} is not the digest of the snapshot's content")
        return self


def _name(content: Mapping[str, object]) -> str:
    return digest_value(dict(content))


def current_shards(
    lake: Lake, domains: Collection[str], documents: Dataset
) -> dict[tuple[str, str], Dataset]:
    """The newest shards of every domain and source that the corpus has documents of.

    Args:
        lake: the lake.
        domains: the domains that are wanted.
        documents: `corpus/documents`.

    Raises:
        ManifestError: a domain of a source has no shards yet.
    """
    return {
        (domain, source): current(lake, "shards", domain, source)
        for source, facts in documents.manifest.facts["by_source"].items()
        for domain in facts["content_digest"]
        if domain in domains
    }


def revisions_of(documents: Dataset, lake: Lake, sources: Iterable[str]) -> dict[str, str]:
    """The revision of each source that a corpus was made of, by source id.

    Not the one that is current: meanwhile a person may have accepted another, or another run fetched one.

    Args:
        documents: `corpus/documents`.
        lake: the lake.
        sources: ids; one that nothing is known of is left out.
    """
    found = {}
    for source in sources:
        digest = documents.manifest.recipe.inputs.get(source)
        try:
            records = named_dataset(lake, "normalized", source, digest=digest) if digest else None
        except ManifestError:
            records = None
        if records is not None:
            found[source] = records.manifest.recipe.inputs["raw"]
        elif (raw := find_current(lake, "raw", source)) is not None:
            found[source] = raw.digest
    return found


def build_snapshot(
    lake: Lake,
    *,
    tokenizer: Dataset,
    shards: Mapping[tuple[str, str], Dataset],
    documents: Dataset,
    revisions: Mapping[str, str],
) -> tuple[CorpusSnapshot, bool]:
    """Makes and stores the snapshot of what lies in the lake now, and makes it the current one.

    Args:
        lake: the lake.
        tokenizer: the tokenizer of all shards.
        shards: data sets by (domain, source).
        documents: `corpus/documents`.
        revisions: the commit of each source, by source id.

    Returns:
        The snapshot, and whether the same one was stored before.

    Raises:
        SnapshotError: there are no shards, or some were made with another tokenizer or of other documents.
    """
    if not shards:
        raise SnapshotError("a snapshot needs shards; materialise shards/<domain> first")
    by_source = documents.manifest.facts.get("by_source", {})
    for (domain, source), dataset in sorted(shards.items()):
        made_with = dataset.manifest.facts["tokenizer"]
        if made_with != tokenizer.digest:
            raise SnapshotError(
                f"shards/{domain}/{source} was made with tokenizer {made_with}, not {tokenizer.digest}; "
                f"materialise shards/{domain} again"
            )
        stated = by_source.get(source, {}).get("content_digest", {}).get(domain)
        if dataset.manifest.recipe.inputs.get("documents") != stated:
            raise SnapshotError(
                f"shards/{domain}/{source} was not made of the documents that corpus/documents "
                f"{documents.digest} has of it; materialise shards/{domain} (medpipe run "
                f"'key:\"shards/{domain}\"'), then the snapshot"
            )
    content = {
        "tokenizer": {"name": tokenizer.manifest.name, "digest": tokenizer.digest},
        "shards": [
            {"domain": domain, "source": source, "digest": dataset.digest}
            for (domain, source), dataset in sorted(shards.items())
        ],
        "documents": documents.digest,
        "revisions": dict(sorted(revisions.items())),
    }
    snapshot = CorpusSnapshot.model_validate({"name": _name(content), **content})
    return snapshot, write_snapshot(lake, snapshot)


def _path(lake: Lake, name: str) -> Path:
    return lake.snapshots / f"{safe_name(name)}.json"


def write_snapshot(lake: Lake, snapshot: CorpusSnapshot) -> bool:
    """Stores a snapshot and makes it the current one; returns whether its file was there already.

    Raises:
        DiskFullError: the disk is full; the snapshots before are unchanged.
    """
    refresh(lake, FOLDER)
    path = _path(lake, snapshot.name)
    reused = path.is_file()
    if not reused:
        write_json_atomically(path, snapshot.model_dump(mode="json"))
    share(lake, path, once=True)
    name_snapshot(lake, snapshot.name)
    write_json_atomically(_path(lake, CURRENT), {"name": snapshot.name})
    share(lake, _path(lake, CURRENT))
    return reused


def _completed(lake: Lake, start: str) -> str:
    found = sorted(path.stem for path in lake.snapshots.glob(f"{safe_name(start)}*.json"))
    found = [name for name in found if name != CURRENT]
    if len(found) > 1:
        raise SnapshotError(f"'{start}' begins the names of {len(found)} snapshots: {', '.join(found)}")
    return found[0] if found else start


def _not_there(lake: Lake, name: str) -> str:
    what = "no snapshot yet" if name == CURRENT else f"no snapshot '{name}'"
    known = newest_names(lake, most=_MOST_NAMED)
    named_here = f"; the newest are {', '.join(known)}" if known else ""
    return (
        f"{what} in {lake.snapshots}{named_here}; materialise the asset snapshot, or give a name that "
        "`medpipe snapshots list` shows"
    )


def list_snapshots(lake: Lake) -> list[tuple[CorpusSnapshot, datetime]]:
    """All stored snapshots and when each was first stored, newest first.

    Raises:
        SnapshotError: the file of one was changed.
    """
    refresh(lake, FOLDER)
    paths = [path for path in lake.snapshots.glob("*.json") if path.stem != CURRENT]
    dated = [(path.stem, datetime.fromtimestamp(path.stat().st_mtime, UTC)) for path in paths]
    return [(read_snapshot(lake, name), stored) for name, stored in sorted(dated, key=lambda each: each[1])][
        ::-1
    ]


def find_snapshot(lake: Lake, name: str = CURRENT) -> CorpusSnapshot | None:
    """Like `read_snapshot`, but None where there is nothing to read."""
    try:
        return read_snapshot(lake, name)
    except SnapshotError:
        return None


def read_snapshot(lake: Lake, name: str = CURRENT) -> CorpusSnapshot:
    """Reads a snapshot by its digest or the first characters of it that no other has, or by its day's name.

    Raises:
        SnapshotError: there is none of that name, or its file was changed.
        UnsafePathError: the name would lead out of the lake.
        StoreError: the store cannot be reached.
    """
    refresh(lake, FOLDER)
    try:
        if name == CURRENT:
            name = str(orjson.loads(_path(lake, CURRENT).read_bytes())["name"])
        elif not _path(lake, name).is_file():
            name = named(lake, name) or _completed(lake, name)
        return CorpusSnapshot.model_validate(orjson.loads(_path(lake, name).read_bytes()))
    except FileNotFoundError:
        raise SnapshotError(_not_there(lake, name)) from None
    except (orjson.JSONDecodeError, ValidationError, KeyError, TypeError) as error:
        raise SnapshotError(
            f"snapshot '{name}' in {lake.snapshots} cannot be read ({error}); "
            "delete it and materialise the asset snapshot"
        ) from error
