"""What a run in MLflow is told about itself: plain values that any trainer can fill in."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import orjson


@dataclass(frozen=True, kw_only=True)
class DatasetFacts:
    """One data set that a stage read."""

    name: str
    """Such as `shards/dialogue/huatuo_lite`."""
    digest: str
    uri: str
    """Where it lies."""


@dataclass(frozen=True, kw_only=True)
class StartFacts:
    """The checkpoint of an earlier run that a curriculum goes on from."""

    run: str
    """Run folder that wrote it: `<curriculum>/<stage digest>-<seed>`."""
    stage: str
    stage_digest: str
    checkpoint: str
    """Its digest."""
    step: int
    """Optimizer steps behind it."""
    snapshot: str
    """Corpus snapshot that the earlier run read."""

    @property
    def seed(self) -> str:
        """Seed of the earlier run."""
        return self.run.rpartition("-")[2]


@dataclass(frozen=True, kw_only=True)
class CurriculumFacts:
    """All stages together: one parent run in MLflow."""

    name: str
    """The plan's name."""
    digest: str
    """Stays the same however often the curriculum is resumed; another digest is another parent run."""
    plan_yaml: str
    params: Mapping[str, Any] = field(default_factory=dict)
    """The plan's fields, nested as they are."""
    tokenizer: str
    """Digest of the tokenizer."""
    snapshot: str
    """Name of the corpus snapshot."""
    revisions: Mapping[str, str] = field(default_factory=dict)
    """Revision of each source by its id."""
    start: StartFacts | None = None
    """Where it begins, if not with weights of its own."""


@dataclass(frozen=True, kw_only=True)
class StageFacts:
    """One stage: one nested run in MLflow."""

    name: str
    digest: str
    seed: int = 0
    last: bool = False
    """The curriculum ends with this stage."""
    complete: bool = False
    """The stage was complete before: its runs are filled up, not set to running again."""
    params: Mapping[str, Any] = field(default_factory=dict)
    """The stage's fields, nested as they are."""
    datasets: Sequence[DatasetFacts] = ()


@dataclass(frozen=True, kw_only=True)
class DagsterLink:
    """The Dagster run at work."""

    run_id: str
    asset_key: str
    root_run_id: str | None = None
    """First run of a chain of retries."""
    partition: str | None = None


def flatten(values: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, str]]:
    """Nested fields as dotted names and text values, the form of MLflow's params.

    The items of a list of mappings are named by their `name` where all have one, else by their position.
    Fields without a value are left out.

    Yields:
        Such as `("stages.fast.tokens", "200000")`.
    """
    for key, value in values.items():
        name = f"{prefix}{key}"
        if isinstance(value, Mapping):
            yield from flatten(value, f"{name}.")
        elif isinstance(value, list | tuple) and value and all(isinstance(v, Mapping) for v in value):
            yield from flatten(_named(value), f"{name}.")
        elif isinstance(value, list | tuple | set | frozenset):
            items = sorted(value, key=str) if isinstance(value, set | frozenset) else list(value)
            yield name, orjson.dumps(items, default=str).decode()
        elif value is not None:
            yield name, str(value)


def _named(items: Sequence[Mapping[str, Any]]) -> dict[str, Mapping[str, Any]]:
    names = [str(item.get("name", "")) for item in items]
    if all(names) and len(set(names)) == len(names):
        return {
            name: {k: v for k, v in item.items() if k != "name"}
            for name, item in zip(names, items, strict=True)
        }
    return {str(position): item for position, item in enumerate(items)}
