"""The review sample: what was replaced, masked so that the sample itself holds nobody's number."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable, Sequence

import polars as pl

from medpipe.curate.privacy.spans import Span

SCHEMA = pl.Schema(
    {
        "rule": pl.String,
        "match": pl.String,
        "before": pl.String,
        "after": pl.String,
        "record": pl.String,
        "position": pl.Int64,
        "draw": pl.UInt64,
    }
)
"""Columns of the sample. `position` is the row of the batch; `draw` a hash that decides what is sampled."""

_SHOWN = 3
_TRACES = re.compile(r"[0-9０-９]{4,}|[A-Za-z0-9_]*[0-9][A-Za-z0-9_]{4,}|[A-Za-z0-9._%+-]+@[A-Za-z0-9.-]+")


def mask(found: str) -> str:
    """Letters and digits as `*`, but for up to three at the start: never more than a quarter."""
    shown = min(_SHOWN, len(found) // 4)
    return found[:shown] + re.sub(r"[^\W_]", "*", found[shown:])


def _masked_context(text: str) -> str:
    """What stands beside a match: other numbers there may be personal without any rule knowing."""
    return _TRACES.sub(lambda found: re.sub(r"\w", "*", found[0]), text)


def review_rows(
    text: str, spans: Sequence[Span], *, record: str, position: int, context: int
) -> Iterable[dict[str, str | int]]:
    """A row of the sample for each thing found in a text.

    Args:
        text: the text as it was.
        spans: all that was found in it, in order.
        record: the record's id.
        position: the row of the batch.
        context: characters to show on each side; they may not reach into what another rule replaced.
    """
    for number, span in enumerate(spans):
        behind = spans[number - 1].end if number else 0
        ahead = spans[number + 1].start if number + 1 < len(spans) else len(text)
        key = f"{record}\n{span.rule}\n{span.start}".encode()
        # Masked before it is cut, so that no number is halved to one that looks harmless.
        wide = 4 * context
        before = _masked_context(text[max(behind, span.start - wide) : span.start])
        after = _masked_context(text[span.end : min(ahead, span.end + wide)])
        yield {
            "rule": span.rule,
            "match": mask(text[span.start : span.end]),
            "before": before[-context:] if context else "",
            "after": after[:context],
            "record": record,
            "position": position,
            "draw": int.from_bytes(hashlib.sha256(key).digest()[:8], "big"),
        }


def sample_review(reviews: Iterable[pl.DataFrame], *, per_rule: int) -> pl.DataFrame:
    """The sample over several batches: for each rule the rows with the smallest draw.

    As the draw is a hash of record and place, this is a fair sample that does not depend on how the batches
    were cut.
    """
    frames = list(reviews)
    every = pl.concat(frames) if frames else SCHEMA.to_frame()
    ordered = every.sort("rule", "draw", "record")
    return ordered.filter(pl.int_range(pl.len()).over("rule") < per_rule)
