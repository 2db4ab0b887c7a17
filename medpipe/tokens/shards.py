"""Builds the shards of a domain: one data set a source, so that a change rewrites little."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict
from typing import Any

import polars as pl
from tokenizers import Tokenizer

from medpipe.lake.dataset import Built, Dataset, Draft, find_reusable, publish
from medpipe.lake.digest import digest_value
from medpipe.lake.files import naming_a_full_disk
from medpipe.lake.layout import Lake
from medpipe.lake.manifest import Recipe
from medpipe.records.kinds import Domain
from medpipe.tokens.config import SHARD_CODE_VERSION, ShardConfig
from medpipe.tokens.engine import (
    SAMPLE_BYTES,
    SMALL_BYTES,
    EngineError,
    EngineName,
    TokenizersEngine,
    choose_engine,
)
from medpipe.tokens.fill import SourceText, fill_work_folder
from medpipe.tokens.sample import scan_documents
from medpipe.tokens.tokenizer import load_tokenizer
from medpipe.tokens.workfolder import WorkFolder, work_folder
from medpipe.tokens.writer import WrittenShard

SAMPLE_ROWS = 1000
ROOM = "shards"


def build_shards(
    domain: Domain,
    documents: Dataset,
    tokenizer: Dataset,
    *,
    lake: Lake,
    config: ShardConfig = ShardConfig(),  # noqa: B008 - frozen
    force: bool = False,
    progress: Callable[[str], None] | None = None,
    engine: EngineName = "auto",
    workers: int | None = None,
) -> dict[str, Built]:
    """Encodes a domain's documents, one data set `shards/<domain>/<source>` a source that has any.

    Args:
        domain: the domain.
        documents: `corpus/documents`.
        tokenizer: the pinned tokenizer.
        lake: where shards are published.
        config: how shards are cut.
        force: encode again what is there already.
        progress: takes one line of news about once a second.
        engine: which program encodes; the ids do not depend on it.
        workers: threads that encode; the cores there are if unset. The ids do not depend on it.

    Returns:
        By source, in the order of the corpus. A source whose documents of this domain and whose
        tokenizer are unchanged is reused. A source that a killed run was at goes on behind the shards
        that it had finished.

    Raises:
        ShardError: the tokenizer gave an id that its manifest does not allow, or another process is
            writing the same shards.
        EngineError: the engine that was asked for by name cannot stand for the tokenizer.
        TokenizerError: the tokenizer's file cannot be read.
    """
    built: dict[str, Built] = {}
    for source, facts in documents.manifest.facts["by_source"].items():
        digest = facts["content_digest"].get(domain.value)
        if digest is None:
            continue
        recipe = Recipe(
            inputs={"documents": digest, "tokenizer": tokenizer.digest},
            code_version=SHARD_CODE_VERSION,
            config=config.model_dump(mode="json"),
        )
        found = None if force else find_reusable(lake, ROOM, domain.value, source, recipe=recipe)
        if found is not None:
            built[source] = Built(found, reused=True)
            continue
        text = SourceText(
            records=_records(documents, source, domain),
            source=source,
            label=f"shards/{domain.value}: {source}",
            total_bytes=facts.get("text_bytes", {}).get(domain.value),
            vocabulary_size=int(tokenizer.manifest.facts["vocabulary_size"]),
            eos_id=int(tokenizer.manifest.facts["eos_id"]),
            limit=config.max_tokens_per_shard,
        )
        folder = lake.room(ROOM, domain.value, source)
        with naming_a_full_disk(folder), work_folder(folder, recipe.digest) as work:
            _encode(text, load_tokenizer(tokenizer), work, engine=engine, workers=workers, progress=progress)
            with publish(lake, ROOM, domain.value, source, recipe=recipe) as draft:
                shards = work.hand_over(draft.path)
                _describe(draft, shards, tokenizer, domain, text)
        built[source] = Built(draft.dataset, reused=False)
    return built


def _records(documents: Dataset, source: str, domain: Domain) -> pl.LazyFrame:
    return (
        scan_documents(documents, source)
        .filter(pl.col("domain").cast(pl.String) == domain.value)
        .select("id", "lang", "split", "tier", "text")
        .with_columns(pl.col("lang", "split", "tier").cast(pl.String))
    )


def _encode(
    text: SourceText,
    tokenizer: Tokenizer,
    work: WorkFolder,
    *,
    engine: EngineName,
    workers: int | None,
    progress: Callable[[str], None] | None,
) -> None:
    """Writes the shards that are not finished yet, with the reference if the chosen engine is caught out."""
    say = progress or (lambda _: None)
    sample = text.records.select("text").head(SAMPLE_ROWS).collect(engine="streaming")["text"]
    chosen = choose_engine(
        tokenizer,
        sample.filter(sample.str.len_bytes().cum_sum() <= SAMPLE_BYTES),
        vocabulary_size=text.vocabulary_size,
        total_bytes=SMALL_BYTES if text.total_bytes is None else text.total_bytes,
        wanted=engine,
    )
    say(f"{text.label}: encoding with {chosen.engine.name} ({chosen.reason})")
    if work.finished:
        count = sum(each.shard.documents for each in work.finished)
        say(f"{text.label}: {len(work.finished)} shards of {count:,} documents are there from a run before")
    reference = TokenizersEngine(tokenizer)
    try:
        fill_work_folder(text, chosen.engine, reference, work, workers=workers, progress=progress)
    except EngineError as error:
        if engine != "auto":
            raise
        say(f"{text.label}: {error}; all of it is encoded with tokenizers instead")
        work.clear()
        fill_work_folder(text, reference, reference, work, workers=workers, progress=progress)


def _describe(
    draft: Draft, shards: list[WrittenShard], tokenizer: Dataset, domain: Domain, text: SourceText
) -> None:
    """Sets digest, rows and facts."""
    facts: dict[str, Any] = {
        "domain": domain.value,
        "source": text.source,
        "tokenizer": tokenizer.digest,
        "dtype": text.dtype,
        "eos_id": text.eos_id,
        "vocabulary_size": text.vocabulary_size,
    }
    contents = [asdict(shard) for shard in shards]
    draft.content_digest = digest_value({**facts, "shards": contents})
    draft.facts = {
        **facts,
        "shards": [{key: value for key, value in each.items() if key != "content"} for each in contents],
    }
    draft.rows = sum(shard.documents for shard in shards)
    for shard in shards:
        for suffix in (".docs.parquet", ".tokens.parquet"):
            draft.rows_by_file[shard.name + suffix] = shard.documents
