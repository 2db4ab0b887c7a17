"""Traditional Chinese to simplified, where a source asks for it."""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache

import polars as pl

_IDEOGRAPHS = (range(0x3400, 0xA000), range(0x20000, 0x323B0))
"""Nothing else is ever converted: digits, letters, units and symbols stay."""
_KEPT, _STAND_IN = "坏", "\ufdd0"
"""OpenCC takes 坏 for an old spelling of 坯, so that 打坏 would become 打坯; medical text means 壞 by it. The
stand-in is a noncharacter, which cleaned text does not hold."""


@lru_cache(maxsize=1)
def _converter() -> Callable[[str], str]:
    from opencc import OpenCC

    convert: Callable[[str], str] = OpenCC("t2s").convert
    return convert


@lru_cache(maxsize=1)
def _changing() -> str:
    """Character class of the ideographs that change on their own."""
    characters = [chr(code) for block in _IDEOGRAPHS for code in block]
    converted = _converter()("\n".join(characters)).split("\n")
    changing = [old for old, new in zip(characters, converted, strict=True) if old != new]
    return f"[{''.join(changing)}]"


def _simplified(text: str) -> str:
    return _converter()(text.replace(_KEPT, _STAND_IN)).replace(_STAND_IN, _KEPT)


def simplify_column(column: pl.Series) -> pl.Series:
    """Converts traditional Chinese characters to simplified ones, by OpenCC's `t2s`.

    Only texts that hold a character which is traditional on its own are converted: OpenCC's phrases also
    match words of simplified text.

    Args:
        column: String, cleaned.

    Returns:
        String; nulls stay null, numbers, units and everything that is no ideograph stay as they are.
    """
    todo = column.str.contains(_changing()).arg_true()
    if todo.is_empty():
        return column
    simplified = [_simplified(text) for text in column.gather(todo).to_list()]
    return column.clone().scatter(todo, pl.Series(simplified, dtype=pl.String))
