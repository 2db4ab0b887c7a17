"""Preference rows (shibing624/medical reward): a question, a chosen and a rejected answer."""

from __future__ import annotations

from pathlib import Path

from medpipe.sample.dialogues import advice
from medpipe.sample.fact_tables import Disease, diseases, patterns
from medpipe.sample.patients import complaint, introduction
from medpipe.sample.sentences import pattern
from medpipe.sample.writing import SampleFile, rng, write_jsonl

_REWARD = "shibing624/medical/reward"


def preference(disease: Disease, number: int) -> dict[str, str]:
    """Returns one row; title and detail are joined by "？，", as published."""
    chance = rng("preference", disease.name, number)
    title = chance.choice([*patterns()["q_tx"], *patterns()["q_cause"]]).format(n=disease.name).rstrip("？")
    detail = introduction(chance, disease) + complaint(chance, disease)
    chosen = advice(chance, disease, "tx", 3)
    if chance.random() < 0.12:
        chosen += "医生询问："
    rejected = pattern(chance, "greet") + pattern(chance, "poor")
    return {"question": f"{title}？，{detail}", "response_chosen": chosen, "response_rejected": rejected}


def write_preferences(hub: Path) -> list[SampleFile]:
    """Writes the three reward files."""
    rows = [preference(disease, number) for disease in diseases() for number in range(2)]
    rng("preference order").shuffle(rows)
    parts = {"train": rows[:-40], "valid": rows[-40:-20], "test": rows[-20:]}
    return [write_jsonl(hub, f"{_REWARD}/{name}.json", part) for name, part in parts.items()]
