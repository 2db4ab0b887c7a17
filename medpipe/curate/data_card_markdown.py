"""The data card as Markdown."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

import yaml

from medpipe.curate.data_card import DataCard, SourceFacts

_HUB_LANGUAGES = ("zh", "en")


def render(card: DataCard) -> str:
    """The card as Markdown, one section a subject; a section without facts is left out."""
    return "\n".join(_lines(card)).rstrip("\n") + "\n"


def _lines(card: DataCard) -> Iterator[str]:
    yield from _front_matter(card)
    yield f"# {_text(card.name)}"
    yield ""
    yield (
        f"{card.kept:,} records of {_sources(len(card.sources))}, built for the purpose "
        f"**{card.purpose.value}**. Licences are quoted as their publishers state them; this card is no "
        "legal advice."
    )
    yield ""
    yield from _section("Sources", _source_table(card.sources))
    yield from _section("Licences that need a look", _items(card.licence_warnings))
    yield from _section("Cleared by who built it", _settings(card.cleared))
    yield from _section("What is in it", _composition(card))
    yield from _section("Held out", _settings(card.split_rule))
    yield from _section("What was left out", _rejections(card.sources))
    yield from _section("Rules", _rules(card))
    yield from _section("Personal data", _counts("replaced by rule", "replacements", card.privacy))
    yield from _section("Duplicates", _settings(card.deduplication))
    yield from _section("Repeated passages", [*_settings(card.repeated_passages), *_passages(card)])
    yield from _section("Overlap of sources", _overlaps(card))
    yield from _section("Exam items", _settings(card.contamination))
    yield from _section("Known limits", _items(card.limits))


def _front_matter(card: DataCard) -> Iterator[str]:
    languages = [name for name in _HUB_LANGUAGES if card.languages.get(name)]
    facts = {
        "language": languages,
        "license": "other",
        "license_name": "see-the-table-of-sources",
        "size_categories": [card.size_category],
        "tags": ["medical"],
    }
    yield "---"
    yield yaml.safe_dump(facts, allow_unicode=True, sort_keys=False).rstrip("\n")
    yield "---"
    yield ""


def _section(title: str, lines: Iterable[str]) -> Iterator[str]:
    body = list(lines)
    if body:
        yield from (f"## {title}", "", *body, "")


def _source_table(sources: Sequence[SourceFacts]) -> Iterator[str]:
    rows = [
        (
            _link(source),
            _text(source.revision),
            _text(source.licence),
            ", ".join(source.languages),
            ", ".join(source.domains),
            f"{source.records:,}",
            f"{source.kept:,}",
        )
        for source in sources
    ]
    yield from _table(("source", "revision", "licence", "language", "domain", "in", "kept"), rows)
    parents = [
        f"`{source.id}` repeats {', '.join(map(_text, source.derived_from))}"
        for source in sources
        if source.derived_from
    ]
    unknown = [
        f"nothing is known of {', '.join(map(_text, source.unknown_parents))}, which `{source.id}` repeats"
        for source in sources
        if source.unknown_parents
    ]
    if parents:
        yield from ("", *_items([*parents, *unknown]))


def _composition(card: DataCard) -> Iterator[str]:
    tables = {"language": card.languages, "domain": card.domains, "tier": card.tiers, "split": card.splits}
    rows = [(by, name, f"{count:,}") for by, counts in tables.items() for name, count in counts.items()]
    yield from _table(("by", "value", "records"), rows)


def _rejections(sources: Sequence[SourceFacts]) -> Iterator[str]:
    total: Counter[str] = Counter()
    for source in sources:
        total.update(source.rejected)
    reasons = sorted(total, key=lambda reason: (-total[reason], reason))
    rows = [
        (
            f"`{_text(reason)}`",
            f"{total[reason]:,}",
            ", ".join(f"{s.id} {s.rejected[reason]:,}" for s in sources if s.rejected.get(reason)),
        )
        for reason in reasons
    ]
    yield from _table(("reason", "records", "by source"), rows)


def _rules(card: DataCard) -> Iterator[str]:
    rows = [
        (f"`{_text(rule.name)}`", _text(rule.measures), _limits(rule.thresholds), _text(rule.reference or ""))
        for rule in card.filters
    ]
    yield from _table(("rule", "measures", "thresholds", "reference"), rows)


def _limits(thresholds: Mapping[str, Any]) -> str:
    """By language: `zh drop 0.3, refine 0.2; en drop 0.2`."""
    if not thresholds:
        return "off"
    between = "; " if any(isinstance(limit, Mapping) for limit in thresholds.values()) else ", "
    return between.join(f"{_text(name)} {_value(thresholds[name])}" for name in sorted(thresholds))


def _passages(card: DataCard) -> Iterator[str]:
    rows = [
        (f"`{each.source}`", _text(each.passage), f"{each.documents:,}", f"{each.removed:,}")
        for each in card.passages
    ]
    if rows:
        yield ""
    yield from _table(("source", "passage", "documents", "removed"), rows)


def _overlaps(card: DataCard) -> Iterator[str]:
    rows = [(f"`{each.source}`", f"`{each.other}`", each.kind, f"{each.records:,}") for each in card.overlaps]
    yield from _table(("source", "other", "kind", "records"), rows)


def _counts(name: str, of: str, counts: Mapping[str, int]) -> Iterator[str]:
    yield from _table((name, of), [(f"`{_text(key)}`", f"{count:,}") for key, count in counts.items()])


def _settings(facts: Mapping[str, Any]) -> Iterator[str]:
    yield from _table(("fact", "value"), [(f"`{_text(key)}`", _value(facts[key])) for key in sorted(facts)])


def _table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> Iterator[str]:
    if rows:
        yield f"| {' | '.join(header)} |"
        yield f"| {' | '.join('---' for _ in header)} |"
        yield from (f"| {' | '.join(row)} |" for row in rows)


def _items(sentences: Iterable[str]) -> list[str]:
    return [f"- {' '.join(sentence.split()).replace('<', '&lt;')}" for sentence in sentences]


def _link(source: SourceFacts) -> str:
    title = _text(source.title).replace("[", r"\[").replace("]", r"\]")
    shown = f"[{title}]({source.page})" if source.page else title
    return f"`{source.id}` {shown}"


def _value(value: Any) -> str:
    if isinstance(value, Mapping):
        return ", ".join(f"{_text(str(key))} {_value(value[key])}" for key in sorted(value, key=str))
    if isinstance(value, bool) or value is None:
        return json.dumps(value)
    if isinstance(value, int | float):
        return f"{value:,}" if isinstance(value, int) else f"{value:,g}"
    if isinstance(value, (list, tuple)):
        return ", ".join(map(_value, value))
    return _text(str(value))


def _text(text: str) -> str:
    """Text that a table's cell can hold and that is no markup of its own."""
    line = " ".join(text.split())
    return line.replace("\\", "\\\\").replace("|", r"\|").replace("<", "&lt;").replace("`", "'")


def _sources(number: int) -> str:
    return "one source" if number == 1 else f"{number:,} sources"
