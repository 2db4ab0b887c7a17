"""Catalog entries and settings for the tests of this room."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from medpipe.catalog.source import Source
from medpipe.settings import Settings

REPOSITORY = "clinic/notes"


def make_source(*files: dict[str, Any] | str, **fields: Any) -> Source:
    """A catalog entry of JSONL text files; of `clinic/notes` if it says nothing else."""
    entry: dict[str, Any] = {
        "id": "clinic_notes",
        "title": REPOSITORY,
        "description": "notes",
        "files": [
            {"domain": "disease", **({"path": file} if isinstance(file, str) else file)} for file in files
        ],
        "kind": "document",
        "layout": {"layout": "text"},
        "language": "zh",
        "licence": {"name": "mit"},
        "uses": ["pretraining"],
    }
    if "folder" not in fields:
        entry["repository"] = REPOSITORY
    return Source.model_validate(entry | fields)


def make_settings(home: Path, **fields: Any) -> Settings:
    """Settings that depend on nothing in the environment of the person who runs the tests."""
    values = {"hub": None, "sources": None, "lake_root": None, "hf_endpoint": None, "hf_token": None}
    return Settings(**(values | {"home": home} | fields))
