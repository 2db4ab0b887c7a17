"""What a document is about."""

from __future__ import annotations

import polars as pl
import pytest

from medpipe.curate.family import family


@pytest.mark.parametrize(
    ("text", "domain", "expected"),
    [
        ("名称：甲病。症状：发热", "disease", "name:甲病"),
        ("名称： 甲病\n症状：发热", "disease", "name:甲病"),
        ("Name: Alpha Fever", "disease", "name:alpha fever"),
        ("病名：甲病。", "disease", None),
        ("他的名称：甲病。", "general", None),
        ("Guideline on Asthma, 2019\nText.", "guideline", "title:guidelineonasthma"),
        ("Guideline on asthma (2023)\nOther text.", "guideline", "title:guidelineonasthma"),
        ("Guideline on Asthma, 2019\nText.", "textbook", None),
        ("One line only", "guideline", None),
    ],
)
def test_family(text: str, domain: str, expected: str | None) -> None:
    assert pl.select(family(pl.lit(text), pl.lit(domain))).item() == expected
