"""Loads the fact tables (YAML) the sample is composed from."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from importlib import resources
from typing import Any

import yaml

_Loader: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
_DISEASE_TABLES = ("diseases_1", "diseases_2", "diseases_3", "diseases_4", "diseases_5")


@dataclass(frozen=True)
class Disease:
    """The facts about one disease."""

    name: str
    aliases: tuple[str, ...]
    system: str
    departments: tuple[str, ...]
    definition: str
    people: str
    share: str
    duration: str
    success: str
    cost: str
    causes: tuple[str, ...]
    mechanism: str
    symptoms: tuple[str, ...]
    signs: str
    tests: tuple[str, ...]
    criterion: str
    treatments: tuple[str, ...]
    drugs: tuple[str, ...]
    complications: tuple[str, ...]
    differentials: tuple[tuple[str, str], ...]
    prevention: tuple[str, ...]
    eat: tuple[str, ...]
    avoid: tuple[str, ...]
    living: tuple[str, ...]
    outlook: str
    groups: str
    complaint: str


@dataclass(frozen=True)
class Drug:
    """The facts about one drug."""

    name: str
    kind: str
    action: str
    use: str
    harm: str
    caution: str


@dataclass(frozen=True)
class LabTest:
    """The facts about one laboratory test."""

    name: str
    measures: str
    normal: str
    high: str
    low: str
    preparation: str


@dataclass(frozen=True)
class Symptom:
    """The facts about one symptom."""

    name: str
    meaning: str
    causes: str
    alarm: str
    aid: str
    tests: str


@dataclass(frozen=True)
class BodySystem:
    """General passages about one body system."""

    name: str
    anatomy: str
    examination: str
    nursing: tuple[str, ...]
    old: str
    young: str
    pregnant: str


@dataclass(frozen=True)
class Topic:
    """A health question and the sentences that answer it."""

    question: str
    sentences: tuple[str, ...]


def _table(name: str) -> Any:
    text = resources.files("medpipe.sample").joinpath("facts", f"{name}.yaml").read_text("utf-8")
    return yaml.load(text, Loader=_Loader)  # noqa: S506 - a safe loader in either case


def _items(text: str) -> tuple[str, ...]:
    """Splits a list written with "、", but not inside round brackets."""
    parts: list[str] = [""]
    depth = 0
    for character in text:
        depth += (character in "（(") - (character in "）)")
        if character == "、" and depth == 0:
            parts.append("")
        else:
            parts[-1] += character
    return tuple(parts)


def _sentences(text: str) -> tuple[str, ...]:
    return tuple(part.strip() for part in text.split("|"))


def _disease(row: dict[str, str]) -> Disease:
    share, duration, success, cost = row["stat"].split("/")
    eat, avoid = row["food"].split("/")
    pairs = (part.split("=") for part in _sentences(row["dd"]))
    return Disease(
        name=row["name"],
        aliases=_items(row["alias"]),
        system=row["sys"],
        departments=_items(row["dept"]),
        definition=row["def"],
        people=row["who"],
        share=share,
        duration=duration,
        success=success,
        cost=cost,
        causes=_sentences(row["cause"]),
        mechanism=row["mech"],
        symptoms=_items(row["sym"]),
        signs=row["sign"],
        tests=_items(row["test"]),
        criterion=row["crit"],
        treatments=_sentences(row["tx"]),
        drugs=_items(row["drug"]),
        complications=_items(row["comp"]),
        differentials=tuple((name, point) for name, point in pairs),
        prevention=_sentences(row["prev"]),
        eat=_items(eat),
        avoid=_items(avoid),
        living=_sentences(row["life"]),
        outlook=row["prog"],
        groups=row["pops"],
        complaint=row["talk"],
    )


@cache
def diseases() -> tuple[Disease, ...]:
    """Returns all diseases in the order of the tables."""
    return tuple(_disease(row) for table in _DISEASE_TABLES for row in _table(table))


@cache
def drugs() -> dict[str, Drug]:
    """Returns all drugs by name."""
    return {drug.name: drug for drug in (Drug(*_sentences(row)) for row in _table("drugs"))}


@cache
def lab_tests() -> dict[str, LabTest]:
    """Returns all laboratory tests by name."""
    return {test.name: test for test in (LabTest(*_sentences(row)) for row in _table("labs"))}


@cache
def symptoms() -> dict[str, Symptom]:
    """Returns all symptoms by name."""
    return {item.name: item for item in (Symptom(*_sentences(row)) for row in _table("symptoms"))}


@cache
def body_systems() -> dict[str, BodySystem]:
    """Returns the general passages by body system."""
    return {
        name: BodySystem(
            name=name,
            anatomy=row["anatomy"],
            examination=row["exam"],
            nursing=_sentences(row["nurse"]),
            old=row["age"],
            young=row["child"],
            pregnant=row["preg"],
        )
        for name, row in _table("systems").items()
    }


@cache
def topics() -> tuple[Topic, ...]:
    """Returns the health questions with their answers."""
    rows = (_sentences(row) for row in _table("topics"))
    return tuple(Topic(question=row[0], sentences=row[1:]) for row in rows)


@cache
def patterns() -> dict[str, tuple[str, ...]]:
    """Returns the sentence patterns by kind."""
    return {kind: tuple(rows) for kind, rows in _table("patterns").items()}
