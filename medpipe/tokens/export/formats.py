"""Exports a snapshot by the name of a layout."""

from __future__ import annotations

from pathlib import Path

from medpipe.lake.dataset import Dataset
from medpipe.lake.layout import Lake
from medpipe.lake.manifest import read_manifest
from medpipe.tokens.export import Format
from medpipe.tokens.export.common import ExportError, Shards
from medpipe.tokens.shard import open_shards
from medpipe.tokens.snapshot import CorpusSnapshot
from medpipe.tokens.tokenizer import FILE, load_tokenizer

SPLITS = ("train", "validation")


def export_snapshot(
    lake: Lake,
    snapshot: CorpusSnapshot,
    target: Path,
    *,
    layout: Format,
    domains: frozenset[str] | None = None,
) -> dict[str, int]:
    """Writes a snapshot's shards in another layout.

    Args:
        lake: the lake.
        snapshot: what is exported.
        target: the new folder.
        layout: how.
        domains: only these; all if unset.

    Returns:
        Tokens, or documents for `text` and `datasets`, by file or split.

    Raises:
        ExportError: something lies at `target`, the snapshot has no such domain, or the layout cannot hold
            its shards.
        ShardError: a shard is damaged.
        DiskFullError: the disk filled; nothing is left at `target`.
    """
    known = {ref.domain for ref in snapshot.shards}
    if unknown := sorted((domains or frozenset()) - known):
        raise ExportError(
            f"the snapshot {snapshot.name} has no domain {', '.join(unknown)}; it has "
            f"{', '.join(sorted(known))}"
        )
    shards: Shards = {
        split: [s for s in open_shards(lake, snapshot, split=split) if domains is None or s.domain in domains]
        for split in SPLITS
    }
    folder = lake.dataset("tokenizer", snapshot.tokenizer.name, digest=snapshot.tokenizer.digest)
    tokenizer = Dataset(folder, read_manifest(folder))
    return export_shards(shards, target, layout=layout, tokenizer=tokenizer)


def export_shards(shards: Shards, target: Path, *, layout: Format, tokenizer: Dataset) -> dict[str, int]:
    """Writes opened shards; see `export_snapshot`."""
    if layout is Format.NANOGPT:
        from medpipe.tokens.export.nanogpt import export_nanogpt

        return export_nanogpt(shards, target)
    if layout is Format.MEGATRON:
        from medpipe.tokens.export.megatron import export_megatron

        return export_megatron(shards, target)
    if layout is Format.DATATROVE:
        from medpipe.tokens.export.datatrove import export_datatrove

        return export_datatrove(shards, target, tokenizer=tokenizer.path / FILE)
    if layout is Format.TEXT:
        from medpipe.tokens.export.text import export_text

        return export_text(shards, target, tokenizer=load_tokenizer(tokenizer))
    from medpipe.tokens.export.hf_datasets import export_datasets

    return export_datasets(shards, target)
