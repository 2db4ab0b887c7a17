"""HTML in published text: known tags removed and entities decoded, comparisons such as `<0.15` left alone."""

from __future__ import annotations

import html
import re
from html.entities import html5

from medpipe.normalize.tags import ATTRIBUTES, without_tags
from medpipe.normalize.variants import chosen_variants

CANDIDATE = r"<[A-Za-z/!]|&[#A-Za-z][0-9A-Za-z]{1,31};|-\{"
"""What a text must hold before it is worth looking for markup in it (also a Rust regular expression)."""

_RAISED_OR_LOWERED = re.compile(
    rf"(?P<digit>\d?)<(?P<name>su[pb]){ATTRIBUTES}\s*>(?P<content>(?:(?!</?su[pb]\b).)*)</(?P=name)\s*>(?P<next>(?=\d))?",
    re.IGNORECASE | re.DOTALL,
)
_LOST_END = re.compile(r"(?P<digit>(?<=\d))?</su[pb]\s*>(?P<next>(?=\d))?", re.IGNORECASE)
_ENTITY = re.compile(r"&(?:#[0-9]{1,7}|#[xX][0-9a-fA-F]{1,6}|[A-Za-z][A-Za-z0-9]{1,31});")
_ESCAPED_TWICE = re.compile("&(?:amp;|#38;|#x26;)+", re.IGNORECASE)
_QUOTED_TAG = re.compile(r"```|`[^`\n]{0,200}</?[A-Za-z][^`\n<>]{0,200}>[^`\n]{0,200}`")
_MARKUP_LANGUAGE = re.compile(r"(?<![A-Za-z0-9_./<])(?:X?HTML5?|XML|JSX|JavaScript)(?![A-Za-z0-9_])", re.I)

_SUPERSCRIPTS = str.maketrans("0123456789+-−=()n", "⁰¹²³⁴⁵⁶⁷⁸⁹⁺⁻⁻⁼⁽⁾ⁿ")
_SUBSCRIPTS = str.maketrans("0123456789+-−=()", "₀₁₂₃₄₅₆₇₈₉₊₋₋₌₍₎")


def without_markup(text: str) -> str:
    """Text without HTML.

    Of the spellings that Wikipedia's `-{zh-hans:…;zh-hant:…}-` lists, the simplified one is chosen. Entities
    are decoded, block elements and table rows end a line, table cells are kept apart by a space,
    `<sup>` and `<sub>` become superscript and subscript characters (`10<sup>9</sup>` is `10⁹`, and without
    its tags alone it would be 109), all other tags of known elements vanish; no number arises where they
    were (see `without_tags`). Tags stay where the text speaks of them: where it quotes code, or names HTML
    or a language like it.
    """
    text = chosen_variants(_decoded(text))
    if _QUOTED_TAG.search(text):
        return text
    plain = _without_tags(text)
    return text if plain != text and _MARKUP_LANGUAGE.search(plain) else plain


def _decoded(text: str) -> str:
    """Decodes entities until none is left: crawled text is often escaped twice."""
    text = _ESCAPED_TWICE.sub("&", text)
    while (decoded := _ENTITY.sub(_character, text)) != text:
        text = decoded
    return text


def _character(match: re.Match[str]) -> str:
    # Of a name that no standard knows, html.unescape decodes the start: `&region;` would become ®ion.
    name = match[0][1:]
    return html.unescape(match[0]) if name.startswith("#") else html5.get(name, match[0])


def _without_tags(text: str) -> str:
    text = without_tags(text)
    while (shifted := _RAISED_OR_LOWERED.sub(_shifted, text)) != text:
        text = shifted
    return _LOST_END.sub(lambda end: " " if None not in (end["digit"], end["next"]) else "", text)


def _shifted(match: re.Match[str]) -> str:
    """Raised or lowered characters where all of the content has them, else the content behind `^` or `_`."""
    content = match["content"].strip()
    table, sign = (_SUPERSCRIPTS, "^") if match["name"].lower() == "sup" else (_SUBSCRIPTS, "_")
    if content and all(ord(character) in table for character in content):
        return match["digit"] + content.translate(table)
    power = match["digit"] and len(content) == 1
    shown = match["digit"] + (sign if power or any(c.isdigit() for c in content) else "") + content
    # `5<sub></sub>0` is not 50, and the exponent of `2<sup>1/2</sup>3` is not 1/23.
    return f"{shown} " if match["next"] is not None and shown[-1:].isdigit() else shown
