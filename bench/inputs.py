"""What the sides read, made once in a folder: `python -m bench.inputs FOLDER --megabytes N`.

Raw lines of JSON (`bench.text`), the same texts normalised, in two halves of Parquet for peers, as a corpus
for `build_shards`, and a tokenizer of 32,000 entries. Nothing of this is timed.
"""

from __future__ import annotations

import argparse
import json
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import polars as pl

from bench.text import FACTS, FILES, PAIRS, make_text
from medpipe.catalog.source import Source
from medpipe.lake.dataset import Dataset, current, publish
from medpipe.lake.layout import Lake
from medpipe.lake.manifest import Manifest, Recipe
from medpipe.normalize.run import normalize_source
from medpipe.records.kinds import Domain
from medpipe.tokens.config import TokenizerConfig
from medpipe.tokens.tokenizer import train_tokenizer

SOURCE = "bench"
DOMAIN = Domain.DISEASE
VOCABULARY = 32_000
SAMPLE_BYTES = 3_000_000
"""Text that the tokenizer is trained on; ten times as much takes minutes and changes no comparison."""
RAW, LAKE, HALVES, TOKENIZER = "raw", "lake", "halves", "tokenizer.json"


@dataclass(frozen=True)
class Inputs:
    """Where everything is."""

    folder: Path

    @property
    def raw(self) -> Path:
        """Folder with `FILES`."""
        return self.folder / RAW

    @property
    def lake(self) -> Lake:
        """A lake with `normalized/bench`, `corpus/documents` and a tokenizer."""
        return Lake(self.folder / LAKE)

    @property
    def halves(self) -> list[Path]:
        """Parquet with `id`, `lang` and `text`, row for row what is normalised."""
        return sorted((self.folder / HALVES).glob("*.parquet"))

    @property
    def facts(self) -> dict[str, Any]:
        """What `make_text` said, and `normalized_bytes`."""
        return dict(json.loads((self.folder / FACTS).read_text()))

    @property
    def megabytes(self) -> float:
        """Millions of bytes of text as normalised; rates count these."""
        return float(self.facts["normalized_bytes"]) / 1e6

    def normalized(self) -> Dataset:
        """`normalized/bench`."""
        return current(self.lake, "normalized", SOURCE)

    def documents(self) -> Dataset:
        """All normalised texts as a corpus, none left out."""
        return current(self.lake, "corpus", "documents")

    def tokenizer(self) -> Dataset:
        """The tokenizer whose file the peers use too."""
        return current(self.lake, "tokenizer", TokenizerConfig().name)


def source() -> Source:
    """The catalog entry of the bench's text."""
    return Source.model_validate(
        {
            "id": SOURCE,
            "title": "Repeated and edited records",
            "description": "Chinese medical text of a chosen size.",
            "folder": ".",
            "files": [{"path": name, "format": "jsonl", "domain": DOMAIN.value} for name in FILES],
            "kind": "document",
            "layout": {"layout": "text", "text": "text"},
            "language": "zh",
            "licence": {"name": None},
            "uses": ["pretraining"],
        }
    )


def raw_dataset(folder: Path) -> Dataset:
    """The folder with the raw files, as if a download had left it."""
    recipe = Recipe(inputs={}, code_version="1")
    return Dataset(
        folder,
        Manifest(
            room="raw", name=SOURCE, digest=str(folder.resolve()), recipe=recipe, rows=0, bytes=0, files=()
        ),
    )


def publish_documents(lake: Lake, frame: pl.LazyFrame, parts: int = 1) -> Dataset:
    """Publishes normalised documents as a corpus of one source, all of them kept for training.

    Args:
        lake: where.
        frame: columns of documents.
        parts: number of Parquet files.
    """
    columns = frame.with_columns(split=pl.lit("train"), tier=pl.lit("raw"), domain=pl.lit(DOMAIN.value))
    rows = int(columns.select(pl.len()).collect().item())
    size = int(columns.select(pl.col("text").str.len_bytes().sum()).collect().item())
    with publish(lake, "corpus", "documents", recipe=Recipe(inputs={}, code_version="1")) as draft:
        (draft.path / SOURCE).mkdir()
        each = -(-rows // parts)
        for number in range(parts):
            name = f"{SOURCE}/part-{number:05d}.parquet"
            part = columns.slice(number * each, each)
            part.sink_parquet(draft.path / name, row_group_size=16_384)
            draft.rows_by_file[name] = min(each, rows - number * each)
        draft.rows = rows
        draft.facts = {
            "by_source": {
                SOURCE: {
                    "kept": rows,
                    "content_digest": {DOMAIN.value: "all"},
                    "text_bytes": {DOMAIN.value: size},
                }
            }
        }
    return draft.dataset


def make_inputs(
    folder: Path, *, megabytes: float, pairs: int = PAIRS, vocabulary: int = VOCABULARY
) -> Inputs:
    """Makes all that is not there yet.

    Args:
        folder: takes the files.
        megabytes: millions of bytes of text.
        pairs: planted near-duplicates.
        vocabulary: entries of the tokenizer.
    """
    inputs = Inputs(folder)
    made = make_text(inputs.raw, megabytes=megabytes, pairs=pairs)
    asked = {"text": made["asked"], "vocabulary": vocabulary}
    if (folder / FACTS).exists() and inputs.facts["asked"] == asked:
        return inputs
    normalized = normalize_source(source(), raw_dataset(inputs.raw), lake=inputs.lake, force=True).dataset
    frame = pl.scan_parquet(normalized.files("part-*.parquet"))
    (folder / HALVES).mkdir(exist_ok=True)
    size = 0
    for number, name in enumerate(FILES):
        half = frame.filter(pl.col("path") == name).select(
            pl.format("{}-{}", pl.lit(number), pl.col("row").cast(pl.String).str.zfill(8)).alias("id"),
            pl.col("lang").cast(pl.String),
            "text",
        )
        path = folder / HALVES / f"half-{number}.parquet"
        half.sink_parquet(path, row_group_size=16_384)
        size += int(pl.scan_parquet(path).select(pl.col("text").str.len_bytes().sum()).collect().item())
    publish_documents(inputs.lake, frame, parts=2)
    _pin_tokenizer(inputs, vocabulary)
    facts = {
        **made,
        "asked": asked,
        "normalized_bytes": size,
        "normalized_documents": normalized.manifest.rows,
    }
    (folder / FACTS).write_text(json.dumps(facts))
    return inputs


def _pin_tokenizer(inputs: Inputs, vocabulary: int) -> None:
    """Trains it, or takes the one that was trained for inputs of another size beside this folder."""
    shared = inputs.folder.parent / f"tokenizer-{vocabulary}.json"
    config = TokenizerConfig(
        vocabulary_size=vocabulary, sample_bytes=SAMPLE_BYTES, file=shared if shared.exists() else None
    )
    built = train_tokenizer(inputs.documents(), lake=inputs.lake, config=config, force=True)
    shutil.copy(built.dataset.path / "tokenizer.json", inputs.folder / TOKENIZER)
    if not shared.exists():
        shutil.copy(inputs.folder / TOKENIZER, shared)


def main() -> None:
    """Makes the inputs."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--megabytes", type=float, default=100)
    chosen = parser.parse_args()
    print(make_inputs(chosen.folder, megabytes=chosen.megabytes).facts)


if __name__ == "__main__":
    main()
