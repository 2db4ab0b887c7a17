"""Instructions and conversations (train_zh_0.json and HuatuoGPT_sft_data_v1.jsonl)."""

from __future__ import annotations

import random
from pathlib import Path

from medpipe.sample.fact_tables import Disease, Drug, diseases, drugs, lab_tests, symptoms, topics
from medpipe.sample.patients import complaint, follow_up, introduction, probe, question, reply
from medpipe.sample.quirks import TELEPHONE, broken_row, decorate, near_duplicate, with_exact_duplicates
from medpipe.sample.sentences import compose, drug_note, lab_note, note, pattern
from medpipe.sample.writing import SampleFile, rng, write_jsonl

Instruction = dict[str, str]

_FINETUNE = "shibing624/medical/finetune"
_HUATUO_GPT = "FreedomIntelligence/HuatuoGPT-sft-data-v1/HuatuoGPT_sft_data_v1.jsonl"
_ADVICE_KINDS = (
    "cause",
    "sym",
    "test",
    "tx",
    "drug",
    "care",
    "diet",
    "dept",
    "dd",
    "prog",
    "crit",
    "comp",
    "prev",
    "note",
)
_OPENINGS = ("考虑是{name}", "比较像{name}", "首先要排除{name}", "{name}的可能性较大", "不排除{name}")
_TASKS = (
    ("请根据下面的病情描述给出建议。", "tx"),
    ("阅读患者自述，列出需要做的检查。", "test"),
    ("判断可能的疾病并说明理由。", "sign"),
    ("用通俗的话解释病因。", "cause"),
    ("写出出院后的生活指导。", "care"),
    ("说明需要与哪些疾病鉴别。", "dd"),
)


def advice(chance: random.Random, disease: Disease, first: str | None = None, count: int = 3) -> str:
    """Returns a doctor's answer: an impression and some sentences of advice."""
    kinds = chance.sample(_ADVICE_KINDS, count)
    if first is not None:
        kinds = [first, *(kind for kind in kinds if kind != first)]
    impression = chance.choice(_OPENINGS).format(name=disease.name) + "。"
    return pattern(chance, "greet") + impression + compose(chance, disease, kinds) + pattern(chance, "close")


def _instructions_of(disease: Disease) -> list[Instruction]:
    rows: list[Instruction] = []
    for turn in range(3):
        chance = rng("instruction", disease.name, turn)
        if turn < 2:
            asked = question(chance, disease)
            rows.append(
                {
                    "instruction": asked,
                    "input": "",
                    "output": advice(chance, disease, None, chance.randint(3, 5)),
                }
            )
            continue
        task, kind = chance.choice(_TASKS)
        story = introduction(chance, disease) + complaint(chance, disease)
        rows.append({"instruction": task, "input": story, "output": advice(chance, disease, kind)})
    return rows


def _drug_instruction(drug: Drug) -> Instruction:
    chance = rng("instruction drug", drug.name)
    shapes = (
        (f"医生给我开了{drug.name}，怎么吃？", f"{drug.use}，请按处方执行。"),
        (f"{drug.name}和别的药能一起吃吗？要注意啥", f"先提醒一点，{drug.caution}。"),
        (f"吃{drug.name}后不舒服，是不是副作用？", f"它可能引起{drug.harm}，请记下出现的时间。"),
    )
    asked, answer = chance.choice(shapes)
    output = pattern(chance, "greet") + answer + drug_note(chance, drug) + pattern(chance, "close")
    return {"instruction": asked, "input": "", "output": output}


def instructions() -> list[Instruction]:
    """Returns all Chinese instruction rows in a fixed random order."""
    rows = [row for disease in diseases() for row in _instructions_of(disease)]
    rows += [_drug_instruction(drug) for drug in drugs().values()]
    for test in lab_tests().values():
        chance = rng("instruction test", test.name)
        worry = chance.choice(("要紧吗？", "说明什么？", "需要复查吗？"))
        output = [pattern(chance, "greet"), lab_note(chance, test)]
        output += [f"升高时要想到{test.high}。", pattern(chance, "close")]
        asked = f"化验单上{test.name}有个箭头，{worry}"
        rows.append({"instruction": asked, "input": "", "output": "".join(output)})
    for item in symptoms().values():
        chance = rng("instruction symptom", item.name)
        asked = f"这几天{item.name}，{pattern(chance, 'ask')}"
        output = [pattern(chance, "greet"), f"{item.name}多与{item.causes}有关，先这样处理：{item.aid}；"]
        output += [f"若{item.alarm}应马上就医。", f"检查先做{item.tests}。"]
        rows.append({"instruction": asked, "input": "", "output": "".join(output)})
    for topic in topics():
        rows.append({"instruction": topic.question, "input": "", "output": "；".join(topic.sentences) + "。"})
    rng("instruction order").shuffle(rows)
    quirky = rng("instruction quirks")
    return [{**row, "output": decorate(quirky, row["output"])} for row in rows]


def conversation(disease: Disease, number: int) -> list[str]:
    """Returns a conversation of one to four rounds."""
    chance = rng("conversation", disease.name, number)
    rounds = chance.randint(1, 4)
    turns = ["问：" + question(chance, disease)]
    if rounds == 1:
        return [*turns, "答：" + advice(chance, disease, None, 4)]
    turns.append("答：" + pattern(chance, "greet") + probe(chance, disease))
    turns.append("问：" + reply(chance, disease))
    turns.append("答：" + advice(chance, disease, chance.choice(("test", "sign", "crit")), 3))
    endings = [("diet", "care", "nurse"), ("prog", "last", "cost", "comp")]
    for ending in endings[: rounds - 2]:
        turns.append("问：" + follow_up(chance))
        picked = chance.sample(ending, 2)
        turns.append(
            "答：" + compose(chance, disease, picked) + note(chance, disease) + pattern(chance, "close")
        )
    return turns


def conversations() -> list[dict[str, list[str]]]:
    """Returns all conversations in a fixed random order."""
    rows = [{"data": conversation(disease, number)} for disease in diseases() for number in range(2)]
    rng("conversation order").shuffle(rows)
    rows[7]["data"][-1] += f"预约电话（虚构）：{TELEPHONE}。"
    return rows


def write_dialogues(hub: Path) -> list[SampleFile]:
    """Writes the Chinese finetune files and the HuatuoGPT file."""
    rows = instructions()
    train, valid, test = rows[:-60], rows[-60:-30], rows[-30:]
    chance = rng("instruction near")
    long_rows = [row for row in train if len(row["output"]) >= 180]
    near = [{**row, "output": near_duplicate(chance, row["output"])} for row in chance.sample(long_rows, 12)]
    train[3] = {**train[3], "output": train[3]["output"] + f"咨询电话（虚构）{TELEPHONE}。"}
    train = with_exact_duplicates(rng("instruction duplicates"), [*train, *near], 5)
    talks = conversations()
    return [
        write_jsonl(hub, f"{_FINETUNE}/train_zh_0.json", [*train[:90], broken_row(train[90]), *train[90:]]),
        write_jsonl(hub, f"{_FINETUNE}/valid_zh_0.json", valid, bom=True),
        write_jsonl(hub, f"{_FINETUNE}/test_zh_0.json", test),
        write_jsonl(hub, _HUATUO_GPT, [*talks[:60], broken_row(talks[60]), *talks[60:]]),
    ]
