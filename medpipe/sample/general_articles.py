"""Composition of general Chinese articles: one subject, two subjects compared, or a survey of a kind."""

from __future__ import annotations

import random

from medpipe.sample.general_facts import Entry, Kind, load_shared


def subject_article(kind: Kind, entry: Entry, random_: random.Random) -> str:
    """Writes an article on one subject.

    Args:
        kind: the kind the subject belongs to.
        entry: the subject.
        random_: generator that belongs to this article alone.

    Returns:
        The article: its title, then two or three paragraphs.
    """
    shared = load_shared()
    lead = random_.choice(kind.lead).format(**entry.values)
    facts = [random_.choice(ways).format(**entry.values) for ways in kind.fields.values()]
    random_.shuffle(facts)
    notes = list(entry.notes)
    random_.shuffle(notes)
    about = random_.sample(kind.about, random_.choice((3, 3, 4, 5)))
    first = [lead, *facts[:2], notes[0]]
    second = facts[2:] + notes[1:]
    random_.shuffle(second)
    third = about + _peers(kind, entry, random_)
    random_.shuffle(third)
    if random_.random() < 0.6:
        third.append(random_.choice(shared["closes"]).format(name=entry.name))
    paragraphs = ["".join(first), _joined(second, random_), _joined(third, random_)]
    return f"{entry.name} " + _layout(paragraphs, random_)


def comparison_article(kind: Kind, first: Entry, second: Entry, random_: random.Random) -> str:
    """Writes an article that compares two subjects of one kind.

    Args:
        kind: the kind of both subjects.
        first: one subject.
        second: the other subject.
        random_: generator that belongs to this article alone.

    Returns:
        The article: its title, then a lead, the compared aspects, details and a close.
    """
    shared = load_shared()
    names = {"a": first.name, "b": second.name, "noun": kind.noun}
    aspects = list(kind.aspect.items())
    random_.shuffle(aspects)
    rows = [_compared(first, second, column, aspect, random_) for column, aspect in aspects]
    details = [
        random_.choice(shared["compare_notes"]).format(name=entry.name, note=note)
        for entry in (first, second)
        for note in random_.sample(entry.notes, 2)
    ]
    close = random_.choice(shared["compare_closes"]).format(**names)
    paragraphs = [
        random_.choice(shared["compare_leads"]).format(**names) + "".join(rows),
        "".join(details),
        random_.choice(kind.about) + close,
    ]
    return f"{first.name}与{second.name} " + _layout(paragraphs, random_)


def survey_article(kind: Kind, entries: list[Entry], random_: random.Random) -> str:
    """Writes a survey that says a few things on many subjects of one kind.

    Args:
        kind: the kind of the subjects.
        entries: the subjects, in the order of the survey.
        random_: generator that belongs to this article alone.

    Returns:
        The article: its title, then one line for every subject.
    """
    shared = load_shared()
    lines = [random_.choice(shared["survey_leads"]).format(noun=kind.noun, count=len(entries))]
    for entry in entries:
        column, aspect = random_.choice(list(kind.aspect.items()))
        item = random_.choice(shared["survey_items"]).format(
            name=entry.name, aspect=aspect, value=entry.values[column]
        )
        lines.append(item + random_.choice(entry.notes))
    lines.append(random_.choice(kind.about))
    return f"{kind.noun} " + "\n".join(lines)


def _compared(first: Entry, second: Entry, column: str, aspect: str, random_: random.Random) -> str:
    values = {"va": first.values[column], "vb": second.values[column]}
    use = "compare_equal" if values["va"] == values["vb"] else "compare_fields"
    return random_.choice(load_shared()[use]).format(a=first.name, b=second.name, aspect=aspect, **values)


def _peers(kind: Kind, entry: Entry, random_: random.Random) -> list[str]:
    others = [other.name for other in kind.entries if other.name != entry.name]
    named = "、".join(random_.sample(others, random_.choice((2, 3, 4))))
    return [random_.choice(load_shared()["peers"]).format(noun=kind.noun, peers=named)]


def _joined(sentences: list[str], random_: random.Random) -> str:
    joins = load_shared()["joins"]
    return "".join((random_.choice(joins) if place else "") + text for place, text in enumerate(sentences))


def _layout(paragraphs: list[str], random_: random.Random) -> str:
    return random_.choice(("", "\n", "\n", "\n\n")).join(paragraphs)
