"""The difference of two snapshots for people: rows of a table, and a report in Markdown."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from medpipe.lake.layout import Lake
from medpipe.tokens.snapshot import CorpusSnapshot, SnapshotError
from medpipe.tokens.snapshot_diff import SnapshotDifference, SourceDifference, compare_snapshots

_SHORT = 12


@dataclass(frozen=True, kw_only=True)
class Changes:
    """What a refresh changed."""

    since: str
    """Digest of the snapshot before."""
    rows: list[dict[str, Any]]
    markdown: str


def changes_since(before: CorpusSnapshot | None, now: CorpusSnapshot, lake: Lake) -> Changes | None:
    """What changed from one snapshot to the next; None where there is none before, or it is the same."""
    if before is None or before.name == now.name:
        return None
    try:
        found = compare_snapshots(before, now, lake)
    except SnapshotError as error:
        return Changes(since=before.name, rows=[], markdown=str(error))
    return Changes(since=before.name, rows=list(difference_rows(found)), markdown=difference_markdown(found))


def difference_rows(found: SnapshotDifference) -> list[dict[str, str]]:
    """One row a source that is different: what came, went and changed, tokens, revision and licence."""
    return [_row(source) for source in found.sources if not source.is_same]


def difference_markdown(found: SnapshotDifference) -> str:
    """The same as a report that stands for itself."""
    rows = difference_rows(found)
    lines = [f"# Corpus {found.before[:_SHORT]} → {found.after[:_SHORT]}", ""]
    if not rows and not found.tokenizer_changed:
        return "\n".join([*lines, "Both hold the same corpus.", ""])
    if rows:
        lines += ["| " + " | ".join(rows[0]) + " |", "|" + " --- |" * len(rows[0])]
        lines += ["| " + " | ".join(text.replace("|", r"\|") for text in row.values()) + " |" for row in rows]
    sides = [source.before for source in found.sources], [source.after for source in found.sources]
    documents = [sum(side.documents for side in each) for each in sides]
    tokens = [sum(side.tokens for side in each) for each in sides]
    same = sum(source.is_same for source in found.sources)
    lines += [
        "",
        f"In all {documents[0]:,} → {documents[1]:,} documents, {tokens[0]:,} → {tokens[1]:,} tokens; "
        f"{same} sources are the same in both.",
    ]
    if found.tokenizer_changed:
        lines += ["", "The tokenizer is another one: numbers of tokens cannot be compared."]
    return "\n".join([*lines, ""])


def _row(source: SourceDifference) -> dict[str, str]:
    before, after = source.before, source.after
    return {
        "source": source.source,
        "added": f"{source.added:,}",
        "removed": f"{source.removed:,}",
        "changed": "unknown" if source.changed is None else f"{source.changed:,}",
        "documents": _change(f"{before.documents:,}", f"{after.documents:,}"),
        "tokens": _change(f"{before.tokens:,}", f"{after.tokens:,}"),
        "revision": _change((before.revision or "–")[:_SHORT], (after.revision or "–")[:_SHORT]),
        "licence": _change(before.licence or "–", after.licence or "–"),
    }


def _change(before: str, after: str) -> str:
    return before if before == after else f"{before} → {after}"
