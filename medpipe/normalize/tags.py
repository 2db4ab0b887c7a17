"""Tags, comments and scripts of HTML taken out of a text, so that what they held apart stays apart.

Which tags are tags: in published medical text most of what stands in angle brackets is a comparison, a
placeholder or an abbreviation. Only known elements count, and most of them only where the text shows by
another tag that it is HTML.
"""

from __future__ import annotations

import re
import unicodedata
from bisect import bisect_left, bisect_right
from collections.abc import Iterator, Sequence
from typing import NamedTuple


def _elements(names: str) -> frozenset[str]:
    return frozenset(names.split())


LINE_ELEMENTS = _elements(
    "address article aside blockquote body br center dd details dialog dir div dl dt fieldset figcaption "
    "figure footer form frameset h1 h2 h3 h4 h5 h6 head header hgroup hr html li main menu nav noframes ol "
    "optgroup option p pre section summary table tbody tfoot thead title tr ul"
)
CELL_ELEMENTS = _elements("td th")
PICTURE_ELEMENTS = _elements("applet audio canvas embed iframe img input object svg video")
INLINE_ELEMENTS = _elements(
    "a abbr acronym area b base bdi bdo big button caption cite code col colgroup data datalist del dfn em "
    "font frame i ins kbd label legend link map mark marquee meta meter nobr noscript o:p output param "
    "picture progress q rp rt ruby s samp select small source span strike strong template textarea time "
    "track tt u var wbr"
)
_TYPOGRAPHIC = _elements("b big font i nobr small span sub sup tt u wbr")
"""Elements that only change how characters look: `1<b>0</b>` is 10. All others may hold two numbers apart."""
_SURE = _elements("br div font html img nobr o:p s span strong tbody tfoot thead wbr")
"""Elements whose bare opening tag is always one. Any other (`<b>`, `<time>`) may be a comparison, as in
`a<b>c`, an abbreviation (`<TT>`), or stand for something left out: it counts where the text has its closing
tag, too."""
_FAMILIES = (
    _elements("dd dl dt li ol ul"),
    _elements("caption col colgroup table tbody td tfoot th thead tr"),
    _elements("blockquote body br center div h1 h2 h3 h4 h5 h6 head hr html p pre title"),
)
"""Elements that come together. A bare one also counts where another tag of its family is near, since many
are never closed (`<p>…<p>…`)."""
_NEAR = 2_000
"""Characters."""

_NAMES = "|".join(
    sorted(LINE_ELEMENTS | CELL_ELEMENTS | PICTURE_ELEMENTS | INLINE_ELEMENTS, key=len, reverse=True)
)
# An attribute must have a value: `a <b and c> d` is a comparison, not a tag.
ATTRIBUTES = r"""(?:\s+[A-Za-z_:@][A-Za-z0-9_.:-]*\s*=\s*(?:"[^"<>]*"|'[^'<>]*'|[^\s"'<>]+))*"""
_TAG = re.compile(
    rf"<(?P<close>/?)(?P<name>{_NAMES})(?P<attributes>{ATTRIBUTES})\s*(?P<empty>/?)>", re.IGNORECASE
)
_UNSEEN = re.compile(r"<!doctype[^<>]*>|<!--|<(script|style)\b[^<>]*>", re.IGNORECASE)
_UNSEEN_END = {
    None: re.compile("-->"),
    "script": re.compile(r"</script\s*>", re.IGNORECASE),
    "style": re.compile(r"</style\s*>", re.IGNORECASE),
}
_UNIT = re.compile(
    r" ?(?:(?:[mkcdnpuµμ]?(?:g|[lL]|m|mol|s|U|Pa|Hz|Eq|cal)|IU|h|d|min|ppm)(?![A-Za-z])|[%‰℃°Ω\u2126])"
)
_QUANTITY = re.compile(r"(?<![A-Za-z])(?:[PpNnRrFt] ?|[A-Za-z]{1,4})\Z")
"""A short name, as `P`, `HR` and `pH` are."""
_GAPS = dict.fromkeys(LINE_ELEMENTS, "\n") | dict.fromkeys(CELL_ELEMENTS, " ")
_WITHIN_NUMBER = ".,．"
_LOST = "\ufffd"


class _Span(NamedTuple):
    """What is taken out."""

    start: int
    end: int
    name: str
    """Of the element; empty for what a reader never sees."""


def without_tags(text: str) -> str:
    """Text without tags of known elements, comments, scripts, styles and document types.

    Block elements and table rows end a line, table cells are kept apart by a space. Where anything but
    typography stood between two parts of a number, a space stays; where a picture stood between two numbers,
    a number and its unit or `P` and a number, U+FFFD does, as for any character that was lost. `<sub>` and
    `<sup>` stay.
    """
    unseen = list(_unseen(text))
    spans = sorted([*unseen, *_tags(text, unseen)])
    kept: list[str] = []
    done = number = 0
    while number < len(spans):
        first = number
        while number + 1 < len(spans) and spans[number + 1].start == spans[number].end:
            number += 1
        number += 1
        kept += [text[done : spans[first].start], _shown(text, spans[first:number])]
        done = spans[number - 1].end
    return "".join([*kept, text[done:]])


