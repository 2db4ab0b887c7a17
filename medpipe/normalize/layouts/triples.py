"""Statements of a knowledge graph as sentences."""

from __future__ import annotations

from typing import Any

import polars as pl

from medpipe.catalog.layouts import TriplesLayout
from medpipe.normalize.extracted import Batch, UnusableRowError
from medpipe.normalize.layouts.values import joined_strings
from medpipe.normalize.tidy import tidy
from medpipe.records.kinds import Language

_ZH_VERB = (
    r"^(?:是|为|有|可|能|应|需|会|不|未|属于|包括|包含|具有|伴有|导致|引起|引发|诱发|位于|用于|作用于"
    r"|来源于|表现为)"
)
_EN_VERB = (
    r"(?i)^(?:is|isa|are|was|were|has|have|had|may|can|could|should|must|does|belongs|includes|contains|leads"
    r"|treats|prevents|affects|inhibits|produces|occurs)\b|\b(?:of|with|by|to|in|on|at|from|for|as)$"
)
_COLUMNS = ("subject", "predicate", "object")


def read_triples(batch: Batch, layout: TriplesLayout, language: Language) -> pl.DataFrame:
    """Documents: a statement a record as one sentence; a list of objects is joined.

    A predicate that is a verb stands between subject and object. Any other is a name of the relation:
    `高血压的临床表现是头痛、头晕。`, `Hypertension symptoms: headache, dizziness.`
    """
    names = (layout.subject, layout.predicate, layout.object)
    found: list[tuple[int, str, str, str]] = []
    for position in range(len(batch.values)):
        try:
            found.append((position, *_statement(batch.expect_object(position), names, language)))
        except UnusableRowError as error:
            batch.reject(position, error.reason, error.detail)
    frame = pl.DataFrame(
        found, schema={"position": pl.Int64} | dict.fromkeys(_COLUMNS, pl.String), orient="row"
    ).with_columns(pl.col(name).map_batches(tidy, return_dtype=pl.String) for name in _COLUMNS)
    for name, column in zip(names, _COLUMNS, strict=True):
        empty = frame.filter(pl.col(column).is_null())["position"]
        batch.reject_all(empty, "empty_text", f"field '{name}' is empty")
    return batch.kept(frame.select("position", text=_sentence(language)))


def _statement(row: dict[str, Any], names: tuple[str, str, str], language: Language) -> tuple[str, str, str]:
    """Subject, predicate and object as published."""
    missing = [name for name in names if name not in row]
    if missing:
        raise UnusableRowError("missing_field", f"no field {' and '.join(map(repr, missing))}")
    subject, predicate, thing = (_listed(row[name], language) for name in names)
    return subject, predicate, thing


def _listed(value: Any, language: Language) -> str:
    """A string, or the items of a list joined as a sentence joins them."""
    if type(value) is not list:
        return joined_strings(value, language)
    items = [text.strip() for item in value if (text := joined_strings(item, language)).strip()]
    return ("、" if language is Language.ZH else ", ").join(items)


def _sentence(language: Language) -> pl.Expr:
    subject, predicate, thing = (pl.col(name) for name in _COLUMNS)
    if language is Language.ZH:
        named = pl.concat_str(subject, pl.lit("的"), predicate, pl.lit("是"), thing, pl.lit("。"))
        said = pl.concat_str(subject, predicate, thing, pl.lit("。"))
        return pl.when(predicate.str.contains(_ZH_VERB)).then(said).otherwise(named)
    predicate = predicate.str.replace_all("_", " ", literal=True)
    named = pl.concat_str(subject, pl.lit(" "), predicate, pl.lit(": "), thing, pl.lit("."))
    said = pl.concat_str(subject, pl.lit(" "), predicate, pl.lit(" "), thing, pl.lit("."))
    return pl.when(predicate.str.contains(_EN_VERB)).then(said).otherwise(named)
