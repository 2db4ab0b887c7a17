"""Settings of near-duplicate detection, and the bands that follow from them."""

from __future__ import annotations

from typing import NamedTuple

from pydantic import BaseModel, ConfigDict, Field

PERMUTATIONS = 60
"""Values of a signature, one byte each; many numbers of rows divide it."""
SEED = 20_260_101
_MOST_ROWS = 8
"""A band's bytes are its key: 64 bits at most."""
_LEAST_RECALL = 0.98
"""Chance that a pair at the threshold shares a band; all pairs above it have a better one."""
_MARGIN = 2.5
"""Standard deviations of the estimate around the threshold within which the shingles are compared."""


class Bands(NamedTuple):
    """How a signature is cut: two documents are compared if one of the bands is equal in both."""

    number: int
    rows: int


class NearDuplicateConfig(BaseModel):
    """What a person can set; documents at or above `similarity` are near-duplicates."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    similarity: float = Field(default=0.8, ge=0.5, le=1)
    """Least Jaccard similarity of two documents' shingle sets."""
    characters: int = Field(default=5, ge=1, le=64)
    """Characters of a shingle in Chinese and in every language but English, counted in UTF-16 units of the
    text folded as for content keys: without case, width, spaces, punctuation and role names."""
    words: int = Field(default=5, ge=1, le=64)
    """Words of a shingle in English."""
    shingles_compared: int = Field(default=2048, ge=256)
    """Documents with more shingles are compared on the smallest hashes of both sets, so many (bottom-k
    sketch): the standard deviation of that similarity is at most 0.011."""
    bucket_window: int = Field(default=64, ge=2)
    """In a bucket of documents that share a band each one is compared with so many before it, in an order
    that puts similar ones side by side and depends on their signatures alone. Bounds the work for templates,
    of which thousands may share a band."""

    def signature_settings(self) -> dict[str, int]:
        """The settings that change a signature; the others leave stored signatures valid."""
        return {
            "characters": self.characters,
            "words": self.words,
            "permutations": PERMUTATIONS,
            "seed": SEED,
        }

    def bands(self) -> Bands:
        """As many rows a band as the threshold allows: the fewest wrong candidates."""
        for rows in range(_MOST_ROWS, 0, -1):
            count = PERMUTATIONS // rows
            if 1 - (1 - self.similarity**rows) ** count >= _LEAST_RECALL:
                return Bands(count, rows)
        return Bands(PERMUTATIONS, 1)

    def borderline(self) -> tuple[int, int]:
        """Least number of equal values to compare shingles at all, and to accept a pair without it."""
        deviation = (self.similarity * (1 - self.similarity) / PERMUTATIONS) ** 0.5
        low = int((self.similarity - _MARGIN * deviation) * PERMUTATIONS)
        high = (self.similarity + _MARGIN * deviation) * PERMUTATIONS
        return low, min(PERMUTATIONS, int(high) + 1)
