"""The Dagster instance and the lock on a home."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from medpipe.operate.instance import (
    HomeInUseError,
    exclusive_home,
    open_instance,
    render_instance_config,
)
from medpipe.settings import Settings

REPOSITORY = Path(__file__).resolve().parents[2]


def test_the_repository_serves_the_template_for_the_default_home() -> None:
    assert (REPOSITORY / "dagster.yaml").read_text() == render_instance_config(".medpipe/dagster")


def test_runs_are_kept_over_a_restart(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import dagster as dg

    monkeypatch.setenv("DAGSTER_HOME", "")
    settings = Settings(home=tmp_path)

    @dg.asset
    def something() -> int:
        return 1

    with open_instance(settings) as instance:
        dg.materialize([something], instance=instance)
    with open_instance(settings) as instance:
        assert instance.get_runs_count() == 1
        assert not instance.telemetry_enabled


def test_a_second_run_on_the_same_home_is_refused_and_names_the_first(tmp_path: Path) -> None:
    program = (
        "import sys, time\n"
        "from pathlib import Path\n"
        "from medpipe.operate.instance import exclusive_home\n"
        "from medpipe.settings import Settings\n"
        "with exclusive_home(Settings(home=Path(sys.argv[1]))):\n"
        "    print('held', flush=True)\n"
        "    sys.stdin.read()\n"
    )
    holder = subprocess.Popen(
        [sys.executable, "-c", program, str(tmp_path)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert holder.stdout is not None
    assert holder.stdout.readline() == "held\n"
    settings = Settings(home=tmp_path)
    with (
        pytest.raises(HomeInUseError, match=rf"process {holder.pid} .*MEDPIPE_HOME"),
        exclusive_home(settings),
    ):
        pass
    holder.communicate("")
    with exclusive_home(settings):
        pass
