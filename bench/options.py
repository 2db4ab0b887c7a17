"""The arguments that all scripts share."""

from __future__ import annotations

import argparse
import contextlib
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from bench.disease_records import RECORDS
from bench.inputs import Inputs, make_inputs
from bench.work_folder import work_folder as any_work_folder


@dataclass(frozen=True)
class Options:
    """What a script was asked to do."""

    inputs: Inputs
    rounds: int
    peer_rounds: int


@contextlib.contextmanager
def options(description: str | None, *, rounds: int = 3, peer_rounds: int = 3) -> Iterator[Options]:
    """Reads the command line and makes the inputs, in a folder that is kept only if it was named."""
    parser = argparse.ArgumentParser(description=(description or "").splitlines()[0])
    add_arguments(parser)
    parser.add_argument("--megabytes", type=float, default=100, help="text, in millions of bytes")
    parser.add_argument("--rounds", type=int, default=rounds, help="runs of medpipe")
    parser.add_argument("--peer-rounds", type=int, default=peer_rounds, help="runs of each peer")
    chosen = parser.parse_args()
    with work_folder(chosen.folder) as folder:
        inputs = make_inputs(folder / f"{chosen.megabytes:g}", megabytes=chosen.megabytes)
        yield Options(inputs, chosen.rounds, chosen.peer_rounds)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the folder."""
    parser.add_argument("--folder", type=Path, help="where inputs are made and kept; else a temporary folder")


@contextlib.contextmanager
def work_folder(named: Path | None) -> Iterator[Path]:
    """The named folder, or one that is removed again.

    Raises:
        SystemExit: the real records are not there.
    """
    if not RECORDS.is_dir():
        sys.exit(f"the real records are not there: put them at {RECORDS}")
    with any_work_folder(named) as folder:
        yield folder
