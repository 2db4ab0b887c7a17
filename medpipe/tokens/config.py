"""What a person sets about tokenizer and shards, and the versions of both transforms."""

from __future__ import annotations

from typing import Literal, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

TOKENIZER_CODE_VERSION = "1"
"""Raise it when the same sample gives another tokenizer."""
SHARD_CODE_VERSION = "1"
"""Raise it when the same documents and tokenizer give other shards."""
BYTES = 256
"""Entries that every byte-level vocabulary starts with: any text can be encoded."""


class TokenizerConfig(BaseModel):
    """What a tokenizer is trained with; another setting is another tokenizer."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str = "medical-bpe"
    """Folder of the tokenizer in the lake."""
    vocabulary_size: int = Field(default=4096, ge=BYTES + 1, le=2**31 - 1)
    """Entries with bytes and special tokens; fewer where the sample has no more pairs to merge."""
    min_frequency: int = Field(default=2, ge=1)
    """A pair that is rarer in the sample is not merged."""
    eos_token: str = "<eos>"  # noqa: S105 - no credential
    """Stands after each document."""
    pad_token: str = "<pad>"  # noqa: S105 - no credential
    """Fills up batches; never in a shard."""
    more_special_tokens: tuple[str, ...] = ()
    """Further tokens that text can never produce, such as role marks for fine-tuning."""
    digits: Literal["individual", "none"] = "individual"
    """`individual`: each digit is a token, so that a dose reads the same in every number; `none`: no rule."""
    sample_bytes: int = Field(default=16_000_000, ge=1_000)
    """At most so much text is trained on: BPE training takes some 70 bytes of memory a byte of Chinese."""
    seed: int = Field(default=0, ge=0)
    """Draws the sample."""

    @property
    def special_tokens(self) -> tuple[str, ...]:
        """All special tokens, in the order of their ids from 0."""
        return (self.eos_token, self.pad_token, *self.more_special_tokens)

    @model_validator(mode="after")
    def _has_room(self) -> Self:
        if len(set(self.special_tokens)) < len(self.special_tokens) or "" in self.special_tokens:
            raise ValueError(f"special tokens must differ and not be empty: {', '.join(self.special_tokens)}")
        least = BYTES + len(self.special_tokens)
        if self.vocabulary_size < least:
            raise ValueError(f"vocabulary_size must be at least {least}: all bytes and the special tokens")
        return self


class ShardConfig(BaseModel):
    """How shards are cut."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    max_tokens_per_shard: int = Field(default=32_000_000, ge=1, le=2**30)
    """A shard is closed before a document that would exceed it: 64 MB of uint16. A longer document has a
    shard of its own."""
