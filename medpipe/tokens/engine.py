"""Which program turns text into ids: the fastest that gives the ids that `tokenizers` gives.

`tokenizers` is the reference: the canonical file is its own. Another engine is used only where it agrees on
texts that have caught engines out and on a sample of the documents, and while it works a piece of every
batch is encoded by both.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import chain
from typing import Literal, Protocol

import numpy as np
import polars as pl
from numpy.typing import NDArray
from tokenizers import Tokenizer

from medpipe.tokens.vocabulary import ShardError, checked_cast

EngineName = Literal["auto", "kernel", "kitoken", "tokenizers"]
"""`kernel`: medpipe's compiled byte-level BPE; `kitoken`: the library of that name; `auto`: the fastest."""
Tokens = NDArray[np.uint16 | np.int32]

SMALL_BYTES = 2_000_000
"""Less text than this is encoded sooner than a fast engine is made ready."""
SAMPLE_BYTES = 400_000
"""Text of the documents, about, on which an engine must agree before it starts."""
AUDITED_CHARACTERS = 400
"""So much of one document a batch is encoded again by the reference."""

PROBES = (
    "",
    " ",
    "\n",
    "\x00",
    "a\x00b\x00\x00",
    "病\r\n\r\n  人\r\r\n",
    "   \n\n \t x  \u3000\u3000y \xa0z\u2028\u2029\x85\x1c",
    "\ufffd\ufffd病\ufffd",
    "\u200f\u202eabc\u200e عربى עברית \u2066x\u2069",
    "😀👩🏽‍⚕️👨‍👩‍👧‍👦🇨🇳❤️",
    "e\u0301 é ﬁ Å Å ｱ ガ が",
    "<eos>病<pad></s><|endoftext|><|im_end|><unk><s>[gMASK]sop",
    "\n\n<eos>\n\n<pad>  <eos>",
    "it's I'll we've\n's 'll\t're x'd 'T\u2028's\x85'lle ''s '",
    "0.5~1.0g 10mg 37.5℃ ①②½²Ⅱ型 10⁹/L ９０％ ≥7.0 1234567890",
    "，，，。。。！？；：（）《》“”……——·、",
    "病" * 300,
    " " * 300 + "x" + "\n" * 50,
    "ababab" * 100,
    "𠀀𠮷𡃁𪚥𫝆㐀㐁龥鿿",
    "https://a.b/c?d=e&f=g#h_i-j",
    "The\tquick  brown   fox\r\njumps — over “the” lazy dog…",
)
"""Texts on which engines have been seen, or must be feared, to differ."""


class EngineError(ShardError):
    """An engine gives other ids than `tokenizers`, or is not there; the message names the fix."""


class Engine(Protocol):
    """Turns texts into ids."""

    name: str

    def encode(
        self, texts: pl.Series, *, eos_id: int, dtype: str, vocabulary_size: int
    ) -> tuple[Tokens, NDArray[np.int64]]:
        """Encodes rows.

        Args:
            texts: String column.
            eos_id: appended to each row.
            dtype: `uint16` or `int32`.
            vocabulary_size: every id is below it.

        Returns:
            The ids of all rows one after the other; the number of ids of each row, with `eos_id`.

        Raises:
            ShardError: an id does not fit the dtype or the vocabulary.
        """


class TokenizersEngine:
    """The reference."""

    name = "tokenizers"

    def __init__(self, tokenizer: Tokenizer) -> None:
        self._tokenizer = tokenizer

    def encode(
        self, texts: pl.Series, *, eos_id: int, dtype: str, vocabulary_size: int
    ) -> tuple[Tokens, NDArray[np.int64]]:
        """See `Engine.encode`."""
        encodings = self._tokenizer.encode_batch_fast(texts.to_list(), add_special_tokens=False)
        return _flat([each.ids for each in encodings], eos_id, dtype, vocabulary_size)


class KitokenEngine:
    """The library kitoken, on the same `tokenizer.json`."""

    name = "kitoken"

    def __init__(self, tokenizer: Tokenizer) -> None:
        """Loads the tokenizer.

        Raises:
            EngineError: kitoken is not installed or does not take the tokenizer.
        """
        try:
            from kitoken import Kitoken
        except ImportError:
            raise EngineError(
                "kitoken is not installed: pip install kitoken, or use another engine"
            ) from None
        try:
            self._loaded = Kitoken.from_tokenizers(tokenizer.to_str().encode())
        except ValueError as error:
            raise EngineError(
                f"kitoken does not take this tokenizer ({error}); use another engine"
            ) from error

    def encode(
        self, texts: pl.Series, *, eos_id: int, dtype: str, vocabulary_size: int
    ) -> tuple[Tokens, NDArray[np.int64]]:
        """See `Engine.encode`."""
        return _flat(self._loaded.encode_all(texts.to_list()), eos_id, dtype, vocabulary_size)


