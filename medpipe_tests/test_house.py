"""The rules of the house: who may import whom, and where Dagster and heavy libraries may stand."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

import medpipe

PACKAGE = Path(medpipe.__file__).parent
GROUND = {"settings", "lake", "records", "catalog", "tracking"}
ROOMS = ["ingest", "normalize", "curate", "tokens", "pretrain", "evaluate"]
"""In the order the data flows."""
ROOF = {"graph", "definitions", "cli", "automation", "operate", "lineage", "refresh"}
HEAVY = {"torch", "mlflow", "datasets", "transformers"}
TRAINER_ONLY = {
    "attention",
    "batch",
    "bits_per_byte",
    "checkpoint",
    "dataset",
    "generate",
    "held_out",
    "laps",
    "loop",
    "loss",
    "model",
    "optimizer",
    "origin",
    "ranks",
    "rng",
    "stage_run",
    "training",
    "zero",
}
"""Modules of pretrain that only the trainer's own process imports."""


def modules() -> list[Path]:
    return sorted(PACKAGE.rglob("*.py"))


def is_dagster_face(path: Path) -> bool:
    """Whether a module belongs to the part of a room that Dagster sees."""
    return path.name in ("assets.py", "checks.py") or path.name.startswith("asset_")


def room_of(path: Path) -> str:
    return path.relative_to(PACKAGE).parts[0].removesuffix(".py")


def imports(path: Path, *, top_only: bool = False) -> Iterator[str]:
    tree = ast.parse(path.read_text(encoding="utf-8"))
    nodes = tree.body if top_only else ast.walk(tree)
    for node in nodes:
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield node.module or ""


def rooms_used(path: Path) -> set[str]:
    return {name.split(".")[1] for name in imports(path) if name.startswith("medpipe.")} - {room_of(path)}


@pytest.mark.parametrize("path", modules(), ids=lambda p: str(p.relative_to(PACKAGE)))
def test_arrows_point_upstream(path: Path) -> None:
    room = room_of(path)
    face = {"asset_metadata", "run_form"} if is_dagster_face(path) else set()
    if room in GROUND or room == "sample":
        allowed = GROUND
    elif room in ROOMS:
        allowed = GROUND | set(ROOMS[: ROOMS.index(room)]) | face
    else:
        return
    assert rooms_used(path) <= allowed, f"{room} imports {sorted(rooms_used(path) - allowed)}"


def test_rooms_have_no_circles() -> None:
    used: dict[str, set[str]] = {}
    for path in modules():
        used.setdefault(room_of(path), set()).update(rooms_used(path) - {"__init__"})
    while free := {room for room, others in used.items() if not others & used.keys()}:
        for room in free:
            del used[room]
    assert not used, f"these rooms import each other: {used}"


@pytest.mark.parametrize("path", modules(), ids=lambda p: str(p.relative_to(PACKAGE)))
def test_dagster_stands_in_its_places_only(path: Path) -> None:
    room = room_of(path)
    allowed = is_dagster_face(path) or room in ROOF | {
        "asset_metadata",
        "run_form",
        "console",
    }
    if not allowed:
        assert not {name.split(".")[0] for name in imports(path)} & {"dagster"}


@pytest.mark.parametrize("path", modules(), ids=lambda p: str(p.relative_to(PACKAGE)))
def test_heavy_libraries_are_imported_inside_functions(path: Path) -> None:
    if room_of(path) == "pretrain" and path.stem in TRAINER_ONLY:
        return
    assert not {name.split(".")[0] for name in imports(path, top_only=True)} & HEAVY


def test_only_settings_reads_the_environment() -> None:
    readers = {
        str(path.relative_to(PACKAGE))
        for path in modules()
        if "os.getenv" in path.read_text() or "environ.get(" in path.read_text()
    }
    # The launcher reads what torchrun says to each of its processes: no settings of a person.
    assert readers <= {"settings.py", "cli.py", "pretrain/launch.py"}


def test_modules_can_be_read_in_one_sitting() -> None:
    long = {
        str(path.relative_to(PACKAGE)): lines
        for path in modules()
        if (lines := len(path.read_text().splitlines())) > 300
    }
    assert not long
