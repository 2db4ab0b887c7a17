"""Builds the shards of a domain: one data set a source, so that a change rewrites little."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from typing import Any

import polars as pl
from tokenizers import Tokenizer

from medpipe.ingest.exclusive import exclusive
from medpipe.lake.dataset import Built, Dataset, Draft, find_reusable, publish
from medpipe.lake.digest import digest_value
from medpipe.lake.files import naming_a_full_disk
from medpipe.lake.layout import Lake
from medpipe.lake.manifest import Recipe
from medpipe.records.kinds import Domain
from medpipe.tokens.config import SHARD_CODE_VERSION, ShardConfig
from medpipe.tokens.cuts import Chunk, find_chunks, least_text
from medpipe.tokens.documents import documents_of
from medpipe.tokens.earlier import EarlierChunk, earlier_chunks, link_equal_chunks
from medpipe.tokens.engine import (
    SAMPLE_BYTES,
    SMALL_BYTES,
    EngineError,
    EngineName,
    TokenizersEngine,
    choose_engine,
)
from medpipe.tokens.fill import SourceText, fill_work_folder
from medpipe.tokens.tokenizer import load_tokenizer
from medpipe.tokens.workfolder import PlacedShard, WorkFolder, work_folder

ROOM = "shards"
SAMPLE_PLACES = 8
"""So many places of a source are looked at before an engine is chosen."""


@dataclass(frozen=True)
class BuiltShards(Built):
    """The shards of one source, and which of them had to be encoded."""

    linked: tuple[str, ...] = ()
    """Names of the shards whose documents an earlier data set had already."""
    written: tuple[str, ...] = ()
    """Names of the shards that were encoded; neither, where the data set was there as a whole."""


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
) -> dict[str, BuiltShards]:
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
        tokenizer are unchanged is reused. Of another, shards whose documents are those of a shard of an
        earlier data set are linked to that one's files. A source that a killed run was at goes on behind
        the shards that it had finished. The data set is the same in all cases.

    Raises:
        ShardError: the tokenizer gave an id that its manifest does not allow, or another process is
            writing the same shards.
        EngineError: the engine that was asked for by name cannot stand for the tokenizer.
        TokenizerError: the tokenizer's file cannot be read.
    """
    say = progress or (lambda _: None)
    # Of two refreshes at once the second one finds what the first has written, instead of writing it too.
    with exclusive(
        lake.root / ".locks" / f"shards-{domain.value}.lock",
        on_wait=lambda: say(f"shards/{domain.value}: waiting for another process that writes them"),
    ):
        return _build(
            domain,
            documents,
            tokenizer,
            lake=lake,
            config=config,
            engine=engine,
            workers=workers,
            force=force,
            progress=progress,
        )


def _build(
    domain: Domain,
    documents: Dataset,
    tokenizer: Dataset,
    *,
    lake: Lake,
    config: ShardConfig,
    force: bool,
    progress: Callable[[str], None] | None,
    engine: EngineName,
    workers: int | None,
) -> dict[str, BuiltShards]:
    built: dict[str, BuiltShards] = {}
    for source, stated in documents.manifest.facts["by_source"].items():
        digest = stated["content_digest"].get(domain.value)
        if digest is None:
            continue
        recipe = Recipe(
            inputs={"documents": digest, "tokenizer": tokenizer.digest},
            code_version=SHARD_CODE_VERSION,
            config=config.model_dump(mode="json"),
        )
        found = None if force else find_reusable(lake, ROOM, domain.value, source, recipe=recipe)
        if found is not None:
            built[source] = BuiltShards(found, reused=True)
            continue
        total_bytes = stated.get("text_bytes", {}).get(domain.value)
        text = SourceText(
            reader=documents_of(documents, source, domain),
            source=source,
            label=f"shards/{domain.value}: {source}",
            total_bytes=total_bytes,
            vocabulary_size=int(tokenizer.manifest.facts["vocabulary_size"]),
            eos_id=int(tokenizer.manifest.facts["eos_id"]),
            limit=config.max_tokens_per_shard,
            least=least_text(total_bytes, most=config.min_text_bytes),
        )
        facts: dict[str, Any] = {
            "domain": domain.value,
            "source": source,
            "tokenizer": tokenizer.digest,
            "dtype": text.dtype,
            "eos_id": text.eos_id,
            "vocabulary_size": text.vocabulary_size,
        }
        names = (ROOM, domain.value, source)
        earlier = {} if force else earlier_chunks(lake, *names, recipe=recipe, facts=facts)
        folder = lake.room(*names)
        with naming_a_full_disk(folder), work_folder(folder, recipe.digest) as work:
            if force:
                work.clear()
            chunks = _fill(text, tokenizer, work, earlier, engine=engine, workers=workers, progress=progress)
            with publish(lake, *names, recipe=recipe) as draft:
                shards = work.hand_over(draft.path)
                _describe(draft, shards, chunks, facts)
        built[source] = BuiltShards(
            draft.dataset,
            reused=False,
            linked=tuple(each.shard.name for each in shards if each.linked),
            written=tuple(each.shard.name for each in shards if not each.linked),
        )
    return built


