"""Statements of a knowledge graph as sentences."""

from __future__ import annotations

from typing import Any

import polars as pl

from medpipe.catalog.layouts import TriplesLayout
from medpipe.normalize.extracted import Batch, UnusableRowError
from medpipe.normalize.layouts.values import joined_strings
from medpipe.normalize.tidy import tidy
from medpipe.records.kinds import Language

_ZH_AUXILIARIES = (
    r"可能|可以|可|能够|能|应该|应当|应|需要|需|会|不宜|不|未|常常|常见|常|通常|主要|多|易|容易|直接|间接"
)
_ZH_VERBS = (
    r"是|为|有|无|属于|包括|包含|含有|具有|带有|伴有|伴随|伴发|并发|合并|导致|引起|引发|诱发|造成|产生|加重|缓解"
    r"|改善|增加|减少|升高|降低|抑制|促进|影响|位于|用于|适用于|禁用于|慎用于|作用于|来源于|来自|起源于|发生于"
    r"|好发于|多见于|见于|分布于|有助于|有利于|不同于|取决于|依赖于|表现为|分为|称为|是一种|是一类"
)
_ZH_NOMINAL_VERBS = r"治疗|预防|诊断|检查|检测|使用|服用|食用|控制|传播|传染|遗传|转移|发生|出现"
"""Verbs that are, alone, names of relations: `用于治疗` and `可治疗` say something, `治疗` is a name."""
_ZH_VERB = (
    rf"^(?:(?:{_ZH_AUXILIARIES})*(?:{_ZH_VERBS})(?:{_ZH_NOMINAL_VERBS})?"
    rf"|(?:{_ZH_AUXILIARIES})+(?:{_ZH_NOMINAL_VERBS}))了?$"
)
"""Whole verbs: many nouns start like one (`不良反应`, `有效期`, `应用`, `会诊科室`)."""
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
