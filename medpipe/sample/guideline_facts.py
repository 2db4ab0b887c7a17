"""The fact tables behind the English guideline documents, loaded from the package's YAML files."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache

from medpipe.sample.general_facts import load_facts

_TABLES = ("guideline_conditions_1.yaml", "guideline_conditions_2.yaml", "guideline_conditions_3.yaml")
_PROPER_NAMES = ("Graves", "Crohn", "Parkinson", "Alzheimer", "HIV")
_LISTS = ("risk", "symptoms", "criteria", "tests", "flags", "steps", "follow", "prevent", "plain")


@dataclass(frozen=True)
class Dose:
    """A medicine of one condition with its usual dose."""

    drug: str
    dose: str


@dataclass(frozen=True)
class Drug:
    """What a medicine is, the harm to watch for and the check that goes with it."""

    kind: str
    harm: str
    check: str


@dataclass(frozen=True)
class Condition:
    """One condition with its lists of facts."""

    name: str
    group: str
    definition: str
    lists: dict[str, tuple[str, ...]]
    doses: tuple[Dose, ...]

    @property
    def topic(self) -> str:
        """The name as it stands inside a sentence."""
        if self.name.split(" ", 1)[0] in _PROPER_NAMES:
            return self.name
        return self.name[0].lower() + self.name[1:]


@cache
def load_conditions() -> tuple[Condition, ...]:
    """Reads all conditions.

    Returns:
        The conditions in the order of the tables.
    """
    rows: list[dict[str, str]] = [row for table in _TABLES for row in load_facts(table)]
    return tuple(_condition(row) for row in rows)


@cache
def load_drugs() -> dict[str, Drug]:
    """Reads the safety facts of medicines.

    Returns:
        The medicines by name; not every medicine of a condition is listed.
    """
    table: dict[str, str] = load_facts("guideline_drugs.yaml")
    return {name: Drug(*text.split("; ")) for name, text in table.items()}


@cache
def load_specialties() -> dict[str, dict[str, tuple[str, ...]]]:
    """Reads the points that hold for a whole specialty.

    Returns:
        By specialty: the points to "assess", to "manage" and to "tell".
    """
    table: dict[str, dict[str, list[str]]] = load_facts("guideline_specialties.yaml")
    return {
        group: {use: tuple(points) for use, points in content.items()} for group, content in table.items()
    }


def _condition(row: dict[str, str]) -> Condition:
    doses = [Dose(*line.split(" = ", 1)) for line in row["drugs"].split("; ")]
    return Condition(
        name=row["name"],
        group=row["group"],
        definition=row["def"],
        lists={key: tuple(row[key].split("; ")) for key in _LISTS},
        doses=tuple(doses),
    )
