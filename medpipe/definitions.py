"""The code location: the asset graph as the environment sets it up."""

from __future__ import annotations

from medpipe.graph import build_definitions
from medpipe.settings import Settings

defs = build_definitions(Settings())
