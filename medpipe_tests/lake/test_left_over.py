"""What a killed build leaves is removed by the next one; what a living one fills stays."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

from medpipe.lake.dataset import current, publish
from medpipe.lake.layout import Lake
from medpipe.lake.manifest import Recipe

CHILD = """
import sys, time
from pathlib import Path
from medpipe.lake.dataset import publish
from medpipe.lake.layout import Lake
from medpipe.lake.manifest import Recipe

with publish(Lake(Path(sys.argv[1])), "room", "name", recipe=Recipe(inputs={}, code_version="1")) as draft:
    (draft.path / "scratch").mkdir()
    (draft.path / "scratch/half.parquet").write_bytes(b"half")
    print("filling", flush=True)
    time.sleep(600)
"""


def drafts(lake: Lake) -> list[Path]:
    return sorted(lake.room("room", "name").glob(".*.tmp"))


def build(lake: Lake) -> None:
    with publish(lake, "room", "name", recipe=Recipe(inputs={}, code_version="1")) as draft:
        (draft.path / "whole.parquet").write_bytes(b"whole")


def test_a_killed_build_is_cleaned_up_after(tmp_path: Path) -> None:
    lake = Lake(tmp_path)
    child = subprocess.Popen([sys.executable, "-c", CHILD, str(tmp_path)], stdout=subprocess.PIPE)
    try:
        assert child.stdout is not None
        assert child.stdout.readline() == b"filling\n"
        [living] = drafts(lake)
        build(lake)
        assert drafts(lake) == [living], "another process is filling it"
        assert (living / "scratch/half.parquet").exists()
        os.kill(child.pid, signal.SIGKILL)
        child.wait(10)
        assert drafts(lake) == [living]
        build(lake)
    finally:
        child.kill()
        child.wait(10)
    assert drafts(lake) == []
    assert [path.name for path in current(lake, "room", "name").files()] == ["whole.parquet"]


def test_two_drafts_of_one_process_do_not_touch_each_other(tmp_path: Path) -> None:
    lake = Lake(tmp_path)
    recipe = Recipe(inputs={}, code_version="1")
    with publish(lake, "room", "name", recipe=recipe) as one:
        (one.path / "one.parquet").write_bytes(b"one")
        build(lake)
        assert (one.path / "one.parquet").exists()
    assert [path.name for path in current(lake, "room", "name").files()] == ["one.parquet"]
    assert drafts(lake) == []
