"""Which sources a stated purpose allows, by what the catalog knows of their licences; no legal advice.

Only facts of the catalog are used: the licence as stated, whether somebody read that statement at the
publisher's, the note beside it, and the parents that a source repeats. Where they are silent, the answer is
"unknown", and unknown is not allowed for a commercial purpose.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from types import MappingProxyType

from pydantic import BaseModel, ConfigDict

from medpipe.catalog.source import Licence, Source


class LicencePurpose(StrEnum):
    """What a model is trained for."""

    RESEARCH = "research"
    COMMERCIAL = "commercial"


class LicenceConfig(BaseModel):
    """What a person states about licences; it changes no record, only whether a corpus may be built."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    purpose: LicencePurpose = LicencePurpose.RESEARCH
    """What the corpus is for."""
    allow_licences: tuple[str, ...] = ()
    """Licences, as the catalog states them, that the person has cleared for the purpose."""
    accepted_sources: tuple[str, ...] = ()
    """Ids of sources whose terms the person has cleared for the purpose."""


@dataclass(frozen=True)
class Verdict:
    """Whether a purpose allows a source."""

    allowed: bool | None
    """None if the catalog does not know."""
    reason: str
    """A clause in plain English that names the licence as stated."""


COMMERCIAL_USE: Mapping[str, bool] = MappingProxyType(
    {
        "apache-2.0": True,
        "bsd-2-clause": True,
        "bsd-3-clause": True,
        "cc-by-3.0": True,
        "cc-by-4.0": True,
        "cc-by-sa-3.0": True,
        "cc-by-sa-4.0": True,
        "cc0-1.0": True,
        "gfdl": True,
        "gpl-3.0": True,
        "mit": True,
        "odc-by": True,
        "pddl": True,
        "cc-by-nc-3.0": False,
        "cc-by-nc-4.0": False,
        "cc-by-nc-nd-4.0": False,
        "cc-by-nc-sa-3.0": False,
        "cc-by-nc-sa-4.0": False,
    }
)
"""Whether a licence, by its SPDX-like id in lower case, allows commercial use. Attribution, share-alike and
copyleft are conditions of use, not bars to it. All others, among them `cc` without a kind, `other` and
licences of a publisher's own, are unknown."""

UNKNOWN = "unknown"
"""The word of the catalog, in lower case, where nobody knows the licence."""
_RESTRICTED = re.compile(
    r"(?i)non-?commercial|no commercial|academic (?:use|research|purposes?)|research(?: use| purposes?)? only"
)
_NOT_OF_THE_TEXTS = re.compile(
    r"(?i)licence of the code|of their own|its own|copyright stays|texts? (?:is|are) from|stated in each"
)


def _own_verdict(licence: Licence, purpose: LicencePurpose, who: str) -> Verdict:
    """What the stated licence alone says."""
    stated = licence_as_stated(licence)
    if licence.note is not None and _RESTRICTED.search(licence.note):
        is_allowed = purpose is LicencePurpose.RESEARCH
        return Verdict(is_allowed, f"{who} is for research only ({stated})")
    if licence.name is None or licence.name.lower() == UNKNOWN:
        return Verdict(None, f"no licence is known of {who} ({stated})")
    use = COMMERCIAL_USE.get(licence.name.lower())
    if use is None:
        return Verdict(None, f"what the licence of {who} allows is not known ({stated})")
    if purpose is LicencePurpose.RESEARCH:
        return Verdict(True, f"{who}: {stated}")
    if not use:
        return Verdict(False, f"the licence of {who} forbids commercial use ({stated})")
    if licence.note is not None and _NOT_OF_THE_TEXTS.search(licence.note):
        return Verdict(None, f"the licence of {who} does not cover all of its texts ({stated})")
    if not licence.verified:
        return Verdict(None, f"nobody has read the licence of {who} at the publisher's ({stated})")
    return Verdict(True, f"{who}: {stated}")


def licence_as_stated(licence: Licence) -> str:
    """A licence in the catalog's words: its name, its note, and whether it was read at the publisher's."""
    words = [licence.name or "no licence stated"]
    if licence.note is not None:
        words.append(licence.note)
    if not licence.verified:
        words.append("not verified")
    return ", ".join(words)


def allowed(source: Source, purpose: LicencePurpose, *, catalog: Sequence[Source] = ()) -> Verdict:
    """Whether a purpose allows a source; what it is derived from counts as the source itself does.

    Args:
        source: an entry.
        purpose: what the model is for.
        catalog: all entries; a parent is found among them by title, or by repository. One that is not there
            is unknown.

    Returns:
        The strictest verdict of the source and all its parents: refused, then unknown, then allowed.
    """
    verdicts = [_own_verdict(source.licence, purpose, source.id)]
    for name, found in ancestors(source, catalog).items():
        if not found:
            verdicts.append(Verdict(None, f"{name}, which {source.id} repeats, is not in the catalog"))
        for parent in (entry for entry in found if entry.id != source.id):
            who = f"{parent.id}, which {source.id} repeats,"
            verdicts.append(_own_verdict(parent.licence, purpose, who))
    return min(verdicts, key=lambda verdict: _STRICTNESS[verdict.allowed])


