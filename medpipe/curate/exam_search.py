"""Which records repeat exam items; stored by source, so that a refresh searches what changed."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import cached_property

import polars as pl

from medpipe.catalog.source import Source
from medpipe.curate import CODE_VERSION
from medpipe.curate.contamination.config import RULE, ContaminationConfig
from medpipe.curate.contamination.exams import exam_rows, is_exam_source
from medpipe.curate.contamination.find import find_contaminated
from medpipe.curate.contamination.index import ExamIndex
from medpipe.curate.privacy.scrub import scrub
from medpipe.curate.purposes import scan_records, text_batches
from medpipe.lake.dataset import Built, Dataset, find_reusable, publish
from medpipe.lake.digest import digest_value
from medpipe.lake.layout import Lake
from medpipe.lake.manifest import Recipe
from medpipe.lake.parquet import ParquetSink
from medpipe.lake.tombstones import Tombstones

ROOM = "contamination"
FILE = "part-00000.parquet"
BATCH_ROWS = 4096

CONTAMINATION = pl.Schema({"row": pl.Int64, "exam_id": pl.String, "share": pl.Float64, "span": pl.String})
"""A row for each record that repeats an exam: its row in the source, the item, the part of the record that
stands in exams, and the first passage that does."""

Progress = Callable[[str], None]


class ExamSearch:
    """Searches sources for the exam items of all sources; the items are indexed when first needed."""

    def __init__(
        self,
        normalized: Mapping[str, Dataset],
        sources: Mapping[str, Source],
        *,
        lake: Lake,
        config: ContaminationConfig,
        tombstones: Tombstones = Tombstones(),  # noqa: B008 - frozen
    ) -> None:
        """Names the exams.

        Args:
            normalized: the normalized data sets of every enabled source.
            sources: the catalog's entries by id.
            lake: where `contamination/<source id>` goes.
            config: lengths and limits.
            tombstones: what was withdrawn; such items are no exam any more.
        """
        self._tombstones = tombstones
        self._exams = {each: normalized[each] for each in normalized if is_exam_source(sources[each])}
        self._sources = sources
        self._lake = lake
        self._config = config

    @property
    def exams(self) -> list[str]:
        """Ids of the sources that a model is measured with."""
        return list(self._exams)

    @cached_property
    def _withdrawn(self) -> str:
        """Digest of the exam items that were withdrawn and still lie there; empty where there are none."""
        found = []
        for each, dataset in self._exams.items() if self._tombstones else ():
            keys = scan_records(self._sources[each], dataset).select("id", "content_key", "source")
            found += keys.filter(self._tombstones.is_withdrawn()).collect(engine="streaming")["id"].to_list()
        return digest_value(sorted(found)) if found else ""

    @cached_property
    def _index(self) -> ExamIndex:
        texts = []
        for each, dataset in self._exams.items():
            records = scan_records(self._sources[each], dataset)
            if self._withdrawn:
                records = records.filter(~self._tombstones.is_withdrawn())
            texts.append(exam_rows(self._sources[each], records))
        return ExamIndex.build(pl.concat(texts).collect(engine="streaming"), config=self._config)

    def build(
        self, source_id: str, normalized: Dataset, *, force: bool = False, progress: Progress | None = None
    ) -> Built:
        """Finds the records of a source that repeat an exam, or finds them found.

        Raises:
            ContaminationError: the exams are too large to index.
            DiskFullError: the disk filled; what was there before stays.
        """
        source = self._sources[source_id]
        recipe = Recipe(
            inputs={"normalized": normalized.digest}
            | {f"exam {each}": dataset.digest for each, dataset in self._exams.items()},
            code_version=f"{CODE_VERSION}, {RULE}",
            config={
                "uses": {each: sorted(self._sources[each].uses) for each in self._exams},
                "contamination": self._config.model_dump(mode="json"),
                "template": source.template.value if source.template else None,
            }
            | ({"withdrawn": self._withdrawn} if self._withdrawn else {}),
        )
        if not force and (found := find_reusable(self._lake, ROOM, source_id, recipe=recipe)):
            return Built(found, reused=True)
        done = 0
        with publish(self._lake, ROOM, source_id, recipe=recipe) as draft:
            with ParquetSink(draft.path / FILE, schema=CONTAMINATION) as sink:
                batches = text_batches(source, normalized, rows=BATCH_ROWS)
                for batch in batches if self._exams else ():
                    found_in = find_contaminated(batch["text"], batch["lang"], self._index)
                    # A passage may hold what is replaced in the corpus.
                    found_in = found_in.with_columns(scrub(found_in["span"]).texts.alias("span"))
                    sink.write(
                        found_in.select((pl.col("position") + done).alias("row"), *CONTAMINATION.names()[1:])
                    )
                    done += batch.height
            draft.rows = draft.rows_by_file[FILE] = sink.rows
            draft.content_digest = sink.content.hexdigest()
        if progress is not None and done:
            progress(f"{source_id}: {draft.rows:,} of {done:,} records repeat exam items")
        return Built(draft.dataset, reused=False)
