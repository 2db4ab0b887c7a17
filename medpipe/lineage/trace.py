"""Where a passage or a record comes from, what became of it, where it lies, and which runs read it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import polars as pl
from tokenizers import Tokenizer

from medpipe.catalog.source import Source
from medpipe.curate.purposes import Purpose
from medpipe.lake.dataset import whole_datasets
from medpipe.lake.layout import Lake
from medpipe.lake.manifest import ManifestError
from medpipe.lineage.alike import alike, judgements
from medpipe.lineage.curated import Curated, curated
from medpipe.lineage.exposure import Exposure, exposures, places_of_runs
from medpipe.lineage.places import Place, document_texts, narrowed, places_in
from medpipe.lineage.raw_row import raw_row
from medpipe.lineage.search import Found, Progress, Record, find_passage, find_records
from medpipe.lineage.stages import (
    NORMALIZED,
    LineageError,
    Stages,
    document_files,
    record_files,
    source_names,
    stages_of,
)
from medpipe.lineage.withdrawn import Withdrawn, withdrawals_of
from medpipe.pretrain.corpus import tokenizer_info
from medpipe.pretrain.seen import RecordedRun, find_run, list_runs
from medpipe.tokens.vocabulary import dtype_of

IN_CURRENT, IN_OLDER, IN_CORPUS = "current records", "older records", "corpus"


@dataclass(frozen=True, kw_only=True)
class TracedRecord:
    """All that is known of one record."""

    record: Record
    title: str
    """Its source's published name."""
    found_in: str
    corpus: tuple[Curated, ...] = ()
    copies: tuple[Record, ...] = ()
    """Records with the same content, in any source."""
    alike: tuple[Record, ...] = ()
    """Records that differ from it in personal data alone, which curating replaces."""
    places: tuple[Place, ...] = ()
    """Its documents and those of its copies in the snapshot's shards."""
    runs: tuple[Exposure, ...] = ()
    withdrawn: tuple[Withdrawn, ...] = ()
    raw: str | None = None


@dataclass(frozen=True, kw_only=True)
class Trace:
    """The answer."""

    asked: str
    snapshot: str | None
    """Whose shards were looked at."""
    total: int
    """How many records there are; `records` are the first of them."""
    records: tuple[TracedRecord, ...]
    withdrawn: tuple[Withdrawn, ...] = ()
    """Of an id that no record has any more."""
    notes: tuple[str, ...] = ()
    """What is missing, or what to mind."""


@dataclass(frozen=True, kw_only=True)
class TraceOptions:
    """What is asked beside the passage or the id."""

    snapshot: str | None = None
    run: str | None = None
    limit: int = 10
    raw: bool = False
    progress: Progress | None = field(default=None, compare=False)


def trace(
    lake: Lake,
    sources: Mapping[str, Source],
    *,
    text: str | None = None,
    record_id: str | None = None,
    options: TraceOptions = TraceOptions(),
) -> Trace:
    """Traces a passage, or a record by its id.

    Args:
        lake: the lake.
        sources: catalog entries by id.
        text: a passage; see `medpipe.lineage.passages.matching_rows` for what matches.
        record_id: the id of a record.
        options: which snapshot and run, how many records, whether to show raw rows.

    Raises:
        LineageError: neither or both of passage and id are given, the passage says nothing, or no record or
            withdrawal has the id.
        RunError: there is no such run.
        SnapshotError: there is no such snapshot.
        TombstoneError: what was withdrawn cannot be read.
    """
    if (text is None) == (record_id is None):
        raise LineageError("give a passage with --text or a record's id with --id, and not both")
    stages = stages_of(lake, options.snapshot)
    notes = list(stages.missing)
    if text is not None:
        if not text.strip():
            raise LineageError("the passage is empty; give some words of it")
        found, where = _find_passage(stages, sources, text, options)
        if where == IN_CORPUS:
            notes.append("it stands in no record as published, but in the corpus, where texts are cleaned")
    else:
        found, where = _find_id(stages, str(record_id))
        found = Found(found.records[: options.limit], found.total)
    runs = [find_run(lake, options.run)] if options.run else list(list_runs(lake))
    runs = _with_parents(runs, lake)
    traced = _Tracer(lake, stages, sources, runs, text, options).all(found.records, where)
    gone = withdrawals_of(lake, {str(record_id)}, ()) if record_id is not None else ()
    if record_id is not None and not found.total and not gone:
        raise LineageError(
            f"no record in {lake.root} has the id {record_id}; `medpipe trace --text …` finds the ids of the "
            "records that hold a passage"
        )
    if where == IN_OLDER:
        notes.append("only records of before hold it: a refresh or a withdrawal took it out since")
    return Trace(
        asked=text if text is not None else str(record_id),
        snapshot=stages.snapshot.name if stages.snapshot else None,
        total=found.total,
        records=tuple(traced),
        withdrawn=gone,
        notes=tuple(notes),
    )


