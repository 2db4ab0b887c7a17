"""The manifest that makes a folder a data set."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import orjson
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from medpipe.lake.digest import digest_value
from medpipe.lake.files import write_json_atomically

MANIFEST = "manifest.json"
SCHEMA_VERSION = 1


class ManifestError(ValueError):
    """A data set has no readable manifest; the message names the folder and the fix."""


class NothingPublishedError(ManifestError):
    """An asset has not been materialised yet; the message names it."""


class DatasetFile(BaseModel):
    """One file of a data set."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    path: str
    """Relative to the data set's folder."""
    bytes: int
    sha256: str
    rows: int | None = None


class Recipe(BaseModel):
    """What a data set was made of and how: equal recipes make equal data sets."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    inputs: dict[str, str]
    """Digest of each input by its label."""
    code_version: str
    """Version constant of the transform."""
    config: dict[str, Any] = Field(default_factory=dict)
    """Every setting that changes the content."""

    @property
    def digest(self) -> str:
        """128-bit digest of the recipe."""
        return digest_value(self.model_dump(mode="json"))


class Manifest(BaseModel):
    """Identity card of an immutable data set, written last."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    schema_version: int = SCHEMA_VERSION
    room: str
    name: str
    digest: str
    """Digest of the logical content: rows in order, schema, and the transform's version."""
    recipe: Recipe
    rows: int
    bytes: int
    files: tuple[DatasetFile, ...]
    facts: dict[str, Any] = Field(default_factory=dict)
    """What the next room or a person wants to know without opening the files."""
    created: datetime = Field(default_factory=lambda: datetime.now(UTC))


def write_manifest(folder: Path, manifest: Manifest) -> None:
    """Writes the manifest atomically."""
    write_json_atomically(folder / MANIFEST, manifest.model_dump(mode="json"))


def read_manifest(folder: Path) -> Manifest:
    """Reads a data set's manifest.

    Raises:
        ManifestError: it is missing, broken or of another schema version.
    """
    path = folder / MANIFEST
    try:
        return Manifest.model_validate(orjson.loads(path.read_bytes()))
    except FileNotFoundError:
        raise ManifestError(
            f"{folder} is no data set (no {MANIFEST}); materialise the asset that makes it"
        ) from None
    except (orjson.JSONDecodeError, ValidationError) as error:
        raise ManifestError(
            f"{path} cannot be read ({error}); delete its folder and materialise again"
        ) from error


def has_all_files(folder: Path) -> bool:
    """Whether a data set is there with files of the sizes that its manifest states; no file is read."""
    try:
        manifest = read_manifest(folder)
    except ManifestError:
        return False
    paths = [(folder / file.path, file.bytes) for file in manifest.files]
    return all(path.is_file() and path.stat().st_size == size for path, size in paths)