def _unseen(text: str) -> Iterator[_Span]:
    """Comments, scripts, styles and document types; one that has no end is none."""
    place = 0
    endless: set[str | None] = set()
    while start := _UNSEEN.search(text, place):
        place = start.end()
        kind = start[1].lower() if start[1] else None
        if start[0][:3].lower() != "<!d":
            # Searching for the same missing end again and again would take the square of the text's length.
            end = None if kind in endless else _UNSEEN_END[kind].search(text, place)
            if end is None:
                endless.add(kind)
                continue
            place = end.end()
        yield _Span(start.start(), place, "")


def _tags(text: str, unseen: Sequence[_Span]) -> Iterator[_Span]:
    """The tags outside of what is unseen."""
    ends = [span.end for span in unseen]
    tags = []
    for tag in _TAG.finditer(text):
        behind = bisect_right(ends, tag.start())
        if behind == len(unseen) or tag.start() < unseen[behind].start:
            tags.append(tag)
    closed = {tag["name"].lower() for tag in tags if tag["close"]}
    proofs = [_Proofs(tags, family) for family in _FAMILIES]
    for tag in tags:
        name = tag["name"].lower()
        if _is_evident(tag) or name in closed or any(proof.vouch_for(tag) for proof in proofs):
            yield _Span(tag.start(), tag.end(), name)


def _is_evident(tag: re.Match[str]) -> bool:
    return bool(tag["close"] or tag["attributes"] or tag["empty"]) or tag["name"].lower() in _SURE


def _stands_in_words(tag: re.Match[str]) -> bool:
    """Whether letters or digits touch it on both sides: `Na<li>K`."""
    around = tag.string[max(tag.start() - 1, 0) : tag.start()] + tag.string[tag.end() : tag.end() + 1]
    return len(around) == 2 and around.isascii() and around.isalnum()


class _Proofs:
    """Where a text has tags of a family, to tell a bare opening tag from a comparison or an abbreviation."""

    def __init__(self, tags: Sequence[re.Match[str]], family: frozenset[str]) -> None:
        self._family = family
        of_family = [tag for tag in tags if tag["name"].lower() in family]
        self._evident = [tag.start() for tag in of_family if _is_evident(tag)]
        self._bare = [tag.start() for tag in of_family if not _is_evident(tag) and not _stands_in_words(tag)]

    def vouch_for(self, tag: re.Match[str]) -> bool:
        """Whether a tag of the family is near that makes this one a tag, too."""
        if tag["name"].lower() not in self._family or _is_compared(tag):
            return False
        if _has_near(self._evident, tag.start()):
            return True
        return not _stands_in_words(tag) and _has_near(self._bare, tag.start())


def _is_compared(tag: re.Match[str]) -> bool:
    """Whether it stands between a name and a number: `P<p>0.05`."""
    before, after = tag.string[max(tag.start() - 1, 0) : tag.start()], tag.string[tag.end() : tag.end() + 2]
    return before.isascii() and before.isalpha() and after.lstrip(".")[:1].isdigit()


def _has_near(places: Sequence[int], place: int) -> bool:
    """Whether another one of the ordered places is near."""
    following = bisect_right(places, place)
    preceding = bisect_left(places, place) - 1
    return (following < len(places) and places[following] - place <= _NEAR) or (
        preceding >= 0 and place - places[preceding] <= _NEAR
    )


def _shown(text: str, run: Sequence[_Span]) -> str:
    """What stands for tags and the like that follow each other."""
    names = {span.name for span in run}
    shown = "".join(_GAPS.get(span.name, "") for span in run)
    if shown:
        return shown
    start, end = run[0].start, run[-1].end
    before, after = text[max(start - 8, 0) : start], text[end : end + 8]
    if names & PICTURE_ELEMENTS and _hides_a_sign(before, after):
        return _LOST
    return " " if names - _TYPOGRAPHIC and _ends_in_number(before) and _starts_in_number(after) else ""


def _hides_a_sign(before: str, after: str) -> bool:
    """Whether a picture between two texts may show a sign that changes a value."""
    if _is_number(before.removesuffix(" ")[-1:]) and _UNIT.match(after):
        return True
    if _is_number(before[-1:]):
        return _is_number(after[:1])
    return _is_number(after.removeprefix(" ")[:1]) and _QUANTITY.search(before) is not None


def _is_number(character: str) -> bool:
    return character != "" and unicodedata.category(character)[0] == "N"


def _ends_in_number(text: str) -> bool:
    return _is_number(text[-2:-1] if text[-1:] in _WITHIN_NUMBER else text[-1:])


def _starts_in_number(text: str) -> bool:
    return _is_number(text[1:2] if text[:1] in _WITHIN_NUMBER else text[:1])