def _fill(
    text: SourceText,
    tokenizer: Dataset,
    work: WorkFolder,
    earlier: Mapping[str, EarlierChunk],
    *,
    engine: EngineName,
    workers: int | None,
    progress: Callable[[str], None] | None,
) -> list[Chunk]:
    """Links and encodes the shards that are not finished yet; returns all chunks of the text."""
    say = progress or (lambda _: None)
    if work.finished:
        count = sum(each.shard.documents for each in work.finished)
        say(f"{text.label}: {len(work.finished)} shards of {count:,} documents are there from a run before")
    if not earlier:
        return _encode(text, load_tokenizer(tokenizer), work, None, engine=engine, workers=workers, say=say)
    chunks = find_chunks(text.reader.batches(), least=text.least)
    link_equal_chunks(chunks, earlier, work)
    done = work.done()
    left = [chunk for chunk in chunks if done[chunk.first_row] < chunk.documents]
    linked = sum(each.linked for each in work.finished)
    say(
        f"{text.label}: {linked} shards are linked from earlier data sets; "
        f"{len(left)} of {len(chunks)} chunks with {sum(chunk.text_bytes for chunk in left) / 1e6:.1f} MB "
        "of text are encoded"
    )
    if not left:
        return chunks
    return _encode(text, load_tokenizer(tokenizer), work, chunks, engine=engine, workers=workers, say=say)


def _encode(
    text: SourceText,
    tokenizer: Tokenizer,
    work: WorkFolder,
    chunks: list[Chunk] | None,
    *,
    engine: EngineName,
    workers: int | None,
    say: Callable[[str], None],
) -> list[Chunk]:
    """Writes the shards that are not finished yet, with the reference if the chosen engine is caught out."""
    there = sum(each.shard.text_bytes for each in work.finished)
    chosen = choose_engine(
        tokenizer,
        pl.Series(text.reader.sample(places=SAMPLE_PLACES, size=SAMPLE_BYTES), dtype=pl.String),
        vocabulary_size=text.vocabulary_size,
        total_bytes=SMALL_BYTES if text.total_bytes is None else text.total_bytes - there,
        wanted=engine,
    )
    say(f"{text.label}: encoding with {chosen.engine.name} ({chosen.reason})")
    reference = TokenizersEngine(tokenizer)
    try:
        return fill_work_folder(
            text, chosen.engine, reference, work, chunks=chunks, workers=workers, progress=say
        )
    except EngineError as error:
        if engine != "auto":
            raise
        say(f"{text.label}: {error}; all of it is encoded with tokenizers instead")
        # What is linked too: the same engine may have gone astray on an earlier day.
        work.clear()
        return fill_work_folder(
            text, reference, reference, work, chunks=chunks, workers=workers, progress=say
        )


def _describe(draft: Draft, shards: list[PlacedShard], chunks: list[Chunk], facts: dict[str, Any]) -> None:
    """Sets digest, rows and facts."""
    digests = {chunk.first_row: chunk.digest for chunk in chunks}
    stated = [asdict(each.shard) | {"chunk": digests[each.first_row]} for each in shards]
    draft.facts = facts | {"shards": stated}
    draft.content_digest = digest_value(draft.facts)
    draft.rows = sum(each.shard.documents for each in shards)
    # With the checksums of the moment when they were written: damage since then is found out.
    draft.linked = {file.path: file for each in shards for file in each.files}
