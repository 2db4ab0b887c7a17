"""All measures of a batch of texts."""

from __future__ import annotations

from collections.abc import Sequence

import polars as pl

from medpipe.curate import tier
from medpipe.curate.filters.phrases import phrase_measures

_PASSAGE_LINE = 30
"""Shorter lines are items of a list, which share their wording and yet each say something."""
_MAY_REPEAT = 0.2
"""Share of an answer below which its repetition breaks no limit."""


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
    answer_at = pl.Series(counts[:, c.ANSWER_AT])
    phrases = phrase_measures(text, answer_at, shape, bad_words=bad_words)
    suspects = shape.select(_answer_may_repeat()).to_series().arg_true()
    answers = pl.DataFrame({"text": text.gather(suspects), "at": answer_at.gather(suspects)}).select(
        pl.col("text").str.slice("at")
    )
    repeated = shape_measures(count_column(answers.to_series())).select(
        pl.when(pl.col("mean_line_length") >= _PASSAGE_LINE).then("duplicate_10_gram").otherwise(0.0)
    )
    in_answer = pl.zeros(text.len(), dtype=pl.Float64, eager=True)
    hits, characters = pl.col("advertisement"), pl.col("characters")
    return shape.with_columns(**phrases).with_columns(
        advertisement_density=pl.when((hits > 1) & (characters > 0))
        .then(100 * hits / characters)
        .otherwise(0.0),
        graph_template=pl.max_horizontal("statement", "graph_question"),
        answer_duplicate_10_gram=in_answer.scatter(suspects, repeated.to_series()),
        refined_v1=_refined_v1().cast(pl.Float64),
    )


def _answer_may_repeat() -> pl.Expr:
    """Whether enough of the text stood before to be so much of the answer; few are walked a second time."""
    repeated = pl.col("duplicate_10_gram") * pl.col("characters")
    enough = repeated >= _MAY_REPEAT * pl.col("answer_characters")
    return (enough & (pl.col("answers") == 1)).fill_null(False)


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
