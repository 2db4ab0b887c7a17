"""HTML in published text: known tags removed and entities decoded, comparisons such as `<0.15` left alone."""

from __future__ import annotations

import html
import re

CANDIDATE = r"<[A-Za-z/!]|&[#A-Za-z][0-9A-Za-z]{1,31};"
"""What a text must hold before it is worth looking for HTML in it (also a Rust regular expression)."""

_LINE_ELEMENTS = (
    "address|article|aside|blockquote|body|br|center|dd|details|dir|div|dl|dt|fieldset|figcaption|figure|footer"
    "|form|h[1-6]|head|header|hr|html|li|main|menu|nav|ol|optgroup|option|p|pre|section|summary|table|tbody"
    "|tfoot|thead|title|tr|ul"
)
_CELL_ELEMENTS = "td|th"
_INLINE_ELEMENTS = (
    "a|abbr|acronym|b|bdi|bdo|big|button|caption|cite|code|col|colgroup|del|dfn|em|embed|font|i|iframe|img|input"
    "|ins|kbd|label|link|map|mark|meta|noscript|object|param|q|rp|rt|ruby|s|samp|select|small|source|span|strike"
    "|strong|sub|sup|svg|textarea|time|tt|u|var|video|wbr"
)
# An attribute must have a value: `a <b and c> d` is a comparison, not a tag.
_ATTRIBUTES = r"""(?:\s+[A-Za-z_:@][A-Za-z0-9_.:-]*\s*=\s*(?:"[^"<>]*"|'[^'<>]*'|[^\s"'<>]+))*\s*/?"""


def _tag(names: str) -> re.Pattern[str]:
    return re.compile(rf"</?(?:{names}){_ATTRIBUTES}>", re.IGNORECASE)


_UNSEEN = re.compile(
    r"<!--.*?-->|<(script|style)\b[^<>]*>.*?</\1\s*>|<!doctype[^<>]*>", re.IGNORECASE | re.DOTALL
)
_RAISED_OR_LOWERED = re.compile(rf"<(sup|sub){_ATTRIBUTES}>([^<>]*)</\1\s*>", re.IGNORECASE)
_LINE_TAG = _tag(_LINE_ELEMENTS)
_CELL_TAG = _tag(_CELL_ELEMENTS)
_INLINE_TAG = _tag(_INLINE_ELEMENTS)
_ENTITY = re.compile(r"&(?:#[0-9]{1,7}|#[xX][0-9a-fA-F]{1,6}|[A-Za-z][A-Za-z0-9]{1,31});")

_SUPERSCRIPTS = str.maketrans("0123456789+-−=()n", "⁰¹²³⁴⁵⁶⁷⁸⁹⁺⁻⁻⁼⁽⁾ⁿ")
_SUBSCRIPTS = str.maketrans("0123456789+-−=()", "₀₁₂₃₄₅₆₇₈₉₊₋₋₌₍₎")


def _shifted(match: re.Match[str]) -> str:
    """`10<sup>9</sup>` becomes `10⁹`: dropping the tags alone would turn it into 109."""
    element, content = match[1].lower(), match[2].strip()
    table, sign = (_SUPERSCRIPTS, "^") if element == "sup" else (_SUBSCRIPTS, "_")
    if not any(character.isdigit() for character in content):
        return content
    if all(ord(character) in table for character in content):
        return content.translate(table)
    return sign + content


def _decoded(text: str) -> str:
    """Decodes entities until none is left: crawled text is often escaped twice."""
    while (decoded := _ENTITY.sub(lambda match: html.unescape(match[0]), text)) != text:
        text = decoded
    return text


def without_markup(text: str) -> str:
    """Text without HTML.

    Entities are decoded, block elements and table rows end a line, table cells are kept apart by a space,
    digits in `<sup>` and `<sub>` become superscript and subscript characters, all other tags of known
    elements vanish. Tags stay where the text holds a fenced code block, since they are what it speaks of.
    """
    text = _decoded(text)
    if "```" in text:
        return text
    text = _UNSEEN.sub("", text)
    text = _RAISED_OR_LOWERED.sub(_shifted, text)
    text = _LINE_TAG.sub("\n", text)
    text = _CELL_TAG.sub(" ", text)
    return _INLINE_TAG.sub("", text)
