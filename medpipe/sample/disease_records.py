"""Disease records in the layout of nlp-guild/medical-data (medical.json)."""

from __future__ import annotations

import hashlib
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

from medpipe.sample.fact_tables import BodySystem, Disease, body_systems, diseases
from medpipe.sample.sentences import compose, some
from medpipe.sample.writing import SampleFile, rng, write_jsonl

_MAIN = "nlp-guild/medical-data/medical.json"
_GB18030 = "nlp-guild/medical-data/medical_gb18030.json"
_MAKERS = ("示例药厂", "样例制药", "虚构药业", "演示制药厂", "范本药业")
_INDENT = "\u3000\u3000"
_MISSPELLED = {"prevent": "prvent", "symptom": "sympton", "cure_department": "cure_departmnt"}

_WAYS = {
    "流行性感冒": "呼吸道飞沫传播、接触传播",
    "急性上呼吸道感染": "呼吸道飞沫传播、接触传播",
    "支原体肺炎": "呼吸道飞沫传播",
    "肺结核": "呼吸道飞沫核传播",
    "急性胃肠炎": "粪口传播",
    "小儿腹泻": "粪口传播",
    "慢性乙型肝炎": "血液传播、母婴传播、性传播",
    "艾滋病": "性传播、血液传播、母婴传播",
    "水痘": "呼吸道飞沫传播、接触传播",
    "手足口病": "粪口传播、飞沫传播、接触传播",
    "带状疱疹": "疱液接触可使未患过水痘者得水痘",
    "手足癣": "直接接触传播、共用鞋袜毛巾传播",
    "急性扁桃体炎": "呼吸道飞沫传播",
}

_GROUPS: dict[str, tuple[str, str, Callable[[BodySystem], str]]] = {
    "儿": ("小儿", "小儿用药剂量一律按体重计算，由儿科医生开具", lambda system: system.young),
    "老": ("老年人", "老年人肝肾功能减退，起始剂量宜小，并留意同时服用的其他药", lambda system: system.old),
    "孕": ("妊娠合并", "孕期用药须由产科与专科医生共同决定，不可自行服药", lambda system: system.pregnant),
}


def _identity(name: str) -> dict[str, str]:
    return {"$oid": hashlib.sha256(name.encode("utf-8")).hexdigest()[:24]}


def _numbered(items: list[str]) -> str:
    return "\n".join(f"{_INDENT}{index}、{item}。" for index, item in enumerate(items, 1))


def _price(disease: Disease) -> str:
    low, _, high = disease.cost.partition("-")
    if not high or not low.isdigit():
        return disease.cost
    return f"根据不同医院，收费标准不一致，市三甲医院约（{low}——{high}元）"


def _details(chance: random.Random, disease: Disease) -> list[str]:
    return [f"{name}({chance.choice(_MAKERS)})" for name in some(chance, disease.drugs, 2)]


def disease_record(disease: Disease) -> dict[str, Any]:
    """Returns the record of one disease, with every published key."""
    chance = rng("disease record", disease.name)
    category = ["疾病百科", disease.departments[0], disease.departments[-1]]
    causes = [*disease.causes, disease.mechanism]
    kinds = ["people", "sym", "sign", "prog", "comp"]
    chance.shuffle(kinds)
    opening = _INDENT if chance.random() < 0.4 else ""
    return {
        "_id": _identity(disease.name),
        "name": disease.name,
        "desc": opening + compose(chance, disease, ["define", *kinds[:4]]),
        "category": list(dict.fromkeys(category)),
        "prevent": _numbered([*disease.prevention, *disease.living])
        + "\n"
        + compose(chance, disease, chance.sample(["diet", "nurse", "note", "dept"], 3)),
        "cause": compose(chance, disease, ["cause"])
        + "\n"
        + _numbered(chance.sample(causes, len(causes)))
        + "\n"
        + compose(chance, disease, chance.sample(["crit", "dd", "note", "test"], 3)),
        "symptom": list(disease.symptoms),
        "yibao_status": chance.choice(("是", "否")),
        "get_prob": disease.share,
        "easy_get": disease.people,
        "get_way": _WAYS.get(disease.name, "无传染性"),
        "acompany": list(disease.complications),
        "cure_department": list(disease.departments),
        "cure_way": [*disease.treatments, chance.choice(("药物治疗", "康复治疗", "支持性治疗"))],
        "cure_lasttime": f"约{disease.duration}" if disease.duration[0].isdigit() else disease.duration,
        "cured_prob": f"约{disease.success}" if disease.success[0].isdigit() else disease.success,
        "cost_money": _price(disease),
        "check": list(disease.tests),
        "common_drug": list(disease.drugs),
        "recommand_drug": some(chance, disease.drugs, 1),
        "do_eat": list(disease.eat),
        "not_eat": list(disease.avoid),
        "recommand_eat": [f"{food}{chance.choice(('粥', '汤', '羹', '小菜'))}" for food in disease.eat[:2]],
        "drug_detail": _details(chance, disease),
    }


