"""Composition of English guideline documents: four kinds for every condition, each with other facts."""

from __future__ import annotations

import random
from dataclasses import dataclass

from medpipe.sample.guideline_facts import Condition, load_drugs, load_specialties
from medpipe.sample.guideline_phrases import PhraseBook, listed

KINDS = ("assessment", "management", "followup", "patient")
"""The kinds of documents written for each condition."""

_TABLE = "guideline_patterns.yaml"


@dataclass(frozen=True)
class Document:
    """A finished document: its title, a short overview and the Markdown text."""

    title: str
    overview: str
    text: str


def guideline_document(condition: Condition, kind: str, random_: random.Random) -> Document:
    """Writes one document on a condition.

    Args:
        condition: the condition and its facts.
        kind: one of `KINDS`.
        random_: generator that belongs to this document alone.

    Returns:
        The document; other kinds of the same condition carry other facts.
    """
    return _Writer(condition, kind, random_).document()


class _Writer:
    def __init__(self, condition: Condition, kind: str, random_: random.Random) -> None:
        self._condition = condition
        self._kind = kind
        self._book = PhraseBook(_TABLE, random_)
        self._points = load_specialties()[condition.group]
        self._names = {"name": condition.name, "topic": condition.topic}

    def document(self) -> Document:
        title = self._book.say("titles", self._kind, **self._names)
        scope = self._book.say("scope", self._kind, **self._names)
        bodies = {
            "assessment": self._assessment,
            "management": self._management,
            "followup": self._followup,
            "patient": self._patient,
        }
        number = self._book.number
        closing = self._book.say(
            "closing",
            self._kind,
            days=number(2, 14),
            weeks=number(4, 12),
            percent=number(60, 95),
            count=number(3, 6),
            **self._names,
        )
        parts = [f"# {title}", scope, *bodies[self._kind](), closing]
        return Document(title=title, overview=scope, text="\n\n".join(parts))

    def _assessment(self) -> list[str]:
        return [
            self._section("definition", [self._definition()]),
            self._bullets("risk"),
            self._bullets("symptoms"),
            self._recommendations("criteria"),
            self._bullets("tests"),
            self._bullets("flags"),
            self._section("tips", [" ".join(self._book.some(self._points["assess"], 3))]),
        ]

    def _management(self) -> list[str]:
        doses = [
            "- " + self._book.say("drugs", drug=row.drug, dose=row.dose) for row in self._condition.doses
        ]
        parts = [
            self._recommendations("steps"),
            self._section("drugs", doses),
            self._section("tips", [" ".join(self._book.some(self._points["manage"], 4))]),
        ]
        safety = self._safety()
        if safety:
            parts.insert(2, self._section("safety", safety))
        return parts

    def _followup(self) -> list[str]:
        flags = self._book.some(self._condition.lists["flags"], 3)
        both = (*self._points["manage"], *self._points["assess"])
        return [
            self._definition(),
            self._recommendations("follow"),
            self._section("tests", [f"- {self._phrase('tests', item)}" for item in self._tests(4)]),
            self._recommendations("prevent"),
            self._section("flags", [f"- {self._phrase('flags', item)}" for item in flags]),
            self._section("tips", [" ".join(self._book.some(both, 3))]),
        ]

    def _patient(self) -> list[str]:
        lists, book = self._condition.lists, self._book
        known = [row.drug for row in self._condition.doses if row.drug in load_drugs()]
        drugs = [
            book.say("patient_drug", drug=drug, kind=load_drugs()[drug].kind, harm=load_drugs()[drug].harm)
            for drug in book.some(known, 2)
        ]
        tell = [*lists["plain"][1:], *book.some(self._points["tell"], 2)]
        checks = [
            self._several("patient_symptoms", lists["symptoms"], 4),
            self._several("patient_tests", lists["tests"], 3),
        ]
        plan = [self._several("patient_steps", lists["steps"], 3), *drugs]
        return [
            self._section("definition", [lists["plain"][0], " ".join(checks)]),
            self._section("steps", [" ".join(plan)]),
            self._section("tell", [f"- {item}" for item in book.some(tell, len(tell))]),
            self._section("prevent", [self._several("patient_prevent", lists["prevent"], 3)]),
            self._section("follow", [self._several("patient_review", lists["follow"], 2)]),
            self._section("help", [self._several("patient_flags", lists["flags"], 4)]),
        ]

    def _definition(self) -> str:
        return self._book.say("definition", **{"def": self._condition.definition}, **self._names)

    def _tests(self, at_most: int) -> list[str]:
        return self._book.some(self._condition.lists["tests"], at_most)

    def _safety(self) -> list[str]:
        drugs = load_drugs()
        rows = [(row.drug, drugs[row.drug]) for row in self._condition.doses if row.drug in drugs]
        return [
            "- " + self._book.say("safety", drug=name, kind=drug.kind, harm=drug.harm, check=drug.check)
            for name, drug in rows
        ]

    def _several(self, use: str, items: tuple[str, ...], at_most: int) -> str:
        return self._book.say(use, items=listed(self._book.some(items, at_most)))

    def _phrase(self, use: str, item: str) -> str:
        strength = self._book.say("strengths")
        return self._book.say(use, item=item, strength=strength, **self._names)

    def _bullets(self, use: str) -> str:
        items = self._condition.lists[use]
        shown = self._book.some(items, len(items))
        return self._section(use, [f"- {self._phrase(use, item)}" for item in shown])

    def _recommendations(self, use: str) -> str:
        lines = [
            f"{number}. {self._phrase(use, item)}"
            for number, item in enumerate(self._condition.lists[use], start=1)
        ]
        return self._section(use, lines)

    def _section(self, head: str, lines: list[str]) -> str:
        return "\n".join([f"## {self._book.say('heads', head)}", "", *lines])
