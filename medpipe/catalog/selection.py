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
        """The entry with this id, or else with exactly this title.

        Raises:
            CatalogError: there is none, or several have this title.
        """
        for source in self.sources:
            if source.id == source_id:
                return source
        titled = [source for source in self.sources if source.title == source_id]
        if len(titled) > 1:
            ids = ", ".join(source.id for source in titled)
            raise CatalogError(f"several sources have the title '{source_id}'; give one of the ids {ids}")
        if titled:
            return titled[0]
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


def why_not_fetched(source: Source, settings: Settings, *, stored: Source | None = None) -> str | None:
    """The reason why a source cannot be fetched as things stand, with the fix; None if it can.

    Args:
        source: the entry.
        settings: where the hub is, and the credential.
        stored: the entry without the decision that is only tried: what that adds is part of the fix. The
            entry itself if unset.
    """
    refusal = why_not_allowed(source, settings, stored=stored)
    return refusal or _missing_credential(source, settings, stored or source)


def why_not_allowed(source: Source, settings: Settings, *, stored: Source | None = None) -> str | None:
    """The reason why a source must not be used, with the fix; None if it may be.

    A credential is no part of it: what was fetched with one before is used without. The arguments are those
    of `why_not_fetched`.
    """
    needs_terms = source.gated and not source.accept_terms
    command = enable_command(stored or source, with_folder=source.folder != (stored or source).folder)
    match source.status:
        case Status.LISTED:
            note = source.status_note or "nobody could verify its files"
            return f"{source.id} is only listed and cannot be fetched: {note}"
        case Status.EXCLUDED:
            return f"{source.id} is excluded and is not fetched: {source.status_note}"
        case Status.MANUAL:
            terms = ", accept the publisher's terms there" if needs_terms else ""
            return f"{source.id} is fetched by a person: get it from {source.page}{terms}, then `{command}`"
        case Status.AVAILABLE:
            pass
    if needs_terms:
        token = "" if _is_local(source, settings) else "set HF_TOKEN, "
        page = _page(source)
        return f"{source.id} is gated: accept the publisher's terms at {page}, {token}then `{command}`"
    if _is_large(source) and not source.accept_size:
        return f"{source.id} has {source.size_bytes or 0:,} bytes: `{command}` if the disk has room"
    return None


def enable_command(source: Source, *, with_folder: bool = False) -> str:
    """The command that enables a source, with every option that it needs as things stand."""
    options = {
        "--folder DIR": with_folder or source.status is Status.MANUAL,
        "--accept-terms": source.gated and not source.accept_terms,
        "--accept-size": _is_large(source) and not source.accept_size,
    }
    return " ".join(
        [f"medpipe sources enable {source.id}", *(name for name, needed in options.items() if needed)]
    )


def _is_large(source: Source) -> bool:
    return (source.size_bytes or 0) > SIZE_LIMIT_BYTES


def _missing_credential(source: Source, settings: Settings, stored: Source) -> str | None:
    has_token = settings.hf_token is not None and settings.hf_token.get_secret_value() != ""
    if not source.gated or has_token or _is_local(source, settings):
        return None
    return (
        f"{source.id} is gated: set HF_TOKEN to a token of the account that accepted the terms at "
        f"{_page(source)}, or name your own copy with `{enable_command(stored, with_folder=True)}`"
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
