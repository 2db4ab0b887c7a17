"""What a withdrawal takes along: copies, other forms of the same row, near-duplicates if asked."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field

import polars as pl

from medpipe.curate.clusters import FILE, NAME, ROOM
from medpipe.lake.dataset import Dataset, find_current, whole_datasets
from medpipe.lake.layout import Lake
from medpipe.lake.tombstones import WithdrawnRecord, read_withdrawals
from medpipe.lineage.alike import alike, judgements
from medpipe.lineage.rows import Row, TakenOut, records_of_rows, taken_out
from medpipe.lineage.search import Record, find_records
from medpipe.lineage.stages import (
    NORMALIZED,
    LineageError,
    find_dataset,
    record_files,
    source_names,
)

EXACT_COPY = "exact copy"
ALIKE = "the same but for personal data"
SAME_ROW = "of the same published row"
BEFORE = "withdrawn together before"


@dataclass(frozen=True, kw_only=True)
class Chosen:
    """The records of a withdrawal."""

    records: tuple[Record, ...]
    """In any data set of the lake: what was named, and all that goes with it; each place once."""
    named: frozenset[str]
    """The ids that a person named, and those of near-duplicates that were asked for."""
    earlier: tuple[WithdrawnRecord, ...]
    """What earlier tombstones say of the same ids and contents."""
    near_duplicates: tuple[Record, ...]
    """Records in the same clusters that are not taken along."""
    taken_out: tuple[TakenOut, ...] = ()
    """What normalising left out because of earlier tombstones, of the same ids and contents."""
    why: Mapping[str, str] = field(default_factory=dict)
    """Why a record goes that nobody named, by id."""

    @property
    def all(self) -> frozenset[tuple[str, str, str]]:
        """Id, content key and source of all that is withdrawn."""
        known: list[Record | WithdrawnRecord | TakenOut] = [*self.records, *self.earlier, *self.taken_out]
        return frozenset((each.id, each.content_key, each.source) for each in known)

    @property
    def ids(self) -> frozenset[str]:
        """Ids of all of it."""
        return frozenset(record_id for record_id, _, _ in self.all)

    @property
    def content_keys(self) -> frozenset[str]:
        """Content keys of all of it."""
        return frozenset(key for _, key, _ in self.all)

    @property
    def sources(self) -> tuple[str, ...]:
        """The sources that published any of it."""
        return tuple(sorted({source for _, _, source in self.all}))

    @property
    def rows(self) -> frozenset[Row]:
        """The published rows that it came of, as far as the lake still tells."""
        known: list[Record | TakenOut] = [*self.records, *self.taken_out]
        return frozenset((each.source, each.revision, each.path, each.row) for each in known)

    @property
    def without_row(self) -> frozenset[tuple[str, str]]:
        """Id and source of what was withdrawn before and of which nothing tells the published row."""
        placed = {each.id for each in self.records} | {each.id for each in self.taken_out}
        return frozenset((each.id, each.source) for each in self.earlier if each.id not in placed)

    def table(self) -> pl.DataFrame:
        """Columns `id`, `content_key`, `source` of all of it, as `withdraw` takes them."""
        schema = {"id": pl.String, "content_key": pl.String, "source": pl.String}
        return pl.DataFrame(sorted(self.all), schema=schema, orient="row")


def choose(lake: Lake, ids: Collection[str], *, near_duplicates: bool, purge: bool = False) -> Chosen:
    """Finds the records of some ids and all that goes with them.

    Every normalized data set of the lake is looked at, old ones too: a copy that only an earlier revision
    holds is withdrawn as well, should that revision come back. With a record go its exact copies, records
    that differ from it in personal data alone, what other settings made of the same published row, and
    whatever an earlier tombstone withdrew together with it; with `purge` every record of the same published
    row, since the row goes. All of that holds for these, too, until nothing more is found.

    Raises:
        LineageError: an id is nowhere, neither in a record nor in a tombstone.
    """
    if not ids:
        return Chosen(records=(), named=frozenset(), earlier=(), near_duplicates=())
    withdrawn = [each.records for _, each in read_withdrawals(lake)]
    together = [record for each in withdrawn if any(one.id in ids for one in each) for record in each]
    found = _everywhere(lake, ids=ids)
    known = {each.id for each in found} | {each.id for each in together}
    unknown = sorted(set(ids) - known)
    if unknown:
        raise LineageError(
            f"no record in {lake.root} has the id {unknown[0]}"
            + (f", nor the {len(unknown) - 1} others" if len(unknown) > 1 else "")
            + "; `medpipe trace --text …` finds the ids of the records that hold a passage"
        )
    near = _cluster_members(lake, found)
    named = set(ids)
    if near_duplicates:
        named |= {record.id for record in near}
        found = [*found, *near]
    keys = {each.content_key for each in found} | {each.content_key for each in together}
    named_keys = {each.content_key for each in found if each.id in named}
    why = {each.id: BEFORE for each in together}
    while True:
        records = _everywhere(lake, content_keys=keys)
        gone = taken_out(lake, ids=named, content_keys=keys)
        more = _with_these(lake, records, gone, keys, any_part=purge)
        if more.keys() <= keys:
            break
        for key, (record_id, reason) in more.items():
            if key not in keys:
                why.setdefault(record_id, reason)
        keys |= more.keys()
    taken = {record.id for record in records}
    return Chosen(
        records=tuple(records),
        named=frozenset(named),
        earlier=tuple(record for each in withdrawn for record in each if record.content_key in keys),
        near_duplicates=tuple(record for record in near if record.id not in taken),
        taken_out=tuple(gone),
        why={
            each.id: EXACT_COPY if each.content_key in named_keys else why.get(each.id, EXACT_COPY)
            for each in records
            if each.id not in named
        },
    )


def _with_these(
    lake: Lake, records: Sequence[Record], gone: Sequence[TakenOut], keys: Collection[str], *, any_part: bool
) -> dict[str, tuple[str, str]]:
    """What goes with some records beside exact copies: by content key the id of a record, and why."""
    known: list[Record | TakenOut] = [*records, *gone]
    places = {(each.source, each.revision, each.path, each.row, each.part) for each in known}
    found = {
        each.content_key: (each.id, SAME_ROW) for each in records_of_rows(lake, places, any_part=any_part)
    }
    same = alike(judgements(lake, source_names(lake), old=True), {*keys, *found})
    for record_id, key in same.select("id", "content_key").iter_rows():
        found.setdefault(key, (record_id, ALIKE))
    return found


def _everywhere(lake: Lake, *, ids: Collection[str] = (), content_keys: Collection[str] = ()) -> list[Record]:
    """Records in all normalized data sets, the current ones first; each place once."""
    found: dict[tuple[str, str, int, int, str, str], Record] = {}
    for source in source_names(lake):
        for dataset in whole_datasets(lake, NORMALIZED, source):
            for record in find_records(record_files({source: dataset}), ids=ids, content_keys=content_keys):
                found.setdefault((*record.place, record.revision, record.id), record)
    return list(found.values())


def _cluster_members(lake: Lake, records: Sequence[Record]) -> list[Record]:
    """The records in the same near-duplicate clusters, without those themselves."""
    clusters = find_current(lake, ROOM, NAME)
    if clusters is None or not records:
        return []
    normalized = _clustered(lake, clusters)
    table = pl.scan_parquet(clusters.files(FILE))
    ids = {record.id for record in records}
    theirs: list[tuple[str, int]] = []
    for source in sorted({record.source for record in records} & normalized.keys()):
        rows = _numbered(normalized[source]).filter(pl.col("id").is_in(list(ids))).select("row").collect()
        theirs += [(source, row) for row in rows["row"].to_list()]
    asked = pl.LazyFrame(theirs, schema={"source": pl.String, "row": pl.Int64}, orient="row")
    members = table.join(table.join(asked, on=["source", "row"]).select("cluster").unique(), on="cluster")
    found: list[Record] = []
    for (source,), rows in members.collect().partition_by("source", as_dict=True).items():
        if (dataset := normalized.get(str(source))) is not None:
            numbers = rows["row"].to_list()
            near = _numbered(dataset).filter(pl.col("row").is_in(numbers)).select("id").collect()["id"]
            found += find_records(record_files({str(source): dataset}), ids=set(near.to_list()) - ids)
    return found


def _numbered(dataset: Dataset) -> pl.LazyFrame:
    """Ids with the number of their record in the source."""
    ids = pl.scan_parquet(dataset.files("part-*.parquet")).select("id")
    return ids.with_columns(row=pl.int_range(pl.len(), dtype=pl.Int64))


def _clustered(lake: Lake, clusters: Dataset) -> Mapping[str, Dataset]:
    """The normalized data sets that the clusters were found in, by source.

    Clusters name signatures as their inputs, and those name the records that they were computed of.
    """
    found: dict[str, Dataset] = {}
    for source in source_names(lake):
        digest = clusters.manifest.recipe.inputs.get(source)
        signatures = digest and find_dataset(lake, "signatures", source, digest=digest)
        normalized = signatures and signatures.manifest.recipe.inputs.get("normalized")
        dataset = normalized and find_dataset(lake, NORMALIZED, source, digest=normalized)
        if dataset and dataset.files("part-*.parquet"):
            found[source] = dataset
    return found
