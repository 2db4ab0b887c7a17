"""What every command of `medpipe` shares: the option `--json` and how JSON is printed."""

from __future__ import annotations

import json
from typing import Annotated, Any

import typer

AsJson = Annotated[bool, typer.Option("--json", help="Print the same facts as JSON.")]


def print_json(value: Any) -> None:
    """Prints plain values as JSON that a person can read, too."""
    typer.echo(json.dumps(value, ensure_ascii=False, indent=2))
