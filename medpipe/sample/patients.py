"""What a patient says: who asks, the complaint in everyday words, questions and replies."""

from __future__ import annotations

import random

from medpipe.sample.fact_tables import Disease
from medpipe.sample.sentences import pattern, some

_RELATIVES = ("孩子", "宝宝", "我爸", "我妈", "老伴", "爱人", "父亲", "小学", "怀孕", "二十")
_WOMEN_NAMES = ("乳腺癌",)
_WOMEN_WORDS = ("例假", "月经", "内衣")
_MEN_NAMES = ("前列腺增生",)


def _sex(chance: random.Random, disease: Disease) -> str:
    told = disease.complaint + "".join(disease.symptoms)
    if disease.system == "妇产" or disease.name in _WOMEN_NAMES or any(word in told for word in _WOMEN_WORDS):
        return "女"
    if disease.name in _MEN_NAMES:
        return "男"
    return chance.choice(("男", "女"))


def _age(chance: random.Random, disease: Disease) -> int:
    if disease.name in _MEN_NAMES:
        return chance.randint(55, 80)
    if disease.system == "妇产":
        return chance.randint(22, 45)
    if "老" in disease.groups and "儿" not in disease.groups:
        return chance.randint(45, 79)
    return chance.randint(19, 46)


def introduction(chance: random.Random, disease: Disease) -> str:
    """Returns who asks, or "" where the complaint itself tells."""
    if disease.groups == "儿" or any(word in disease.complaint for word in _RELATIVES):
        return ""
    return pattern(chance, "who", age=_age(chance, disease), sex=_sex(chance, disease))


def complaint(chance: random.Random, disease: Disease) -> str:
    """Returns the complaint: the facts' own wording, or the symptoms with their duration."""
    if chance.random() < 0.5:
        return disease.complaint
    since = pattern(
        chance,
        "since",
        days=chance.randint(2, 12),
        weeks=chance.randint(2, 6),
        months=chance.randint(2, 9),
        unit=chance.choice(("周三", "周末", "个月", "星期")),
    )
    felt = chance.choice(("、", "，还有", "，伴")).join(some(chance, disease.symptoms, 2)[:3])
    shape = chance.randrange(4)
    if shape == 0:
        return f"最近{felt}，{since}"
    if shape == 1:
        return f"{since}，总是{felt}，心里没底"
    if shape == 2:
        return f"{felt}，{since}，自己吃过药不见好"
    return f"主要是{felt}；{since}，夜里和劳累后更明显"


def question(chance: random.Random, disease: Disease) -> str:
    """Returns a first message: who asks, the complaint and a question."""
    return f"{introduction(chance, disease)}{complaint(chance, disease)}，{pattern(chance, 'ask')}"


def probe(chance: random.Random, disease: Disease) -> str:
    """Returns a doctor's question back."""
    return pattern(
        chance,
        "probe",
        sym=chance.choice(disease.symptoms),
        comp=chance.choice(disease.complications),
        test=chance.choice(disease.tests),
    )


def reply(chance: random.Random, disease: Disease) -> str:
    """Returns the patient's answer to a question back."""
    return pattern(
        chance,
        "reply_yes",
        sym="和".join(some(chance, disease.symptoms, 2)[:2]),
        test=chance.choice(disease.tests),
        kin=chance.choice(("母亲", "父亲", "奶奶", "叔叔", "姐姐")),
    )


def follow_up(chance: random.Random) -> str:
    """Returns a further question of the patient."""
    return pattern(chance, "follow", topic=chance.choice(("饮食", "运动", "睡眠", "用药", "护理")))
