"""What the sides of the training bench read, made once in a folder.

The sample corpus that ships in the package as shards, a plan a mode, and the same tokens end to end in one
file of uint16, as other trainers want them. Nothing of this is timed.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from importlib import resources
from pathlib import Path
from typing import Any

import numpy as np
import yaml

from medpipe.lake.layout import Lake
from medpipe.pretrain.compile import CompiledPlan, compile_plan
from medpipe.pretrain.plan import load_plan
from medpipe.tokens.shard import open_shards
from medpipe.tokens.snapshot import read_snapshot

STAGE = "fast"
"""The stage that is trained."""
TOKENS, FACTS = "train.bin", "training.json"


@dataclass(frozen=True)
class Work:
    """How much is trained."""

    sequences: int
    """Windows of a batch."""
    warm_steps: int
    """Steps before the clock starts."""
    steps: int
    """Steps that count: whole intervals between checkpoints."""
    checkpoint_every: int
    """Steps from checkpoint to checkpoint: as many tokens as in the demo."""

    @property
    def all_steps(self) -> int:
        """Steps that are taken, one behind the clock's end."""
        return self.warm_steps + self.steps + 1


@dataclass(frozen=True)
class TrainingInputs:
    """Where everything is."""

    folder: Path

    @property
    def lake(self) -> Lake:
        """A lake with shards and their snapshot."""
        return Lake(self.folder / "home" / "lake")

    @property
    def facts(self) -> dict[str, Any]:
        """Model, vocabulary and sizes."""
        return dict(json.loads((self.folder / FACTS).read_text()))

    @property
    def work(self) -> Work:
        """How much is trained."""
        return Work(**self.facts["work"])

    @property
    def tokens(self) -> Path:
        """All training tokens, uint16."""
        return self.folder / TOKENS

    def plan(self, *, compiled_blocks: bool) -> CompiledPlan:
        """The demo's plan with the batch of the bench."""
        plan = load_plan(self.folder / f"plan-{'compiled' if compiled_blocks else 'eager'}.yaml")
        return compile_plan(plan, read_snapshot(self.lake), self.lake)


def work_like_the_demo(*, sequences: int = 32, intervals: int = 1) -> Work:
    """Work with as many tokens between checkpoints as in the demo.

    Args:
        sequences: windows of a batch.
        intervals: checkpoints that the counted steps take.
    """
    demo = _demo()
    tokens = demo["checkpoint_every_steps"] * demo["batch_tokens"]
    every = max(1, tokens // (sequences * demo["sequence_length"]))
    return Work(sequences=sequences, warm_steps=8, steps=intervals * every, checkpoint_every=every)


def make_training_inputs(folder: Path, work: Work) -> TrainingInputs:
    """Makes all that is not there yet."""
    inputs = TrainingInputs(folder)
    if not (inputs.lake.root / "snapshots" / "current.json").is_file():
        _make_shards(folder / "home")
    shards = open_shards(inputs.lake, read_snapshot(inputs.lake), split="train")
    np.concatenate([shard.tokens for shard in shards]).astype("<u2").tofile(inputs.tokens)
    demo = _demo()
    for mode in ("eager", "compiled"):
        path = folder / f"plan-{mode}.yaml"
        path.write_text(yaml.safe_dump(_plan(demo, work, mode), sort_keys=False))
    model = demo["model"]
    facts = {
        "work": asdict(work),
        "sequence_length": demo["sequence_length"],
        "vocabulary_size": shards[0].vocabulary_size,
        "eos_id": shards[0].eos_id,
        "model": model,
        "peak_learning_rate": demo["optimizer"]["peak_learning_rate"],
        "threads": demo["threads"],
    }
    (folder / FACTS).write_text(json.dumps(facts))
    return inputs


def _demo() -> dict[str, Any]:
    text = resources.files("medpipe.pretrain").joinpath("plans/demo.yaml").read_text(encoding="utf-8")
    return dict(yaml.safe_load(text))


def _make_shards(home: Path) -> None:
    # Imported here: the sides need no Dagster.
    from medpipe.operate.demo import VALIDATION_SHARE, demo_settings, sample_hub
    from medpipe.operate.materialise import materialise
    from medpipe.sample.generate import generate
    from medpipe.settings import Settings

    settings = demo_settings(Settings(home=home))
    generate(sample_hub(settings))
    share = {"config": {"validation_share": VALIDATION_SHARE}}
    materialise(settings, selection="+group:tokens", run_config={"ops": {"corpus__documents": share}})


def _plan(demo: dict[str, Any], work: Work, mode: str) -> dict[str, Any]:
    tokens = work.sequences * demo["sequence_length"]
    stages = [dict(stage) for stage in demo["stages"]]
    for stage in stages:
        stage["tokens"] = tokens * (work.all_steps if stage["name"] == STAGE else 2)
        if "warmup_tokens" in stage["learning_rate"]:
            stage["learning_rate"] = {**stage["learning_rate"], "warmup_tokens": tokens * 2}
    return {
        **demo,
        "name": f"bench-{mode}",
        "batch_tokens": tokens,
        "checkpoint_every_steps": work.checkpoint_every,
        "maximum_epochs": 10_000,
        "compile_blocks": mode == "compiled",
        "stages": stages,
    }
