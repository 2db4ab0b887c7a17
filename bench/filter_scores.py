"""Precision and recall of filters on the labelled sample, as counts that a person can add up."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass

import polars as pl

from medpipe.curate.filters.config import Effect, FilterConfig
from medpipe.curate.filters.judge import verdicts
from medpipe.curate.filters.measures import measure
from medpipe.curate.filters.registry import RULES

ALL = "in all"
"""In the place of a rule: any of them."""
KEEP = "keep"


@dataclass(frozen=True)
class Score:
    """How a verdict does against labels."""

    found: int
    """Texts with the verdict."""
    right: int
    """Those of them whose label says the same."""
    wanted: int
    """Texts whose label says the same."""

    @property
    def precision(self) -> float | None:
        """Share of the found that are right; None of none."""
        return self.right / self.found if self.found else None

    @property
    def recall(self) -> float | None:
        """Share of the wanted that are found; None of none."""
        return self.right / self.wanted if self.wanted else None

    def as_row(self) -> dict[str, int | float | None]:
        """The counts with both shares."""
        return {**asdict(self), "precision": self.precision, "recall": self.recall}


def score(verdict: pl.Series, wanted: pl.Series) -> Score:
    """Of two Boolean columns without nulls, row by row."""
    return Score(found=int(verdict.sum()), right=int((verdict & wanted).sum()), wanted=int(wanted.sum()))


def views(sample: pl.DataFrame) -> dict[str, pl.Series]:
    """Which rows of the sample count, by the name of the view.

    Readers agree where both say `keep` or both name a defect, be it another one.
    """
    agree = (sample["label"] == KEEP) == (sample["second_label"] == KEEP)
    return {
        "first reader": pl.repeat(True, sample.height, eager=True),
        "readers agree": agree.fill_null(False),
        "every_source": sample["drawn_by"] == "every_source",
    }


def medpipe_verdicts(sample: pl.DataFrame) -> tuple[dict[str, pl.Series], pl.Series]:
    """What each rule drops on its own, with `ALL` of them; and what is refined. Boolean columns."""
    measured = measure(sample).with_columns(sample["lang"])
    judged = verdicts(measured)
    dropped = {ALL: judged["reason"].is_not_null()}
    for name, rule in RULES.items():
        if any(limit.drop is not None for limit in rule.limits.values()):
            alone = FilterConfig(effects={other: Effect.TIER for other in RULES if other != name})
            dropped[name] = verdicts(measured, config=alone)["reason"].is_not_null()
    return dropped, judged["refined"]


def scores(dropped: Mapping[str, pl.Series], sample: pl.DataFrame) -> dict[tuple[str, str], Score]:
    """By view and rule, how dropping does as a finder of defects; rules that drop nothing are left out."""
    defect = sample["label"] != KEEP
    return {
        (view, rule): score(verdict.filter(counts), defect.filter(counts))
        for view, counts in views(sample).items()
        for rule, verdict in dropped.items()
        if rule == ALL or verdict.any()
    }


def refined_scores(refined: pl.Series, sample: pl.DataFrame) -> dict[str, Score]:
    """By view, how the tier `refined` does as a finder of clean texts."""
    clean = sample["label"] == KEEP
    return {
        view: score(refined.filter(counts), clean.filter(counts)) for view, counts in views(sample).items()
    }


def class_recall(verdict: pl.Series, sample: pl.DataFrame) -> dict[str, Score]:
    """By label, how many of its members have the verdict, where both readers gave that very label."""
    both = sample["label"] == sample["second_label"]
    counts = sample.with_columns(verdict=verdict).filter(both)
    return {
        str(label): Score(found=right, right=right, wanted=members)
        for label, members, right in counts.group_by("label", maintain_order=True)
        .agg(pl.len(), pl.col("verdict").sum())
        .iter_rows()
    }


def false_drops(dropped: Mapping[str, pl.Series], sample: pl.DataFrame) -> pl.DataFrame:
    """The texts that the first reader would keep, by key, with every rule that drops them alone."""
    frames = [
        sample.filter(verdict & (sample["label"] == KEEP)).select(
            "file", "row", "part", "label", "second_label", pl.lit(rule).alias("rule")
        )
        for rule, verdict in dropped.items()
        if rule != ALL
    ]
    return pl.concat(frames).sort("file", "row", "part", "rule")
