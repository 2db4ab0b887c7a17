"""Near-duplicate clusters over all sources, stored so that all data sets of the corpus use the same."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import polars as pl

from medpipe.catalog.source import Source
from medpipe.curate import CODE_VERSION
from medpipe.curate.near_duplicates.clusters import SignedDocuments, find_clusters
from medpipe.curate.near_duplicates.config import NearDuplicateConfig
from medpipe.curate.near_duplicates.store import build_signatures
from medpipe.curate.purposes import scan_texts
from medpipe.lake.dataset import Built, Dataset, find_reusable, publish
from medpipe.lake.layout import Lake
from medpipe.lake.manifest import Recipe

ROOM = "clusters"
NAME = "records"
FILE = "part-00000.parquet"

Progress = Callable[[str], None]


def build_clusters(
    records: pl.DataFrame,
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
        records: all records of all sources; columns `source`, `row`, `id`, `reason`.
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
        texts = scan_texts(source, dataset)
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
        included = records.filter(pl.col("source") == source_id)["reason"].is_null()
        signed[source_id] = SignedDocuments(signatures, texts.select("text", "lang"), included.to_numpy())
    recipe = Recipe(
        inputs=digests | dict(inputs),
        code_version=CODE_VERSION,
        config=config.model_dump(mode="json") | {"order": list(signed)},
    )
    if not force and (found := find_reusable(lake, ROOM, NAME, recipe=recipe)):
        return Built(found, reused=True)
    with publish(lake, ROOM, NAME, recipe=recipe) as draft:
        members = find_clusters(signed, folder=draft.path.parent, config=config, progress=progress)
        table = members.select(pl.col("source").cast(pl.String), "row", "cluster")
        table.write_parquet(draft.path / FILE)
        draft.rows = draft.rows_by_file[FILE] = table.height
        draft.facts = {"clusters": table["cluster"].n_unique(), "records": records.height}
    say(f"near-duplicates: {table.height:,} records in {draft.facts['clusters']:,} clusters")
    return Built(draft.dataset, reused=False)


def with_clusters(records: pl.DataFrame, clusters: Dataset | None) -> pl.DataFrame:
    """The records with the column `cluster`, null outside of clusters."""
    if clusters is None:
        return records.with_columns(cluster=pl.lit(None, dtype=pl.Int64))
    members = pl.read_parquet(clusters.files(FILE)).with_columns(
        pl.col("source").cast(records.schema["source"])
    )
    return records.join(members, on=["source", "row"], how="left", maintain_order="left")
