"""Which documents were in one optimizer step of a run."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import polars as pl
from tokenizers import Tokenizer

from medpipe.curate.purposes import Purpose
from medpipe.lake.dataset import Dataset, whole_datasets
from medpipe.lake.layout import Lake
from medpipe.lake.manifest import ManifestError, read_manifest
from medpipe.lineage.stages import CORPUS
from medpipe.pretrain.seen import RecordedRun, RunError, samples_of_step
from medpipe.pretrain.stream import Sample
from medpipe.tokens.shard import OpenShard, open_dataset

HEAD_TOKENS = 60
_PROVENANCE = ("source", "revision", "path", "row", "part")


@dataclass(frozen=True, kw_only=True)
class SteppedDocument:
    """The part of a document that one window of a step held as targets."""

    sample: int
    """Index of the window in the stage's stream."""
    shard: str
    """`domain/source/digest/name`."""
    document: int
    """Place in the shard, 0 first."""
    id: str
    start: int
    """First target token within the shard."""
    stop: int
    """Behind the last one."""
    of_document: tuple[int, int]
    """The same range within the document, whose last token is its `<eos>`."""
    document_tokens: int
    head: str
    """The beginning of that part, decoded."""
    source: str
    revision: str | None = None
    path: str | None = None
    """File within the raw snapshot; null where no corpus of the lake holds the document any more."""
    row: int | None = None
    part: int | None = None


@dataclass(frozen=True, kw_only=True)
class Step:
    """One optimizer step."""

    run: str
    stage: str
    step: int
    """Counted over the whole curriculum from 1."""
    first_sample: int
    samples: int
    tokens: int
    """Target tokens."""
    taken: bool
    """Whether the run got that far, as far as its checkpoints say."""
    documents: tuple[SteppedDocument, ...]


def documents_of_step(lake: Lake, run: RecordedRun, step: int, *, trained_to: int) -> Step:
    """The documents of a step, in the order of its windows.

    The token before a window, which is its first input, is not listed: it is the last target of another one.

    Args:
        lake: the lake.
        run: the run.
        step: counted over the whole curriculum from 1.
        trained_to: the last step that the run has taken.

    Raises:
        RunError: the run has no such step, or a shard that it read is gone.
        ShardError: a shard is damaged.
    """
    stage = run.stage
    try:
        samples = samples_of_step(stage, run.stream, step)
    except IndexError as error:
        raise RunError(f"{run.name}: {error}") from None
    first = (step - stage.first_step - 1) * stage.sequences_per_step
    tokenizer = _tokenizer(lake, run)
    shards = _opened(lake, run, samples)
    found = [
        document
        for number, sample in enumerate(samples)
        for document in _documents(first + number, sample, run.shard_keys[sample.shard], shards, tokenizer)
    ]
    return Step(
        run=run.name,
        stage=run.facts.stage,
        step=step,
        first_sample=first,
        samples=len(samples),
        tokens=sum(sample.length for sample in samples),
        taken=step <= trained_to,
        documents=tuple(_with_provenance(lake, found)),
    )


def _opened(lake: Lake, run: RecordedRun, samples: Sequence[Sample]) -> dict[str, OpenShard]:
    """The shards that some windows lie in, by key."""
    keys = {run.shard_keys[sample.shard] for sample in samples}
    opened: dict[str, OpenShard] = {}
    for folder in sorted({key.rpartition("/")[0] for key in keys}):
        domain, source, digest = folder.split("/")
        path = lake.dataset("shards", domain, source, digest=digest)
        try:
            shards = open_dataset(Dataset(path, read_manifest(path)))
        except ManifestError as error:
            raise RunError(f"{run.name}: its shards {folder} are gone: {error}") from None
        opened |= {f"{folder}/{shard.name}": shard for shard in shards}
    return opened


def _documents(
    number: int, sample: Sample, key: str, shards: dict[str, OpenShard], tokenizer: Tokenizer | None
) -> Iterator[SteppedDocument]:
    shard = shards[key]
    ends = shard.doc_ends
    stop = sample.offset + sample.length
    first = int(np.searchsorted(ends, sample.offset, side="right"))
    last = int(np.searchsorted(ends, stop - 1, side="right"))
    ids = (
        pl.scan_parquet(shard.path.with_suffix(".docs.parquet"))
        .select("id")
        .slice(first, last - first + 1)
        .collect()["id"]
    )
    for place, record_id in zip(range(first, last + 1), ids, strict=True):
        begins = int(ends[place - 1]) if place else 0
        start, behind = max(begins, sample.offset), min(int(ends[place]), stop)
        tokens = shard.tokens[start : min(behind, start + HEAD_TOKENS)].tolist()
        yield SteppedDocument(
            sample=number,
            shard=key,
            document=place,
            id=record_id,
            start=start,
            stop=behind,
            of_document=(start - begins, behind - begins),
            document_tokens=int(ends[place]) - begins,
            head=tokenizer.decode([t for t in tokens if t != shard.eos_id]) if tokenizer else "",
            source=shard.source,
        )


def _tokenizer(lake: Lake, run: RecordedRun) -> Tokenizer | None:
    """The run's tokenizer: from the lake, else from one of its checkpoints."""
    digest = run.facts.tokenizer
    places: list[Path] = [
        *lake.room("tokenizer").glob(f"*/{digest}/tokenizer.json"),
        *run.folder.glob("checkpoints/[!.]*/tokenizer.json"),
    ]
    return Tokenizer.from_file(str(places[0])) if places else None


def _with_provenance(lake: Lake, documents: Sequence[SteppedDocument]) -> list[SteppedDocument]:
    """Adds file and row, from the current corpus or an older one that holds the document."""
    rows: dict[str, dict[str, str | int]] = {}
    for corpus in whole_datasets(lake, CORPUS, Purpose.DOCUMENTS.value):
        for source in sorted({each.source for each in documents}):
            wanted = sorted({each.id for each in documents if each.source == source} - rows.keys())
            files = corpus.files(f"{source}/part-*.parquet") if wanted else []
            if files:
                frame = pl.scan_parquet(files).filter(pl.col("id").is_in(wanted)).select("id", *_PROVENANCE)
                rows |= {row.pop("id"): row for row in frame.collect().iter_rows(named=True)}
    return [replace(each, **rows.get(each.id, {})) for each in documents]  # type: ignore[arg-type]
