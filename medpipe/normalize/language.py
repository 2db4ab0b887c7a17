"""The language of a record: what the catalog declares, unless the text is clearly something else."""

from __future__ import annotations

import polars as pl

from medpipe.records.kinds import Language

SAMPLE_CHARACTERS = 256
"""Characters from the start of a text that are looked at."""
ENOUGH_LETTERS = 16
"""With fewer letters the declared language stands: drug names and formulas are Latin in any language."""


def record_language(text: pl.Expr, declared: Language) -> pl.Expr:
    """Language of each text, as String.

    Of all letters in the first `SAMPLE_CHARACTERS` characters: a text with at least 30 % Chinese characters
    and under 15 % kana is Chinese; under 5 % and with at least 80 % ASCII letters it is English; with under
    5 % Chinese characters and under half ASCII letters, or with more kana, it is neither. Everything in
    between, and every text with few letters, keeps the declared language.

    Args:
        text: String.
        declared: language of the file or its source.
    """
    return text.map_batches(
        lambda column: _languages(column, declared), return_dtype=pl.String, is_elementwise=True
    )


def _languages(texts: pl.Series, declared: Language) -> pl.Series:
    # Imported here: it brings a compiler, which definitions must not wait for.
    from medpipe.normalize.script_kernel import letters_by_script

    letters = pl.sum_horizontal("han", "ascii", "kana", "other")
    chinese, latin, kana = (pl.col(script) / letters for script in ("han", "ascii", "kana"))
    language = (
        pl.when(letters < ENOUGH_LETTERS)
        .then(pl.lit(declared.value))
        .when(kana >= 0.15)
        .then(pl.lit(Language.OTHER.value))
        .when(chinese >= 0.3)
        .then(pl.lit(Language.ZH.value))
        .when((chinese < 0.05) & (latin >= 0.8))
        .then(pl.lit(Language.EN.value))
        .when((chinese < 0.05) & (latin < 0.5))
        .then(pl.lit(Language.OTHER.value))
        .otherwise(pl.lit(declared.value))
    )
    return letters_by_script(texts.str.head(SAMPLE_CHARACTERS)).select(language).to_series()
