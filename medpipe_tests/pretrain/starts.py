"""Plans that start from elsewhere, and published models to start from."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from torch import nn
from transformers import AutoConfig, AutoModelForCausalLM

from medpipe.pretrain.compile import CompiledPlan, compile_plan
from medpipe.pretrain.model import Compute
from medpipe.pretrain.plan import Plan, PlanError, Precision, builtin_plans, parse_plan
from medpipe_tests.pretrain.corpus import Corpus

REFRESH = {"run": "tiny", "stage": "stable"}
"""A refresh of the tiny plan."""
FP32 = Compute(torch.device("cpu"), Precision.FP32)
SMALL = {
    "hidden_size": 32,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "intermediate_size": 48,
    "max_position_embeddings": 128,
}


def save_model(folder: Path, corpus: Corpus, architecture: str = "llama", **changes: Any) -> nn.Module:
    """A published model as people find it: config, safetensors, and the tokenizer of the corpus."""
    torch.manual_seed(5)
    values = SMALL | {"vocab_size": 512, "head_dim": 16 if architecture == "qwen3" else 8} | changes
    model = AutoModelForCausalLM.from_config(AutoConfig.for_model(architecture, **values))
    model.save_pretrained(folder)
    reference = corpus.lake.dataset(
        "tokenizer", corpus.snapshot.tokenizer.name, digest=corpus.snapshot.tokenizer.digest
    )
    shutil.copyfile(reference / "tokenizer.json", folder / "tokenizer.json")
    return model


def plan_from(start: dict[str, Any], **changes: Any) -> Plan:
    values = yaml.safe_load(builtin_plans()["tiny"].read_text())
    if "model" in start:
        del values["model"]
    return parse_plan(values | {"start_from": start} | changes, origin="test")


def compiled_from(corpus: Corpus, start: dict[str, Any], **changes: Any) -> CompiledPlan:
    return compile_plan(plan_from(start, **changes), corpus.snapshot, corpus.lake)


def problems_of(corpus: Corpus, start: dict[str, Any], **changes: Any) -> str:
    with pytest.raises(PlanError) as caught:
        compiled_from(corpus, start, **changes)
    return "\n".join(caught.value.problems)
