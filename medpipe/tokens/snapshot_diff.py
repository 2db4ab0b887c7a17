"""What changed from one corpus snapshot to another: documents, tokens, revisions and licences by source."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import polars as pl

from medpipe.lake.dataset import Dataset
from medpipe.lake.layout import Lake
from medpipe.lake.manifest import Manifest, ManifestError, read_manifest
from medpipe.lake.parquet import scan_parts
from medpipe.tokens.snapshot import CorpusSnapshot, ShardRef, SnapshotError

_ROW = ("path", "row", "part")
_PROVENANCE = pl.Schema({"id": pl.String, "path": pl.String, "row": pl.Int64, "part": pl.Int64})


@dataclass(frozen=True, kw_only=True)
class Side:
    """A source in one of the two snapshots."""

    documents: int = 0
    tokens: int = 0
    """With the `<eos>` of each document."""
    text_bytes: int = 0
    """UTF-8 bytes."""
    revision: str | None = None
    """The commit; None where the snapshot has nothing of the source."""
    licence: str | None = None
    """As the catalog stated it when the corpus was made; None if it was silent, or the corpus is gone."""


@dataclass(frozen=True, kw_only=True)
class SourceDifference:
    """What became of a source's documents."""

    source: str
    before: Side
    after: Side
    added: int
    """Documents of new rows."""
    removed: int
    """Documents whose rows are gone."""
    changed: int | None
    """Rows whose document has another text; None where one of the two corpora is no longer in the lake: then
    they count as removed and added."""

    @property
    def is_same(self) -> bool:
        """Whether nothing at all is different."""
        return self.before == self.after and not (self.added or self.removed or self.changed)


@dataclass(frozen=True, kw_only=True)
class SnapshotDifference:
    """Two snapshots side by side."""

    before: str
    """Name of the earlier snapshot."""
    after: str
    """Name of the later one."""
    tokenizer_changed: bool
    """Tokens of the two cannot be compared, and a run on one cannot go on with the other."""
    sources: tuple[SourceDifference, ...]
    """All sources of either, by id."""

    @property
    def is_same(self) -> bool:
        """Whether both hold the same documents as the same tokens under the same licences."""
        return not self.tokenizer_changed and all(source.is_same for source in self.sources)


def compare_snapshots(before: CorpusSnapshot, after: CorpusSnapshot, lake: Lake) -> SnapshotDifference:
    """Compares two snapshots.

    Shards that both have are not opened. Of the others the document indexes are read, one source at a time;
    memory is about 16 bytes for each document of the largest source that changed.

    Raises:
        SnapshotError: shards of one of them are no longer in the lake.
    """
    names = sorted({ref.source for snapshot in (before, after) for ref in snapshot.shards})
    corpora = [_corpus(lake, snapshot) for snapshot in (before, after)]
    return SnapshotDifference(
        before=before.name,
        after=after.name,
        tokenizer_changed=before.tokenizer.digest != after.tokenizer.digest,
        sources=tuple(_compare_source(name, (before, after), corpora, lake) for name in names),
    )


def _corpus(lake: Lake, snapshot: CorpusSnapshot) -> Dataset | None:
    path = lake.dataset("corpus", "documents", digest=snapshot.documents)
    try:
        return Dataset(path, read_manifest(path))
    except ManifestError:
        return None


def _compare_source(
    source: str,
    snapshots: tuple[CorpusSnapshot, CorpusSnapshot],
    corpora: list[Dataset | None],
    lake: Lake,
) -> SourceDifference:
    refs = [[ref for ref in snapshot.shards if ref.source == source] for snapshot in snapshots]
    before, after = (
        _side(source, of_source, snapshot, corpus, lake)
        for of_source, snapshot, corpus in zip(refs, snapshots, corpora, strict=True)
    )
    both = set(refs[0]) & set(refs[1])
    old, new = (_ids([ref for ref in of_source if ref not in both], lake) for of_source in refs)
    gone, come = old.join(new, on="id", how="anti"), new.join(old, on="id", how="anti")
    changed: int | None = 0
    if gone.height and come.height:
        changed = _changed_rows(source, (gone, come), corpora)
    return SourceDifference(
        source=source,
        before=before,
        after=after,
        added=come.height - (changed or 0),
        removed=gone.height - (changed or 0),
        changed=changed,
    )


def _shards(ref: ShardRef, lake: Lake) -> Dataset:
    path = lake.dataset("shards", ref.domain, ref.source, digest=ref.digest)
    try:
        return Dataset(path, read_manifest(path))
    except ManifestError as error:
        raise SnapshotError(
            f"shards/{ref.domain}/{ref.source} of the snapshot are not in the lake ({error}); "
            "compare snapshots whose shards were kept"
        ) from None


def _side(
    source: str, refs: list[ShardRef], snapshot: CorpusSnapshot, corpus: Dataset | None, lake: Lake
) -> Side:
    if not refs:
        return Side()
    shards = [fact for ref in refs for fact in _shards(ref, lake).manifest.facts["shards"]]
    return Side(
        documents=sum(int(fact["documents"]) for fact in shards),
        tokens=sum(int(fact["tokens"]) for fact in shards),
        text_bytes=sum(int(fact["text_bytes"]) for fact in shards),
        revision=snapshot.revisions.get(source),
        licence=None if corpus is None else _licence(source, corpus.manifest),
    )


def _licence(source: str, manifest: Manifest) -> str | None:
    stated = manifest.recipe.config.get("catalog", {}).get(source, {}).get("licence", {}).get("name")
    return None if stated is None else str(stated)


def _ids(refs: Iterable[ShardRef], lake: Lake) -> pl.DataFrame:
    """Hashes of document ids, `id` (UInt64): ids are 128-bit digests, half of one tells them apart."""
    files = [path for ref in refs for path in _shards(ref, lake).files("*.docs.parquet")]
    ids = scan_parts(files, schema=pl.Schema({"id": pl.String}))
    return ids.select(pl.col("id").hash()).unique().collect(engine="streaming")


def _changed_rows(
    source: str, ids: tuple[pl.DataFrame, pl.DataFrame], corpora: list[Dataset | None]
) -> int | None:
    """Rows that gave a document before and another one after."""
    places = []
    for of_side, corpus in zip(ids, corpora, strict=True):
        if corpus is None:
            return None
        parts = corpus.files(f"{source}/part-*.parquet")
        rows = scan_parts(parts, schema=_PROVENANCE).select(pl.col("id").hash(), *_ROW)
        places.append(rows.join(of_side.lazy(), on="id", how="semi").select(_ROW).unique())
    return places[0].join(places[1], on=_ROW, how="semi").collect(engine="streaming").height
