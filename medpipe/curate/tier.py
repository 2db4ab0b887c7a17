"""Quality tiers: named, versioned rules as Polars expressions.

A rule judges a text and never changes it. A rule that changes gets a new name, so that a corpus says
by which one it was judged.
"""

from __future__ import annotations

import polars as pl

from medpipe.records.kinds import Tier

RULE = "refined_v1"
"""The rule in use."""

MINIMUM_CHARACTERS = 50
MINIMUM_WORD_SHARE = 0.6
"""Least share of letters (Chinese characters are letters) and digits among what is not a space."""
MINIMUM_DISTINCT_LINES = 0.7
"""Least share of distinct lines among the lines that are not blank."""
CHARACTERS_A_SENTENCE = 300
"""At least one end mark in so many characters: prose has them, word lists and page furniture do not."""

_END_MARKS = r"[。！？!?；;…]|\.(?:\s|$)"
CONTACTS = "|".join(
    (
        r"https?://|www\.",
        r"[\w.+-]+@[\w-]+\.[a-z]{2,}",
        r"(?:^|\D)1[3-9]\d{9}(?:\D|$)",
        r"(?:微信|QQ|扣扣)(?:号|群)?\s*[:：]?\s*[a-z]*\d{5,}",
        r"加(?:我|个)?(?:微信|QQ)|扫(?:描|码|一扫).{0,6}(?:二维码|关注)|关注.{0,8}公众号",
        r"点击.{0,6}(?:链接|咨询|预约)|(?:免费|在线)咨询(?:热线|电话|专家)|(?:咨询|预约|客服)(?:热线|电话)",
        r"click here|subscribe (?:now|to our)|call (?:us )?now",
    )
)
"""Addresses, accounts and calls to get in touch, as a regular expression without regard to case."""


def refined_v1(text: pl.Expr) -> pl.Expr:
    """Whether a text is clean prose; String to Boolean.

    All of these hold: at least 50 characters; at least 60 % of what is not a space are letters or digits;
    at least 70 % of the lines are distinct; an end mark in every 300 characters on average; no contact or
    advertisement pattern (address on the web, e-mail, mobile number, chat account, hotline); no
    replacement character.
    """
    characters = text.str.len_chars()
    visible = text.str.count_matches(r"\S")
    words = text.str.count_matches(r"[\p{L}\p{N}]")
    lines = text.str.strip_chars().str.split("\n").list.eval(pl.element().str.strip_chars())
    lines = lines.list.eval(pl.element().filter(pl.element() != ""))
    return (
        (characters >= MINIMUM_CHARACTERS)
        & (words >= MINIMUM_WORD_SHARE * visible)
        & (lines.list.n_unique() >= MINIMUM_DISTINCT_LINES * lines.list.len())
        & (text.str.count_matches(_END_MARKS) * CHARACTERS_A_SENTENCE >= characters)
        & ~text.str.contains(f"(?i){CONTACTS}")
        & ~text.str.contains("\ufffd", literal=True)
    )


def tier(text: pl.Expr) -> pl.Expr:
    """The tier of a text by the rule in use, as the `tier` column's type."""
    tiers = pl.Enum([each.value for each in Tier])
    return (
        pl.when(refined_v1(text))
        .then(pl.lit(Tier.REFINED.value, dtype=tiers))
        .otherwise(pl.lit(Tier.RAW.value, dtype=tiers))
    )
