from __future__ import annotations

import os
import platform
import subprocess
import sys

import pytest

from medpipe.pretrain.guard import PARENT_VARIABLE
from medpipe.pretrain.launch import trainer_environment

TWICE_A_LARGE_BLOCK = """
import ctypes, resource
libc = ctypes.CDLL(None)
libc.malloc.restype = libc.memset.restype = ctypes.c_void_p
libc.memset.argtypes = [ctypes.c_void_p, ctypes.c_int, ctypes.c_size_t]
libc.free.argtypes = [ctypes.c_void_p]
for _ in range(2):
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    block = libc.malloc(ctypes.c_size_t(64 << 20))
    libc.memset(block, 1, 64 << 20)
    libc.free(block)
    print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="another allocator")
def test_large_blocks_stay_with_the_trainer_from_step_to_step() -> None:
    out = subprocess.run(
        [sys.executable, "-c", TWICE_A_LARGE_BLOCK],
        env=os.environ | trainer_environment(),
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    )
    first, second = map(int, out.stdout.split())
    assert first > 20 * second


def test_the_guard_is_told_who_started_the_trainer() -> None:
    assert trainer_environment()[PARENT_VARIABLE] == str(os.getpid())
