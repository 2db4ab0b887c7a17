"""Encyclopedia questions, answers and articles (huatuo_encyclopedia_qa and train_encyclopedia.json)."""

from __future__ import annotations

import random
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from medpipe.sample.fact_tables import Disease, Drug, diseases, drugs, lab_tests, patterns, symptoms, topics
from medpipe.sample.quirks import (
    broken_row,
    decorate,
    near_duplicates,
    with_exact_duplicates,
    wrong_type_row,
)
from medpipe.sample.sentences import compose, drug_note, pattern
from medpipe.sample.writing import SampleFile, rng, write_jsonl

_HUATUO = "FreedomIntelligence/huatuo_encyclopedia_qa"
_ARTICLES = "shibing624/medical/pretrain/train_encyclopedia.json"

_ANSWER_KINDS: dict[str, tuple[str, ...]] = {
    "define": ("define", "people", "sym"),
    "cause": ("cause", "mech", "people"),
    "mech": ("mech", "cause", "sign"),
    "sym": ("sym", "sign", "note"),
    "test": ("test", "crit", "note"),
    "tx": ("tx", "drug", "last"),
    "drug": ("drug", "note", "tx"),
    "comp": ("comp", "prog", "sign"),
    "dd": ("dd", "crit"),
    "prev": ("prev", "care", "diet"),
    "diet": ("diet", "care", "nurse"),
    "prog": ("prog", "last", "comp"),
    "care": ("care", "nurse", "diet"),
}


@dataclass(frozen=True)
class Pair:
    """A question, perhaps a second wording of it, and the answer."""

    question: str
    paraphrase: str
    answer: str

    def row(self) -> dict[str, Any]:
        """Returns the row in the layout of huatuo_encyclopedia_qa."""
        wordings = [self.question, self.paraphrase] if self.paraphrase else [self.question]
        return {"questions": [wordings], "answers": [self.answer]}


def _disease_pair(disease: Disease, kind: str) -> Pair:
    chance = rng("encyclopedia", disease.name, kind)
    wordings = chance.sample(patterns()[f"q_{kind}"], 2)
    main, *rest = _ANSWER_KINDS[kind]
    chance.shuffle(rest)
    answer = compose(chance, disease, [main, *rest[: chance.randint(1, 2)]])
    second = wordings[1].format(n=disease.name) if chance.random() < 0.4 else ""
    return Pair(wordings[0].format(n=disease.name), second, answer)


def _drug_pairs(drug: Drug) -> list[Pair]:
    chance = rng("encyclopedia drug", drug.name)
    usage = f"{drug.name}的用法用量"
    caution = f"服用{drug.name}有什么副作用？"
    return [
        Pair(usage, "", f"注意：{drug.name}为{drug.kind}，{drug.use}。{drug.caution}。"),
        Pair(
            caution,
            f"{drug.name}的不良反应",
            f"{drug.name}较常见的不良反应是{drug.harm}。{drug_note(chance, drug)}",
        ),
    ]


def _table_pairs() -> list[Pair]:
    pairs: list[Pair] = []
    for test in lab_tests().values():
        name = test.name
        answer = f"{name}检测的是{test.measures}，参考值{test.normal}。升高可见于{test.high}"
        lower = "" if test.low in ("——", "无临床意义") else f"，降低可见于{test.low}"
        pairs.append(
            Pair(
                f"{name}偏高说明什么？", f"{name}的正常值", f"{answer}{lower}。检查提示：{test.preparation}。"
            )
        )
    for item in symptoms().values():
        answer = f"{item.name}是指{item.meaning}，常见原因有{item.causes}。{item.aid}。"
        pairs.append(
            Pair(
                f"{item.name}是什么原因？",
                "",
                f"{answer}若{item.alarm}，要尽快就医，并做{item.tests}等检查。",
            )
        )
    for topic in topics():
        chance = rng("encyclopedia topic", topic.question)
        pairs.append(
            Pair(topic.question, "", "。".join(chance.sample(topic.sentences, len(topic.sentences))) + "。")
        )
    return pairs


@cache
def pairs() -> tuple[Pair, ...]:
    """Returns all question-answer pairs in a fixed random order."""
    found = _table_pairs()
    for drug in drugs().values():
        found.extend(_drug_pairs(drug))
    for disease in diseases():
        kinds = rng("encyclopedia kinds", disease.name).sample(sorted(_ANSWER_KINDS), 6)
        found.extend(_disease_pair(disease, kind) for kind in kinds)
    chance = rng("encyclopedia order")
    chance.shuffle(found)
    quirky = rng("encyclopedia quirks")
    return tuple(Pair(p.question, p.paraphrase, decorate(quirky, p.answer)) for p in found)


def shared_pairs() -> list[Pair]:
    """Returns the pairs that both publishers carry: the text is the same, only joined by the second."""
    return list(pairs()[:130])


def article(disease: Disease, part: int) -> str:
    """Returns a free encyclopedia text about one disease."""
    chance = rng("article", disease.name, part)
    plans = (
        ["define", "people", "cause", "sym", "sign", "prog", "dept"],
        ["mech", "comp", "test", "crit", "dd", "note", "note"],
        ["tx", "drug", "note", "diet", "care", "prev", "cost", "last"],
    )
    kinds = list(plans[part])
    head, tail = kinds[:1], kinds[1:]
    chance.shuffle(tail)
    heading = pattern(chance, chance.choice(("q_define", "q_tx", "q_sym")), n=disease.name)
    return (heading if chance.random() < 0.5 else "") + compose(
        chance, disease, head + tail[: chance.randint(4, 6)]
    )


def _articles() -> list[str]:
    texts = [p.question + p.answer for p in shared_pairs()]
    for disease in diseases():
        texts.extend(article(disease, part) for part in rng("articles", disease.name).sample(range(3), 3))
    chance: random.Random = rng("articles order")
    chance.shuffle(texts)
    return texts + near_duplicates(rng("articles near"), texts, 12)


def write_encyclopedia(hub: Path) -> list[SampleFile]:
    """Writes the three files of huatuo_encyclopedia_qa and train_encyclopedia.json."""
    rows = [pair.row() for pair in pairs()]
    train, validation, test = rows[:-80], rows[-80:-40], rows[-40:]
    train = with_exact_duplicates(rng("huatuo duplicates"), train, 4)
    articles = [{"text": text} for text in _articles()]
    return [
        write_jsonl(hub, f"{_HUATUO}/train_datasets.jsonl", [*train, wrong_type_row("这一行不是对象")]),
        write_jsonl(hub, f"{_HUATUO}/validation_datasets.jsonl", validation),
        write_jsonl(hub, f"{_HUATUO}/test_datasets.jsonl", test),
        write_jsonl(hub, _ARTICLES, [*articles[:50], broken_row(articles[50]), *articles[50:]]),
    ]
