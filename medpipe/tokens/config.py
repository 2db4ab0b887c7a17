"""What a person sets about tokenizer and shards, and the versions of both transforms."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

TOKENIZER_CODE_VERSION = "1"
"""Raise it when the same sample gives another tokenizer."""
SHARD_CODE_VERSION = "3"
"""Raise it when the same documents and tokenizer give other shards."""
BYTES = 256
"""Entries that every byte-level vocabulary starts with: any text can be encoded."""
_BEHIND_BYTES = chr(0x144)
"""Byte-level BPE writes each byte as one of the characters before this one (GPT-2's `bytes_to_unicode`)."""


class TokenizerConfig(BaseModel):
    """What a tokenizer is trained with, or which published one is taken; another setting is another one."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str = "medical-bpe"
    """Folder of the tokenizer in the lake."""
    file: Path | None = None
    """A published tokenizer that is taken as it is: a `tokenizer.json`, a SentencePiece `.model` or a
    `.tiktoken` file. What is said below about training has no effect then."""
    pattern: str | None = None
    """Only for a `.tiktoken` file, which does not hold it: the regular expression that cuts text before
    merging, or one of the names `gpt2`, `cl100k`, `qwen`."""
    allow_lossy: bool = False
    """Whether a published tokenizer may be used that does not give every text back exactly."""
    vocabulary_size: int = Field(default=4096, ge=BYTES + 1, le=2**31 - 1)
    """Entries with bytes and special tokens; fewer where the sample has no more pairs to merge."""
    min_frequency: int = Field(default=2, ge=1)
    """A pair that is rarer in the sample is not merged."""
    eos_token: str = "<eos>"  # noqa: S105 - no credential
    """Stands after each document. A published tokenizer must have it: name its own, such as `</s>`."""
    pad_token: str = "<pad>"  # noqa: S105 - no credential
    """Fills up batches; never in a shard. A published tokenizer may lack it."""
    more_special_tokens: tuple[str, ...] = ()
    """Further tokens that text can never produce, such as role marks for fine-tuning; those that a published
    tokenizer lacks get the ids behind its own."""
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

    @property
    def may_lose(self) -> bool:
        """Whether texts that do not come back exactly are allowed."""
        return self.file is not None and self.allow_lossy

    @property
    def recipe(self) -> dict[str, Any]:
        """The settings that change the tokenizer; the place of a file is none of them, its content is."""
        published = {"file", "pattern", "allow_lossy"}
        if self.file is None:
            return self.model_dump(mode="json", exclude=published)
        kept = {"name", "pattern", "eos_token", "pad_token", "more_special_tokens"}
        return self.model_dump(mode="json", include=kept)

    @model_validator(mode="after")
    def _has_room(self) -> Self:
        if len(set(self.special_tokens)) < len(self.special_tokens) or "" in self.special_tokens:
            raise ValueError(f"special tokens must differ and not be empty: {', '.join(self.special_tokens)}")
        if self.file is not None:
            return self
        if single := [token for token in self.special_tokens if len(token) == 1 and token < _BEHIND_BYTES]:
            raise ValueError(
                f"text can hold the token {', '.join(single)}: every vocabulary has one for each byte; name "
                "special tokens such as <eos>"
            )
        if self.pattern is not None:
            raise ValueError("pattern is for a .tiktoken file only; set file too, or leave pattern out")
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
    min_text_bytes: int = Field(default=32_000_000, ge=1, le=2**30)
    """Shards are also cut where the documents themselves say so, once they hold so much text, or a 32nd of
    the source's if that is less, and then hold 2.7 times as much on average: an added or removed document
    changes the shards around it only."""
