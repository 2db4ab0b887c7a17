"""Chinese Wikipedia's `-{zh-hans:…;zh-hant:…}-`: one wording in several kinds of Chinese."""

from __future__ import annotations

import re

_PREFERRED = ("zh-hans", "zh-cn", "zh-sg", "zh-my")
"""Simplified Chinese, the general one first."""
_LANGUAGE = r"zh(?:-(?:hans|hant|cn|tw|hk|mo|sg|my))?"
_HAN = r"\u3007\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\U00020000-\U000323af"
_WORDING = rf"\s{{0,20}}{_LANGUAGE}\s?:[^{{}};|]{{0,200}}"
_VARIANTS = re.compile(
    rf"-\{{(?:(?P<flag>[AHT])\|)?(?P<listed>{_WORDING}(?:;{_WORDING})*(?:;\s{{0,20}})?)\}}-", re.IGNORECASE
)
_UNCONVERTED = re.compile(
    rf"(?<=[{_HAN}，。、；：“（《])-\{{(?P<kept>[{_HAN}]{{0,40}})\}}-|-\{{(?P<only>[{_HAN}]{{1,40}})\}}-"
)
"""Characters that a converter must leave as they are: `-{于}-`. What holds anything else is no such mark:
chemists write `-{CH2}-`."""
_HIDDEN = ("H", "T")
"""Rules for the rest of the page, and its title: neither is shown where it stands."""


def chosen_variants(text: str) -> str:
    """The text with one wording in place of each list of them: simplified Chinese, else the first.

    What is not well-formed stays as it is, and so does everything that only looks alike (`x^{-{2}-1}`,
    `-{CH2}-`).
    """
    if "-{" not in text:
        return text
    return _UNCONVERTED.sub(_kept, _VARIANTS.sub(_chosen, text))


def _chosen(match: re.Match[str]) -> str:
    if (match["flag"] or "").upper() in _HIDDEN:
        return _apart(match, "")
    wordings: dict[str, str] = {}
    for item in match["listed"].split(";"):
        language, colon, wording = item.partition(":")
        if colon:
            wordings.setdefault(language.strip().lower(), wording.strip())
    best = next((wordings[name] for name in _PREFERRED if name in wordings), None)
    return _apart(match, next(iter(wordings.values())) if best is None else best)


def _kept(match: re.Match[str]) -> str:
    return _apart(match, match["kept"] or match["only"] or "")


def _apart(match: re.Match[str], shown: str) -> str:
    """What is shown, kept apart from the digits around it: no number may arise."""
    before, after = (
        match.string[match.start() - 1 : match.start()],
        match.string[match.end() : match.end() + 1],
    )
    if not shown:
        return " " if before.isdigit() and after.isdigit() else ""
    start = " " if before.isdigit() and shown[0].isdigit() else ""
    return start + shown + (" " if shown[-1].isdigit() and after.isdigit() else "")
