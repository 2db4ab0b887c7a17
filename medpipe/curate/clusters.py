"""Near-duplicate clusters over all sources, stored so that all data sets of the corpus use the same."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial

import numpy as np
import polars as pl

from medpipe.catalog.source import Source
from medpipe.curate import CODE_VERSION
from medpipe.curate.near_duplicates.clusters import SignedDocuments, find_clusters
from medpipe.curate.near_duplicates.config import NearDuplicateConfig
from medpipe.curate.near_duplicates.documents import BATCH_ROWS
from medpipe.curate.near_duplicates.store import build_signatures
from medpipe.curate.purposes import text_batches
from medpipe.curate.record_table import NONE, RecordTable, Rows, Verdict, batches_of
from medpipe.lake.dataset import Built, Dataset, find_reusable, publish
from medpipe.lake.layout import Lake
from medpipe.lake.manifest import Recipe

ROOM = "clusters"
NAME = "records"
FILE = "part-00000.parquet"

Progress = Callable[[str], None]


def build_clusters(
    records: RecordTable,
    normalized: Mapping[str, Dataset],
    sources: Mapping[str, Source],
    *,
    inputs: Mapping[str, str],
    lake: Lake,
    config: NearDuplicateConfig,
    force: bool = False,
    progress: Progress | None = None,
) -> Built:
    """Finds the near-duplicates among the records that nothing has rejected so far.

    Signatures are computed for the sources that changed; the clusters anew if any record came or went.

    Args:
        records: all records of all sources.
        normalized: their data sets, in the same order.
        sources: the catalog's entries by id.
        inputs: digests of all that says which records are rejected.
        lake: where signatures and clusters go.
        config: what a near-duplicate is.
        force: compute even if the same recipe was computed before.
        progress: takes one line of news at a time.

    Returns:
        The data set: columns `source` (String), `row` (Int64, within the source), `cluster` (Int64), a row
        for each record in a cluster.

    Raises:
        DiskFullError: the disk filled; what was there before stays.
    """
    say = progress or (lambda _: None)
    signed: dict[str, SignedDocuments] = {}
    digests: dict[str, str] = {}
    for source_id, dataset in normalized.items():
        source = sources[source_id]
        template = source.template.value if source.template else ""
        texts = partial(text_batches, source, dataset, rows=BATCH_ROWS)
        signatures = build_signatures(
            source_id,
            texts,
            inputs={"normalized": dataset.digest, "template": template},
            lake=lake,
            config=config,
            force=force,
            progress=progress,
        ).dataset
        digests[source_id] = signatures.digest
        included = records.verdicts[records.rows_of[source_id]] == Verdict.KEPT
        signed[source_id] = SignedDocuments(signatures, texts, included)
    recipe = Recipe(
        inputs=digests | dict(inputs),
        code_version=CODE_VERSION,
        config=config.model_dump(mode="json") | {"order": list(signed)},
    )
    if not force and (found := find_reusable(lake, ROOM, NAME, recipe=recipe)):
        return Built(found, reused=True)
    with publish(lake, ROOM, NAME, recipe=recipe) as draft:
        members = find_clusters(signed, folder=draft.path, config=config, progress=progress)
        table = members.select(pl.col("source").cast(pl.String), "row", "cluster")
        table.write_parquet(draft.path / FILE)
        draft.rows = draft.rows_by_file[FILE] = table.height
        draft.facts = {"clusters": table["cluster"].n_unique(), "records": len(records)}
    say(f"near-duplicates: {table.height:,} records in {draft.facts['clusters']:,} clusters")
    return Built(draft.dataset, reused=False)


def read_clusters(records: RecordTable, clusters: Dataset | None) -> Rows:
    """The cluster of each record, by the row of its first member; `NONE` outside of clusters."""
    found = np.full(len(records), NONE, np.uint32)
    for batch in [] if clusters is None else batches_of(clusters):
        starts = {source_id: rows.start for source_id, rows in records.rows_of.items()}
        start = batch["source"].replace_strict(starts, return_dtype=pl.Int64)
        found[(start + batch["row"]).to_numpy()] = batch["cluster"].to_numpy()
    return found
