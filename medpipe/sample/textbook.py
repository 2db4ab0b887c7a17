"""Textbook passages (medical_book_zh.json): mechanism, examination, treatment, pharmacology, nursing."""

from __future__ import annotations

import random
from collections.abc import Callable
from pathlib import Path

from medpipe.sample.fact_tables import Disease, body_systems, diseases, drugs, lab_tests, symptoms
from medpipe.sample.quirks import near_duplicates, with_exact_duplicates
from medpipe.sample.sentences import compose, pattern, say
from medpipe.sample.writing import SampleFile, rng, write_jsonl

_BOOK = "shibing624/medical/pretrain/medical_book_zh.json"
_LEAST = 320
_PLANS: dict[str, tuple[str, ...]] = {
    "病因与病理": ("define", "cause", "mech", "people", "sign", "comp", "prog", "note"),
    "诊断与鉴别": ("sym", "sign", "test", "crit", "dd", "note", "note", "define"),
    "治疗与护理": ("tx", "drug", "note", "nurse", "care", "diet", "prev", "last", "prog"),
}


def disease_passage(disease: Disease, plan: str) -> str:
    """Returns a passage about one side of a disease, at least `_LEAST` characters long where facts allow."""
    chance = rng("textbook", disease.name, plan)
    first, *rest = _PLANS[plan]
    chance.shuffle(rest)
    lead = pattern(chance, "lead_textbook")
    text = f"{lead}{disease.name}的{plan}\n\u3000\u3000" if chance.random() < 0.6 else "\u3000\u3000"
    text += compose(chance, disease, [first, *rest])
    spare = [kind for kind in ("mech", "sym", "dd", "crit", "tx", "prev", "comp") if kind not in _PLANS[plan]]
    chance.shuffle(spare)
    for kind in spare:
        if len(text) >= _LEAST:
            break
        text += say(chance, disease, kind)
    return text


def _system_passages() -> list[str]:
    texts = []
    for system in body_systems().values():
        chance = rng("textbook system", system.name)
        examples = [disease for disease in diseases() if disease.system == system.name]
        shown = chance.sample(examples, min(3, len(examples)))
        lines = [system.anatomy + "。", system.examination + "。"]
        lines += [compose(chance, disease, ["mech", "sign"]) for disease in shown]
        texts.append(f"{system.name}：解剖生理与检查\n" + "\n".join("\u3000\u3000" + line for line in lines))
        nursing = "；".join(system.nursing)
        care = [compose(chance, disease, ["care", "diet", "nurse"]) for disease in shown]
        texts.append(f"{system.name}类疾病的护理：{nursing}。{system.old}。{system.young}。" + "".join(care))
    return texts


def _groups(names: list[str], size: int, passage: Callable[[random.Random, str], str], key: str) -> list[str]:
    """Returns passages that treat `size` names each, in a fixed random order."""
    chance = rng("textbook groups", key)
    chance.shuffle(names)
    return [
        "".join(passage(chance, name) for name in names[start : start + size])
        for start in range(0, len(names), size)
    ]


def _drug_paragraph(chance: random.Random, name: str) -> str:
    drug = drugs()[name]
    styles = (
        f"{name}：{drug.kind}。作用机制为{drug.action}。用途与剂量：{drug.use}。不良反应有{drug.harm}。{drug.caution}。",
        f"【{name}】本品是{drug.kind}，能{drug.action}。临床用于{drug.use}；用药中可见{drug.harm}，{drug.caution}。",
        f"在{drug.kind}里，{name}较有代表性，其药理作用是{drug.action}，用法为{drug.use}。应注意{drug.caution}，并观察{drug.harm}。",
    )
    return chance.choice(styles)


def _lab_paragraph(chance: random.Random, name: str) -> str:
    test = lab_tests()[name]
    lower = "" if test.low in ("——", "无临床意义") else f"；减低见于{test.low}"
    styles = (
        f"{name}：{test.measures}。参考区间{test.normal}。增高见于{test.high}{lower}。采样须知：{test.preparation}。",
        f"检验{name}是为了了解{test.measures}，正常为{test.normal}，{test.high}时升高{lower}，{test.preparation}。",
    )
    return chance.choice(styles)


def _symptom_paragraph(chance: random.Random, name: str) -> str:
    item = symptoms()[name]
    styles = (
        f"{name}（{item.meaning}）：多由{item.causes}引起；{item.alarm}为危险信号；应急处理：{item.aid}；检查可选{item.tests}。",
        f"问诊遇到{name}，先核实是否{item.meaning}，再想到{item.causes}；凡{item.alarm}者优先处理，检查选{item.tests}。",
    )
    return chance.choice(styles)


def passages() -> list[str]:
    """Returns all textbook passages in a fixed random order, near-duplicates last."""
    texts = [disease_passage(disease, plan) for disease in diseases() for plan in _PLANS]
    texts += _system_passages()
    texts += _groups(list(drugs()), 4, _drug_paragraph, "drugs")
    texts += _groups(list(lab_tests()), 6, _lab_paragraph, "tests")
    texts += _groups(list(symptoms()), 6, _symptom_paragraph, "symptoms")
    rng("textbook order").shuffle(texts)
    return texts + near_duplicates(rng("textbook near"), texts, 15)


def write_textbook(hub: Path) -> list[SampleFile]:
    """Writes medical_book_zh.json."""
    rows = [{"text": text} for text in passages()]
    return [write_jsonl(hub, _BOOK, with_exact_duplicates(rng("textbook duplicates"), rows, 6))]
