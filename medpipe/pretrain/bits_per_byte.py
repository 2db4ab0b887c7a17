"""Bits per byte of a model on held-out text, by domain and language.

The measure does not depend on the tokenizer: surprise of all text tokens, in bits, over the UTF-8 bytes of
the texts. `<eos>` targets are left out, since no byte stands behind them.
"""

from __future__ import annotations

import hashlib
import math
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt
import polars as pl
import torch
from torch import nn
from torch.nn import functional

from medpipe.pretrain.batch import IGNORED, Batch, Tokens, assemble
from medpipe.pretrain.model import Compute, logits_of


@dataclass(frozen=True)
class HeldOutShard:
    """A validation shard: its tokens and what is known of each document in it."""

    domain: str
    tokens: Tokens
    documents: pl.DataFrame
    """Columns id, lang, offset, length (tokens with `<eos>`), text_bytes."""


@dataclass(frozen=True)
class BitsPerByte:
    """Surprise and size of held-out text by (domain, language)."""

    cells: dict[tuple[str, str], tuple[float, int]] = field(default_factory=dict)
    """(domain, language) to (bits, bytes)."""

    def _ratio(self, *, domain: str | None = None, language: str | None = None) -> float:
        chosen = [
            cell
            for (of_domain, of_language), cell in self.cells.items()
            if domain in (None, of_domain) and language in (None, of_language)
        ]
        size = sum(size for _, size in chosen)
        return math.fsum(bits for bits, _ in chosen) / size if size else math.nan

    @property
    def overall(self) -> float:
        """Over all held-out text; every byte weighs the same."""
        return self._ratio()

    @property
    def by_domain(self) -> dict[str, float]:
        """Of each domain, all languages."""
        domains = sorted({domain for domain, _ in self.cells})
        return {domain: self._ratio(domain=domain) for domain in domains}

    @property
    def by_language(self) -> dict[str, float]:
        """Of each language, all domains."""
        languages = sorted({language for _, language in self.cells})
        return {language: self._ratio(language=language) for language in languages}

    @property
    def by_domain_and_language(self) -> dict[str, dict[str, float]]:
        """Of each domain, by language."""
        table: dict[str, dict[str, float]] = defaultdict(dict)
        for domain, language in sorted(self.cells):
            table[domain][language] = self._ratio(domain=domain, language=language)
        return dict(table)

    def as_metrics(self) -> dict[str, float]:
        """`all` and each domain."""
        return {"all": self.overall, **self.by_domain}


def measure(
    model: nn.Module,
    compute: Compute,
    shards: Iterable[HeldOutShard],
    *,
    sequence_length: int,
    eos_id: int,
    batch_sequences: int = 32,
    tokens_per_domain: int | None = None,
    check: Callable[[], None] = lambda: None,
) -> BitsPerByte:
    """Measures bits per byte, with the windows and masks of training.

    Args:
        model: the model; it is put back into the mode it was in.
        compute: where and how it runs.
        shards: held-out shards.
        sequence_length: window length in tokens; a document's text behind a window border is read without
            what stands before the border, except for the one token before it.
        eos_id: id of `<eos>`.
        batch_sequences: windows of one forward pass.
        tokens_per_domain: measure on a fixed selection of whole documents of about this size.
        check: called before each forward pass; it may raise to break off.
    """
    cells: dict[tuple[str, str], tuple[float, int]] = {}
    was_training = model.training
    model.eval()
    try:
        for shard in select_documents(list(shards), tokens_per_domain):
            text_bits = np.zeros(len(shard.tokens))
            windows = _windows(len(shard.tokens), sequence_length)
            for start in range(0, len(windows), batch_sequences):
                check()
                chosen = windows[start : start + batch_sequences]
                batch = assemble(
                    [(shard.tokens, offset, length) for offset, length in chosen],
                    sequence_length=sequence_length,
                    eos_id=eos_id,
                )
                bits = _target_bits(model, compute, batch, eos_id)
                for row, (offset, length) in zip(bits, chosen, strict=True):
                    text_bits[offset : offset + length] = row[:length]
            _add_documents(cells, shard, text_bits)
    finally:
        model.train(was_training)
    return BitsPerByte(cells)


