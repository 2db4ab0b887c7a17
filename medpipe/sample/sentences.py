"""Composes sentences from facts: one pattern per kind of fact, chosen by a seeded generator."""

from __future__ import annotations

import random
from collections.abc import Iterable, Sequence

from medpipe.sample.fact_tables import (
    Disease,
    Drug,
    LabTest,
    body_systems,
    drugs,
    lab_tests,
    patterns,
    symptoms,
)


def pattern(chance: random.Random, kind: str, /, **slots: str | int) -> str:
    """Fills one of the patterns of `kind` with `slots`."""
    return chance.choice(patterns()[kind]).format(**slots)


def some(chance: random.Random, items: Sequence[str], least: int = 2) -> list[str]:
    """Returns a random part of `items` (at least `least`) in random order."""
    count = chance.randint(min(least, len(items)), len(items))
    return chance.sample(list(items), count)


def in_order(items: Sequence[str], chosen: Sequence[str]) -> list[str]:
    """Returns the chosen items in the order of `items`: first steps of a treatment stay first."""
    return [item for item in items if item in chosen]


def _listing(chance: random.Random, items: Sequence[str]) -> str:
    """Joins short items the way a writer would."""
    if len(items) < 2:
        return "".join(items)
    style = chance.randrange(4)
    if style == 0:
        return "、".join(items[:-1]) + "和" + items[-1]
    if style == 1:
        return "、".join(items[:-1]) + "以及" + items[-1]
    if style == 2 and len(items) > 2:
        return "、".join(items) + "等"
    return "、".join(items)


def _series(chance: random.Random, items: Sequence[str]) -> str:
    """Joins clauses with semicolons, numbers or circled numbers."""
    style = chance.randrange(4)
    if style == 0 and len(items) > 1:
        return "".join(f"（{index}）{item}；" for index, item in enumerate(items, 1)).rstrip("；")
    if style == 1 and len(items) > 1:
        return "；".join(f"{'①②③④⑤⑥⑦⑧'[index % 8]}{item}" for index, item in enumerate(items))
    return ("；" if style == 2 else "，").join(items)


def slots(chance: random.Random, disease: Disease) -> dict[str, str]:
    """Returns the slot values for the patterns about `disease`, part of the facts in random order."""
    differentials = chance.sample(disease.differentials, len(disease.differentials))
    glue = chance.choice(("，", "：", "的特点是", "的鉴别点在于"))
    system = body_systems()[disease.system]
    return {
        "n": disease.name if chance.random() < 0.8 else chance.choice(disease.aliases),
        "alias": _listing(chance, disease.aliases),
        "define": disease.definition,
        "people": disease.people,
        "share": disease.share,
        "cause": _series(chance, some(chance, disease.causes, 3)),
        "mech": disease.mechanism,
        "sym": _listing(chance, some(chance, disease.symptoms, 3)),
        "sign": disease.signs,
        "test": _listing(chance, some(chance, disease.tests, 3)),
        "crit": disease.criterion,
        "tx": _series(chance, in_order(disease.treatments, some(chance, disease.treatments, 2))),
        "drug": _listing(chance, some(chance, disease.drugs, 2)),
        "comp": _listing(chance, some(chance, disease.complications, 2)),
        "dd": "；".join(f"{name}{glue}{point}" for name, point in differentials),
        "prev": _series(chance, some(chance, disease.prevention, 2)),
        "eat": _listing(chance, some(chance, disease.eat, 2)),
        "avoid": _listing(chance, some(chance, disease.avoid, 1)),
        "life": _series(chance, some(chance, disease.living, 1)),
        "nurse": _series(chance, some(chance, system.nursing, 2)),
        "prog": disease.outlook,
        "last": disease.duration,
        "success": disease.success,
        "cost": disease.cost,
        "dept": _listing(chance, disease.departments),
    }


def drug_note(chance: random.Random, drug: Drug) -> str:
    """Returns one sentence about a drug."""
    return pattern(
        chance,
        "drug_note",
        d=drug.name,
        kind=drug.kind,
        action=drug.action,
        use=drug.use,
        harm=drug.harm,
        caution=drug.caution,
    )


def lab_note(chance: random.Random, test: LabTest) -> str:
    """Returns one sentence about a laboratory test."""
    return pattern(
        chance,
        "lab_note",
        t=test.name,
        measures=test.measures,
        normal=test.normal,
        high=test.high,
        prep=test.preparation,
    )


def note(chance: random.Random, disease: Disease) -> str:
    """Returns a sentence about a drug, test or symptom of the disease, or "" where no table knows one."""
    known_drugs = [drugs()[name] for name in disease.drugs if name in drugs()]
    known_tests = [lab_tests()[name] for name in disease.tests if name in lab_tests()]
    known_symptoms = [symptoms()[name] for name in disease.symptoms if name in symptoms()]
    choices = [drug_note(chance, drug) for drug in known_drugs]
    choices += [lab_note(chance, test) for test in known_tests]
    choices += [
        pattern(
            chance,
            "sym_note",
            s=item.name,
            meaning=item.meaning,
            causes=item.causes,
            alarm=item.alarm,
            aid=item.aid,
        )
        for item in known_symptoms
    ]
    return chance.choice(choices) if choices else ""


def say(chance: random.Random, disease: Disease, kind: str) -> str:
    """Returns one sentence of `kind` about `disease`; kind "note" speaks of a drug, test or symptom."""
    if kind == "note":
        return note(chance, disease)
    values = slots(chance, disease)
    if kind == "define":
        values["n"] = disease.name
    return pattern(chance, kind, **values)


def compose(chance: random.Random, disease: Disease, kinds: Iterable[str], glue: str = "") -> str:
    """Returns the sentences of all `kinds`, joined by `glue`."""
    return glue.join(sentence for kind in kinds if (sentence := say(chance, disease, kind)))
