"""Published tokenizers in the canonical form: one `tokenizer.json` that gives the publisher's ids."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import orjson
from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers

from medpipe.tokens.config import TokenizerConfig
from medpipe.tokens.vocabulary import byte_characters

PATTERNS = {
    "gpt2": r"'(?:[sdmt]|ll|ve|re)| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+",
    "cl100k": r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*"
    r"|\s*[\r\n]+|\s+(?!\S)|\s+",
    "qwen": r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*"
    r"|\s*[\r\n]+|\s+(?!\S)|\s+",
}
"""How known `.tiktoken` files cut text."""
_BLANK = "▁"
_UNIGRAM, _BPE = 1, 2
_UNKNOWN, _CONTROL, _USER_DEFINED, _BYTE = 2, 3, 4, 6
"""Numbers of SentencePiece's `sentencepiece_model.proto`."""


class TokenizerError(ValueError):
    """A tokenizer cannot be trained or loaded; the message names the fix."""


def read_published(config: TokenizerConfig, *, sample: Sequence[str]) -> Tokenizer:
    """Reads the file of a published tokenizer and sees that it has what shards need.

    Args:
        config: `file`, and the special tokens.
        sample: texts on which a SentencePiece model's ids must come out as sentencepiece gives them.

    Raises:
        TokenizerError: the file cannot be read, its form is not known, the ids differ, it has no
            `eos_token`, or text can produce a special token.
    """
    path = config.file
    if path is None or not path.is_file():
        raise TokenizerError(f"there is no file {path}; set the tokenizer's `file` to a tokenizer.json, a "
                             "SentencePiece .model or a .tiktoken file")  # fmt: skip
    readers: dict[str, Callable[[], Tokenizer]] = {
        ".json": lambda: _from_json(path),
        ".model": lambda: _from_sentencepiece(path, sample),
        ".tiktoken": lambda: _from_tiktoken(path, config.pattern),
    }
    if path.suffix not in readers:
        raise TokenizerError(f"{path} is none of {', '.join(readers)}; convert it to a tokenizer.json first")
    tokenizer = readers[path.suffix]()
    tokenizer.no_truncation()
    tokenizer.no_padding()
    wanted = list(config.special_tokens)
    if path.suffix != ".tiktoken":  # which holds no special tokens at all: they come behind its ranks
        _require_eos(tokenizer, config, path)
        if tokenizer.token_to_id(config.pad_token) is None:
            wanted.remove(config.pad_token)
    tokenizer.add_special_tokens([AddedToken(name, special=True, normalized=False) for name in wanted])
    tokenizer.encode_special_tokens = True
    require_unspoken(tokenizer, wanted)
    return tokenizer


def require_unspoken(tokenizer: Tokenizer, special: Sequence[str]) -> None:
    """Sees that no text gives the id of a special token, so that `<eos>` ends documents and nothing else.

    Args:
        tokenizer: with `encode_special_tokens` set, as shards are encoded.
        special: names of the special tokens.

    Raises:
        TokenizerError: a text that holds the name of one gives its id.
    """
    for name in special:
        number = tokenizer.token_to_id(name)
        texts = (name, f"a{name}", f"{name}a", f"病{name}病", f" {name} ", f"\n{name}\n", name * 2)
        if any(number in tokenizer.encode(text, add_special_tokens=False).ids for text in texts):
            raise TokenizerError(
                f"the token {name!r} cannot be a special token: a text that holds {name!r} gives its id "
                f"{number}; set the tokenizer's `eos_token` (or `pad_token`, `more_special_tokens`) to one "
                "that text never gives"
            )


def _require_eos(tokenizer: Tokenizer, config: TokenizerConfig, path: Path) -> None:
    if tokenizer.token_to_id(config.eos_token) is not None:
        return
    known = [token.content for token in tokenizer.get_added_tokens_decoder().values()]
    usual = ("</s>", "<|endoftext|>", "<|im_end|>", "<|eot_id|>", "[SEP]", "eos")
    known += [token for token in usual if token not in known and tokenizer.token_to_id(token) is not None]
    choice = f"it has {', '.join(known[:12])}" if known else "it marks none as special"
    raise TokenizerError(
        f"{path} has no token {config.eos_token!r} to stand after each document; set the tokenizer's "
        f"`eos_token` to one of its own ({choice})"
    )


def _from_json(path: Path) -> Tokenizer:
    try:
        return Tokenizer.from_file(str(path))
    except Exception as error:  # the library raises a bare Exception
        raise TokenizerError(
            f"{path} cannot be read ({error}); it must be a tokenizer.json of the library tokenizers"
        ) from error


def _from_sentencepiece(path: Path, sample: Sequence[str]) -> Tokenizer:
    # Imported here: definitions reach this room and must load fast.
    from google.protobuf.message import DecodeError  # type: ignore[import-untyped]
    from sentencepiece import SentencePieceProcessor
    from transformers.utils import sentencepiece_model_pb2_new as protocol

    model = protocol.ModelProto()
    try:
        model.ParseFromString(path.read_bytes())
    except DecodeError as error:
        raise TokenizerError(f"{path} is no SentencePiece model ({error}); fetch it again") from error
    if not model.pieces:
        raise TokenizerError(f"{path} is no SentencePiece model (it has no pieces); fetch it again")
    tokenizer = convert_sentencepiece(model, path)
    tokenizer.encode_special_tokens = True  # as sentencepiece, for which `</s>` in a text is text
    processor = SentencePieceProcessor(model_file=str(path))
    for text in sample:
        if tokenizer.encode(text, add_special_tokens=False).ids != processor.encode(text):
            raise TokenizerError(
                f"{path}: the converted tokenizer gives other ids than sentencepiece for {text[:60]!r}; "
                "use the publisher's tokenizer.json"
            )
    return tokenizer


