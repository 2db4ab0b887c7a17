"""The compiled engine: which tokenizers it can stand for, and the tables it reads."""

from __future__ import annotations

from functools import lru_cache
from typing import Any, NamedTuple

import numpy as np
import orjson
import polars as pl
from numpy.typing import NDArray
from tokenizers import Tokenizer, pre_tokenizers

from medpipe.records.utf8 import CODE_POINTS, utf8_of
from medpipe.tokens.bpe_kernel import encode_texts
from medpipe.tokens.cut_kernel import ALONE, LETTER, NUMBER, OTHER, SPACE, UNKNOWN
from medpipe.tokens.merge_kernel import EMPTY, Ids, fill_pairs, rank_characters
from medpipe.tokens.vocabulary import byte_characters, checked_cast, stored_dtype

_ALWAYS_LETTERS = ((0x3400, 0x4DB6), (0x4E00, 0x9FA6), (0xAC00, 0xD7A4), (0x20000, 0x2A6D7))
"""Ideographs and Hangul: letters since Unicode 3.1, so nobody need be asked."""
_SURROGATES = range(0xD800, 0xE000)
_ASKED_AT_ONCE = ((0, 0x600), (0x2000, 0x3400), (0xFE00, 0x10000))
_BLOCK = 64
_FIRST_OF_WIDTH = (0, 0, 0x80, 0x800, 0x10000)
"""The lowest code point whose UTF-8 has so many bytes."""


class NotByteLevelBpe(ValueError):
    """The compiled engine cannot stand for a tokenizer; the message says why."""


class Tables(NamedTuple):
    """What the kernel reads."""

    byte_ids: Ids
    """Id of each byte; shape (256,)."""
    pairs: Ids
    """Open addressing: key and value in turns."""
    shift: np.uint64
    classes: NDArray[np.uint8]
    """Class of each code point; filled as code points are met."""
    whole: NDArray[np.int32]
    """Id of each code point that may be merged before its neighbours are looked at, else -1."""
    digits_alone: bool
    largest: int
    """The largest id of all."""


def build_tables(tokenizer: Tokenizer) -> Tables:
    """Reads a tokenizer's merges into the kernel's tables.

    Raises:
        NotByteLevelBpe: the tokenizer does something that the kernel does not.
    """
    content: dict[str, Any] = orjson.loads(tokenizer.to_str())
    digits_alone = _digits_alone(content)
    model = content["model"]
    vocabulary: dict[str, int] = model["vocab"]
    try:
        byte_ids = np.array([vocabulary[character] for character in byte_characters()], np.int64)
    except KeyError as missing:
        raise NotByteLevelBpe(f"its vocabulary lacks the byte {missing}") from None
    merges = [tuple(m.split(" ")) if isinstance(m, str) else tuple(m) for m in model["merges"]]
    left = np.array([vocabulary[first] for first, _ in merges], np.int64)
    right = np.array([vocabulary[second] for _, second in merges], np.int64)
    product = np.array([vocabulary[first + second] for first, second in merges], np.int64)
    bits = max(4, (4 * len(merges)).bit_length())
    pairs = np.full(2 << bits, EMPTY, np.int64)
    shift = np.uint64(64 - bits)
    fill_pairs(pairs, shift, left, right, product)
    characters = {character: byte for byte, character in enumerate(byte_characters())}
    products = [bytes(characters[c] for c in first + second) for first, second in merges]
    whole = _whole_characters(products, pairs, shift, byte_ids)
    largest = int(max(byte_ids.max(), product.max(initial=0)))
    return Tables(byte_ids, pairs, shift, _classes(digits_alone).copy(), whole, digits_alone, largest)


