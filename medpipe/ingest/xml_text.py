"""Text of XML articles: what a reader sees as paragraphs, without what only a page can show.

`<sub>` and `<sup>` stay in the text as tags, since dropping them would turn 10<sup>9</sup> into 109; the
normaliser makes characters of them. Left out: footnotes of tables, pictures, references, and the raised
marks that point to them.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

from medpipe.ingest.formulas import formula_text
from medpipe.ingest.xml_tables import table_lines

_SPACE = re.compile(r"[ \t\r\n]+")
_SPACE_BEFORE_SUB = re.compile(r"[ \t]*[\r\n][ \t\r\n]*(?=<sub>)")
"""No subscript starts a word: a line break before one was put there by somebody who indented the XML."""
_BETWEEN_POINTERS = re.compile(r"[\s,;:.\-–—\[\]()*]*")

_MARK = re.compile(r"[\d*†‡§¶‖#a-z][\d*†‡§¶‖#,;–—\s-]{0,12}", re.IGNORECASE)
_BEFORE_MARK = re.compile(r"(?:[\w%°℃)]|\w[.,;:])\Z")

_RAISED = {"sub": "sub", "sup": "sup", "inf": "sub"}
_WITHIN_LINE = {"inline-formula", "math"}
_FORMULAS = _WITHIN_LINE | {"disp-formula", "tex-math", "DispFormula"}
_POINTERS = {"bibr", "fn", "table-fn", "aff", "corresp", "author-notes"}
"""What a cross reference points to where its raised mark is no text."""
_LEFT_OUT = {
    "table", "table-wrap-foot", "graphic", "inline-graphic", "media", "supplementary-material",
    "inline-supplementary-material", "object-id", "fn", "fn-group", "ref-list", "permissions", "alt-text",
    "long-desc", "related-article", "related-object", "contrib-group", "chem-struct-wrap", "index-term",
    "processing-meta", "sec-meta", "attrib",
}  # fmt: skip
_CAPTIONED = {"fig", "table-wrap", "chem-struct", "fig-group", "table-wrap-group"}
_BLOCKS = _CAPTIONED | {
    "p", "sec", "title", "label", "list", "def-list", "disp-quote", "boxed-text", "statement", "speech",
    "verse-group", "verse-line", "preformat", "code", "caption", "disp-formula-group", "app",
}  # fmt: skip


def local_name(element: Any) -> str:
    """Name of an element without its namespace."""
    return str(element.tag).rpartition("}")[2]


def child(element: Any, *path: str) -> Any:
    """The first element down a path of local names; None if there is none, and of None."""
    for name in path:
        element = next(iter(children(element, name)), None)
    return element


def children(element: Any, name: str) -> list[Any]:
    """The direct children of that local name; none of None."""
    return [] if element is None else [item for item in element if local_name(item) == name]


def descendants(element: Any, name: str) -> list[Any]:
    """All elements below of that local name, in the order of the document; none of None."""
    return [] if element is None else list(element.iter(f"{{*}}{name}"))


def line_text(element: Any) -> str:
    """The text of an element on one line; empty for None."""
    return "" if element is None else _squeezed("".join(_inside(element)))


def paragraphs(element: Any, *, without: tuple[str, ...] = ()) -> list[str]:
    """The paragraphs of an element: its own running text, and those of the blocks in it, in their order.

    A list item begins with its label or `- `; captions of figures and tables are one paragraph each, with the
    label before them, and so is each row of a table, with ` | ` between its cells.

    Args:
        element: of JATS or PubMed; None has no paragraphs.
        without: local names of children that are left out.
    """
    return paragraphs_between(element, None, without=without)[0]


def paragraphs_between(
    element: Any, divider: str | None, *, without: tuple[str, ...] = ()
) -> list[list[str]]:
    """The paragraphs before, between and after the children of one name, without those of the children.

    Args:
        element: as for `paragraphs`.
        divider: local name of the children.
        without: local names of other children that are left out.

    Returns:
        One list more than there are such children.
    """
    found: list[list[str]] = [[]]
    if element is None:
        return found
    running: list[str] = [element.text or ""]

    def end_paragraph() -> None:
        text = _squeezed("".join(running))
        running.clear()
        if text:
            found[-1].append(text)

    for item in element:
        name = local_name(item)
        if name == divider:
            end_paragraph()
            found.append([])
        elif name in without:
            pass
        elif name in _BLOCKS:
            end_paragraph()
            found[-1].extend(_block(item, name))
        else:
            running.extend(_inline(item, name))
        running.append(item.tail or "")
    end_paragraph()
    return found


def _block(element: Any, name: str) -> list[str]:
    if name in _CAPTIONED:
        inner = [item for item in element if local_name(item) in _CAPTIONED]
        below = [text for item in inner for text in _block(item, local_name(item))]
        return [*_caption(element), *_table(element), *below]
    if name == "list":
        return [text for item in children(element, "list-item") for text in _list_item(item)]
    if name == "def-list":
        return [_definition(item) for item in children(element, "def-item")]
    return paragraphs(element)


def _caption(element: Any) -> list[str]:
    """The one paragraph of label and caption; none without a caption."""
    label, texts = line_text(child(element, "label")), paragraphs(child(element, "caption"))
    label = label if label.endswith((".", ":")) else f"{label}."
    return [" ".join([label, *texts] if label != "." else texts)] if texts else []


def _table(element: Any) -> list[str]:
    """The rows of what `table-wrap` holds; of alternatives the first table."""
    tables = children(element, "table")
    for alternatives in children(element, "alternatives"):
        tables += children(alternatives, "table")[:1]
    return [_squeezed(line) for table in tables for line in table_lines(table, line_text)]


def _list_item(item: Any) -> list[str]:
    texts = paragraphs(item, without=("label",))
    label = line_text(child(item, "label")) or "-"
    return [f"{label} {texts[0]}", *texts[1:]] if texts else []


def _definition(item: Any) -> str:
    return f"{line_text(child(item, 'term'))}: {' '.join(paragraphs(child(item, 'def')))}"


def _inside(element: Any, *, raised: bool = False) -> Iterator[str]:
    yield element.text or ""
    for item in element:
        yield from _inline(item, local_name(item), raised=raised)
        yield item.tail or ""


def _inline(element: Any, name: str, *, raised: bool = False) -> Iterator[str]:
    """Running text of an element; without pointers if it is raised."""
    if name in _LEFT_OUT or (raised and _is_pointer(element)):
        return
    if name in _FORMULAS:
        formula = formula_text(element)
        yield formula if name in _WITHIN_LINE else f" {formula} "
    elif name in _RAISED:
        content = _raised(element)
        if content:
            yield f"<{_RAISED[name]}>{content}</{_RAISED[name]}>"
    elif _is_pointer(element):
        if _is_mark(element):
            return
        yield element.text or ""
        for item in element:
            if local_name(item) != "sup":
                yield from _inline(item, local_name(item))
            yield item.tail or ""
    elif name in ("break", "hr"):
        yield " "
    elif name in _BLOCKS:
        yield " "
        yield " ".join(_block(element, name))
        yield " "
    else:
        yield from _inside(element, raised=raised)


def _raised(element: Any) -> str:
    """Raised or lowered text without marks of references and footnotes, and what stands between those."""
    text = _squeezed("".join(_inside(element, raised=True)))
    if not any(_is_pointer(item) for item in descendants(element, "xref")):
        return text
    return "" if _BETWEEN_POINTERS.fullmatch(text) else text.strip(" ,;")


def _is_pointer(element: Any) -> bool:
    return local_name(element) == "xref" and element.get("ref-type") in _POINTERS


def _is_mark(element: Any) -> bool:
    """Whether a pointer is a mark right behind a word or number, raised by the journal's style alone.

    It would become part of the number: `12.5<xref>1</xref>`.
    """
    if not _MARK.fullmatch("".join(element.itertext()).strip()):
        return False
    neighbour = element.getprevious()
    if neighbour is None:
        before = element.getparent().text
    else:
        before = neighbour.tail or "".join(neighbour.itertext())
    return _BEFORE_MARK.search((before or "")[-2:]) is not None


def _squeezed(text: str) -> str:
    return _SPACE.sub(" ", _SPACE_BEFORE_SUB.sub("", text)).strip(" ")
