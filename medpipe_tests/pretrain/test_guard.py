from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from medpipe.pretrain.guard import PARENT_VARIABLE, RunLockedError, run_lock, wait_for_lock
from medpipe.pretrain.launch import trainer_command, trainer_environment

GUARD = [sys.executable, "-m", "medpipe.pretrain.guard"]
linux = pytest.mark.skipif(sys.platform != "linux", reason="the parent's death is signalled on Linux only")


def alive(pid: int) -> bool:
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0]
    except FileNotFoundError:
        return False
    return state != "Z"


@linux
def test_the_command_gets_sigterm_when_its_parent_is_killed(tmp_path: Path) -> None:
    child = (
        "import signal, sys, time, pathlib, os\n"
        f"folder = pathlib.Path({str(tmp_path)!r})\n"
        "signal.signal(signal.SIGTERM, lambda *a: ((folder / 'saved').write_text('x'), os._exit(0)))\n"
        "(folder / 'pid').write_text(str(os.getpid()))\n"
        "time.sleep(60)\n"
    )
    command = [*GUARD, "--", sys.executable, "-c", child]
    parent = subprocess.Popen(
        [sys.executable, "-c", f"import subprocess; subprocess.run({command!r})"], cwd=Path.cwd()
    )
    deadline = time.monotonic() + 50
    while not (tmp_path / "pid").exists() or not (tmp_path / "pid").read_text():
        assert time.monotonic() < deadline
        time.sleep(0.02)
    pid = int((tmp_path / "pid").read_text())
    assert alive(pid)
    parent.send_signal(signal.SIGKILL)
    parent.wait()
    while alive(pid):
        assert time.monotonic() < deadline
        time.sleep(0.02)
    assert (tmp_path / "saved").exists()


@linux
def test_nothing_is_started_for_a_launcher_that_is_gone(tmp_path: Path) -> None:
    out = subprocess.run(
        [*GUARD, "--", "touch", str(tmp_path / "started")],
        env=os.environ | {PARENT_VARIABLE: "1"},
        capture_output=True,
        text=True,
        timeout=30,
    )
    assert out.returncode == 1
    assert "has ended; not starting touch" in out.stderr
    assert not (tmp_path / "started").exists()


def test_the_guard_becomes_the_command() -> None:
    out = subprocess.run(
        [*GUARD, "--", sys.executable, "-c", f"import os; print(os.environ.get({PARENT_VARIABLE!r}))"],
        env=os.environ | trainer_environment(),
        capture_output=True,
        text=True,
        timeout=30,
    )
    assert (out.returncode, out.stdout.strip()) == (0, "None")


def test_usage_and_unknown_command() -> None:
    for command, code, text in (
        ([], 2, "usage"),
        (["--", "/no/such/program"], 127, "cannot start /no/such/program"),
    ):
        out = subprocess.run([*GUARD, *command], capture_output=True, text=True, timeout=30)
        assert out.returncode == code
        assert text in out.stderr


def test_lock_is_exclusive_and_freed(tmp_path: Path) -> None:
    with run_lock(tmp_path):
        code = (
            "import pathlib\nfrom medpipe.pretrain.guard import run_lock\n"
            f"with run_lock(pathlib.Path({str(tmp_path)!r})): pass"
        )
        out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=30)
        assert out.returncode == 1
        assert f"process {os.getpid()} is training in {tmp_path}" in out.stderr
        assert f"kill -INT {os.getpid()}" in out.stderr
        with pytest.raises(RunLockedError), run_lock(tmp_path):
            pass
    with run_lock(tmp_path):
        pass


def test_a_killed_holder_frees_the_lock(tmp_path: Path) -> None:
    code = (
        "import pathlib, time\nfrom medpipe.pretrain.guard import run_lock\n"
        f"with run_lock(pathlib.Path({str(tmp_path)!r})):\n    print('held', flush=True)\n    time.sleep(60)"
    )
    with subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True) as holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == "held\n"
        with pytest.raises(RunLockedError, match=str(holder.pid)), run_lock(tmp_path):
            pass
        holder.kill()
    with run_lock(tmp_path):
        pass


def test_command_line(tmp_path: Path) -> None:
    command = trainer_command(lake=tmp_path, plan="demo", snapshot="current", stage="fast")
    assert command[1:4] == ["-m", "medpipe.pretrain.guard", "--"]
    assert command[command.index("--stage") + 1] == "fast"
    assert all(isinstance(part, str) for part in command)


def test_who_takes_over_waits_for_the_one_before(tmp_path: Path) -> None:
    program = (
        "import sys, time, pathlib\n"
        "from medpipe.pretrain.guard import run_lock\n"
        "with run_lock(pathlib.Path(sys.argv[1])):\n"
        "    print('held', flush=True)\n"
        "    sys.stdin.read()\n"
    )
    holder = subprocess.Popen(
        [sys.executable, "-c", program, str(tmp_path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    assert holder.stdout is not None
    assert holder.stdout.readline() == b"held\n"
    assert not wait_for_lock(tmp_path, seconds=0.2)
    holder.communicate(b"")
    assert wait_for_lock(tmp_path, seconds=20)
