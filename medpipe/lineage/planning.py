"""What a withdrawal will do, found out before anything is changed."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass, field, replace

import polars as pl

from medpipe.lake.digest import digest_value
from medpipe.lake.layout import Lake
from medpipe.lake.manifest import ManifestError, read_manifest
from medpipe.lake.tombstones import Tombstones, read_tombstones
from medpipe.lineage.chosen import Chosen, choose
from medpipe.lineage.exposure import Exposure, exposures, places_of_runs
from medpipe.lineage.holders import Holders, find_holders, whole_raw
from medpipe.lineage.notes import Noted, read_notes
from medpipe.lineage.places import Place
from medpipe.lineage.quotes import quotes_of
from medpipe.lineage.rows import Row
from medpipe.lineage.search import Record
from medpipe.lineage.stages import LineageError, current_normalized, record_files, source_names
from medpipe.pretrain.seen import RecordedRun, list_runs
from medpipe.tokens.snapshot import CURRENT, CorpusSnapshot, read_snapshot


@dataclass(frozen=True, kw_only=True)
class Plan:
    """What will happen; nothing has been changed yet."""

    records: tuple[Record, ...]
    named: frozenset[str]
    chosen: Chosen
    sources: tuple[str, ...]
    """Sources that are withdrawn as a whole."""
    reason: str
    purge: bool
    source_records: dict[str, int]
    """Current records of those sources."""
    copies_elsewhere: int
    """Records of other sources with the content of one of them; these stay."""
    near_duplicates: tuple[Record, ...]
    """Left where they are."""
    old_snapshot: str | None
    runs: tuple[Exposure, ...]
    holders: Holders | None
    """Only with `purge`."""
    stranded: tuple[str, ...]
    """Runs that cannot be resumed exactly after the purge."""
    tokenizer: str | None
    """What to mind about the tokenizer."""
    rows: frozenset[Row] = frozenset()
    """Published rows that the records came of, as far as the lake or an earlier try tells."""
    without_row: frozenset[tuple[str, str]] = frozenset()
    """Id and source of what was withdrawn before and of which nothing tells the row; with `purge` all raw
    snapshots of such a source go."""
    quotes: tuple[Record, ...] = ()
    """Records that were left out since they repeat an exam item which goes: these come in now."""
    shards_before: dict[str, dict[str, str]] = field(default_factory=dict)
    """What became of the shards, where an earlier try made them."""

    @property
    def key(self) -> str:
        """Names the withdrawal, however often it is tried."""
        return digest_value([sorted(self.chosen.all), sorted(self.sources)])


def plan_withdrawal(
    lake: Lake,
    *,
    ids: Collection[str] = (),
    sources: Collection[str] = (),
    reason: str = "",
    near_duplicates: bool = False,
    purge: bool = False,
) -> Plan:
    """Finds all that a withdrawal concerns; changes nothing.

    Raises:
        LineageError: neither ids nor sources are given, one of them is nowhere, or a purge would lead
            through a symbolic link.
        TombstoneError: what was withdrawn before cannot be read.
        RunError: a run folder cannot be read.
    """
    if not ids and not sources:
        raise LineageError("name the ids of records, or a source with --source")
    known = set(source_names(lake)) | read_tombstones(lake).sources
    if unknown := sorted(set(sources) - known):
        raise LineageError(
            f"the lake has no records of the source {unknown[0]}; it has {', '.join(sorted(known)) or 'none'}"
        )
    chosen = choose(lake, ids, near_duplicates=near_duplicates, purge=purge)
    runs = list(list_runs(lake))
    concerned = {*chosen.sources, *sources}
    places = places_of_runs(lake, runs, chosen.ids, chosen.sources) + _whole(lake, runs, sources)
    seen = exposures(runs, places, sources=concerned)
    old = current_snapshot(lake)
    plan = Plan(
        records=chosen.records,
        named=chosen.named,
        chosen=chosen,
        sources=tuple(sorted(set(sources))),
        reason=reason,
        purge=purge,
        source_records={source: _count(lake, source) for source in sorted(set(sources))},
        copies_elsewhere=_copies_elsewhere(lake, sources),
        near_duplicates=chosen.near_duplicates,
        old_snapshot=old.name if old else None,
        runs=tuple(seen),
        holders=None,
        stranded=(),
        tokenizer=_tokenizer(lake, old),
        quotes=tuple(quotes_of(lake, chosen.ids, sources)),
    )
    noted = read_notes(lake, plan)
    plan = _with_notes(plan, noted)
    if not purge:
        return plan
    found = find_holders(lake, chosen, sources, _with(lake, chosen, sources), rows=plan.rows)
    lost = [
        folder
        for source in sorted({each for _, each in plan.without_row})
        for folder in whole_raw(lake, source)
    ]
    before = Holders(
        datasets=noted.datasets,
        snapshots=noted.snapshots,
        raw=(),
        raw_folders=(*noted.raw_folders, *lost),
    )
    plan = with_holders(replace(plan, holders=before), found)
    stranded = [run.name for run in plan.holders.runs_without_snapshot(runs)] if plan.holders else []
    return replace(plan, stranded=tuple(dict.fromkeys([*noted.stranded, *stranded])))


def with_holders(plan: Plan, more: Holders) -> Plan:
    """The plan with what else holds it."""
    if plan.holders is None:
        return replace(plan, holders=more)
    raw = {(each.source, each.revision, each.path): each for each in (*plan.holders.raw, *more.raw)}
    holders = Holders(
        datasets=tuple(sorted({*plan.holders.datasets, *more.datasets})),
        snapshots=tuple(sorted({*plan.holders.snapshots, *more.snapshots})),
        # The later one was found with all rows that the earlier one knew.
        raw=tuple(raw[key] for key in sorted(raw)),
        raw_folders=tuple(sorted({*plan.holders.raw_folders, *more.raw_folders})),
    )
    return replace(plan, holders=holders)


def _with(lake: Lake, chosen: Chosen, sources: Collection[str]) -> Tombstones:
    """The tombstones as they will be."""
    there = read_tombstones(lake)
    return replace(there, ids=there.ids | chosen.ids, sources=there.sources | set(sources))


def current_snapshot(lake: Lake) -> CorpusSnapshot | None:
    """The snapshot that is current; None where there is none yet.

    Raises:
        SnapshotError: its file is broken or gone.
    """
    if not (lake.snapshots / f"{CURRENT}.json").exists():
        return None
    return read_snapshot(lake)


def _count(lake: Lake, source: str) -> int:
    dataset = current_normalized(lake).get(source)
    return dataset.manifest.rows if dataset else 0


def _copies_elsewhere(lake: Lake, sources: Collection[str]) -> int:
    """Records of other sources whose content a source of these publishes, too."""
    files = record_files(current_normalized(lake))
    mine = [pl.scan_parquet(files[source][0]).select("content_key") for source in sources if source in files]
    others = [
        pl.scan_parquet(parts).select("content_key")
        for name, (parts, _) in files.items()
        if name not in sources
    ]
    if not mine or not others:
        return 0
    found = pl.concat(others).join(pl.concat(mine).unique(), on="content_key", how="semi")
    return int(found.select(pl.len()).collect(engine="streaming").item())


def _whole(lake: Lake, runs: Sequence[RecordedRun], sources: Collection[str]) -> list[Place]:
    """The whole of every shard of some sources that a run trains on, as one place a shard."""
    places = []
    for key in sorted({key for run in runs for key in run.shard_keys if key.split("/")[1] in sources}):
        domain, source, digest, name = key.split("/")
        folder = lake.dataset("shards", domain, source, digest=digest)
        try:
            shards = {each["name"]: each for each in read_manifest(folder).facts["shards"]}
        except ManifestError:
            continue
        tokens = int(shards[name]["tokens"])
        places.append(
            Place(
                id="",
                shard=key,
                file=str(folder / f"{name}.bin"),
                split=shards[name]["split"],
                tier=shards[name]["tier"],
                document=0,
                offset=0,
                length=tokens,
                start=0,
                stop=tokens,
            )
        )
    return places


def _tokenizer(lake: Lake, snapshot: CorpusSnapshot | None) -> str | None:
    """That the tokenizer stays, which may have been trained on the text."""
    if snapshot is None:
        return None
    folder = lake.dataset("tokenizer", snapshot.tokenizer.name, digest=snapshot.tokenizer.digest)
    try:
        recipe = read_manifest(folder).recipe
    except ManifestError:
        return None
    name = f"the tokenizer {snapshot.tokenizer.name}/{snapshot.tokenizer.digest}"
    if "file" in recipe.inputs:
        return f"{name} stays: it was taken from its publisher and not trained here"
    return (
        f"{name} stays: its vocabulary may come in part of a sample that held the text; it holds pieces of "
        "words and no documents"
    )


def _with_notes(plan: Plan, noted: Noted) -> Plan:
    """The plan with what an earlier try found out, where that cannot be found out any more."""
    known = {run.run: run for run in plan.runs if run.unknown is None}
    merged = {run.run: run for run in (*plan.runs, *noted.runs)} | known
    return replace(
        plan,
        old_snapshot=noted.old_snapshot or plan.old_snapshot,
        runs=tuple(merged.values()),
        rows=plan.chosen.rows | noted.rows,
        without_row=frozenset(each for each in plan.chosen.without_row if each[0] not in noted.placed),
        shards_before=noted.shards,
    )
