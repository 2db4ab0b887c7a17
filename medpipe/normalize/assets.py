"""`normalized/<source>`: a source's rows as typed records, the rejected ones beside them."""

from typing import Any

import dagster as dg

from medpipe.asset_metadata import (
    NORMALIZED_GROUP,
    OWNERS,
    Mask,
    Rebuild,
    code_link,
    dataset_metadata,
    facts_table,
    plain_failures,
    preview,
    reasons_table,
    source_tags,
    table_schema,
)
from medpipe.catalog.source import Source
from medpipe.ingest.assets import raw_key
from medpipe.lake.dataset import Dataset, current
from medpipe.lake.layout import Lake
from medpipe.lake.parquet import scan_parts
from medpipe.normalize import CODE_VERSION
from medpipe.records.kinds import COLUMN_NOTES, Kind, content_columns, record_columns, record_schema

ROWS_ACCOUNTED = "rows_accounted"
RECORDS_VALID = "records_valid"
CHECKED_ROWS = 10_000
SHOWN_FILES = 500
"""Files in the table of an asset; a source of articles may have more of them than a page shows."""


def normalized_key(source: Source) -> dg.AssetKey:
    """Key of a source's normalized asset."""
    return dg.AssetKey(["normalized", source.id])


def _checks(dataset: Dataset, kind: Kind) -> list[dg.AssetCheckResult]:
    facts = dataset.manifest.facts
    published, kept, rejected = facts["published"], facts["kept"], facts["rejected"]
    schema = record_schema(kind)
    sample = (
        scan_parts(dataset.files("part-*.parquet"), schema=record_columns(kind)).head(CHECKED_ROWS).collect()
    )
    is_valid = schema.is_valid(sample)
    return [
        dg.AssetCheckResult(
            check_name=ROWS_ACCOUNTED,
            passed=published == kept + rejected and kept > 0,
            metadata={"published": published, "kept": kept, "rejected": rejected},
            description=_account(facts),
        ),
        dg.AssetCheckResult(
            check_name=RECORDS_VALID,
            passed=is_valid,
            description=None
            if is_valid
            else "records do not agree with their schema; materialise it with `force`, and report it if that "
            "does not help",
            metadata={"rows checked": sample.height},
        ),
    ]


def _account(facts: dict[str, Any]) -> str:
    """What became of the published rows, and what to do where nothing is left of them."""
    published, kept, rejected = facts["published"], facts["kept"], facts["rejected"]
    if published != kept + rejected:
        return f"{published:,} rows published, but {kept:,} kept and {rejected:,} rejected: rows are lost"
    if kept:
        return f"{published:,} rows published = {kept:,} kept + {rejected:,} rejected"
    if not published:
        return "the files hold no rows; see 'files' in the catalog entry"
    reasons = sorted(facts["rejected_by_reason"].items(), key=lambda item: -item[1])
    named = ", ".join(f"{reason} {rows:,}" for reason, rows in reasons[:3])
    return (
        f"none of {published:,} rows is kept ({named}); compare 'layout' in the catalog entry with the rows "
        "in rejected/"
    )


def build_normalized_asset(source: Source, *, lake: Lake, mask: Mask = list) -> dg.AssetsDefinition:
    """The asset that normalises one source; its data version is the records' digest.

    Args:
        source: the source.
        lake: the lake.
        mask: takes personal data out of what the preview shows; the records keep it.
    """
    key = normalized_key(source)

    @dg.asset(
        key=key,
        deps=[raw_key(source)],
        description=(
            f"{source.title} as records of kind '{source.record_kind.value}' with provenance: id, source, "
            "revision, file and row. Rows that give no record lie in `rejected/` with their reason."
        ),
        group_name=NORMALIZED_GROUP,
        owners=OWNERS,
        kinds={"polars", "parquet"},
        tags={"kind": source.record_kind.value, **source_tags([source])},
        metadata={
            "kind of record": source.record_kind.value,
            "layout": source.record_layout.layout,
            **code_link(build_normalized_asset),
        },
        code_version=CODE_VERSION,
        check_specs=[
            dg.AssetCheckSpec(
                ROWS_ACCOUNTED,
                asset=key,
                blocking=True,
                description="Published rows = kept + rejected, kept > 0.",
            ),
            dg.AssetCheckSpec(
                RECORDS_VALID, asset=key, blocking=True, description="Records agree with their schema."
            ),
        ],
    )
    def normalized(context: dg.AssetExecutionContext, config: Rebuild) -> dg.MaterializeResult:
        from medpipe.normalize.run import normalize_source

        with plain_failures():
            raw = current(lake, "raw", source.id)
            built = normalize_source(source, raw, lake=lake, force=config.force, progress=context.log.info)
        facts = built.dataset.manifest.facts
        if not facts["kept"]:
            context.log.error(f"{source.id}: {_account(facts)}")
        schema = record_columns(source.record_kind)
        by_file = [{"file": path, **facts["by_file"][path]} for path in list(facts["by_file"])[:SHOWN_FILES]]
        return dg.MaterializeResult(
            data_version=dg.DataVersion(built.dataset.digest),
            metadata={
                **dataset_metadata(built.dataset, reused=built.reused),
                "dagster/column_schema": table_schema(schema, COLUMN_NOTES),
                "published rows": facts["published"],
                "kept rows": facts["kept"],
                "rejected rows": facts["rejected"],
                "rejected by reason": reasons_table(facts["rejected_by_reason"]),
                "by file": facts_table(by_file),
                "preview": preview(
                    built.dataset.files("part-*.parquet"),
                    schema=schema,
                    columns=["path", "row", "lang", "domain", *content_columns(source.record_kind)],
                    mask=mask,
                ),
            },
            check_results=_checks(built.dataset, source.record_kind),
        )

    return normalized
