"""Verdicts as they are written: codes from memory, reasons and details from where they were found."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator

import numpy as np
import polars as pl

from medpipe.curate.decide import Decisions
from medpipe.curate.purposes import Purpose
from medpipe.curate.record_table import NONE, Verdict, batches_of, hex_keys
from medpipe.lake.dataset import Dataset
from medpipe.lake.digest import digest_value
from medpipe.lake.tombstones import WITHDRAWN
from medpipe.records.kinds import Split, Tier

EXACT_DUPLICATE = "exact_duplicate"
NEAR_DUPLICATE = "near_duplicate"
EXAM_ITEM = "repeats_exam_item"
HELD_OUT_BUT_SEEN = "held_out_but_seen"
"""What a publisher or an earlier corpus holds out, though relatives of it were trained on."""

_REASONS = {
    Verdict.EXAM_ITEM: EXAM_ITEM,
    Verdict.WITHDRAWN: WITHDRAWN,
    Verdict.HELD_OUT_BUT_SEEN: HELD_OUT_BUT_SEEN,
    Verdict.EXACT_DUPLICATE: EXACT_DUPLICATE,
    Verdict.NEAR_DUPLICATE: NEAR_DUPLICATE,
}
_SPLITS, _TIERS = pl.Enum([each.value for each in Split]), pl.Enum([each.value for each in Tier])


class SourceVerdicts:
    """What becomes of the records of one source, in their order."""

    def __init__(
        self, source_id: str, decisions: Decisions, judgement: Dataset, contamination: Dataset | None
    ) -> None:
        """Takes what was decided.

        Args:
            source_id: the source.
            decisions: those of all sources.
            judgement: where the reasons of filters stand.
            contamination: where exam items are named; None where none was looked for.
        """
        self.source_id = source_id
        rows = decisions.records.rows_of[source_id]
        self._verdicts = decisions.verdicts[rows]
        self._is_held_out = decisions.is_held_out[rows]
        self._is_refined = decisions.records.is_refined[rows]
        self._duplicate_of = decisions.duplicate_of[rows]
        self._ids = decisions.records.ids
        self._judgement = judgement
        self._contamination = contamination

    def __len__(self) -> int:
        return len(self._verdicts)

    def digest(self, purpose: Purpose) -> str:
        """Digest of all that `frames` gives and a data set uses."""
        content = hashlib.sha256(self._verdicts.tobytes())
        if purpose is not Purpose.EXAMS:
            content.update(np.packbits(self._is_held_out).tobytes())
        if purpose is Purpose.DOCUMENTS:
            content.update(np.packbits(self._is_refined).tobytes())
        named = self._duplicate_of[self._duplicate_of != NONE]
        content.update(self._ids[named].astype("<u8").tobytes())
        details = [self._judgement.digest, self._contamination and self._contamination.digest]
        return digest_value([content.hexdigest(), *details])

    def is_kept(self) -> pl.Series:
        """Boolean, a value a record."""
        return pl.Series(self._verdicts == Verdict.KEPT)

    def frames(self) -> Iterator[pl.DataFrame]:
        """Frames of bounded size: `id`, `held_out` (Split), `tier`, `reason` (null where kept), `detail`."""
        items = self._exam_items()
        done = 0
        for judged in batches_of(self._judgement, ["id", "reason", "detail"]):
            here = slice(done, done + judged.height)
            done += judged.height
            verdict = self._verdicts[here]
            is_copy = self._duplicate_of[here] != NONE
            details = pl.Series([None], dtype=pl.String).new_from_index(0, judged.height)
            if is_copy.any():
                named = hex_keys(self._ids[self._duplicate_of[here][is_copy]])
                details = details.scatter(np.flatnonzero(is_copy), named)
            frame = judged.with_columns(
                verdict=pl.Series(verdict),
                named=details,
                is_held_out=pl.Series(self._is_held_out[here]),
                is_refined=pl.Series(self._is_refined[here]),
                row=pl.int_range(here.start, here.stop, dtype=pl.Int64),
            )
            frame = frame.join(items, on="row", how="left", maintain_order="left")
            is_filtered = pl.col("verdict") == Verdict.FILTERED
            yield frame.select(
                "id",
                held_out=pl.when("is_held_out")
                .then(pl.lit(Split.VALIDATION.value, dtype=_SPLITS))
                .otherwise(pl.lit(Split.TRAIN.value, dtype=_SPLITS)),
                tier=pl.when("is_refined")
                .then(pl.lit(Tier.REFINED.value, dtype=_TIERS))
                .otherwise(pl.lit(Tier.RAW.value, dtype=_TIERS)),
                reason=pl.when(is_filtered)
                .then("reason")
                .otherwise(pl.col("verdict").replace_strict(_REASONS, default=None, return_dtype=pl.String)),
                detail=pl.when(is_filtered)
                .then("detail")
                .when(pl.col("verdict") == Verdict.EXAM_ITEM)
                .then("said")
                .otherwise("named"),
            )

    def _exam_items(self) -> pl.DataFrame:
        """What the detail says of the rows that repeat an exam: item and passage."""
        frames = [pl.DataFrame(schema={"row": pl.Int64, "said": pl.String})]
        for batch in [] if self._contamination is None else batches_of(self._contamination):
            is_here = self._verdicts[batch["row"].to_numpy()] == Verdict.EXAM_ITEM
            said = pl.concat_str(pl.lit("item "), "exam_id", pl.lit(": "), "span")
            frames.append(batch.filter(pl.Series(is_here)).select("row", said=said))
        return pl.concat(frames)
