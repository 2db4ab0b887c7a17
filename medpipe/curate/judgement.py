"""What can be said of each record by itself: judged once a source, so that a refresh judges what changed."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor

import polars as pl

from medpipe.catalog.source import Source
from medpipe.curate import CODE_VERSION
from medpipe.curate.config import CurateConfig
from medpipe.curate.family import family, question_key
from medpipe.curate.filters import FILTERS_VERSION
from medpipe.curate.filters.judge import judge
from medpipe.curate.privacy.scrub import scrub
from medpipe.curate.purposes import text_batches
from medpipe.lake.dataset import Built, Dataset, find_reusable, publish
from medpipe.lake.layout import Lake
from medpipe.lake.manifest import Recipe
from medpipe.lake.parquet import ParquetSink
from medpipe.records.keys import content_key
from medpipe.records.kinds import Kind

ROOM = "judgements"
FILE = "part-00000.parquet"
BATCH_ROWS = 4096
WORKERS = 2
TOO_SHORT = "too_short"

JUDGEMENT = pl.Schema(
    {
        "id": pl.String,
        "content_key": pl.String,
        "split": pl.String,
        "domain": pl.String,
        "characters": pl.UInt32,
        "family": pl.String,
        "question": pl.UInt64,
        "reason": pl.String,
        "detail": pl.String,
        "refined": pl.Boolean,
        "scrubbed_key": pl.String,
    }
)
"""Columns of a judgement, a row a record. `split` is the publisher's; `characters` are those of the text that
are no spaces; `reason` and `detail` are null where no filter rejects the record. `scrubbed_key` is the
content key that the record has once personal data is replaced, null where nothing is replaced."""

_JUDGED = (Kind.DOCUMENT, Kind.CONVERSATION)

Progress = Callable[[str], None]


def build_judgement(
    source: Source,
    normalized: Dataset,
    *,
    lake: Lake,
    config: CurateConfig,
    force: bool = False,
    progress: Progress | None = None,
) -> Built:
    """Judges each record of a source, or finds them judged.

    Args:
        source: the catalog's entry.
        normalized: its records.
        lake: where `judgements/<source id>` goes.
        config: filters and the least length.
        force: judge even if the same recipe was judged before.
        progress: takes a line when it is done.

    Returns:
        The data set, with the columns of `JUDGEMENT` in the records' order.

    Raises:
        DiskFullError: the disk filled; what was there before stays.
    """
    recipe = Recipe(
        inputs={"normalized": normalized.digest},
        code_version=f"{CODE_VERSION}, filters {FILTERS_VERSION}",
        config={
            "filters": config.filters.model_dump(mode="json"),
            "minimum_characters": config.minimum_characters,
            "template": source.template.value if source.template else None,
            "privacy": config.privacy and config.privacy.model_dump(mode="json", include={"rules"}),
        },
    )
    if not force and (found := find_reusable(lake, ROOM, source.id, recipe=recipe)):
        return Built(found, reused=True)
    with publish(lake, ROOM, source.id, recipe=recipe) as draft:
        with ParquetSink(draft.path / FILE, schema=JUDGEMENT) as sink:
            for judged in _in_order(source, normalized, config):
                sink.write(judged)
        draft.rows = draft.rows_by_file[FILE] = sink.rows
        draft.content_digest = sink.content.hexdigest()
    if progress is not None:
        progress(f"{source.id}: {draft.rows:,} records judged")
    return Built(draft.dataset, reused=False)


def _in_order(source: Source, normalized: Dataset, config: CurateConfig) -> Iterator[pl.DataFrame]:
    """Judges a few batches side by side: most of the work lets other threads run."""
    batches = text_batches(source, normalized, rows=BATCH_ROWS)
    waiting: deque[Future[pl.DataFrame]] = deque()
    with ThreadPoolExecutor(WORKERS, thread_name_prefix="judge") as pool:
        for batch in batches:
            waiting.append(pool.submit(_judged, batch, source.record_kind, config))
            if len(waiting) > WORKERS:
                yield waiting.popleft().result()
        for future in waiting:
            yield future.result()


def _judged(batch: pl.DataFrame, kind: Kind, config: CurateConfig) -> pl.DataFrame:
    if kind in _JUDGED:
        verdict = judge(batch, config=config.filters)
    else:
        nothing = pl.repeat(None, pl.len(), dtype=pl.String)
        verdict = batch.select(reason=nothing, detail=nothing, refined=pl.repeat(False, pl.len()))
    characters = pl.col("text").str.count_matches(r"\S")
    is_short = characters < config.minimum_characters
    return (
        batch.with_columns(verdict["reason"], verdict["detail"], verdict["refined"])
        .with_columns(characters=characters, family=family(pl.col("text"), pl.col("domain")))
        .with_columns(
            question=question_key(pl.col("question")), scrubbed_key=_scrubbed_keys(batch, kind, config)
        )
        .with_columns(
            reason=pl.when(is_short).then(pl.lit(TOO_SHORT)).otherwise("reason"),
            detail=pl.when(~is_short).then("detail"),
            refined=pl.col("refined") & ~is_short,
        )
        .select(pl.col(name).cast(dtype) for name, dtype in JUDGEMENT.items())
    )


def _scrubbed_keys(batch: pl.DataFrame, kind: Kind, config: CurateConfig) -> pl.Series:
    """Content keys of what is left where personal data is replaced; exam items are never changed."""
    keys = pl.Series([None], dtype=pl.String).new_from_index(0, batch.height)
    if config.privacy is None or kind is Kind.EXAM_ITEM:
        return keys
    rules = config.privacy.model_copy(update={"review_per_rule": 0})
    scrubbed = scrub(batch["content"], config=rules).texts
    changed = (scrubbed != batch["content"]).arg_true()
    if len(changed):
        found = pl.DataFrame({"content": scrubbed.gather(changed)}).select(content_key(pl.col("content")))
        keys = keys.scatter(changed, found.to_series())
    return keys
