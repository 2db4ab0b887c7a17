"""Settings of the corpus."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict, Field


class CurateConfig(BaseModel):
    """What a person can set about the corpus; every field changes its content."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    validation_share: float = Field(default=0.02, ge=0, lt=1)
    """Share of the content keys that is held out, beside what publishers hold out."""
    minimum_documents: int = Field(default=20, ge=2)
    """A domain with this many records has at least one held-out record."""
    minimum_characters: int = Field(default=5, ge=1)
    """Records with fewer characters, spaces not counted, are rejected as `too_short`."""
