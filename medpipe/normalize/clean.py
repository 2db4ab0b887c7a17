"""Text cleaning that does no harm to medicine.

Only what a reader cannot see, or must not see, is touched: line ends, invisible and control characters,
odd spaces, HTML. Numbers, units, comparators and doses stay as they are. The text is brought to NFC and
never to NFKC (which turns `10×10⁹/L` into `10×109/L`); ohm, kelvin and ångström signs, which NFC would
replace by letters, stay.
"""

from __future__ import annotations

import polars as pl

from medpipe.normalize.markup import CANDIDATE, without_markup

_LINE_END = r"\r\n?|[\x0B\x0C\x{85}\x{2028}\x{2029}]"
_CONTROL = (
    r"\x00-\x08\x0E-\x1F\x7F-\x{84}\x{86}-\x{9F}\x{AD}\x{2061}-\x{2064}\x{FDD0}-\x{FDEF}\x{FFFE}\x{FFFF}"
)
"""Control characters, noncharacters, the soft hyphen and the invisible signs of formulas."""
_ZERO_WIDTH = r"\x{61C}\x{180E}\x{200B}-\x{200F}\x{202A}-\x{202E}\x{2060}\x{2066}-\x{206F}\x{FEFF}"
_LOST = r"\x{FFFD}"
"""Stands where a character was lost."""
_BESIDE_NUMBER = r"[ .,．，]?"
_ODD_SPACE = r"\x{A0}\x{1680}\x{2000}-\x{200A}\x{202F}\x{205F}\x{3000}"

UNIT_SIGNS = ["\u2126", "\u212a", "\u212b"]
STAND_INS = ["\ufdd0", "\ufdd1", "\ufdd2"]
"""Noncharacters, which the text cannot hold any more once control characters are gone."""

_MAY_CHANGE_IN_NFC = (
    r"\p{M}\x{1100}-\x{11FF}\x{340}-\x{344}\x{374}\x{37E}\x{387}\x{958}-\x{95F}\x{9DC}-\x{9DF}\x{A33}-\x{A5E}"
    r"\x{B5C}-\x{B5D}\x{F43}-\x{FB9}\x{1F71}-\x{1FFD}\x{2126}-\x{212B}\x{2329}-\x{232A}\x{2ADC}\x{F900}-\x{FAFF}"
    r"\x{FB1D}-\x{FB4E}\x{1D15E}-\x{1D1C0}\x{2F800}-\x{2FA1D}"
)
_DIRTY = (
    rf"[\r\x0B\x0C\x{{85}}\x{{2028}}\x{{2029}}{_CONTROL}{_LOST}{_ZERO_WIDTH}{_ODD_SPACE}{_MAY_CHANGE_IN_NFC}]"
)
"""Every character that cleaning could change by itself."""
MAY_BE_DIRTY = rf"{_DIRTY}|{CANDIDATE}|[ \t]\n|\n\n\n|^\s|\s$"
"""Matches every text that cleaning could change; most texts do not match and are left in peace."""

STEPS = (
    (_LINE_END, "\n"),
    (rf"[{_ZERO_WIDTH}]+", ""),
    # A control character between two digits leaves a gap, so that no new number arises.
    (rf"(\p{{N}})[{_CONTROL}]+", "${1}\x1f"),
    (r"\x1F(\p{N})", " ${1}"),
    (rf"[{_CONTROL}]+", ""),
    # A character lost beside a number stays visible: `5<U+FFFD>g` was 5 μg and must not become 5 g.
    (rf"(\p{{N}}{_BESIDE_NUMBER}){_LOST}+", "${1}\x1e"),
    (rf"{_LOST}+({_BESIDE_NUMBER}\p{{N}})", "\x1e${1}"),
    (_LOST, ""),
    (r"\x1E", "\ufffd"),
    (rf"(?m)^[ \t]*[{_ODD_SPACE}][ \t{_ODD_SPACE}]*", ""),
    (rf"[{_ODD_SPACE}]+", " "),
    (r"(?m)[ \t]+$", ""),
    (r"\n{3,}", "\n\n"),
)
"""Regular expressions and what takes the place of what they match, one after the other."""


def _without_markup(column: pl.Series) -> pl.Series:
    suspects = column.str.contains(CANDIDATE)
    return pl.Series(
        column.name,
        [
            without_markup(text) if suspect else text
            for text, suspect in zip(column.to_list(), suspects.to_list(), strict=True)
        ],
        dtype=pl.String,
    )


def _without_unseen(text: pl.Expr) -> pl.Expr:
    text = text.map_batches(_without_markup, return_dtype=pl.String, is_elementwise=True)
    for pattern, replacement in STEPS:
        text = text.str.replace_all(pattern, replacement)
    return text.str.strip_chars()


def _composed(column: pl.Series) -> pl.Series:
    """The texts in NFC, save for the unit signs; most do not even hold a character that NFC could change."""
    todo = column.str.contains(f"[{_MAY_CHANGE_IN_NFC}]").arg_true()
    text = pl.col("text").str.replace_many(UNIT_SIGNS, STAND_INS)
    text = text.str.normalize("NFC").str.replace_many(STAND_INS, UNIT_SIGNS)
    return _replaced(column, todo, column.gather(todo).to_frame("text").select(text).to_series())


def clean_column(column: pl.Series) -> pl.Series:
    """Cleans a String column; nulls stay null, and cleaning twice changes nothing more.

    CRLF and CR become LF; zero-width and control characters and byte order marks go, and so does U+FFFD
    unless a number is beside it; U+3000 and no-break spaces go at the start of a line and become one space
    elsewhere; HTML goes (see `without_markup`); trailing spaces go; more than one empty line becomes one.
    """
    todo = column.str.contains(MAY_BE_DIRTY).arg_true()
    while todo.len():
        before = column.gather(todo)
        after = _composed(before.to_frame("text").select(_without_unseen(pl.col("text"))).to_series())
        column = _replaced(column, todo, after)
        # One pass can uncover work for the next (`<<b>b>`); each makes the text shorter or leaves it be.
        todo = todo.filter((before != after) & after.str.contains(MAY_BE_DIRTY))
    return column


def _replaced(column: pl.Series, positions: pl.Series, values: pl.Series) -> pl.Series:
    return column.clone().scatter(positions, values)


def clean_text(text: str) -> str:
    """`clean_column` for one text."""
    return str(clean_column(pl.Series([text], dtype=pl.String)).item())
