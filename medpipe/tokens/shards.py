"""Builds the shards of a domain: one data set a source, so that a change rewrites little."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict
from typing import Any

import polars as pl
from tokenizers import Tokenizer

from medpipe.lake.dataset import Built, Dataset, Draft, find_reusable, publish
from medpipe.lake.digest import digest_value
from medpipe.lake.layout import Lake
from medpipe.lake.manifest import Recipe
from medpipe.records.kinds import Domain
from medpipe.tokens.config import SHARD_CODE_VERSION, ShardConfig
from medpipe.tokens.encode import BATCH_ROWS, encode_documents
from medpipe.tokens.progress import Progress
from medpipe.tokens.sample import scan_documents
from medpipe.tokens.tokenizer import load_tokenizer
from medpipe.tokens.vocabulary import dtype_of
from medpipe.tokens.writer import ShardWriter, WrittenShard

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

    Returns:
        By source, in the order of the corpus. A source whose documents of this domain and whose
        tokenizer are unchanged is reused.

    Raises:
        ShardError: the tokenizer gave an id that its manifest does not allow.
        TokenizerError: the tokenizer's file cannot be read.
    """
    built: dict[str, Built] = {}
    loaded: Tokenizer | None = None
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
        loaded = loaded or load_tokenizer(tokenizer)
        news = Progress(
            progress,
            f"shards/{domain.value}: {source}",
            total_bytes=facts.get("text_bytes", {}).get(domain.value),
        )
        with publish(lake, ROOM, domain.value, source, recipe=recipe) as draft:
            _fill(draft, domain, source, documents, tokenizer, loaded, config, news)
        news.finish()
        built[source] = Built(draft.dataset, reused=False)
    return built


def _fill(
    draft: Draft,
    domain: Domain,
    source: str,
    documents: Dataset,
    tokenizer: Dataset,
    loaded: Tokenizer,
    config: ShardConfig,
    news: Progress,
) -> None:
    """Writes the shards of one source; each holds documents of one split and one tier."""
    vocabulary_size = int(tokenizer.manifest.facts["vocabulary_size"])
    eos_id = int(tokenizer.manifest.facts["eos_id"])
    dtype = dtype_of(vocabulary_size)
    records = (
        scan_documents(documents, source)
        .filter(pl.col("domain").cast(pl.String) == domain.value)
        .select("id", "lang", "split", "tier", "text")
        .with_columns(pl.col("lang", "split", "tier").cast(pl.String))
    )
    writers: dict[tuple[str, str], ShardWriter] = {}
    finished: list[WrittenShard] = []
    opened = 0
    try:
        for batch in records.collect_batches(chunk_size=BATCH_ROWS, maintain_order=True):
            for group in encode_documents(
                batch, loaded, dtype=dtype, eos_id=eos_id, vocabulary_size=vocabulary_size
            ):
                for document in group:
                    key = (document.split, document.tier)
                    if key in writers and not writers[key].has_room(document, config.max_tokens_per_shard):
                        finished.append(writers.pop(key).close())
                    if key not in writers:
                        writers[key] = ShardWriter(
                            draft.path, f"{opened:05d}", split=key[0], tier=key[1], source=source, dtype=dtype
                        )
                        opened += 1
                    writers[key].add(document)
                news.add(len(group), sum(document.text_bytes for document in group))
        while writers:
            finished.append(writers.popitem()[1].close())
    finally:
        for writer in writers.values():
            writer.abort()
    finished.sort(key=lambda shard: shard.name)
    _describe(draft, finished, tokenizer, domain, source, dtype, eos_id, vocabulary_size)


def _describe(
    draft: Draft,
    shards: list[WrittenShard],
    tokenizer: Dataset,
    domain: Domain,
    source: str,
    dtype: str,
    eos_id: int,
    vocabulary_size: int,
) -> None:
    """Sets digest, rows and facts."""
    facts: dict[str, Any] = {
        "domain": domain.value,
        "source": source,
        "tokenizer": tokenizer.digest,
        "dtype": dtype,
        "eos_id": eos_id,
        "vocabulary_size": vocabulary_size,
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