def _windows(tokens: int, sequence_length: int) -> list[tuple[int, int]]:
    return [(offset, min(sequence_length, tokens - offset)) for offset in range(0, tokens, sequence_length)]


@torch.inference_mode()
def _target_bits(model: nn.Module, compute: Compute, batch: Batch, eos_id: int) -> npt.NDArray[np.float64]:
    """Bits [B, T] of each target; 0 where it is `<eos>` or padding."""
    tensors = {
        name: torch.from_numpy(getattr(batch, name)).to(compute.device)
        for name in ("input_ids", "targets", "position_ids", "segment_ids")
    }
    targets = tensors.pop("targets")
    logits = logits_of(model, compute, **tensors)
    nats = functional.cross_entropy(
        logits.flatten(0, 1),
        targets.masked_fill(targets == eos_id, IGNORED).flatten(),
        ignore_index=IGNORED,
        reduction="none",
    )
    return nats.reshape(targets.shape).double().cpu().numpy() / math.log(2)


def _add_documents(
    cells: dict[tuple[str, str], tuple[float, int]], shard: HeldOutShard, bits: npt.NDArray[np.float64]
) -> None:
    """Adds a shard's bits and bytes to the cells of its documents' languages."""
    offsets = shard.documents["offset"].to_numpy()
    by_language = (
        shard.documents.select("lang", "text_bytes")
        .with_columns(bits=pl.Series(np.add.reduceat(bits, offsets)))
        .group_by("lang", maintain_order=True)
        .agg(pl.col("bits").sum(), pl.col("text_bytes").sum())
    )
    for language, language_bits, size in by_language.iter_rows():
        before, bytes_before = cells.get((shard.domain, language), (0.0, 0))
        cells[shard.domain, language] = (before + language_bits, bytes_before + int(size))


def select_documents(shards: Sequence[HeldOutShard], tokens_per_domain: int | None) -> Iterator[HeldOutShard]:
    """Limits shards to whole documents, the same ones whenever the shards are the same.

    Documents of a domain are taken in the order of a hash of their id, over all its shards, until the
    limit is reached; at least one is taken.

    Yields:
        The shards unchanged if there is no limit; else shards of the chosen documents.
    """
    for domain in dict.fromkeys(shard.domain for shard in shards):
        of_domain = [shard for shard in shards if shard.domain == domain and shard.documents.height]
        total = sum(len(shard.tokens) for shard in of_domain)
        if tokens_per_domain is None or total <= tokens_per_domain:
            yield from of_domain
            continue
        ranked = sorted(
            (hashlib.blake2b(name.encode(), digest_size=8).digest(), index, row, length)
            for index, shard in enumerate(of_domain)
            for row, (name, length) in enumerate(shard.documents.select("id", "length").iter_rows())
        )
        rows: list[list[int]] = [[] for _ in of_domain]
        taken = 0
        for _, index, row, length in ranked:
            if taken and taken + length > tokens_per_domain:
                break
            rows[index].append(row)
            taken += length
        for shard, chosen in zip(of_domain, rows, strict=True):
            if chosen:
                yield _subset(shard, sorted(chosen))


def _subset(shard: HeldOutShard, rows: list[int]) -> HeldOutShard:
    documents = shard.documents[rows]
    pieces = [
        shard.tokens[offset : offset + length]
        for offset, length in documents.select("offset", "length").iter_rows()
    ]
    ends = documents["length"].cum_sum()
    return HeldOutShard(
        domain=shard.domain,
        tokens=np.concatenate(pieces),
        documents=documents.with_columns(offset=ends - documents["length"]),
    )