def convert_sentencepiece(model: Any, path: Path) -> Tokenizer:
    """The same tokenizer as `tokenizers` has it.

    Args:
        model: a `ModelProto`.
        path: its file, for messages.

    Raises:
        TokenizerError: it is neither BPE nor unigram, or puts blanks behind words.
    """
    trainer, rules, pieces = model.trainer_spec, model.normalizer_spec, model.pieces
    if trainer.model_type not in (_UNIGRAM, _BPE) or trainer.treat_whitespace_as_suffix:
        raise TokenizerError(
            f"{path} is a SentencePiece model of a kind that is not supported (BPE and unigram are, with "
            "blanks before words); use the publisher's tokenizer.json"
        )
    unknown = next((n for n, piece in enumerate(pieces) if piece.type == _UNKNOWN), None)
    if trainer.model_type == _BPE:
        tokenizer = Tokenizer(
            models.BPE(
                {piece.piece: number for number, piece in enumerate(pieces)},
                _merges(pieces),
                unk_token=None if unknown is None else pieces[unknown].piece,
                fuse_unk=True,
                byte_fallback=trainer.byte_fallback,
            )
        )
    else:
        scored = [(piece.piece, piece.score) for piece in pieces]
        tokenizer = Tokenizer(models.Unigram(scored, unknown, byte_fallback=trainer.byte_fallback))
    steps: list[Any] = []
    if rules.precompiled_charsmap:
        steps.append(normalizers.Precompiled(rules.precompiled_charsmap))
    if rules.remove_extra_whitespaces:
        steps += [normalizers.Strip(), normalizers.Replace(Regex(" {2,}"), " ")]
    if rules.add_dummy_prefix:
        steps.append(normalizers.Prepend(_BLANK))
    tokenizer.normalizer = normalizers.Sequence([*steps, normalizers.Replace(" ", _BLANK)])
    back: list[Any] = [decoders.Replace(_BLANK, " "), decoders.ByteFallback(), decoders.Fuse()]
    if rules.add_dummy_prefix:
        back.append(decoders.Strip(" ", 1, 0))
    tokenizer.decoder = decoders.Sequence(back)
    for kind, special in ((_UNKNOWN, True), (_CONTROL, True), (_USER_DEFINED, False)):
        names = [piece.piece for piece in pieces if piece.type == kind]
        tokenizer.add_tokens([AddedToken(name, special=special, normalized=False) for name in names])
    return tokenizer


def _merges(pieces: Sequence[Any]) -> list[tuple[str, str]]:
    """SentencePiece merges any two neighbours that make a piece, the best score first."""
    numbers = {
        piece.piece: n for n, piece in enumerate(pieces) if piece.type not in (_UNKNOWN, _CONTROL, _BYTE)
    }
    ordered = sorted(numbers.items(), key=lambda item: (-pieces[item[1]].score, item[1]))
    return [
        (piece[:at], piece[at:])
        for piece, _ in ordered
        for at in range(1, len(piece))
        if piece[:at] in numbers and piece[at:] in numbers
    ]


def _from_tiktoken(path: Path, pattern: str | None) -> Tokenizer:
    if pattern is None:
        raise TokenizerError(
            f"{path} does not say how text is cut; set the tokenizer's `pattern` to "
            f"{', '.join(PATTERNS)} or a regular expression"
        )
    characters = byte_characters()
    vocabulary: dict[str, int] = {}
    try:
        for line in path.read_bytes().splitlines():
            if line:
                token, rank = line.split()
                vocabulary["".join(characters[b] for b in base64.b64decode(token, validate=True))] = int(rank)
    except (ValueError, binascii.Error) as error:
        raise TokenizerError(
            f"{path} is no tiktoken file, whose lines are a token in base64 and its rank ({error}); "
            "fetch it again"
        ) from error
    ordered = sorted(vocabulary, key=vocabulary.__getitem__)
    merges = [
        (token[:at], token[at:])
        for token in ordered
        for at in range(1, len(token))
        if token[:at] in vocabulary and token[at:] in vocabulary
    ]
    tokenizer = Tokenizer(models.BPE(vocabulary, merges, ignore_merges=True))
    cutter = pre_tokenizers.Split(Regex(PATTERNS.get(pattern, pattern)), "isolated")
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [cutter, pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)]
    )
    tokenizer.decoder = decoders.ByteLevel()
    return tokenizer


def unknown_token(tokenizer: Tokenizer) -> str | None:
    """The token that stands for what the vocabulary cannot spell, if there is one."""
    model = orjson.loads(tokenizer.to_str())["model"]
    if model["type"] == "Unigram":
        number = model.get("unk_id")
        return None if number is None else str(model["vocab"][number][0])
    token = model.get("unk_token")
    return None if token is None else str(token)
