"""How many bytes of text each token stands for, so that surprise can be told per byte.

Byte-level vocabularies write each byte as one printable character; SentencePiece writes a space as `▁` and,
where a character is not in the vocabulary, its bytes as `<0xE4>`. A token may hold part of a character.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import orjson
from tokenizers import Tokenizer

from medpipe.tokens.engine import PROBES
from medpipe.tokens.vocabulary import ShardError, byte_characters

_BLANK = "▁"
_BYTE = re.compile(r"<0x[0-9A-Fa-f]{2}>")


@dataclass(frozen=True)
class TokenBytes:
    """Bytes of each entry of a vocabulary."""

    lengths: npt.NDArray[np.int64]
    """UTF-8 bytes by token id; 0 for special tokens, behind which no text stands."""
    begins_with_space: npt.NDArray[np.bool_]
    """By token id."""
    is_exact: bool
    """Whether the bytes of a text's tokens add up to the text's, seen on texts that catch tokenizers out; not
    so where the tokenizer normalises or drops characters."""

    def edges(self, ids: npt.NDArray[Any], *, text_bytes: int, document: str) -> npt.NDArray[np.float64]:
        """Where the tokens of a document begin and end in its text.

        Args:
            ids: token ids of one document without `<eos>`, integers [n].
            text_bytes: UTF-8 bytes of its text.
            document: its id, for the error.

        Returns:
            float64 [n + 1], from 0 to `text_bytes`: token i stands for bytes [edges[i], edges[i + 1]). A
            space that the tokenizer put before the text is no byte of it. Of a tokenizer that is not exact
            the tokens share the text in proportion to their bytes.

        Raises:
            ShardError: the tokenizer is exact, and these tokens are not of a text of this size.
        """
        lengths = self.lengths[ids]
        total = int(lengths.sum())
        if total == text_bytes + 1 and len(ids) and self.begins_with_space[ids[0]]:
            lengths[0] -= 1
            total -= 1
        if total != text_bytes:
            if self.is_exact:
                raise ShardError(
                    f"document {document}: its tokens stand for {total:,} bytes, its text has "
                    f"{text_bytes:,}; shard and tokenizer do not belong together, materialise tokenizer, "
                    "shards and snapshot again"
                )
            if total == 0:
                lengths, total = np.ones_like(lengths), len(lengths)
        ends = np.concatenate([[0], np.cumsum(lengths)]).astype(np.float64)
        if total != text_bytes and total:
            ends = np.minimum(ends * (text_bytes / total), text_bytes)
            ends[-1] = text_bytes
        return ends


def read_token_bytes(path: Path) -> TokenBytes:
    """Reads the byte lengths of a `tokenizer.json`."""
    return token_bytes(Tokenizer.from_file(str(path)))


def token_bytes(tokenizer: Tokenizer) -> TokenBytes:
    """Works out the byte lengths of a vocabulary.

    Args:
        tokenizer: its vocabulary is written in a byte-level alphabet, in SentencePiece's way, or as it is
            (with the marks of WordPiece or of BPE's word ends, which are left out).
    """
    vocabulary = tokenizer.get_vocab(with_added_tokens=True)
    spelt = _Spelling(tokenizer)
    lengths = np.zeros(max(vocabulary.values()) + 1, np.int64)
    spaces = np.zeros(len(lengths), np.bool_)
    added = tokenizer.get_added_tokens_decoder()
    for name, number in vocabulary.items():
        content = spelt(name)
        if (known := added.get(number)) is not None:
            content = b"" if known.special else known.content.encode()
        lengths[number], spaces[number] = len(content), content.startswith(b" ")
    read = TokenBytes(lengths, spaces, is_exact=True)
    return TokenBytes(lengths, spaces, is_exact=_gives_probes_back(tokenizer, read))


class _Spelling:
    """The bytes that an entry of the vocabulary is written for."""

    def __init__(self, tokenizer: Tokenizer) -> None:
        facts = orjson.loads(tokenizer.to_str())
        model = facts["model"]
        around = orjson.dumps(
            [facts.get(part) for part in ("normalizer", "pre_tokenizer", "decoder")]
        ).decode()
        self._by_byte = '"ByteLevel"' in around
        self._blank = _BLANK if _BLANK in around or '"Metaspace"' in around else None
        self._fallback = bool(model.get("byte_fallback")) or '"ByteFallback"' in around
        self._prefix = model.get("continuing_subword_prefix") or ""
        self._suffix = model.get("end_of_word_suffix") or ""
        self._bytes = {character: byte for byte, character in enumerate(byte_characters())}

    def __call__(self, name: str) -> bytes:
        if self._by_byte and all(character in self._bytes for character in name):
            return bytes(self._bytes[character] for character in name)
        if self._fallback and _BYTE.fullmatch(name):
            return bytes([int(name[3:5], 16)])
        if self._blank is not None:
            name = name.replace(self._blank, " ")
        return name.removeprefix(self._prefix).removesuffix(self._suffix).encode()


def _gives_probes_back(tokenizer: Tokenizer, read: TokenBytes) -> bool:
    before = tokenizer.encode_special_tokens
    tokenizer.encode_special_tokens = True
    try:
        # SentencePiece's blank is a character too: read back it is a space of one byte.
        for text in (*PROBES, _BLANK):
            ids = np.asarray(tokenizer.encode(text, add_special_tokens=False).ids, np.int64)
            read.edges(ids, text_bytes=len(text.encode()), document="probe")
    except ShardError:
        return False
    finally:
        tokenizer.encode_special_tokens = before
    return True
