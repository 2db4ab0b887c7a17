"""Articles in XML: JATS (`.nxml` of PMC) and PubMed citations, however many lie in a file.

The file is cut at the articles' own tags and each is parsed by itself. So a broken article costs one record,
files that were put one after the other can be read, and no document type, whose entities can be made to
explode or to open files, ever reaches the parser.
"""

from __future__ import annotations

import html
import re
from collections.abc import Iterator
from html.entities import html5
from pathlib import Path
from typing import Any

from lxml import etree

from medpipe.ingest.batches import Record, broken
from medpipe.ingest.encoding import MARK
from medpipe.ingest.jats import jats_article
from medpipe.ingest.pubmed import pubmed_article
from medpipe.ingest.text_window import TextWindow
from medpipe.ingest.xml_text import local_name

MAX_ARTICLE_CHARACTERS = 32_000_000
"""A longer article is broken; a whole book has about two million."""

_PUBMED = ("PubmedArticle", "PubmedBookArticle", "MedlineCitation")
_START = re.compile(rf"<((?:[\w.-]+:)?(?:{'|'.join(_PUBMED)}|article))(?=[\s>])")
_LONGEST_TAG = 200
"""Characters; what is kept of the window in case a start tag is cut."""
_NO_ARTICLE = (
    "no <article> and no <PubmedArticle> in the file: JATS articles and PubMed citations are the XML that "
    "can be read"
)
_SET = re.compile(r"<[\w:.-]*(?:article-?set|CitationSet)\b", re.IGNORECASE)
"""The root of a file that may hold no articles."""
_ENTITY = r"&(?:[A-Za-z][\w.]*|#[0-9]+|#[xX][0-9a-fA-F]+);"
_FORBIDDEN = r"[\x00-\x08\x0b\x0c\x0e-\x1f\ufffe\uffff]"
_MENDED = re.compile(
    rf"<!\[CDATA\[.*?\]\]>|<!--.*?-->|{_ENTITY}|&|<(?![A-Za-z_/!?:])|{_FORBIDDEN}", re.DOTALL
)
_PREFIX = re.compile(r"[<\s/]([A-Za-z_][\w.-]*):[A-Za-z_]")
_XML_ENTITIES = ("&amp;", "&lt;", "&gt;", "&quot;", "&apos;")


def read_xml(path: Path, *, encoding: str) -> Iterator[Record]:
    """Yields one record an article.

    Records have the keys `pmid`, `pmcid`, `doi`, `title`, `abstract` (paragraphs), `sections` (objects with
    `title`, `text` as paragraphs and `sections`), `journal`, `year`, `licence` and `article_type`. An article
    that cannot be parsed is a fault `broken_xml`, and so is a file that holds neither an article nor a set.

    Args:
        path: the file.
        encoding: as detected, whatever the XML declaration says.
    """
    with path.open("rb") as file:
        window = TextWindow(file, encoding)
        count = 0
        while (match := _next_start(window)) is not None:
            count += 1
            yield _record(window, match[1], count)
        if not count and window.place and _SET.search(head := _head(path)) is None:
            yield broken("broken_xml", _NO_ARTICLE, head)


def _head(path: Path) -> str:
    with path.open("rb") as file:
        return file.read(1 << 16).decode("ascii", errors="replace")


def _next_start(window: TextWindow) -> re.Match[str] | None:
    """Moves to the next start tag of an article."""
    while True:
        match = _START.search(window.text, window.position)
        if match is not None:
            window.move(match.start())
            return _START.match(window.text, window.position)
        window.move(max(window.position, len(window.text) - _LONGEST_TAG))
        if not window.refill():
            window.move(len(window.text))
            return None


def _record(window: TextWindow, tag: str, number: int) -> Record:
    """The article at the position, which is left behind its end."""
    end_tag = re.compile(rf"</{re.escape(tag)}\s*>")
    while (end := end_tag.search(window.text, window.position)) is None:
        if len(window.text) - window.position > MAX_ARTICLE_CHARACTERS or not window.refill():
            break
    start, stop = window.position, len(window.text) if end is None else end.end()
    # An article that is never closed must not swallow the next one.
    following = re.compile(rf"<{re.escape(tag)}(?=[\s>])").search(window.text, start + 1, stop)
    stop = following.start() if following else stop
    text = window.text[start:stop]
    complaint = window.take(start, stop)
    window.position = stop
    if complaint is not None:
        return broken("encoding", complaint, text.replace(MARK, "\ufffd"))
    if end is None or following is not None:
        return broken("broken_xml", f"article {number} has no end </{tag}>", text)
    try:
        element = _parsed(text)
    except etree.XMLSyntaxError as error:
        return broken("broken_xml", f"article {number}: {error.msg}", text)
    return Record(_article(element), len(text))


def _article(element: Any) -> dict[str, Any]:
    return pubmed_article(element) if local_name(element) in _PUBMED else jats_article(element)


def _parsed(text: str) -> Any:
    """The element that a piece of XML is.

    Raises:
        XMLSyntaxError: it is not well-formed.
    """
    text = _MENDED.sub(_mend, text)
    try:
        return etree.fromstring(text, _parser())
    except etree.XMLSyntaxError as error:
        if "amespace prefix" not in str(error):
            raise
    # The declaration stood on an element around the article; only local names matter here.
    prefixes = sorted(set(_PREFIX.findall(text)) - {"xml", "xmlns"})
    declared = " ".join(f'xmlns:{prefix}="urn:{prefix}"' for prefix in prefixes)
    return etree.fromstring(f"<outer {declared}>{text}</outer>", _parser())[0]


def _parser() -> etree.XMLParser:
    return etree.XMLParser(
        resolve_entities=False, load_dtd=False, no_network=True, remove_comments=True, remove_pis=True
    )


def _mend(match: re.Match[str]) -> str:
    """XML for what is none: HTML's entities, bare `&` and `<`, characters that XML does not allow."""
    found = match[0]
    if found.startswith("<!") or found in _XML_ENTITIES:
        return re.sub(_FORBIDDEN, "", found)
    if found.startswith("&#"):
        return _escaped(html.unescape(found))
    if found.startswith("&"):
        return _escaped(html5.get(found[1:], found))
    return "&lt;" if found == "<" else ""


def _escaped(text: str) -> str:
    return re.sub(_FORBIDDEN, "", text).replace("&", "&amp;").replace("<", "&lt;")
