"""Which catalog entries become assets, and why others do not."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from functools import lru_cache

from medpipe.catalog.choices import Choice, read_choices, web_page, with_choice
from medpipe.catalog.load import CatalogError, builtin_sources, read_catalog_folder
from medpipe.catalog.source import Source, Status, Use
from medpipe.records.kinds import Language
from medpipe.settings import Settings

SIZE_LIMIT_BYTES = 5_000_000_000
"""Anything larger is fetched only after `accept_size`."""


class State(StrEnum):
    """How a source stands."""

    ENABLED = "enabled"
    """It is an asset."""
    AVAILABLE = "available"
    MANUAL = "manual"
    LISTED = "listed"
    EXCLUDED = "excluded"
    GATED = "gated"
    """It needs the publisher's consent, whatever else it is."""


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

    def find(
        self,
        *,
        state: State | None = None,
        language: Language | None = None,
        use: Use | None = None,
        text: str | None = None,
    ) -> list[Source]:
        """The entries that meet every condition that is given; `text` may stand in any of their names."""
        return [
            source
            for source in self.sources
            if (state is None or state in self.states(source))
            and (language is None or language in _languages(source))
            and (use is None or use in source.uses)
            and (text is None or text.lower() in _names(source).lower())
        ]

    def states(self, source: Source) -> tuple[State, ...]:
        """How a source stands; the first one says whether it is an asset."""
        is_enabled = any(enabled.id == source.id for enabled in self.enabled)
        state = State.ENABLED if is_enabled else State(source.status.value)
        return (state, State.GATED) if source.gated else (state,)


def _languages(source: Source) -> set[Language]:
    return {source.language} | {file.language for file in source.files if file.language is not None}


def _names(source: Source) -> str:
    names = (source.id, source.title, source.repository, source.description, *source.derived_from)
    return "\n".join(filter(None, names))


def why_not_fetched(source: Source, settings: Settings) -> str | None:
    """The reason why a source cannot be fetched as things stand, with the fix; None if it can."""
    return why_not_allowed(source, settings) or _missing_credential(source, settings)


def why_not_allowed(source: Source, settings: Settings) -> str | None:
    """The reason why a source must not be used, with the fix; None if it may be.

    A credential is no part of it: what was fetched with one before is used without.
    """
    match source.status:
        case Status.LISTED:
            note = source.status_note or "nobody could verify its files"
            return f"{source.id} is only listed and cannot be fetched: {note}"
        case Status.EXCLUDED:
            return f"{source.id} is excluded and is not fetched: {source.status_note}"
        case Status.MANUAL:
            return (
                f"{source.id} is fetched by a person: get it from {source.page}, then "
                f"`medpipe sources enable {source.id} --folder DIR`"
            )
        case Status.AVAILABLE:
            pass
    if source.gated and not source.accept_terms:
        token = "" if _is_local(source, settings) else "set HF_TOKEN, "
        return (
            f"{source.id} is gated: accept the publisher's terms at {_page(source)}, {token}then "
            f"`medpipe sources enable {source.id} --accept-terms`"
        )
    if (source.size_bytes or 0) > SIZE_LIMIT_BYTES and not source.accept_size:
        return (
            f"{source.id} has {source.size_bytes or 0:,} bytes: "
            f"`medpipe sources enable {source.id} --accept-size` if the disk has room"
        )
    return None


def _missing_credential(source: Source, settings: Settings) -> str | None:
    has_token = settings.hf_token is not None and settings.hf_token.get_secret_value() != ""
    if not source.gated or has_token or _is_local(source, settings):
        return None
    return (
        f"{source.id} is gated: set HF_TOKEN to a token of the account that accepted the terms at "
        f"{_page(source)}, or name your own copy with `medpipe sources enable {source.id} --folder DIR`"
    )


def _is_local(source: Source, settings: Settings) -> bool:
    return source.folder is not None or settings.hub is not None


def _page(source: Source) -> str:
    return web_page(source) or "the publisher's page"


@lru_cache(maxsize=1)
def _builtin() -> tuple[Source, ...]:
    return builtin_sources()


def taken_ids() -> dict[str, str]:
    """The ids that a person's own entries cannot have, and what has them."""
    return {source.id: "a built-in source" for source in _builtin()}


def load_catalog(settings: Settings) -> Catalog:
    """All sources, and those that are enabled as things stand.

    Enabled is what a person chose; else a person's own entries as they say; else, with a folder hub, the
    built-in entries whose repository lies in it; else the built-in entries marked `enabled`.

    Raises:
        CatalogError: a catalog file is wrong, or two entries use the same id.
        SettingsError: a folder that a setting names is not there.
    """
    settings.checked()
    builtin = _builtin()
    own = read_catalog_folder(settings.sources, taken=taken_ids()) if settings.sources else ()
    choices = read_choices(settings.home)
    sources = tuple(with_choice(source, choices.get(source.id)) for source in (*builtin, *own))
    own_ids = {source.id for source in own}
    enabled = tuple(
        source
        for source in sources
        if source.status is Status.AVAILABLE
        and _is_enabled(source, choices.get(source.id), source.id in own_ids, settings)
    )
    return Catalog(sources, enabled)


def _is_enabled(source: Source, choice: Choice | None, is_own: bool, settings: Settings) -> bool:
    if choice is not None and choice.enabled is not None:
        return choice.enabled
    if settings.hub is not None and source.repository is not None and not is_own:
        return (settings.hub / source.repository).is_dir()
    return is_own if source.enabled is None else source.enabled
