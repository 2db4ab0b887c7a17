"""Shows one document of a shard: its ids, its text, and where it came from."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import polars as pl

from medpipe.lake.dataset import Dataset
from medpipe.lake.layout import Lake
from medpipe.lake.manifest import ManifestError, read_manifest
from medpipe.tokens.sample import scan_documents
from medpipe.tokens.shard import OpenShard, ShardError, open_dataset
from medpipe.tokens.tokenizer import load_tokenizer

PROVENANCE = ("source", "revision", "path", "row", "part")


@dataclass(frozen=True)
class ShownDocument:
    """One document of a shard."""

    shard: str
    """Path of the `.bin` file."""
    number: int
    """Place in the shard, 0 first."""
    id: str
    domain: str
    split: str
    tier: str
    lang: str
    offset: int
    """First token within the file."""
    ids: list[int]
    """With `<eos>`."""
    text: str
    """The ids without `<eos>`, decoded."""
    provenance: dict[str, str | int | None]
    """Source, revision, file and row; of these only the source if the corpus no longer holds the document."""


def find_shard(path: Path) -> OpenShard:
    """Opens the shard that a `.bin` file or its name without suffix stands for.

    Raises:
        ShardError: there is none, or its files are not what its manifest says.
    """
    try:
        dataset = Dataset(path.parent, read_manifest(path.parent))
    except ManifestError:
        raise ShardError(f"{path} lies in no shard data set; name a .bin file of one") from None
    if "shards" not in dataset.manifest.facts:
        raise ShardError(
            f"{path} lies in {dataset.manifest.room}/{dataset.manifest.name}, which has no shards"
        )
    name = path.name.removesuffix(".bin")
    for shard in open_dataset(dataset):
        if shard.name == name:
            return shard
    known = ", ".join(shard["name"] for shard in dataset.manifest.facts["shards"])
    raise ShardError(f"there is no shard {name} in {path.parent}; it has {known}")


def show_document(path: Path, number: int, *, lake: Lake) -> ShownDocument:
    """Reads one document.

    Args:
        path: the `.bin` file.
        number: place of the document in it, 0 first; from the end if negative.
        lake: holds the tokenizer and the corpus.

    Raises:
        ShardError: there is no such document or shard, or the tokenizer that made it is gone.
    """
    shard = find_shard(path)
    if not -shard.documents <= number < shard.documents:
        raise ShardError(f"{shard.path} has the documents 0 to {shard.documents - 1:,}, not {number:,}")
    number %= shard.documents
    row = shard.document_index().row(number, named=True)
    ids = shard.tokens[row["offset"] : row["offset"] + row["length"]].tolist()
    manifest = read_manifest(shard.path.parent)
    tokenizer = load_tokenizer(_find_tokenizer(lake, str(manifest.facts["tokenizer"])))
    return ShownDocument(
        shard=str(shard.path),
        number=number,
        id=row["id"],
        domain=shard.domain,
        split=shard.split,
        tier=shard.tier,
        lang=row["lang"],
        offset=row["offset"],
        ids=ids,
        text=tokenizer.decode(ids[:-1], skip_special_tokens=False),
        provenance=_provenance(lake, shard.source, row["id"]),
    )


def _find_tokenizer(lake: Lake, digest: str) -> Dataset:
    for folder in sorted(lake.room("tokenizer").glob(f"*/{digest}")):
        return Dataset(folder, read_manifest(folder))
    raise ShardError(
        f"the tokenizer {digest} that made these shards is not in {lake.room('tokenizer')}; "
        "set MEDPIPE_LAKE to the lake that they belong to"
    )


def _provenance(lake: Lake, source: str, document: str) -> dict[str, str | int | None]:
    """From the current corpus, else from any older one that is still there."""
    folders = sorted(lake.room("corpus", "documents").glob("[!.]*/manifest.json"))
    folders.sort(key=lambda path: path.stat().st_mtime, reverse=True)
    for manifest in folders:
        dataset = Dataset(manifest.parent, read_manifest(manifest.parent))
        found = scan_documents(dataset, source).filter(pl.col("id") == document)
        rows = found.select(pl.col(PROVENANCE)).head(1).collect(engine="streaming")
        if rows.height:
            return rows.row(0, named=True)
    return {"source": source}
