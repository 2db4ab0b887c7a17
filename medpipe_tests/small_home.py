"""A home of two small sources and a plan of eight steps a stage."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import yaml

from medpipe.pretrain.plan import builtin_plans
from medpipe_tests.making import article

STEPS = 8
CATALOG = """
sources:
  - {id: web, title: Web, description: Text., repository: nobody/web, kind: document, language: zh,
     files: [{path: "*.jsonl", domain: general}], layout: {layout: text}, licence: {name: null},
     uses: [pretraining]}
  - {id: guide, title: Guide, description: Text., repository: nobody/guide, kind: document, language: zh,
     files: [{path: "*.jsonl", domain: disease}], layout: {layout: text}, licence: {name: null},
     uses: [pretraining]}
"""


def write_records(path: Path, numbers: range) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(json.dumps({"text": article(n)}, ensure_ascii=False) + "\n" for n in numbers))


def write_plan(path: Path) -> Path:
    plan: dict[str, Any] = yaml.safe_load(builtin_plans()["tiny"].read_text(encoding="utf-8"))
    plan |= {"name": "small", "tokenizer": {"vocabulary_size": 512}, "checkpoint_every_steps": 4}
    for stage in plan["stages"]:
        stage["tokens"] = STEPS * plan["batch_sequences"] * plan["sequence_length"]
    path.write_text(yaml.safe_dump(plan, allow_unicode=True), encoding="utf-8")
    return path
