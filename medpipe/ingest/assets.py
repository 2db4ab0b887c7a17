"""`raw/<source>`: one snapshot of a source's files as published, pinned by revision."""

from typing import Any

import dagster as dg

from medpipe.asset_metadata import OWNERS, RAW_GROUP, Rebuild, dataset_metadata, facts_table, plain_failures
from medpipe.catalog.source import Source
from medpipe.ingest.snapshot import CODE_VERSION, fetch
from medpipe.lake.layout import Lake
from medpipe.settings import Settings

HUB_POOL = "hub"


class RawConfig(Rebuild):
    """How a source is fetched."""

    refresh: bool = False
    """Ask the hub what the revision stands for now; else the commit of the last fetch is kept."""


def raw_key(source: Source) -> dg.AssetKey:
    """Key of a source's raw asset."""
    return dg.AssetKey(["raw", source.id])


def source_tags(source: Source) -> dict[str, str]:
    """Tags that people filter sources by."""
    domains = {f"domain/{domain.value}": "" for domain in source.domains}
    return {"language": source.language.value, "kind": source.kind.value, **domains}


def source_metadata(source: Source) -> dict[str, Any]:
    """What the catalog knows of a source."""
    metadata: dict[str, Any] = {
        "source": source.title,
        "revision asked": source.revision,
        "files": facts_table(
            [
                {"files": file.path, "format": file.format, "domain": file.domain, "split": file.split}
                for file in source.files
            ]
        ),
        "licence": source.licence.name or "not stated",
        "licence verified": source.licence.verified,
        "gated": source.gated,
        "uses": ", ".join(source.uses),
    }
    if source.size_bytes is not None:
        metadata["published size"] = source.size_bytes
    if source.repository is not None:
        metadata["page"] = dg.MetadataValue.url(f"https://huggingface.co/datasets/{source.repository}")
    if source.derived_from:
        metadata["derived from"] = ", ".join(source.derived_from)
    return metadata


def build_raw_asset(source: Source, *, settings: Settings, lake: Lake) -> dg.AssetsDefinition:
    """The asset that fetches one source; its data version is the commit."""

    @dg.asset(
        key=raw_key(source),
        description=f"{source.title}: {source.description} The files as published, pinned by revision.",
        group_name=RAW_GROUP,
        owners=OWNERS,
        kinds={"huggingface" if source.repository else "file"},
        tags=source_tags(source),
        metadata=source_metadata(source),
        code_version=CODE_VERSION,
        pool=HUB_POOL,
    )
    def raw(context: dg.AssetExecutionContext, config: RawConfig) -> dg.MaterializeResult:
        with plain_failures():
            fetched = fetch(
                source,
                lake=lake,
                settings=settings,
                refresh=config.refresh,
                force=config.force,
                progress=context.log.info,
            )
        files = fetched.dataset.manifest.files
        metadata = dataset_metadata(fetched.dataset, reused=fetched.reused)
        # Nobody has read the files yet: the normalized asset counts their rows.
        del metadata["dagster/row_count"]
        return dg.MaterializeResult(
            data_version=dg.DataVersion(fetched.revision),
            metadata={
                **metadata,
                "number of files": len(files),
                "revision": fetched.revision,
                "fetched files": facts_table(
                    [{"path": f.path, "bytes": f.bytes, "sha256": f.sha256} for f in files[:100]]
                ),
            },
        )

    return raw
