"""A small installation over a folder hub, whose corpus can be made in a few seconds."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import dagster as dg
import yaml

from medpipe.graph import build_definitions
from medpipe.lake.layout import Lake
from medpipe.pretrain.plan import builtin_plans
from medpipe.refresh.jobs import DATA_GROUPS
from medpipe.settings import Settings
from medpipe_tests.making import article

SOURCES = ("web", "guide")
STEPS = 4


def write_records(path: Path, numbers: range, **more: Any) -> None:
    """Writes one distinct article a number; further fields go into every record."""
    path.parent.mkdir(parents=True, exist_ok=True)
    lines = [json.dumps({"text": article(n), **more}, ensure_ascii=False) + "\n" for n in numbers]
    path.write_text("".join(lines), encoding="utf-8")


@dataclass(frozen=True)
class Installation:
    """Settings, and the folder hub that they name."""

    settings: Settings

    @property
    def lake(self) -> Lake:
        return Lake(self.settings.lake)

    def folder(self, source: str) -> Path:
        """Where a source's files lie in the folder hub."""
        return self.settings.home.parent / "hub" / "nobody" / source

    def definitions(self, **settings: Any) -> dg.Definitions:
        return build_definitions(self.settings.model_copy(update=settings))

    def build(
        self, instance: dg.DagsterInstance, *, run_config: dict[str, Any] | None = None, **settings: Any
    ) -> dg.ExecuteInProcessResult:
        """Materialises the data groups in this process; a failure is in the result."""
        definitions = self.definitions(**settings)
        graph = definitions.resolve_asset_graph()
        keys = dg.AssetSelection.groups(*DATA_GROUPS).resolve(graph)
        job = definitions.resolve_job_def("automatic_refresh").get_subset(asset_selection=set(keys))
        return job.execute_in_process(
            instance=instance, run_config=run_config or {"loggers": {"console": {}}}, raise_on_error=False
        )


def make_installation(folder: Path, *, sources: tuple[str, ...] = SOURCES, **settings: Any) -> Installation:
    """An installation with sources of documents, 60 records each, and a tiny plan."""
    entries = [
        {
            "id": source,
            "title": source.title(),
            "description": "Text.",
            "repository": f"nobody/{source}",
            "kind": "document",
            "language": "zh",
            "files": [{"path": "*.jsonl", "domain": "general" if source == "web" else "disease"}],
            "layout": {"layout": "text"},
            "licence": {"name": None},
            "uses": ["pretraining"],
        }
        for source in sources
    ]
    (folder / "sources").mkdir(parents=True)
    (folder / "sources" / "catalog.yaml").write_text(yaml.safe_dump({"sources": entries}))
    for number, source in enumerate(sources):
        write_records(folder / "hub/nobody" / source / "a.jsonl", range(1000 * number, 1000 * number + 60))
    plan: dict[str, Any] = yaml.safe_load(builtin_plans()["tiny"].read_text(encoding="utf-8"))
    plan |= {"name": "small", "tokenizer": {"vocabulary_size": 512}, "checkpoint_every_steps": STEPS}
    for stage in plan["stages"]:
        stage["tokens"] = STEPS * plan["batch_sequences"] * plan["sequence_length"]
    (folder / "plan.yaml").write_text(yaml.safe_dump(plan, allow_unicode=True), encoding="utf-8")
    values = {
        "hub": folder / "hub",
        "lake_root": None,
        "hf_endpoint": None,
        "hf_token": None,
        "home": folder / "home",
        "sources": folder / "sources",
        "plan": str(folder / "plan.yaml"),
    }
    return Installation(Settings(**(values | settings)))
