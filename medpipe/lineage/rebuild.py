"""Makes the current data sets again without what was withdrawn, by the functions and settings that made them.

A data set's recipe holds every setting that it was made with, so that nothing a person changed goes back to
its default: sources are normalised as their recipe says, the corpus is curated with the settings in its
recipe, from the records that it was made of, and shards are cut as before with the tokenizer of the snapshot.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from pydantic import ValidationError

from medpipe.catalog.source import Source
from medpipe.curate.config import CurateConfig
from medpipe.curate.corpus import build_corpus
from medpipe.curate.licences import gate
from medpipe.curate.purposes import Purpose
from medpipe.lake.dataset import Dataset, find_current
from medpipe.lake.layout import Lake
from medpipe.lake.manifest import Recipe
from medpipe.lake.tombstones import read_tombstones
from medpipe.lineage.stages import CORPUS, NORMALIZED, LineageError, find_dataset, source_names
from medpipe.normalize.run import normalize_source, recipe_of
from medpipe.records.kinds import Domain
from medpipe.tokens.config import ShardConfig
from medpipe.tokens.shard import verify_shard
from medpipe.tokens.shards import ROOM as SHARDS
from medpipe.tokens.shards import build_shards
from medpipe.tokens.snapshot import CorpusSnapshot, build_snapshot

Progress = Callable[[str], None]

_AS_MADE = ("kind", "layout", "language", "simplify", "files")
_FOLLOWS = ("order", "exams", "feeding", "templates")
"""Settings of a corpus that the catalog decides."""


@dataclass
class Rebuilt:
    """What was made."""

    normalized: dict[str, Dataset] = field(default_factory=dict)
    corpora: dict[str, Dataset] = field(default_factory=dict)
    shards: dict[tuple[str, str], Dataset] = field(default_factory=dict)
    snapshot: CorpusSnapshot | None = None
    notes: list[str] = field(default_factory=list)
    """What differs from before for another reason than the withdrawal."""


@dataclass(frozen=True)
class Rebuild:
    """Rebuilds what a withdrawal concerns; every step finds what an earlier try finished."""

    lake: Lake
    sources: Mapping[str, Source]
    """Catalog entries by id."""
    progress: Progress
    """Takes a line of news at a time."""

    def run(self, concerned: Collection[str], snapshot: CorpusSnapshot | None) -> Rebuilt:
        """Normalises the sources concerned, then curates, encodes and pins what there was before.

        Args:
            concerned: ids of the sources that lose records.
            snapshot: the current one; shards are made only where there is one.

        Raises:
            LineageError: a source has no catalog entry, its raw snapshot is gone, or a recipe holds settings
                that this version does not know.
        """
        done = Rebuilt()
        corpora = {each: found for each in Purpose if (found := find_current(self.lake, CORPUS, each.value))}
        made_of = {
            (source, digest)
            for corpus in corpora.values()
            for source, digest in corpus.manifest.recipe.inputs.items()
        }
        replaced: dict[tuple[str, str], Dataset] = {}
        for source in [name for name in source_names(self.lake) if name in concerned]:
            head = find_current(self.lake, NORMALIZED, source)
            digests = {digest for name, digest in made_of if name == source}
            older = [
                dataset
                for digest in sorted(digests - {head.digest if head else ""})
                if (dataset := find_dataset(self.lake, NORMALIZED, source, digest=digest))
            ]
            # The newest last: what is made last is the current one.
            for dataset in [*older, *([head] if head else [])]:
                made = self._normalize(source, dataset, done.notes)
                replaced[source, dataset.digest] = done.normalized[source] = made
        for purpose, corpus in corpora.items():
            done.corpora[purpose.value] = self._curate(purpose, corpus, replaced, done)
        documents = done.corpora.get(Purpose.DOCUMENTS.value)
        if snapshot is not None and documents is not None:
            self._encode(snapshot, documents, done)
        return done

    def _source(self, source: str) -> Source:
        if source not in self.sources:
            raise LineageError(
                f"{source} has no catalog entry any more; put it back (MEDPIPE_SOURCES), then run the same "
                "command again: what was withdrawn stays withdrawn meanwhile"
            )
        return self.sources[source]

    def _normalize(self, source_id: str, dataset: Dataset, notes: list[str]) -> Dataset:
        tombstones = read_tombstones(self.lake)
        recipe = dataset.manifest.recipe
        if recipe.config.get("withdrawn", "") == tombstones.of_source(source_id):
            return dataset
        digest = recipe.inputs["raw"]
        raw = find_dataset(self.lake, "raw", source_id, digest=digest)
        if raw is None:
            raise LineageError(
                f"{source_id} cannot be normalised: its raw snapshot {digest} is not in the lake; "
                f"materialise raw/{source_id}, then run the same command again: what was withdrawn stays "
                "withdrawn meanwhile"
            )
        source = as_made(self._source(source_id), recipe, raw)
        if source is None:
            source = self._source(source_id)
            notes.append(f"{source_id}: its catalog entry changed since; normalised as it says now")
        self.progress(f"normalising {source_id}")
        return normalize_source(source, raw, lake=self.lake, progress=self.progress).dataset

    def _curate(
        self,
        purpose: Purpose,
        corpus: Dataset,
        replaced: Mapping[tuple[str, str], Dataset],
        done: Rebuilt,
    ) -> Dataset:
        recipe = corpus.manifest.recipe
        try:
            config = CurateConfig.model_validate(recipe.config["curate"])
        except (KeyError, ValidationError) as error:
            raise LineageError(
                f"corpus/{purpose} was made with settings that this version does not know ({error}); "
                f"materialise corpus/{purpose} with the settings that you want, then shards and snapshot: "
                "what was withdrawn stays out of them"
            ) from None
        normalized = {
            source: self._records(source, digest, replaced, done.notes)
            for source, digest in _ordered(recipe).items()
        }
        feeding = [self._source(source) for source in normalized if purpose.takes(self._source(source))]
        allowed = gate(
            feeding,
            config.licences.purpose,
            catalog=list(self.sources.values()),
            config=config.licences,
        )
        if not allowed.passed:
            # No reason to keep what is to go; the asset's check stops the next refresh.
            done.notes.append(f"corpus/{purpose}: its licence check fails; {allowed.message()}")
        self.progress(f"curating {purpose}")
        made = build_corpus(
            purpose,
            normalized,
            {source: self._source(source) for source in normalized},
            lake=self.lake,
            config=config,
            catalog=list(self.sources.values()),
            progress=self.progress,
        ).dataset
        now = made.manifest.recipe.config
        for name in _FOLLOWS:
            if name in recipe.config and recipe.config[name] != now.get(name):
                done.notes.append(f"corpus/{purpose}: '{name}' follows the catalog, which changed since")
        return made

    def _records(
        self, source: str, digest: str, replaced: Mapping[tuple[str, str], Dataset], notes: list[str]
    ) -> Dataset:
        if (made := replaced.get((source, digest))) is not None:
            return made
        if (pinned := find_dataset(self.lake, NORMALIZED, source, digest=digest)) is not None:
            return pinned
        head = find_current(self.lake, NORMALIZED, source)
        if head is None:
            raise LineageError(f"the records of {source} are gone; materialise normalized/{source}")
        notes.append(
            f"{source}: the records that the corpus was made of are gone; the current ones are taken"
        )
        return head

    def _encode(self, snapshot: CorpusSnapshot, documents: Dataset, done: Rebuilt) -> None:
        tokenizer = find_dataset(
            self.lake, "tokenizer", *snapshot.tokenizer.name.split("/"), digest=snapshot.tokenizer.digest
        )
        if tokenizer is None:
            raise LineageError(
                f"the tokenizer {snapshot.tokenizer.digest} of the snapshot is gone; materialise tokenizer, "
                "shards and snapshot: what was withdrawn stays out of them"
            )
        for domain in Domain:
            refs = [ref for ref in snapshot.shards if ref.domain == domain.value]
            if not refs:
                continue
            config = self._shard_config(domain, [(ref.source, ref.digest) for ref in refs], done.notes)
            built = build_shards(
                domain, documents, tokenizer, lake=self.lake, config=config, progress=self.progress
            )
            for source, each in built.items():
                if not each.reused:
                    verify_shard(each.dataset.path)
                done.shards[domain.value, source] = each.dataset
        fed = documents.manifest.facts["by_source"]
        done.snapshot, _ = build_snapshot(
            self.lake,
            tokenizer=tokenizer,
            shards=done.shards,
            documents=documents,
            revisions={source: each for source, each in snapshot.revisions.items() if source in fed},
        )

    def _shard_config(self, domain: Domain, refs: Sequence[tuple[str, str]], notes: list[str]) -> ShardConfig:
        for source, digest in refs:
            dataset = find_dataset(self.lake, SHARDS, domain.value, source, digest=digest)
            if dataset is None:
                continue
            stated = dataset.manifest.recipe.config
            known = {name: stated[name] for name in ShardConfig.model_fields if name in stated}
            if lost := sorted(stated.keys() - known.keys()):
                notes.append(f"shards/{domain}: this version has no setting {', '.join(lost)}")
            return ShardConfig.model_validate(known)
        notes.append(f"shards/{domain}: those of the snapshot are gone; cut by the default settings")
        return ShardConfig()


def _ordered(recipe: Recipe) -> dict[str, str]:
    """A corpus' inputs in the order in which their sources stood in the catalog."""
    order = recipe.config.get("order", list(recipe.inputs))
    return {source: recipe.inputs[source] for source in order if source in recipe.inputs}


