"""HTML in published text: known tags removed and entities decoded, comparisons such as `<0.15` left alone."""

from __future__ import annotations

import html
import re
from html.entities import html5

CANDIDATE = r"<[A-Za-z/!]|&[#A-Za-z][0-9A-Za-z]{1,31};"
"""What a text must hold before it is worth looking for HTML in it (also a Rust regular expression)."""


def _elements(names: str) -> frozenset[str]:
    return frozenset(names.split())


_LINE_ELEMENTS = _elements(
    "address article aside blockquote body br center dd details dialog dir div dl dt fieldset figcaption "
    "figure footer form frameset h1 h2 h3 h4 h5 h6 head header hgroup hr html li main menu nav noframes ol "
    "optgroup option p pre section summary table tbody tfoot thead title tr ul"
)
_CELL_ELEMENTS = _elements("td th")
_PICTURE_ELEMENTS = _elements("applet audio canvas embed iframe img input object svg video")
_INLINE_ELEMENTS = _elements(
    "a abbr acronym area b base bdi bdo big button caption cite code col colgroup data datalist del dfn em "
    "font frame i ins kbd label legend link map mark marquee meta meter nobr noscript o:p output param "
    "picture progress q rp rt ruby s samp select small source span strike strong template textarea time "
    "track tt u var wbr"
)
_SURE = _elements(
    "br dd div dl dt em font h1 h2 h3 h4 h5 h6 hr html img li nobr o:p ol p pre s span strong tbody td tfoot "
    "th thead tr tt ul wbr"
)
"""Elements whose bare opening tag is always one. Any other (`<b>`, `<time>`) may be a comparison, as in
`a<b>c`, or stand for something left out: it counts where the text has its closing tag, too."""

_NAMES = "|".join(
    sorted(_LINE_ELEMENTS | _CELL_ELEMENTS | _PICTURE_ELEMENTS | _INLINE_ELEMENTS, key=len, reverse=True)
)
# An attribute must have a value: `a <b and c> d` is a comparison, not a tag.
_ATTRIBUTES = r"""(?:\s+[A-Za-z_:@][A-Za-z0-9_.:-]*\s*=\s*(?:"[^"<>]*"|'[^'<>]*'|[^\s"'<>]+))*"""
_TAG = re.compile(rf"<(?P<close>/?)(?P<name>{_NAMES})(?P<attributes>{_ATTRIBUTES})\s*/?>", re.IGNORECASE)
_UNSEEN = re.compile(r"<!doctype[^<>]*>|<!--|<(script|style)\b[^<>]*>", re.IGNORECASE)
_UNSEEN_END = {
    None: re.compile("-->"),
    "script": re.compile(r"</script\s*>", re.IGNORECASE),
    "style": re.compile(r"</style\s*>", re.IGNORECASE),
}
_RAISED_OR_LOWERED = re.compile(
    rf"(?P<digit>\d?)<(?P<name>su[pb]){_ATTRIBUTES}\s*>(?P<content>(?:(?!</?su[pb]\b).)*)</(?P=name)\s*>",
    re.IGNORECASE | re.DOTALL,
)
_LOST_END = re.compile(r"</su[pb]\s*>", re.IGNORECASE)
_ENTITY = re.compile(r"&(?:#[0-9]{1,7}|#[xX][0-9a-fA-F]{1,6}|[A-Za-z][A-Za-z0-9]{1,31});")
_ESCAPED_TWICE = re.compile("&(?:amp;|#38;|#x26;)+", re.IGNORECASE)
_QUOTED_TAG = re.compile(r"```|`[^`\n]{0,200}</?[A-Za-z][^`\n<>]{0,200}>[^`\n]{0,200}`")
_MARKUP_LANGUAGE = re.compile(r"(?<![A-Za-z0-9_./<])(?:X?HTML5?|XML|JSX|JavaScript)(?![A-Za-z0-9_])", re.I)

_SUPERSCRIPTS = str.maketrans("0123456789+-−=()n", "⁰¹²³⁴⁵⁶⁷⁸⁹⁺⁻⁻⁼⁽⁾ⁿ")
_SUBSCRIPTS = str.maketrans("0123456789+-−=()", "₀₁₂₃₄₅₆₇₈₉₊₋₋₌₍₎")


def without_markup(text: str) -> str:
    """Text without HTML.

    Entities are decoded, block elements and table rows end a line, table cells are kept apart by a space,
    `<sup>` and `<sub>` become superscript and subscript characters (`10<sup>9</sup>` is `10⁹`, and without
    its tags alone it would be 109), all other tags of known elements vanish. Tags stay where the text
    speaks of them: where it quotes code, or names HTML or a language like it.
    """
    text = _decoded(text)
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
    text = _without_unseen(text)
    closed = {match["name"].lower() for match in _TAG.finditer(text) if match["close"]}
    text = _TAG.sub(lambda match: _replacement(match, closed), text)
    while (shifted := _RAISED_OR_LOWERED.sub(_shifted, text)) != text:
        text = shifted
    return _LOST_END.sub("", text)


def _without_unseen(text: str) -> str:
    """Text without comments, scripts, styles and document types; one that has no end is none."""
    kept: list[str] = []
    done = place = 0
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
        kept.append(text[done : start.start()])
        done = place
    return "".join([*kept, text[done:]])


def _replacement(tag: re.Match[str], closed: set[str]) -> str:
    """What stands for a tag."""
    name = tag["name"].lower()
    if not (tag["close"] or tag["attributes"] or name in _SURE or name in closed):
        return tag[0]
    if name in _LINE_ELEMENTS:
        return "\n"
    if name in _CELL_ELEMENTS:
        return " "
    # A picture between two digits may show a sign; without a gap a new number would arise.
    around = tag.string[max(tag.start() - 1, 0) : tag.start()] + tag.string[tag.end() : tag.end() + 1]
    return " " if name in _PICTURE_ELEMENTS and len(around) == 2 and around.isdigit() else ""


def _shifted(match: re.Match[str]) -> str:
    """Raised or lowered characters where all of the content has them, else the content behind `^` or `_`."""
    content = match["content"].strip()
    table, sign = (_SUPERSCRIPTS, "^") if match["name"].lower() == "sup" else (_SUBSCRIPTS, "_")
    if content and all(ord(character) in table for character in content):
        return match["digit"] + content.translate(table)
    power = match["digit"] and len(content) == 1
    return match["digit"] + (sign if power or any(c.isdigit() for c in content) else "") + content
