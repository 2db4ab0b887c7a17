"""One source's part of a data set of the corpus: written, or taken over from an earlier one that is equal.

A part depends on the source's records, on what was decided about them and on the settings that change texts.
Where all three are those of a part that lies in a whole data set already, its files are linked instead of
being read, cleaned and written once more.
"""

from __future__ import annotations

from collections.abc import Mapping

import polars as pl

from medpipe.catalog.source import Source
from medpipe.curate import CODE_VERSION
from medpipe.curate.cleaning import PassageRemoval, PrivacyLog
from medpipe.curate.config import CurateConfig
from medpipe.curate.findings import Findings
from medpipe.curate.part import Earlier, Part
from medpipe.curate.part_records import PLACE_IN_BATCH, Counts, as_rejected, judged_batches
from medpipe.curate.privacy.review import sample_review
from medpipe.curate.purposes import REJECTED, Purpose
from medpipe.curate.verdicts import SourceVerdicts
from medpipe.lake.dataset import Dataset, Draft
from medpipe.lake.digest import digest_value
from medpipe.lake.parquet import ParquetSink
from medpipe.records.kinds import rejected_columns

REVIEW = "review"


def _files(source_id: str) -> tuple[str, str, str]:
    """Kept records, rejected records and review sample of a source, within a data set."""
    return (
        f"{source_id}/part-00000.parquet",
        f"{REJECTED}/part-{source_id}.parquet",
        f"{REVIEW}/sources/{source_id}.parquet",
    )


class PartWriter:
    """Fills a draft, source by source."""

    def __init__(
        self,
        draft: Draft,
        purpose: Purpose,
        findings: Findings,
        config: CurateConfig,
        earlier: Mapping[str, Earlier],
    ) -> None:
        """Names what all sources have in common.

        Args:
            draft: the data set that is being made.
            purpose: which one it is.
            findings: what becomes of every record.
            config: what a person set.
            earlier: parts that can be taken over.
        """
        self._draft = draft
        self._purpose = purpose
        self._findings = findings
        self._config = config
        self._earlier = earlier
        for folder in (REJECTED, f"{REVIEW}/sources"):
            (draft.path / folder).mkdir(parents=True)

    def add(self, source: Source, normalized: Dataset) -> tuple[Part, bool]:
        """Adds the part of a source; also says whether it was taken over."""
        verdicts = SourceVerdicts(
            source.id,
            self._findings.decisions,
            self._findings.judgements[source.id],
            self._findings.contamination.get(source.id),
        )
        key = self._key(source, normalized, verdicts)
        if key in self._earlier:
            dataset, part = self._earlier[key]
            names = {file.path for file in dataset.manifest.files}
            for name in _files(source.id):
                if name in names:
                    self._draft.link(dataset, name)
            return part, True
        return self._written(source, normalized, verdicts, key), False

    def _key(self, source: Source, normalized: Dataset, verdicts: SourceVerdicts) -> str:
        config = self._config
        is_document = self._purpose is Purpose.DOCUMENTS
        return digest_value(
            {
                "code": CODE_VERSION,
                "purpose": self._purpose.value,
                "source": source.id,
                "normalized": normalized.digest,
                "template": source.template.value if source.template and is_document else None,
                "verdicts": verdicts.digest(self._purpose),
                "privacy": config.privacy and config.privacy.model_dump(mode="json"),
                "passages": [config.repeated_passages.model_dump(mode="json"), config.minimum_characters]
                if is_document and config.repeated_passages
                else None,
            }
        )

    def _written(self, source: Source, normalized: Dataset, verdicts: SourceVerdicts, key: str) -> Part:
        """Streams the records once."""
        kept_path, rejected_path, review_path = (self._draft.path / name for name in _files(source.id))
        kept_path.parent.mkdir()
        personal = None if self._config.privacy is None else PrivacyLog(self._config.privacy)
        passages = self._passages(source, normalized, verdicts)
        counts = Counts()
        with (
            ParquetSink(kept_path, schema=self._purpose.schema) as sink,
            ParquetSink(rejected_path, schema=rejected_columns()) as rejected,
        ):
            for kept, dropped in judged_batches(self._purpose, source, normalized, verdicts):
                if passages is not None:
                    kept, lost = passages.remove(kept)
                    # Whoever traces a record relies on the order of publication.
                    dropped = pl.concat([dropped, lost]).sort(PLACE_IN_BATCH)
                kept, dropped = kept.drop(PLACE_IN_BATCH), dropped.drop(PLACE_IN_BATCH)
                if personal is not None and self._purpose is not Purpose.EXAMS:
                    kept = personal.scrub(kept)
                rejected.write(as_rejected(dropped, self._purpose, self._config))
                sink.write(kept)
                counts.add(kept, dropped)
        if personal is not None:
            personal.review.write_parquet(review_path)
        for path, rows in ((kept_path, sink.rows), (rejected_path, rejected.rows)):
            self._draft.rows_by_file[path.relative_to(self._draft.path).as_posix()] = rows
        is_document = self._purpose is Purpose.DOCUMENTS
        return Part(
            key=key,
            records=len(verdicts),
            kept=sink.rows,
            rejected_by_reason=dict(sorted(counts.reasons.items())),
            content_digest={name: each.hexdigest() for name, each in sorted(counts.digests.items())},
            text_bytes=dict(sorted(counts.text_bytes.items())) if is_document else None,
            repeated_passages=None if passages is None else passages.facts(),
            by_language=dict(sorted(counts.languages.items())),
            by_domain={name: dict(sorted(each.items())) for name, each in sorted(counts.domains.items())},
            by_tier=dict(sorted(counts.tiers.items())) if is_document else None,
            lengths=dict(sorted(counts.lengths.items(), key=lambda item: int(item[0])))
            if is_document
            else None,
            privacy={} if personal is None else dict(sorted(personal.counts.items())),
            digest=sink.content.hexdigest(),
            rejected_digest=rejected.content.hexdigest(),
        )

    def _passages(
        self, source: Source, normalized: Dataset, verdicts: SourceVerdicts
    ) -> PassageRemoval | None:
        """What takes out the boilerplate of a source's documents; None where none is looked for."""
        if self._purpose is not Purpose.DOCUMENTS or self._config.repeated_passages is None:
            return None
        return PassageRemoval(
            self._purpose.records(source, normalized).select("text"),
            counted=verdicts.is_kept(),
            # Goes with the draft if the process is killed.
            folder=self._draft.path,
            config=self._config.repeated_passages,
            minimum_characters=self._config.minimum_characters,
        )

    def finish(self, parts: dict[str, Part]) -> str:
        """Writes the review sample over all sources; returns the digest of all records, kept and rejected."""
        if self._config.privacy is not None:
            paths = [self._draft.path / _files(source_id)[2] for source_id in parts]
            review = sample_review(map(pl.read_parquet, paths), per_rule=self._config.privacy.review_per_rule)
            review.drop("position", "draw").write_parquet(self._draft.path / REVIEW / "privacy.parquet")
        return digest_value({name: [part.digest, part.rejected_digest] for name, part in parts.items()})