def _find_passage(
    stages: Stages, sources: Mapping[str, Source], passage: str, options: TraceOptions
) -> tuple[Found, str]:
    files = record_files(stages.normalized)
    found = find_passage(files, sources, passage, limit=options.limit, progress=options.progress)
    documents = stages.corpora.get(Purpose.DOCUMENTS)
    if found.total or documents is None:
        return found, IN_CURRENT
    # Personal data has placeholders there and boilerplate is gone: a model repeats it as it was trained on.
    return (
        find_passage(document_files(documents), {}, passage, limit=options.limit, progress=options.progress),
        IN_CORPUS,
    )


def _find_id(stages: Stages, record_id: str) -> tuple[Found, str]:
    records = find_records(record_files(stages.normalized), ids={record_id})
    if records:
        return Found(tuple(records), len(records)), IN_CURRENT
    for source in source_names(stages.lake):
        for dataset in whole_datasets(stages.lake, NORMALIZED, source):
            records = find_records(record_files({source: dataset}), ids={record_id})
            if records:
                return Found(tuple(records), len(records)), IN_OLDER
    return Found((), 0), IN_CURRENT


def _with_parents(runs: Sequence[RecordedRun], lake: Lake) -> list[RecordedRun]:
    """The runs and all that they go on from, by curriculum and first step."""
    everything = {run.folder: run for run in list_runs(lake)}
    chosen = {}
    for run in runs:
        each: RecordedRun | None = run
        while each is not None and each.folder not in chosen:
            chosen[each.folder] = each
            each = everything.get(each.parent_folder) if each.parent_folder else None
    return sorted(chosen.values(), key=lambda run: (run.curriculum, run.facts.first_step, run.folder.name))


def _alike_keys(record: Record, judged: pl.DataFrame) -> set[str]:
    """Content keys of all records that become the same text as one."""
    mine = judged.filter(pl.col("content_key") == record.content_key)
    same = judged.join(mine.select("trained_key").unique(), on="trained_key", how="semi")
    return {record.content_key, *same["content_key"]}


class _Tracer:
    """Answers for some records; what several of them need is read once."""

    def __init__(
        self,
        lake: Lake,
        stages: Stages,
        sources: Mapping[str, Source],
        runs: list[RecordedRun],
        passage: str | None,
        options: TraceOptions,
    ) -> None:
        self._lake, self._stages, self._sources = lake, stages, sources
        self._runs, self._passage, self._options = runs, passage, options

    def all(self, records: Sequence[Record], where: str) -> list[TracedRecord]:
        if not records:
            return []
        keys = {record.content_key for record in records}
        judged = alike(judgements(self._lake, self._stages.normalized, old=False), keys)
        same = find_records(record_files(self._stages.normalized), ids=set(judged["id"]), content_keys=keys)
        became = curated(records, self._stages) if where != IN_OLDER else {}
        ids = {record.id for record in (*records, *same)}
        snapshot = self._stages.snapshot
        here = places_in(self._lake, snapshot, ids) if snapshot else []
        read = places_of_runs(self._lake, self._runs, ids, {record.source for record in (*records, *same)})
        if self._passage is not None:
            here, read = self._narrowed(here), self._narrowed(read)
        return [
            self._one(
                record,
                where,
                tuple(each for each in same if each.content_key in _alike_keys(record, judged)),
                became.get(record.place, []),
                here,
                read,
            )
            for record in records
        ]

    def _one(
        self,
        record: Record,
        where: str,
        same: tuple[Record, ...],
        became: Sequence[Curated],
        here: Sequence[Place],
        read: Sequence[Place],
    ) -> TracedRecord:
        ids = {record.id, *(each.id for each in same)}
        source = self._sources.get(record.source)
        return TracedRecord(
            record=record,
            title=source.title if source else record.source,
            found_in=where,
            corpus=tuple(became),
            copies=tuple(
                each for each in same if each.place != record.place and each.content_key == record.content_key
            ),
            alike=tuple(each for each in same if each.content_key != record.content_key),
            places=tuple(place for place in here if place.id in ids),
            runs=tuple(
                exposures(
                    self._runs,
                    [place for place in read if place.id in ids],
                    sources={record.source, *(each.source for each in same)},
                )
            ),
            withdrawn=withdrawals_of(self._lake, {record.id}, {record.source}),
            raw=raw_row(record, source, self._lake) if self._options.raw else None,
        )

    def _narrowed(self, places: Sequence[Place]) -> list[Place]:
        documents, tokenizer = self._stages.corpora.get(Purpose.DOCUMENTS), self._tokenizer()
        if documents is None or tokenizer is None:
            return list(places)
        by_source: dict[str, list[str]] = {}
        for place in places:
            by_source.setdefault(place.source, []).append(place.id)
        texts = document_texts(by_source, documents)
        loaded, dtype = tokenizer
        return [
            narrowed(place, str(self._passage), text=texts.get(place.id), tokenizer=loaded, dtype=dtype)
            for place in places
        ]

    def _tokenizer(self) -> tuple[Tokenizer, str] | None:
        if self._stages.snapshot is None:
            return None
        try:
            info = tokenizer_info(self._lake, self._stages.snapshot)
        except ManifestError:
            return None
        tokenizer = Tokenizer.from_file(str(info.path))
        # Text never becomes a special token in a shard.
        tokenizer.encode_special_tokens = True
        return tokenizer, dtype_of(info.vocabulary_size)