def group_record(disease: Disease, letter: str) -> dict[str, Any]:
    """Returns the shorter record of a disease in children, old people or pregnant women."""
    prefix, warning, passage = _GROUPS[letter]
    name = prefix + disease.name
    chance = rng("group record", name)
    special = passage(body_systems()[disease.system])
    kinds = chance.sample(["people", "sym", "sign", "prog", "comp", "test", "last", "crit"], 5)
    asides = ["diet", "nurse", "care", "dept", "prev"] + (["note"] if letter == "老" else [])
    tail = chance.sample(asides, 4)
    return {
        "_id": _identity(name),
        "name": name,
        "desc": compose(chance, disease, ["define", *kinds[:3]]) + special + "。",
        "category": ["疾病百科", disease.departments[-1]],
        "prevent": compose(chance, disease, tail) + special + "。",
        "cause": compose(chance, disease, chance.sample(["cause", "mech", "dd"], 2) + kinds[3:])
        + warning
        + "。",
        "symptom": some(chance, disease.symptoms, 2),
        "acompany": some(chance, disease.complications, 1),
        "cure_department": [disease.departments[-1]],
        "cure_way": [warning],
        "check": some(chance, disease.tests, 2),
        "do_eat": some(chance, disease.eat, 2),
        "not_eat": some(chance, disease.avoid, 1),
        "common_drug": [],
        "drug_detail": None,
    }


def _with_gaps(record: dict[str, Any], place: int) -> dict[str, Any]:
    """Returns the record with empty values, null, absent keys or misspelled keys, depending on its place."""
    changed = dict(record)
    if place % 7 == 1:
        changed["cost_money"] = ""
        changed["recommand_eat"] = []
    if place % 9 == 2:
        changed["get_way"] = None
        changed["acompany"] = []
    if place % 8 == 3:
        for key in ("yibao_status", "drug_detail", "easy_get"):
            changed.pop(key, None)
    if place % 11 == 4:
        return {_MISSPELLED.get(key, key): value for key, value in changed.items()}
    if place % 23 == 5:
        changed["symptom"] = None
    return changed


def disease_records() -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """Returns the records of the main file and those of the GB18030 file (other diseases)."""
    everything = diseases()
    main = [disease_record(disease) for disease in everything if not _elsewhere(disease)]
    for disease in everything:
        if disease.system == "儿科" or disease.name.startswith(("小儿", "妊娠")):
            continue
        main.extend(group_record(disease, letter) for letter in disease.groups)
    other = [disease_record(disease) for disease in everything if _elsewhere(disease)]
    return [_with_gaps(record, place) for place, record in enumerate(main)], other


def _elsewhere(disease: Disease) -> bool:
    """Tells whether the disease is published in the GB18030 file: about one in six."""
    return rng("published in", disease.name).random() < 1 / 6


def write_diseases(hub: Path) -> list[SampleFile]:
    """Writes medical.json and medical_gb18030.json."""
    main, other = disease_records()
    return [
        write_jsonl(hub, _MAIN, main),
        write_jsonl(hub, _GB18030, other, encoding="gb18030", newline="\r\n"),
    ]