def as_made(source: Source, recipe: Recipe, raw: Dataset) -> Source | None:
    """The catalog entry with what a recipe says about reading its files; None if that is no whole entry."""
    stated = source.model_dump(mode="json") | {
        name: recipe.config[name] for name in _AS_MADE if name in recipe.config
    }
    try:
        made = Source.model_validate(stated)
    except ValidationError:
        return None
    before = recipe.config.keys() - {"withdrawn"}
    now = recipe_of(made, raw).config
    return made if all(now.get(name) == recipe.config[name] for name in before) else None


def compared(lake: Lake, old: CorpusSnapshot | None, new: CorpusSnapshot | None) -> dict[str, dict[str, str]]:
    """What became of each shard file of a snapshot in the next one.

    Returns:
        By `domain/source`: file name to `linked` (the same bytes were there before) or `rewritten`; nothing
        for data sets that are the same in both.
    """
    if old is None or new is None:
        return {}
    before = {(ref.domain, ref.source): ref.digest for ref in old.shards}
    found: dict[str, dict[str, str]] = {}
    for ref in new.shards:
        earlier = before.pop((ref.domain, ref.source), None)
        if earlier == ref.digest:
            continue
        known = _checksums(lake, ref.domain, ref.source, earlier) if earlier else {}
        known_sums = set(known.values())
        found[f"{ref.domain}/{ref.source}"] = {
            name: "linked" if checksum in known_sums else "rewritten"
            for name, checksum in _checksums(lake, ref.domain, ref.source, ref.digest).items()
        }
    return found | {f"{domain}/{source}": {} for domain, source in before}


def _checksums(lake: Lake, domain: str, source: str, digest: str) -> dict[str, str]:
    dataset = find_dataset(lake, SHARDS, domain, source, digest=digest)
    if dataset is None:
        return {}
    return {file.path: file.sha256 for file in dataset.manifest.files if Path(file.path).suffix == ".bin"}
