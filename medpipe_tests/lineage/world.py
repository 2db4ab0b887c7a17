"""A small lake from published rows to a snapshot, and the folder of a run that trained on it."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from medpipe.catalog.source import Source
from medpipe.curate.config import CurateConfig
from medpipe.curate.corpus import build_corpus
from medpipe.curate.purposes import Purpose
from medpipe.ingest.snapshot import fetch
from medpipe.lake.dataset import Dataset, current, find_current
from medpipe.lake.files import write_json_atomically
from medpipe.lake.layout import Lake
from medpipe.normalize.run import normalize_source
from medpipe.pretrain.result import STAGE
from medpipe.records.kinds import Domain
from medpipe.settings import RefreshSettings, Settings
from medpipe.tokens.config import ShardConfig, TokenizerConfig
from medpipe.tokens.shards import build_shards
from medpipe.tokens.snapshot import CorpusSnapshot, build_snapshot
from medpipe.tokens.tokenizer import load_tokenizer, train_tokenizer
from medpipe_tests.making import article

SECRET = "患者周某三年前在海边小镇拔牙后牙龈红肿，医生嘱咐用淡盐水漱口并忌食辛辣，两周后复查时已经痊愈。"
NEAR = SECRET.replace("两周后复查时", "两周之后复查时")
CONFIG = CurateConfig(validation_share=0.11, minimum_characters=7)
"""Not the defaults: a rebuild must keep them."""
SHARDS = ShardConfig(max_tokens_per_shard=3_000)
TOKENIZER = TokenizerConfig(vocabulary_size=600, sample_bytes=100_000)


def catalog_yaml() -> str:
    def entry(name: str, path: str, domain: str, extra: str = "") -> str:
        return f"""
  - id: {name}
    title: nobody/{name}
    description: Written for a test.
    repository: nobody/{name}
    files: [{{path: {path}, domain: {domain}}}]
    kind: document
    layout: {{layout: text}}
    language: zh
    licence: {{name: apache-2.0}}
    uses: [pretraining]
    {extra}"""

    return "sources:" + "".join(
        (
            entry("first", "a.jsonl", "disease"),
            entry("second", "b.json", "disease"),
            entry("third", "c.jsonl", "tcm"),
        )
    )


@dataclass
class World:
    """A hub, a catalog and a lake."""

    root: Path

    @property
    def settings(self) -> Settings:
        return Settings(
            home=self.root / "home",
            hub=self.root / "hub",
            sources=self.root / "catalog",
            refresh=RefreshSettings(max_shrink=1),  # what shrinks here is not to wait for a person
        )

    @property
    def lake(self) -> Lake:
        return Lake(self.settings.lake)

    @property
    def sources(self) -> dict[str, Source]:
        from medpipe.catalog.selection import load_catalog

        return {s.id: s for s in load_catalog(self.settings).sources if s.id in ("first", "second", "third")}

    def write(self, name: str, path: str, texts: Iterable[str]) -> None:
        file = self.root / "hub" / "nobody" / name / path
        file.parent.mkdir(parents=True, exist_ok=True)
        rows = [{"text": text} for text in texts]
        if path.endswith(".jsonl"):
            file.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows))
        else:
            file.write_text(json.dumps(rows, ensure_ascii=False))

    def refresh(self) -> CorpusSnapshot:
        """What the assets do: rows, records, corpus, tokenizer, shards, snapshot."""
        lake, normalized = self.lake, {}
        for name, source in self.sources.items():
            raw = fetch(source, lake=lake, settings=self.settings).dataset
            normalized[name] = normalize_source(source, raw, lake=lake).dataset
        documents = build_corpus(
            Purpose.DOCUMENTS, normalized, self.sources, lake=lake, config=CONFIG
        ).dataset
        tokenizer = train_tokenizer(documents, lake=lake, config=TOKENIZER).dataset
        shards = {
            (domain.value, name): built.dataset
            for domain in (Domain.DISEASE, Domain.TCM)
            for name, built in build_shards(domain, documents, tokenizer, lake=lake, config=SHARDS).items()
        }
        revisions = {name: current(lake, "raw", name).digest for name in normalized}
        snapshot, _ = build_snapshot(
            lake, tokenizer=tokenizer, shards=shards, documents=documents, revisions=revisions
        )
        return snapshot

    def record(self, text: str, source: str = "first") -> str:
        """The id of the record with a text."""
        records = current(self.lake, "normalized", source)
        frame = pl.read_parquet(records.files("part-*.parquet"))
        return str(frame.filter(pl.col("text") == text)["id"][0])

    def shard_sets(self, snapshot: CorpusSnapshot) -> dict[tuple[str, str], Dataset]:
        found = {}
        for ref in snapshot.shards:
            dataset = find_current(self.lake, "shards", ref.domain, ref.source)
            assert dataset is not None and dataset.digest == ref.digest
            found[ref.domain, ref.source] = dataset
        return found

    def run(
        self, snapshot: CorpusSnapshot, *, steps: int = 40, checkpoints: Iterable[int] = (10, 40)
    ) -> Path:
        """The folder of a first stage over all shards of the domain `disease`, as training leaves it."""
        parts = []
        for (domain, source), dataset in self.shard_sets(snapshot).items():
            if domain == "disease":
                facts = dataset.manifest.facts["shards"]
                parts += [(f"{domain}/{source}/{dataset.digest}/{s['name']}", s) for s in facts]
        keys = [key for key, shard in parts if shard["split"] == "train"]
        return self._stage("fast", None, keys, snapshot, 0, steps, checkpoints)

    def _stage(
        self,
        name: str,
        parent: str | None,
        keys: list[str],
        snapshot: CorpusSnapshot,
        first: int,
        steps: int,
        checkpoints: Iterable[int],
        curriculum: str = "tiny",
        parent_run: str | None = None,
    ) -> Path:
        digest = f"{name:0<32}"[:32]
        folder = self.lake.runs(curriculum) / f"{digest}-5"
        facts: dict[str, Any] = {
            "stage": name,
            "digest": digest,
            "parent": parent,
            "first_step": first,
            "steps": steps,
            "sequences_per_step": 4,
            "sequence_length": 64,
            "snapshot": snapshot.name,
            "tokenizer": snapshot.tokenizer.digest,
            "components": [{"label": "disease", "samples": 4 * steps, "epochs": 1.0, "shards": keys}],
            "plan": {"seed": 5},
            **({} if parent_run is None else {"parent_run": parent_run}),
        }
        write_json_atomically(folder / STAGE, facts)
        for step in checkpoints:
            (folder / "checkpoints" / f"{step:08d}").mkdir(parents=True)
        return folder

    def next_run(
        self,
        snapshot: CorpusSnapshot,
        before: Path,
        *,
        first: int = 40,
        name: str = "stable",
        curriculum: str = "tiny",
    ) -> Path:
        """A stage on shards of `tcm` that goes on from another; in another curriculum it began with it."""
        datasets = self.shard_sets(snapshot)
        keys = [
            f"tcm/third/{datasets['tcm', 'third'].digest}/{shard['name']}"
            for shard in datasets["tcm", "third"].manifest.facts["shards"]
            if shard["split"] == "train"
        ]
        parent = before.name.removesuffix("-5")
        elsewhere = None if before.parent.name == curriculum else f"{before.parent.name}/{before.name}"
        return self._stage(
            name, parent, keys, snapshot, first, 10, (first + 10,), curriculum, parent_run=elsewhere
        )

    def holds(self, text: str, where: Path | None = None) -> list[str]:
        """Files below a folder of the lake that hold a text: as UTF-8, in Parquet, or as tokens."""
        root = where or self.lake.root
        documents = current(self.lake, "tokenizer", TOKENIZER.name)
        ids = load_tokenizer(documents).encode(text[2:-2]).ids
        inner = np.array(ids[2:-2], dtype="<u2").tobytes()  # its ends may merge with what is around it
        found = []
        for path in sorted(root.rglob("*")):
            if not path.is_file() or "tokenizer" in path.parts:
                continue
            data = path.read_bytes()
            if path.suffix == ".parquet":
                frame = pl.read_parquet(path).select(pl.col(pl.String))
                held = any(text in value for column in frame for value in column.drop_nulls())
            elif path.suffix == ".bin":
                held = inner in data
            else:
                held = text.encode() in data or json.dumps(text)[1:-1].encode() in data
            if held:
                found.append(path.relative_to(root).as_posix())
        return found


def make_world(root: Path) -> World:
    """Three sources: JSON Lines with the secret, a JSON array with a copy, one of another domain."""
    world = World(root)
    (root / "catalog").mkdir(parents=True)
    (root / "catalog" / "test.yaml").write_text(catalog_yaml())
    world.write(
        "first", "a.jsonl", [*(article(n) for n in range(40)), SECRET, *(article(n) for n in range(40, 80))]
    )
    copy = SECRET.replace("，", ", ")
    world.write("second", "b.json", [*(article(n) for n in range(200, 230)), copy])
    world.write("third", "c.jsonl", [article(n) for n in range(400, 440)])
    return world