def _whole_characters(
    products: list[bytes], pairs: Ids, shift: np.uint64, byte_ids: Ids
) -> NDArray[np.int32]:
    """Which characters can be merged ahead of time, and to what; see `Tables.whole`.

    A merge whose product begins or ends within a character (`A8 E5 A4 8D`, the end of one and the whole of
    another) may take bytes away from it. A character is merged ahead only if all merges that make it have
    a lower rank than any such merge that could touch it: then it is whole before they have their turn.
    """
    codes = np.r_[0 : _SURROGATES.start, _SURROGATES.stop : CODE_POINTS].astype(np.uint32)
    data, offsets = utf8_of(pl.Series([codes.tobytes().decode("utf-32-le")]).str.split("").explode())
    ids, ranks = np.empty(len(codes), np.int64), np.empty(len(codes), np.int64)
    rank_characters(pairs, shift, byte_ids, data, offsets, ids, ranks)
    limits = np.full(CODE_POINTS, len(products), np.int64)
    for rank, product in enumerate(products):
        head, tail = _broken_ends(product)
        if 0 < len(head) < 4:
            # A character that ends in these continuation bytes.
            step = 64 ** len(head)
            low = sum((byte & 0x3F) * 64**n for n, byte in enumerate(reversed(head)))
            touched = limits[low + step * max(0, -(-_FIRST_OF_WIDTH[len(head) + 1] // step) - 1) :: step]
            np.minimum(touched, rank, out=touched)
        if tail:
            first, behind = _codes_with_prefix(tail)
            np.minimum(limits[first:behind], rank, out=limits[first:behind])
    whole = np.full(CODE_POINTS, -1, np.int32)
    whole[codes] = np.where(ranks < limits[codes], ids, -1)
    return whole


def _broken_ends(token: bytes) -> tuple[bytes, bytes]:
    """The bytes at both ends of a token that are parts of characters, if it spans more than one."""
    start = next((at for at, byte in enumerate(token) if byte & 0xC0 != 0x80), len(token))
    if start == len(token):
        return b"", b""
    last = max(at for at, byte in enumerate(token) if byte & 0xC0 != 0x80)
    tail = token[last:] if len(token) - last < _width(token[last]) else b""
    return (b"", b"") if tail == token else (token[:start], tail)


def _width(first: int) -> int:
    """Bytes of the character that a byte starts."""
    return 1 if first < 0x80 else 2 if first < 0xE0 else 3 if first < 0xF0 else 4


def _codes_with_prefix(prefix: bytes) -> tuple[int, int]:
    """The code points whose UTF-8 starts with some bytes, which are not all of it: first, and one behind."""
    width = _width(prefix[0])
    value = prefix[0] & (0x1F, 0x0F, 0x07)[width - 2]
    for byte in prefix[1:]:
        value = value << 6 | byte & 0x3F
    size = 64 ** (width - len(prefix))
    return value * size, min((value + 1) * size, CODE_POINTS)


def _digits_alone(content: dict[str, Any]) -> bool:
    """Whether each digit is cut out; refuses every setting that the kernel does not know."""
    model = content["model"]
    if model.get("type") != "BPE":
        raise NotByteLevelBpe(f"its model is {model.get('type')}, not BPE")
    odd = ("dropout", "unk_token", "continuing_subword_prefix", "end_of_word_suffix", "ignore_merges")
    if set_odd := [name for name in odd if model.get(name)]:
        raise NotByteLevelBpe(f"its model sets {', '.join(set_odd)}")
    if any(content.get(part) for part in ("normalizer", "truncation", "padding")):
        raise NotByteLevelBpe("it normalises, cuts or fills up texts")
    before = content.get("pre_tokenizer") or {}
    steps = before.get("pretokenizers", []) if before.get("type") == "Sequence" else [before]
    kinds = [step.get("type") for step in steps]
    if kinds not in (["ByteLevel"], ["Digits", "ByteLevel"]):
        raise NotByteLevelBpe(f"it cuts text by {' and '.join(map(str, kinds))}, not by ByteLevel")
    if steps[-1].get("add_prefix_space") or not steps[-1].get("use_regex", True):
        raise NotByteLevelBpe("its ByteLevel adds a space or uses no regular expression")
    if len(steps) > 1 and not steps[0].get("individual_digits"):
        raise NotByteLevelBpe("it keeps runs of digits together")
    return len(steps) > 1


def ask_classes(codes: NDArray[np.int64], *, digits_alone: bool) -> NDArray[np.uint8]:
    """The class of code points, as the pre-tokenizers of `tokenizers` see them.

    Nobody else is asked: libraries stand on different versions of Unicode.

    Args:
        codes: no surrogates; shape (n,).
        digits_alone: whether `Digits` stands before `ByteLevel`.
    """
    if not len(codes):
        return np.zeros(0, np.uint8)
    cutter = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=True)
    text = "".join(f"a{chr(code)}!{chr(code)}1{chr(code)}" for code in codes)
    ends = [end for _, (_, end) in cutter.pre_tokenize_str(text)]
    is_cut = np.zeros(len(text) + 1, np.bool_)
    is_cut[ends] = True
    behind = [~is_cut[offset : len(text) : 6] for offset in (1, 3, 5)]
    classes = np.select(behind, [LETTER, OTHER, NUMBER], SPACE).astype(np.uint8)
    if digits_alone:
        cutter_of_digits = pre_tokenizers.Digits(individual_digits=True)
        pieces = cutter_of_digits.pre_tokenize_str("".join(f"a{chr(code)}" for code in codes))
        starts = np.array([start for _, (start, _) in pieces])
        classes[starts[starts % 2 == 1] // 2] |= ALONE
    return classes


@lru_cache(maxsize=2)
def _classes(digits_alone: bool) -> NDArray[np.uint8]:
    classes = np.full(CODE_POINTS, UNKNOWN, np.uint8)
    for first, behind in _ALWAYS_LETTERS:
        classes[first:behind] = LETTER
    for first, behind in _ASKED_AT_ONCE:
        classes[first:behind] = ask_classes(np.arange(first, behind), digits_alone=digits_alone)
    return classes


@lru_cache(maxsize=1)
def _tables_of(content: str) -> Tables:
    return build_tables(Tokenizer.from_str(content))


class BpeEngine:
    """Byte-level BPE in a compiled kernel: no Python object a token, no lock while it works.

    It knows no added tokens: texts that hold one which is not special must not be given to it.
    """

    name = "kernel"

    def __init__(self, tokenizer: Tokenizer) -> None:
        """Reads the tables.

        Raises:
            NotByteLevelBpe: the tokenizer does something that the kernel does not.
        """
        # By its content: all sources of a domain are encoded with one tokenizer, loaded anew for each.
        self._tables = _tables_of(tokenizer.to_str())

    def encode(
        self, texts: pl.Series, *, eos_id: int, dtype: str, vocabulary_size: int
    ) -> tuple[NDArray[np.uint16 | np.int32], NDArray[np.int64]]:
        """Encodes rows; see `Engine.encode`. The largest id that can come out is checked, not each."""
        data, offsets = utf8_of(texts)
        tables = self._tables
        checked_cast(np.array([0, eos_id, tables.largest]), dtype, vocabulary_size=vocabulary_size)
        out = np.empty(int(offsets[-1] - offsets[0]) + len(texts), stored_dtype(dtype))
        lengths = np.empty(len(texts), np.int64)
        while True:
            written = encode_texts(
                data,
                offsets,
                tables.classes,
                tables.byte_ids,
                tables.whole,
                tables.pairs,
                tables.shift,
                eos_id,
                out,
                lengths,
            )
            if written >= 0:
                # A copy: the array was sized for one token a byte.
                return out[:written].copy(), lengths
            self._ask(texts)

    def _ask(self, texts: pl.Series) -> None:
        """Asks about every code point of some texts that is unknown, and about its block."""
        text = "".join(texts.drop_nulls())
        codes = np.unique(np.frombuffer(text.encode("utf-32-le"), np.uint32))
        classes = self._tables.classes
        for first in np.unique(codes[classes[codes] == UNKNOWN] // _BLOCK * _BLOCK).tolist():
            if first not in _SURROGATES:
                block = np.arange(first, first + _BLOCK)
                classes[block] = ask_classes(block, digits_alone=self._tables.digits_alone)
