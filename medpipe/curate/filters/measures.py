"""All measures of a batch of texts."""

from __future__ import annotations

from collections.abc import Sequence

import polars as pl

from medpipe.curate import tier
from medpipe.curate.filters.phrases import phrase_measures


def measure(batch: pl.DataFrame, *, bad_words: Sequence[str] = ()) -> pl.DataFrame:
    """Measures every text of a batch; what each measure means stands with the rules that use it.

    Role labels of the templates (`[User]`, `[ANSWER]`, ...) count for nothing, save in the four measures of
    the tier rule `refined_v1`. Shares are of visible characters, of lines that are not blank, or of words, as
    the rule says; a share of nothing is 0, but a share of no letters is null.

    Args:
        batch: with the column `text`, String; a null is measured as an empty text.
        bad_words: words that `bad_words` counts.

    Returns:
        A row a text, Float64 columns. `answer_characters` is null unless the text has exactly one answer.
    """
    # Compiled code, which the code location should not wait for.
    from medpipe.curate.filters import counts as c
    from medpipe.curate.filters.shape import shape_measures
    from medpipe.curate.filters.walk_kernel import count_column

    text = batch["text"].fill_null("")
    counts = count_column(text)
    shape = shape_measures(counts)
    phrases = phrase_measures(text, pl.Series(counts[:, c.ANSWER_AT]), shape, bad_words=bad_words)
    hits, characters = pl.col("advertisement"), pl.col("characters")
    return shape.with_columns(**phrases).with_columns(
        advertisement_density=pl.when((hits > 1) & (characters > 0))
        .then(100 * hits / characters)
        .otherwise(0.0),
        graph_template=pl.max_horizontal("statement", "graph_question"),
        refined_v1=_refined_v1().cast(pl.Float64),
    )


def _refined_v1() -> pl.Expr:
    """`medpipe.curate.tier.refined_v1`, from what was counted already; a test holds them to be the same."""
    return (
        (pl.col("all_characters") >= tier.MINIMUM_CHARACTERS)
        & (pl.col("letters_digits") >= tier.MINIMUM_WORD_SHARE * pl.col("all_visible"))
        & (pl.col("distinct_lines") >= tier.MINIMUM_DISTINCT_LINES * pl.col("lines"))
        & (pl.col("sentences") * tier.CHARACTERS_A_SENTENCE >= pl.col("all_characters"))
        & (pl.col("contact") == 0)
        & (pl.col("replacement") == 0)
    )
