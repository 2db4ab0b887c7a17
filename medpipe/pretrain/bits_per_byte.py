"""Bits per byte of a model on held-out text, on fixed byte windows, by domain and language.

Surprise of the text's tokens in bits over its UTF-8 bytes does not depend on the tokenizer, and the windows
are the same bytes for every model. `<eos>` is never a target, since no byte stands behind it. Every token is
read once as a target, behind at least half a sequence of its own document where there is as much.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import numpy.typing as npt
import polars as pl
import torch
from torch import nn
from torch.nn import functional

from medpipe.pretrain.batch import IGNORED
from medpipe.pretrain.byte_windows import (
    HeldOutShard,
    WindowedDocument,
    choose_windows,
    cut_windows,
    windowed_documents,
)
from medpipe.pretrain.model import Compute, logits_of
from medpipe.tokens.token_bytes import TokenBytes

__all__ = ["WINDOW_BITS_SCHEMA", "BitsPerByte", "HeldOutShard", "window_bits"]

WINDOW_BITS_SCHEMA = {
    "domain": pl.String,
    "lang": pl.String,
    "document": pl.String,
    "start": pl.Int64,
    "bytes": pl.Int64,
    "bits": pl.Float64,
}
"""Columns of `window_bits`."""


@dataclass(frozen=True, eq=False)
class BitsPerByte:
    """Surprise and size of held-out text."""

    windows: pl.DataFrame
    """A row a window, as `window_bits` gives them."""

    @cached_property
    def cells(self) -> dict[tuple[str, str], tuple[float, int]]:
        """(domain, language) to (bits, bytes)."""
        return {
            (str(domain), str(language)): (math.fsum(part["bits"]), int(part["bytes"].sum()))
            for (domain, language), part in self.windows.group_by("domain", "lang", maintain_order=True)
        }

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

    def as_detailed_metrics(self) -> dict[str, float]:
        """Also `<domain>/<language>` where a domain has several languages."""
        several = {
            f"{domain}/{language}": value
            for domain, by_language in self.by_domain_and_language.items()
            if len(by_language) > 1
            for language, value in by_language.items()
        }
        return {**self.as_metrics(), **several}


def window_bits(
    model: nn.Module,
    compute: Compute,
    shards: Iterable[HeldOutShard],
    *,
    sequence_length: int,
    eos_id: int,
    token_bytes: TokenBytes,
    bytes_per_domain: int | None = None,
    batch_sequences: int = 32,
    check: Callable[[], None] = lambda: None,
) -> pl.DataFrame:
    """Measures a model on fixed byte windows of held-out text, with strided context.

    A document is read in chunks of `sequence_length` tokens that begin every half sequence; of each chunk but
    the first only the second half is scored, so that every token is a target once. Which windows are measured
    depends on the text alone, and a window's bits on its document alone.

    Args:
        model: the model; it is put back into the mode it was in.
        compute: where and how it runs.
        shards: held-out shards.
        sequence_length: most tokens that the model reads at once.
        eos_id: id of `<eos>`, which stands before each document.
        token_bytes: of the shards' tokenizer.
        bytes_per_domain: most bytes of a domain that are measured; all if None.
        batch_sequences: a forward pass reads at most as many tokens as this number of sequences has.
        check: called before each forward pass; it may raise to break off.

    Returns:
        A row a window in the order of the shards, columns as in `WINDOW_BITS_SCHEMA`: `bits` is the surprise
        of the window's text; a token that stands across a border counts by its bytes' share on each side, so
        that the windows of a document add up to it.

    Raises:
        ShardError: a document's tokens do not stand for its text.
    """
    opened = list(shards)
    windows = choose_windows(cut_windows(opened), bytes_per_domain)
    documents = windowed_documents(windows, opened, token_bytes)
    token_bits = [np.zeros(len(document.ids)) for document in documents]
    was_training = model.training
    model.eval()
    try:
        # Chunks have many lengths: compiled blocks would be compiled anew for each.
        with torch.compiler.set_stance("force_eager"):
            for chunks in _batches(documents, sequence_length, batch_sequences * sequence_length):
                check()
                for chunk, row in zip(chunks, _surprise(model, compute, chunks, eos_id), strict=True):
                    scored = slice(chunk.start + chunk.context, chunk.start + len(chunk.ids))
                    token_bits[chunk.document][scored] = row[chunk.context : len(chunk.ids)]
    finally:
        model.train(was_training)
    shared = [document.share_out(bits) for document, bits in zip(documents, token_bits, strict=True)]
    bits = np.concatenate(shared) if shared else np.empty(0)
    return windows.with_columns(bits=pl.Series(bits, dtype=pl.Float64)).select(*WINDOW_BITS_SCHEMA)


@dataclass(frozen=True)
class _Chunk:
    """Target tokens that are read in one row."""

    document: int
    start: int
    """First target within the document."""
    context: int
    """Targets at the beginning that an earlier chunk scores."""
    before: int | None
    """The token before the first target; None at the document's beginning."""
    ids: npt.NDArray[np.integer]
    """The targets."""


def _chunks(documents: Sequence[WindowedDocument], sequence_length: int) -> Iterator[_Chunk]:
    """The chunks that score a token of a measured window."""
    stride = max(1, sequence_length // 2)
    for number, document in enumerate(documents):
        places = np.flatnonzero(document.needed())
        behind_first = np.maximum(0, places - sequence_length) // stride + 1
        for k in np.unique(np.where(places < sequence_length, 0, behind_first)).tolist():
            start = k * stride
            yield _Chunk(
                document=number,
                start=start,
                context=sequence_length - stride if k else 0,
                before=int(document.ids[start - 1]) if k else None,
                ids=document.ids[start : start + sequence_length],
            )


def _batches(
    documents: Sequence[WindowedDocument], sequence_length: int, most_tokens: int
) -> Iterator[list[_Chunk]]:
    """Chunks of similar length together, longest first."""
    batch: list[_Chunk] = []
    for chunk in sorted(_chunks(documents, sequence_length), key=lambda chunk: -len(chunk.ids)):
        if batch and (len(batch) + 1) * len(batch[0].ids) > most_tokens:
            yield batch
            batch = []
        batch.append(chunk)
    if batch:
        yield batch


@torch.inference_mode()
def _surprise(
    model: nn.Module, compute: Compute, chunks: Sequence[_Chunk], eos_id: int
) -> npt.NDArray[np.float64]:
    """Bits [B, T] of each target; 0 where a row is padded."""
    shape = (len(chunks), max(len(chunk.ids) for chunk in chunks))
    inputs = np.full(shape, eos_id, np.int64)
    targets = np.full(shape, IGNORED, np.int64)
    segments = np.zeros(shape, np.int64)
    for row, chunk in enumerate(chunks):
        length = len(chunk.ids)
        targets[row, :length] = chunk.ids
        inputs[row, 0] = eos_id if chunk.before is None else chunk.before
        inputs[row, 1:length] = chunk.ids[:-1]
        segments[row, length:] = 1
    positions = np.broadcast_to(np.arange(shape[1]), shape).copy()
    on_device = [torch.from_numpy(each).to(compute.device) for each in (inputs, positions, segments, targets)]
    logits = logits_of(
        model, compute, input_ids=on_device[0], position_ids=on_device[1], segment_ids=on_device[2]
    )
    nats = functional.cross_entropy(
        logits.flatten(0, 1), on_device[3].flatten(), ignore_index=IGNORED, reduction="none"
    )
    return nats.reshape(shape).double().cpu().numpy() / math.log(2)
