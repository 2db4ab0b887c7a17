"""What a person states about licences, checked against the catalog, and what the catalog says of parents."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Sequence
from typing import Any

from medpipe.catalog.source import Source
from medpipe.curate.licences import UNKNOWN, LicenceConfig, ancestors

_NEAR = 3


def check_statements(config: LicenceConfig, catalog: Sequence[Source]) -> None:
    """Checks that everything that is cleared exists: a mistyped name clears nothing, without a word.

    Args:
        config: what the person has cleared.
        catalog: all entries.

    Raises:
        ValueError: a source or a licence that the catalog does not have, with the nearest that it has; or a
            licence that is not known.
    """
    ids = {source.id for source in catalog}
    licences = {source.licence.name.lower() for source in catalog if source.licence.name}
    named = [name.lower() for name in config.allow_licences]
    wrong = [
        *(
            f"allow_licences: '{name}' is no licence, so it clears nothing; name the sources whose terms you "
            "have read in accepted_sources"
            for name in dict.fromkeys(named)
            if name == UNKNOWN
        ),
        *_unknown("accepted_sources", "source", config.accepted_sources, ids),
        *_unknown("allow_licences", "licence", (name for name in named if name != UNKNOWN), licences),
    ]
    if wrong:
        raise ValueError("\n".join(wrong))


def _unknown(field: str, what: str, given: Iterable[str], known: Iterable[str]) -> list[str]:
    known = sorted(known)
    said = []
    for name in given:
        if name not in known:
            near = difflib.get_close_matches(name, known, n=_NEAR, cutoff=0.5)
            fix = f"did you mean {' or '.join(near)}?" if near else "see `medpipe sources list`"
            said.append(f"{field}: the catalog has no {what} '{name}'; {fix}")
    return said


def stated_parents(source: Source, catalog: Sequence[Source]) -> dict[str, list[dict[str, Any]]]:
    """What the catalog states of all that a source repeats, directly or not.

    Returns:
        By published name: id and licence of each entry of that name; none where the catalog has no entry.
    """
    return {
        name: [{"id": entry.id, "licence": entry.licence.model_dump(mode="json")} for entry in found]
        for name, found in sorted(ancestors(source, catalog).items())
    }


def unknown_parents(source: Source, catalog: Sequence[Source]) -> tuple[str, ...]:
    """Published names of what a source repeats, directly or not, of which the catalog has no entry."""
    return tuple(name for name, found in sorted(ancestors(source, catalog).items()) if not found)
