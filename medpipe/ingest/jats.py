"""A JATS article (PMC's `.nxml`) as a record.

Kept: title, abstract, the body's sections, appendices, tables, captions of figures and tables. Left out:
authors, references, notes, acknowledgements, lists of supplementary files.
"""

from __future__ import annotations

from typing import Any

from medpipe.ingest.xml_text import (
    child,
    children,
    descendants,
    line_text,
    local_name,
    paragraphs,
    paragraphs_between,
)

_OTHER_ABSTRACTS = {"graphical", "teaser", "toc", "precis", "video"}
_LINK = "href"


def jats_article(article: Any) -> dict[str, Any]:
    """The record of an `article` element; see `read_xml` for its keys."""
    front = child(article, "front")
    meta = child(front, "article-meta")
    return {
        **_identifiers(meta),
        "title": _title(meta),
        "abstract": [
            text
            for abstract in children(meta, "abstract")
            if abstract.get("abstract-type") not in _OTHER_ABSTRACTS
            for text in _abstract(abstract)
        ],
        "sections": _body(article),
        "journal": line_text(next(iter(descendants(front, "journal-title")), None)) or None,
        "year": _year(meta),
        "licence": _licence(meta),
        "article_type": article.get("article-type"),
    }


def _identifiers(meta: Any) -> dict[str, str | None]:
    found = {item.get("pub-id-type"): line_text(item) for item in children(meta, "article-id")}
    pmcid = found.get("pmcid") or found.get("pmc")
    if pmcid and pmcid.isdigit():
        pmcid = f"PMC{pmcid}"
    return {"pmid": found.get("pmid"), "pmcid": pmcid, "doi": found.get("doi")}


def _title(meta: Any) -> str:
    parts = [line_text(child(meta, "title-group", name)) for name in ("article-title", "subtitle")]
    return ": ".join(part for part in parts if part)


def _abstract(abstract: Any) -> list[str]:
    """Paragraphs of an abstract; those of a part with a title begin with it."""
    found = []
    for item in abstract:
        if local_name(item) == "sec":
            label = line_text(child(item, "title")).rstrip(":. ")
            texts = paragraphs(item, without=("title", "label"))
            found += [f"{label}: {texts[0]}", *texts[1:]] if label and texts else texts
        elif local_name(item) not in ("title", "label"):
            found += paragraphs(item)
    return found


def _body(article: Any) -> list[dict[str, Any]]:
    sections = _parts(child(article, "body"))
    sections += [_section(item) for item in descendants(child(article, "back"), "app")]
    sections += _parts(child(article, "floats-group"))
    return [section for section in sections if section["text"] or section["sections"]]


def _parts(parent: Any) -> list[dict[str, Any]]:
    """The sections of an element; text before, between and behind them is a section without a title."""
    first, *later = paragraphs_between(parent, "sec", without=("label", "title"))
    return [*_untitled(first), *_subsections(parent, later)]


def _untitled(text: list[str]) -> list[dict[str, Any]]:
    return [{"title": "", "text": text, "sections": []}] if text else []


def _subsections(parent: Any, behind: list[list[str]]) -> list[dict[str, Any]]:
    """The sections within an element, each with the text behind it."""
    found = []
    for item, text in zip(children(parent, "sec"), behind, strict=True):
        if item.get("sec-type") != "supplementary-material":
            found.append(_section(item))
        found += _untitled(text)
    return [section for section in found if section["text"] or section["sections"]]


def _section(element: Any) -> dict[str, Any]:
    parts = [line_text(child(element, name)) for name in ("label", "title")]
    text, *behind = paragraphs_between(element, "sec", without=("label", "title"))
    return {
        "title": " ".join(part for part in parts if part),
        "text": text,
        "sections": _subsections(element, behind),
    }


def _year(meta: Any) -> str | None:
    """The earliest year of publication."""
    years = [line_text(child(item, "year")) for item in children(meta, "pub-date")]
    return min((year for year in years if year), default=None)


def _licence(meta: Any) -> str | None:
    """Address of the licence if there is one, else its words."""
    permissions = child(meta, "permissions")
    references = [line_text(item) for item in descendants(permissions, "license_ref")]
    licences = descendants(permissions, "license")
    links = [value for item in licences for name, value in item.items() if name.rpartition("}")[2] == _LINK]
    words = [" ".join(paragraphs(item)) for licence in licences for item in children(licence, "license-p")]
    return next((text for text in (*references, *links, *words) if text), None)
