"""A folder for a script's inputs."""

from __future__ import annotations

import contextlib
import tempfile
from collections.abc import Iterator
from pathlib import Path


@contextlib.contextmanager
def work_folder(named: Path | None) -> Iterator[Path]:
    """The named folder, or one that is removed again."""
    if named is not None:
        named.mkdir(parents=True, exist_ok=True)
        yield named.resolve()
        return
    with tempfile.TemporaryDirectory(prefix="medpipe-bench-") as folder:
        yield Path(folder)