class RoutedEngine:
    """Gives texts that hold certain strings to the reference, all others to a fast engine."""

    def __init__(self, engine: Engine, reference: Engine, strings: list[str]) -> None:
        self.name = engine.name
        self._engine, self._reference, self._strings = engine, reference, strings

    def encode(
        self, texts: pl.Series, *, eos_id: int, dtype: str, vocabulary_size: int
    ) -> tuple[Tokens, NDArray[np.int64]]:
        """See `Engine.encode`."""

        def ask(engine: Engine, rows: pl.Series) -> tuple[Tokens, NDArray[np.int64]]:
            return engine.encode(rows, eos_id=eos_id, dtype=dtype, vocabulary_size=vocabulary_size)

        if not self._strings:
            return ask(self._engine, texts)
        holds = texts.to_frame("text").select(pl.col("text").str.contains_any(self._strings)).to_series()
        if not holds.any():
            return ask(self._engine, texts)
        mask = holds.to_numpy()
        lengths = np.empty(len(texts), np.int64)
        rows: list[Tokens] = [np.empty(0, np.uint16)] * len(texts)
        for engine, chosen in ((self._reference, mask), (self._engine, ~mask)):
            ids, counts = ask(engine, texts.filter(pl.Series(chosen)))
            lengths[chosen] = counts
            pieces = np.split(ids, np.cumsum(counts)[:-1]) if len(counts) else []
            for place, piece in zip(np.flatnonzero(chosen).tolist(), pieces, strict=True):
                rows[place] = piece
        return np.concatenate(rows), lengths


def _flat(
    rows: list[list[int]], eos_id: int, dtype: str, vocabulary_size: int
) -> tuple[Tokens, NDArray[np.int64]]:
    for row in rows:
        row.append(eos_id)
    lengths = np.fromiter(map(len, rows), np.int64, len(rows))
    wide = np.fromiter(chain.from_iterable(rows), np.int64, int(lengths.sum()))
    return checked_cast(wide, dtype, vocabulary_size=vocabulary_size), lengths


@dataclass(frozen=True)
class Chosen:
    """An engine, and why it and no faster one."""

    engine: Engine
    reason: str


def choose_engine(
    tokenizer: Tokenizer,
    sample: pl.Series,
    *,
    vocabulary_size: int,
    total_bytes: int,
    wanted: EngineName = "auto",
) -> Chosen:
    """The fastest engine that gives the reference's ids, or the one that is wanted.

    Args:
        tokenizer: the reference, as `load_tokenizer` gives it.
        sample: texts of the documents that are to be encoded.
        vocabulary_size: every id is below it.
        total_bytes: of all texts; below `SMALL_BYTES` the reference is taken without asking.
        wanted: an engine by name, or `auto`.

    Raises:
        EngineError: the engine that is wanted by name cannot stand for this tokenizer.
    """
    reference = TokenizersEngine(tokenizer)
    if wanted == "tokenizers":
        return Chosen(reference, "asked for")
    if wanted == "auto" and total_bytes < SMALL_BYTES:
        return Chosen(reference, "little text")
    agreed = f"ids agree with tokenizers on {len(PROBES)} probes and {len(sample):,} texts of the source"
    refused = []
    for name in ("kernel", "kitoken") if wanted == "auto" else (wanted,):
        try:
            engine = _make(name, tokenizer, reference)
            _must_agree(engine, reference, pl.Series(PROBES), vocabulary_size)
            _must_agree(engine, reference, sample, vocabulary_size)
        except EngineError as error:
            if wanted != "auto":
                raise
            refused.append(f"not {name}: {error}")
            continue
        return Chosen(engine, "; ".join((*refused, agreed)))
    return Chosen(reference, "; ".join(refused))


def _make(name: str, tokenizer: Tokenizer, reference: Engine) -> Engine:
    added = tokenizer.get_added_tokens_decoder().values()
    if name == "kitoken":
        # It cuts a text at the name of a special token although it is told not to encode it.
        return RoutedEngine(KitokenEngine(tokenizer), reference, [token.content for token in added])
    # Imported here: numba takes half a second, and little text does without it.
    from medpipe.tokens.bpe_engine import BpeEngine, NotByteLevelBpe

    try:
        return RoutedEngine(
            BpeEngine(tokenizer), reference, [token.content for token in added if not token.special]
        )
    except NotByteLevelBpe as error:
        raise EngineError(
            f"the kernel cannot stand for this tokenizer: {error}; use another engine"
        ) from error


def _must_agree(engine: Engine, reference: Engine, texts: pl.Series, vocabulary_size: int) -> None:
    """Raises EngineError if both give other ids for any text."""
    if texts.is_empty():
        return
    try:
        found, lengths = engine.encode(texts, eos_id=0, dtype="int32", vocabulary_size=vocabulary_size)
    except (ValueError, OverflowError) as error:
        raise EngineError(f"{engine.name} fails on a text that tokenizers encodes ({error})") from error
    expected, counts = reference.encode(texts, eos_id=0, dtype="int32", vocabulary_size=vocabulary_size)
    if len(found) == len(expected) and np.array_equal(lengths, counts) and np.array_equal(found, expected):
        return
    ends, others = np.cumsum(counts), np.cumsum(lengths)
    row = next(
        number
        for number in range(len(counts))
        if not np.array_equal(
            expected[ends[number] - counts[number] : ends[number]],
            found[others[number] - lengths[number] : others[number]],
        )
    )
    raise EngineError(f"{engine.name} gives other ids than tokenizers for the text {texts[row][:60]!r}")


def audit(engine: Engine, reference: Engine, texts: pl.Series, *, vocabulary_size: int, number: int) -> None:
    """Compares both on the beginning of one text of a batch.

    Args:
        engine: the fast one.
        reference: the slow one.
        texts: the batch.
        vocabulary_size: every id is below it.
        number: the batch's; another one looks at another row.

    Raises:
        EngineError: they differ.
    """
    if engine.name != reference.name and len(texts):
        one = texts.slice(number * 7919 % len(texts), 1).str.head(AUDITED_CHARACTERS)
        _must_agree(engine, reference, one, vocabulary_size)