_STRICTNESS: Mapping[bool | None, int] = MappingProxyType({False: 0, None: 1, True: 2})


def ancestors(source: Source, catalog: Sequence[Source]) -> dict[str, list[Source]]:
    """The entries of all that a source repeats, directly or not, by the names under which it is named."""
    found: dict[str, list[Source]] = {}
    open_names = list(source.derived_from)
    while open_names:
        name = open_names.pop(0)
        if name in found:
            continue
        found[name] = _named(name, catalog)
        open_names += [parent for entry in found[name] for parent in entry.derived_from]
    return found


def _named(name: str, catalog: Sequence[Source]) -> list[Source]:
    """The entries of a published name: of this title, else of this repository, else subsets of this title."""
    exact = [entry for entry in catalog if entry.title == name]
    return (
        exact
        or [entry for entry in catalog if entry.repository == name]
        or [entry for entry in catalog if entry.title.startswith(f"{name} (")]
    )


@dataclass(frozen=True)
class Refusal:
    """A source that the purpose does not allow."""

    source: str
    licence: str
    """As stated."""
    reason: str
    fix: str

    def __str__(self) -> str:
        return f"{self.source}: {self.reason}; {self.fix}"


@dataclass(frozen=True)
class GateResult:
    """Whether a mix of sources may be built for a purpose."""

    purpose: LicencePurpose
    refused: tuple[Refusal, ...]
    warnings: tuple[str, ...]
    """Sources that are let through though nobody knows, or because a person accepted them."""

    @property
    def passed(self) -> bool:
        """Whether nothing is refused."""
        return not self.refused

    def message(self) -> str:
        """What is refused, one line a source, each with its fix; or that nothing is."""
        if self.passed:
            return f"every source is allowed for the purpose '{self.purpose}'"
        number = "a source" if len(self.refused) == 1 else f"{len(self.refused)} sources"
        lines = [f"the purpose '{self.purpose}' does not allow {number}:", *map(str, self.refused)]
        return "\n  ".join(lines)


def gate(
    sources: Iterable[Source],
    purpose: LicencePurpose,
    *,
    catalog: Sequence[Source] = (),
    config: LicenceConfig = LicenceConfig(),  # noqa: B008 - frozen
) -> GateResult:
    """Checks a mix of sources against a purpose.

    What is unknown passes for research, with a warning, and is refused for a commercial purpose.

    Args:
        sources: the sources of the mix.
        purpose: what the corpus is for.
        catalog: all entries, to find parents; the sources themselves if empty.
        config: what the person has cleared; its purpose is not looked at. A cleared source passes whatever it
            repeats; a cleared licence counts as one that allows the purpose, unless the note restricts it.
    """
    sources = tuple(sources)
    entries = _cleared(catalog or sources, config)
    refused, warnings = [], []
    for source in sources:
        stated = licence_as_stated(source.licence)
        verdict = allowed(_cleared([source], config)[0], purpose, catalog=entries)
        if verdict.allowed is True:
            continue
        if source.id in config.accepted_sources:
            warnings.append(f"{source.id}: accepted by you; {verdict.reason}")
        elif verdict.allowed is None and purpose is LicencePurpose.RESEARCH:
            warnings.append(f"{source.id}: {verdict.reason}")
        else:
            refused.append(Refusal(source.id, stated, verdict.reason, _fix(source, purpose)))
    return GateResult(purpose, tuple(refused), tuple(warnings))


def _cleared(sources: Sequence[Source], config: LicenceConfig) -> list[Source]:
    """The entries; of a licence that a person has cleared only its note can still restrict anything."""
    names = {name.lower() for name in config.allow_licences} - {UNKNOWN}
    changed = []
    for source in sources:
        licence = source.licence
        if licence.name is not None and licence.name.lower() in names:
            is_restricted = licence.note is not None and _RESTRICTED.search(licence.note) is not None
            clear = Licence(name="cc0-1.0", verified=True)
            source = source if is_restricted else source.model_copy(update={"licence": clear})
        changed.append(source)
    return changed


def _fix(source: Source, purpose: LicencePurpose) -> str:
    other = "" if purpose is LicencePurpose.RESEARCH else ", or build for 'research'"
    name = source.licence.name
    clear = f"accepted_sources: [{source.id}]"
    if name is not None and name.lower() not in COMMERCIAL_USE and name.lower() != UNKNOWN:
        clear += f" or allow_licences: [{name}]"
    return f"`medpipe sources disable {source.id}`{other}, or state that you have cleared its terms ({clear})"
