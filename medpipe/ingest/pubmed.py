"""A PubMed citation as a record."""

from __future__ import annotations

from typing import Any

from medpipe.ingest.xml_text import child, children, descendants, line_text, local_name

_NO_LABELS = ("UNLABELLED", "UNASSIGNED")


def pubmed_article(element: Any) -> dict[str, Any]:
    """The record of a `PubmedArticle`, `PubmedBookArticle` or bare `MedlineCitation`; see `read_xml`."""
    citation = element if local_name(element) == "MedlineCitation" else None
    if citation is None:
        citation = next(
            (item for item in element if local_name(item) in ("MedlineCitation", "BookDocument")), element
        )
    article = child(citation, "Article")
    article = citation if article is None else article
    identifiers = _identifiers(element, article)
    journal = child(article, "Journal", "Title")
    title = line_text(child(article, "ArticleTitle")) or line_text(child(article, "Book", "BookTitle"))
    types = [line_text(item) for item in descendants(article, "PublicationType")]
    return {
        "pmid": line_text(child(citation, "PMID")) or None,
        "pmcid": identifiers.get("pmc"),
        "doi": identifiers.get("doi"),
        "title": title,
        "abstract": [
            text for item in children(child(article, "Abstract"), "AbstractText") if (text := _part(item))
        ],
        "sections": [],
        "journal": line_text(journal) or None,
        "year": _year(article),
        "licence": None,
        "article_type": "; ".join(types) or None,
    }


def _part(item: Any) -> str:
    text, label = line_text(item), item.get("Label")
    return f"{label}: {text}" if text and label and label not in _NO_LABELS else text


def _identifiers(element: Any, article: Any) -> dict[str, str]:
    """Identifiers of the article itself; those of its references lie deeper."""
    found = {
        item.get("EIdType"): line_text(item)
        for item in children(article, "ELocationID")
        if item.get("ValidYN") != "N"
    }
    for path in (("PubmedData", "ArticleIdList"), ("PubmedBookData", "ArticleIdList")):
        found |= {
            item.get("IdType"): line_text(item) for item in children(child(element, *path), "ArticleId")
        }
    return found


def _year(article: Any) -> str | None:
    date = child(article, "Journal", "JournalIssue", "PubDate")
    date = child(article, "Book", "PubDate") if date is None else date
    if date is None:
        return None
    return line_text(child(date, "Year")) or line_text(child(date, "MedlineDate"))[:4] or None
