"""`raw/<source>`: one snapshot of a source's files as published, pinned by revision."""

from typing import TYPE_CHECKING, Any

import dagster as dg

from medpipe.asset_metadata import (
    OWNERS,
    PREVIEW_ROWS,
    RAW_GROUP,
    Mask,
    Rebuild,
    code_link,
    dataset_metadata,
    facts_table,
    plain_failures,
    preview_table,
    source_tags,
)
from medpipe.catalog.source import Source
from medpipe.ingest import CODE_VERSION
from medpipe.ingest.hub_address import dataset_page
from medpipe.lake.layout import Lake
from medpipe.run_form import RunForm
from medpipe.settings import Settings

if TYPE_CHECKING:
    from medpipe.ingest.held import HeldRevision

HUB_POOL = "hub"
REVISION_ACCEPTED = "revision_accepted"


class RawConfig(Rebuild):
    """How a source is fetched."""

    refresh: bool = False
    """Ask the hub what the revision stands for now; else the commit of the last fetch is kept."""
    accept: bool = False
    """Take the revision that was held back because it shrank, or changed its columns or its licence."""
    accept_revision: str = ""
    """Take this revision (a commit, or the name of a folder's state) whatever changed in it."""


def raw_key(source: Source) -> dg.AssetKey:
    """Key of a source's raw asset."""
    return dg.AssetKey(["raw", source.id])


def source_metadata(source: Source, settings: Settings) -> dict[str, Any]:
    """What the catalog knows of a source, as a person looks for it."""
    # Imported here: only what shows sources needs it.
    from medpipe.catalog.principles import use_warnings

    known = {
        "genre": source.genre and source.genre.value,
        "status note": source.status_note,
        "published size": source.size_bytes,
        "published rows": source.published_rows,
        "licence note": source.licence.note,
        "derived from": ", ".join(source.derived_from),
        "use warnings": "\n".join(use_warnings(source)),
    }
    metadata: dict[str, Any] = {
        "source": source.title,
        "status": source.status.value,
        "verified": source.verified,
        "revision asked": source.revision,
        "files": facts_table(_file_facts(source)),
        "licence": source.licence.name or "not stated",
        "licence verified": source.licence.verified,
        "gated": source.gated,
        "uses": ", ".join(source.uses),
        **{name: value for name, value in known.items() if value not in (None, "")},
    }
    if (page := _page(source, settings)) is not None:
        metadata["page"] = dg.MetadataValue.url(page)
    return metadata


def _file_facts(source: Source) -> list[dict[str, Any]]:
    """One row an entry of `files`, with the columns that any of them fills."""
    rows = [
        {
            "files": file.path,
            "member": file.member,
            "subset": file.subset,
            "published split": file.published_split,
            "format": file.format,
            "domain": file.domain,
            "split": file.split,
            "language": file.language,
            "published rows": file.published_rows,
            "note": file.note,
        }
        for file in source.files
    ]
    filled = {name for row in rows for name, value in row.items() if value is not None}
    return [{name: value for name, value in row.items() if name in filled} for row in rows]


def _page(source: Source, settings: Settings) -> str | None:
    """Where a person reads about the source: its own page, or that of the hub or mirror that is set."""
    if source.page is not None or source.repository is None:
        return source.page
    return dataset_page(settings.hf_endpoint, source.repository)


def _accepted(held: "HeldRevision | None", *, is_new: bool) -> dg.AssetCheckResult:
    """The check's result: an error stops the run that finds the revision, later ones go on with a warning.

    Nothing that is made without the held revision is wrong, and a source that waits for a person must not
    keep the others from being refreshed week after week.
    """
    severity = dg.AssetCheckSeverity.ERROR if is_new else dg.AssetCheckSeverity.WARN
    if held is None:
        return dg.AssetCheckResult(check_name=REVISION_ACCEPTED, passed=True)
    return dg.AssetCheckResult(
        check_name=REVISION_ACCEPTED,
        passed=False,
        severity=severity,
        description=held.message,
        metadata={
            "held revision": held.revision,
            "current revision": held.current,
            "since": held.since,
            "reasons": facts_table([{"reason": reason} for reason in held.reasons]),
        },
    )


def build_raw_asset(
    source: Source, *, settings: Settings, lake: Lake, mask: Mask = list
) -> dg.AssetsDefinition:
    """The asset that fetches one source; its data version is the commit.

    Args:
        source: the source.
        settings: of the installation.
        lake: the lake.
        mask: takes personal data out of what the preview shows; the files keep it.
    """

    @dg.asset(
        key=raw_key(source),
        description=f"{source.title}: {source.description} The files as published, pinned by revision.",
        group_name=RAW_GROUP,
        owners=OWNERS,
        kinds={"huggingface" if source.repository else "file"},
        tags={"kind": source.record_kind.value, **source_tags([source])},
        metadata={**source_metadata(source, settings), **code_link(build_raw_asset)},
        code_version=CODE_VERSION,
        pool=HUB_POOL,
        check_specs=[
            dg.AssetCheckSpec(
                REVISION_ACCEPTED,
                asset=raw_key(source),
                blocking=True,
                description=(
                    "No newer revision waits for a person because it shrank, or changed its columns or its "
                    "licence; until it is accepted, everything reads the revision before it."
                ),
            )
        ],
    )
    def raw(context: dg.AssetExecutionContext, config: RawConfig, form: RunForm) -> dg.MaterializeResult:
        from medpipe.ingest.preview import first_rows
        from medpipe.ingest.snapshot import fetch

        with plain_failures():
            fetched = fetch(
                source,
                lake=lake,
                settings=settings,
                refresh=config.refresh or form.refreshes(source.id),
                force=config.force,
                accept=config.accept,
                accept_revision=config.accept_revision,
                by=f"run {context.run.run_id}",
                progress=context.log.info,
            )
            rows = first_rows(source, fetched.dataset, lake=lake, most=PREVIEW_ROWS)
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
                "preview": preview_table(rows, mask=mask),
                "fetched files": facts_table(
                    [{"path": f.path, "bytes": f.bytes, "sha256": f.sha256} for f in files[:100]]
                ),
            },
            check_results=[_accepted(fetched.held, is_new=fetched.newly_held)],
        )

    return raw
