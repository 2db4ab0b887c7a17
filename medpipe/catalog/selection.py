"""Which catalog entries become assets."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import orjson
from pydantic import BaseModel, ConfigDict

from medpipe.catalog.load import CatalogError, builtin_sources, read_catalog_folder
from medpipe.catalog.source import Source
from medpipe.lake.files import write_json_atomically
from medpipe.settings import Settings

SIZE_LIMIT_BYTES = 5_000_000_000
"""Anything larger is fetched only after `accept_size`."""


class Choice(BaseModel):
    """What a person decided about one source; kept in `<home>/sources.json`."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    enabled: bool | None = None
    accept_terms: bool | None = None
    accept_size: bool | None = None


@dataclass(frozen=True)
class Catalog:
    """All known sources and the ones that are enabled."""

    sources: tuple[Source, ...]
    enabled: tuple[Source, ...]

    def get(self, source_id: str) -> Source:
        """The entry with this id.

        Raises:
            CatalogError: there is none.
        """
        for source in self.sources:
            if source.id == source_id:
                return source
        raise CatalogError(f"no source '{source_id}' in the catalog; `medpipe sources` lists them")


def why_not_fetched(source: Source) -> str | None:
    """The reason why a source must not be fetched as things stand, with the fix; None if it may be."""
    if source.status == "listed":
        return f"{source.id} is only listed: nobody could verify its files"
    if source.gated and not source.accept_terms:
        return (
            f"{source.id} is gated: accept the publisher's terms on its page, set HF_TOKEN, then "
            f"`medpipe sources enable {source.id} --accept-terms`"
        )
    if (source.size_bytes or 0) > SIZE_LIMIT_BYTES and not source.accept_size:
        return (
            f"{source.id} has {source.size_bytes or 0:,} bytes: "
            f"`medpipe sources enable {source.id} --accept-size` if the disk has room"
        )
    return None


def _choices_path(home: Path) -> Path:
    return home / "sources.json"


def read_choices(home: Path) -> dict[str, Choice]:
    """What a person decided so far, by source id.

    Raises:
        CatalogError: the file is broken.
    """
    try:
        stored = orjson.loads(_choices_path(home).read_bytes())
        return {source_id: Choice.model_validate(choice) for source_id, choice in stored.items()}
    except FileNotFoundError:
        return {}
    except (ValueError, AttributeError) as error:
        raise CatalogError(
            f"{_choices_path(home)} cannot be read ({' '.join(str(error).split())}); correct or delete it, "
            "then enable sources again"
        ) from error


def store_choice(home: Path, source_id: str, choice: Choice) -> None:
    """Notes a decision; what was decided before and is None in `choice` stays."""
    choices = read_choices(home)
    merged = choices.get(source_id, Choice()).model_copy(update=choice.model_dump(exclude_none=True))
    choices[source_id] = merged
    write_json_atomically(
        _choices_path(home), {key: value.model_dump(exclude_none=True) for key, value in choices.items()}
    )


@lru_cache(maxsize=1)
def _builtin() -> tuple[Source, ...]:
    return builtin_sources()


def load_catalog(settings: Settings) -> Catalog:
    """All sources, and those that are enabled as things stand.

    Enabled is what a person chose; else a person's own entries as they say; else, with a folder hub, the
    built-in entries whose repository lies in it; else the built-in entries marked `enabled`.

    Raises:
        CatalogError: a catalog file is wrong, or two files use the same id.
        SettingsError: a folder that a setting names is not there.
    """
    settings.checked()
    own = read_catalog_folder(settings.sources) if settings.sources else ()
    builtin = _builtin()
    taken = {source.id for source in builtin} & {source.id for source in own}
    if taken:
        raise CatalogError(
            f"{settings.sources} uses ids of built-in sources: {', '.join(sorted(taken))}; rename them"
        )
    choices = read_choices(settings.home)
    sources = tuple(_with_choice(source, choices.get(source.id)) for source in (*builtin, *own))
    own_ids = {source.id for source in own}
    enabled = tuple(
        source
        for source in sources
        if source.status == "available"
        and _is_enabled(source, choices.get(source.id), source.id in own_ids, settings)
    )
    return Catalog(sources, enabled)


def _with_choice(source: Source, choice: Choice | None) -> Source:
    return source.model_copy(update=choice.model_dump(exclude_none=True)) if choice else source


def _is_enabled(source: Source, choice: Choice | None, is_own: bool, settings: Settings) -> bool:
    if choice is not None and choice.enabled is not None:
        return choice.enabled
    if settings.hub is not None and source.repository is not None and not is_own:
        return (settings.hub / source.repository).is_dir()
    return is_own if source.enabled is None else source.enabled
