"""Settings of the privacy rules."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict, Field, field_validator


class PrivacyConfig(BaseModel):
    """What a person can set about the removal of personal data; `rules` changes texts."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    rules: tuple[str, ...] | None = None
    """Versioned names of the rules to apply; all if unset."""
    review_per_rule: int = Field(default=20, ge=0)
    """Rows of the review sample for each rule."""
    review_context: int = Field(default=20, ge=0, le=200)
    """Characters of (masked) text that the review sample shows on each side of a match."""

    @field_validator("rules")
    @classmethod
    def _known(cls, names: tuple[str, ...] | None) -> tuple[str, ...] | None:
        # The rules compile many expressions, which definitions of a code location should not wait for.
        from medpipe.curate.privacy.rules import RULES

        if names is None:
            return None
        if unknown := [name for name in names if name not in RULES]:
            raise ValueError(f"no privacy rule {', '.join(unknown)}; there are {', '.join(RULES)}")
        return tuple(name for name in RULES if name in names)
