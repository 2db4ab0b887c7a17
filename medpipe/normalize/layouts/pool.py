"""Strings out of many rows, cleaned together: cleaning works on whole columns."""

from __future__ import annotations

import polars as pl

from medpipe.normalize.clean import clean_column


class TextPool:
    """Hands out a number for each string and gives all of them back, cleaned, under these numbers."""

    def __init__(self) -> None:
        self._texts: list[str] = []

    def add(self, text: str) -> int:
        """Takes a string in; returns its index in `cleaned`."""
        self._texts.append(text)
        return len(self._texts) - 1

    def cleaned(self) -> list[str]:
        """All strings, cleaned; one that held nothing a reader sees is empty."""
        return clean_column(pl.Series(self._texts, dtype=pl.String)).to_list()
