"""The tokenizer: byte-level BPE, trained once and then pinned by digest."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Literal, Self

import polars as pl
from pydantic import BaseModel, ConfigDict, Field, model_validator
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers

from medpipe.lake.dataset import Built, Dataset, find_reusable, publish
from medpipe.lake.digest import digest_bytes
from medpipe.lake.layout import Lake
from medpipe.lake.manifest import Recipe
from medpipe.records.kinds import Split
from medpipe.tokens.compression import compression_report
from medpipe.tokens.sample import sample_ids, sample_texts

ROOM = "tokenizer"
FILE = "tokenizer.json"
TOKENIZER_CODE_VERSION = "1"
"""Raise it when the same sample gives another tokenizer."""
BYTES = 256
"""Entries that every byte-level vocabulary starts with: any text can be encoded."""


class TokenizerError(ValueError):
    """A tokenizer cannot be trained or loaded; the message names the fix."""


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


def untrained_tokenizer(config: TokenizerConfig) -> Tokenizer:
    """A tokenizer that only lacks its merges.

    Text is cut into runs of letters (Chinese characters are letters), of digits, of other marks and of
    spaces before merging, so no merge crosses a punctuation mark, Chinese or not. There is no
    normalizer: what is decoded is the text, byte for byte.
    """
    tokenizer = Tokenizer(models.BPE())
    by_runs = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=True)
    tokenizer.pre_tokenizer = (
        pre_tokenizers.Sequence([pre_tokenizers.Digits(individual_digits=True), by_runs])
        if config.digits == "individual"
        else by_runs
    )
    tokenizer.decoder = decoders.ByteLevel()
    return tokenizer


def train_tokenizer(
    documents: Dataset,
    *,
    lake: Lake,
    config: TokenizerConfig,
    force: bool = False,
    progress: Callable[[str], None] | None = None,
) -> Built:
    """Trains a byte-level BPE on a seeded sample of the training documents, stratified by domain.

    Once trained it is pinned: with the same settings the current one is reused whatever has become of
    the documents since.

    Args:
        documents: `corpus/documents`.
        lake: where the tokenizer is published, as `tokenizer/<name>/<digest>/tokenizer.json`.
        config: vocabulary, special tokens, sample.
        force: train on the documents as they are now.
        progress: takes one line of news at a time.

    Returns:
        The tokenizer; its facts hold vocabulary size, special tokens with ids, the digest of the
        documents it was trained on, and a report on the validation split by domain.

    Raises:
        TokenizerError: there is no training document.
    """
    recipe = Recipe(inputs={}, code_version=TOKENIZER_CODE_VERSION, config=config.model_dump(mode="json"))
    if not force and (found := find_reusable(lake, ROOM, config.name, recipe=recipe)):
        return Built(found, reused=True)
    say = progress or (lambda _: None)
    chosen = sample_ids(documents, split=Split.TRAIN, budget=config.sample_bytes, seed=config.seed)
    if chosen.is_empty():
        raise TokenizerError(
            "no training document for the tokenizer; check that corpus/documents keeps some (its metadata "
            "counts what was rejected and why), or raise sample_bytes"
        )
    size = int(chosen["size"].sum())
    say(f"tokenizer: training on {chosen.height:,} documents, {size / 1e6:.1f} MB")
    tokenizer = untrained_tokenizer(config)
    tokenizer.train_from_iterator(
        (text for _, text in sample_texts(documents, chosen)),
        trainers.BpeTrainer(
            vocab_size=config.vocabulary_size,
            min_frequency=config.min_frequency,
            special_tokens=list(config.special_tokens),
            initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()),
            show_progress=False,
        ),
    )
    tokenizer.encode_special_tokens = True
    say(f"tokenizer: {tokenizer.get_vocab_size():,} entries; measuring compression on the validation split")
    by_domain = dict(chosen.group_by("domain").agg(size=pl.col("size").sum()).iter_rows())
    with publish(lake, ROOM, config.name, recipe=recipe) as draft:
        content = tokenizer.to_str().encode()
        (draft.path / FILE).write_bytes(content)
        draft.content_digest = digest_bytes(content)
        draft.rows = vocabulary_size(tokenizer)
        draft.facts = {
            "vocabulary_size": vocabulary_size(tokenizer),
            "eos_id": tokenizer.token_to_id(config.eos_token),
            "pad_id": tokenizer.token_to_id(config.pad_token),
            "special_tokens": {token: tokenizer.token_to_id(token) for token in config.special_tokens},
            "documents": documents.digest,
            "sample": {"documents": chosen.height, "bytes": size, "bytes_by_domain": by_domain},
            "report": compression_report(tokenizer, documents, seed=config.seed),
        }
    return Built(draft.dataset, reused=False)


def vocabulary_size(tokenizer: Tokenizer) -> int:
    """Rows that an embedding needs: the largest id and one."""
    return max(tokenizer.get_vocab(with_added_tokens=True).values()) + 1


def load_tokenizer(dataset: Dataset) -> Tokenizer:
    """Loads a published tokenizer, set so that text never becomes a special token.

    A text that holds the characters `<eos>` is encoded like any other text; only the code that writes
    shards sets the special id.

    Raises:
        TokenizerError: the file is missing or cannot be read.
    """
    path: Path = dataset.path / FILE
    try:
        tokenizer = Tokenizer.from_file(str(path))
    except Exception as error:  # the library raises a bare Exception
        raise TokenizerError(
            f"{path} cannot be read ({error}); train the tokenizer again with force"
        ) from error
    tokenizer.encode_special_tokens = True
    return tokenizer
