from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from medpipe_tests.lineage.world import World, make_world


@pytest.fixture(scope="session")
def built(tmp_path_factory: pytest.TempPathFactory) -> World:
    """A world with a snapshot and two runs that no test changes."""
    world = make_world(tmp_path_factory.mktemp("world"))
    snapshot = world.refresh()
    world.next_run(snapshot, world.run(snapshot))
    return world


@pytest.fixture
def world(built: World, tmp_path: Path) -> World:
    """A copy that the test may change."""
    shutil.copytree(built.root, tmp_path / "world")
    return World(tmp_path / "world")
