from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tokenizers import AddedToken, Tokenizer, decoders, models, normalizers, pre_tokenizers, trainers

from medpipe.tokens.token_bytes import TokenBytes, token_bytes
from medpipe.tokens.vocabulary import ShardError, byte_characters

TEXTS = ["高血压患者应当少吃盐，多运动。", "The river rises in spring.", "血压 140/90 mmHg", "ab  ab\n"] * 5


def byte_level(*, prefix_space: bool = False) -> Tokenizer:
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=prefix_space)
    tokenizer.decoder = decoders.ByteLevel()
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    trainer = trainers.BpeTrainer(
        vocab_size=320, special_tokens=["<eos>"], initial_alphabet=alphabet, show_progress=False
    )
    tokenizer.train_from_iterator(TEXTS, trainer)
    tokenizer.encode_special_tokens = True
    return tokenizer


def sentencepiece_like() -> Tokenizer:
    """As Llama's: spaces as blanks, one before the text, bytes for what is not in the vocabulary."""
    names = ["<unk>", "</s>", *(f"<0x{byte:02X}>" for byte in range(256)), "▁", "a", "b", "血", "▁a", "ab"]
    vocabulary = {name: number for number, name in enumerate(names)}
    merges = [("▁", "a"), ("a", "b")]
    tokenizer = Tokenizer(models.BPE(vocabulary, merges, unk_token="<unk>", byte_fallback=True))
    tokenizer.normalizer = normalizers.Sequence([normalizers.Prepend("▁"), normalizers.Replace(" ", "▁")])
    tokenizer.decoder = decoders.Sequence(
        [decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse(), decoders.Strip(" ", 1, 0)]
    )
    tokenizer.add_special_tokens([AddedToken("</s>", special=True, normalized=False)])
    tokenizer.encode_special_tokens = True
    return tokenizer


TOKENIZERS = {
    "byte level": byte_level(),
    "byte level, space before": byte_level(prefix_space=True),
    "sentencepiece": sentencepiece_like(),
}
READ = {name: token_bytes(tokenizer) for name, tokenizer in TOKENIZERS.items()}


def edges_of(name: str, text: str) -> np.ndarray:
    ids = np.array(TOKENIZERS[name].encode(text, add_special_tokens=False).ids, np.uint16)
    return READ[name].edges(ids, text_bytes=len(text.encode()), document="d")


@pytest.mark.parametrize("name", TOKENIZERS)
@settings(deadline=None, max_examples=60)
@given(text=st.text(max_size=40))
def test_the_bytes_of_the_tokens_are_those_of_the_text(name: str, text: str) -> None:
    assert READ[name].is_exact == (name != "sentencepiece")  # which cannot tell a blank from a space
    edges = edges_of(name, text)
    assert edges[0] == 0 and edges[-1] == len(text.encode()) and (np.diff(edges) >= 0).all()


def test_lengths_by_id() -> None:
    read, tokenizer = READ["sentencepiece"], TOKENIZERS["sentencepiece"]
    assert read.lengths[tokenizer.token_to_id("<0xE4>")] == 1
    assert read.lengths[tokenizer.token_to_id("血")] == 3
    assert read.lengths[tokenizer.token_to_id("▁a")] == 2
    assert read.lengths[tokenizer.token_to_id("</s>")] == 0
    assert edges_of("sentencepiece", "a血").tolist() == [0, 1, 4]  # the space before is no byte of the text
    assert edges_of("sentencepiece", " a").tolist() == [0, 0, 2]
    bytes_alone = [TOKENIZERS["byte level"].token_to_id(each) for each in byte_characters()]
    assert (READ["byte level"].lengths[bytes_alone] == 1).all()


def test_a_tokenizer_that_loses_text_shares_it_in_proportion() -> None:
    tokenizer = Tokenizer(models.WordLevel({"[UNK]": 0, "ab": 1, "cdef": 2}, unk_token="[UNK]"))
    tokenizer.normalizer = normalizers.Lowercase()
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    read = token_bytes(tokenizer)
    assert not read.is_exact
    ids = np.array(tokenizer.encode("ab cdef").ids)
    assert read.edges(ids, text_bytes=9, document="d").tolist() == [0, 3, 9]
    unknown = TokenBytes(np.zeros(3, np.int64), np.zeros(3, np.bool_), is_exact=False)
    assert unknown.edges(ids, text_bytes=8, document="d").tolist() == [0, 4, 8]


def test_a_shard_of_another_tokenizer_is_refused() -> None:
    ids = np.array(TOKENIZERS["byte level"].encode("高血压").ids)
    with pytest.raises(ShardError, match="document d1: its tokens stand for 9 bytes, its text has 8"):
        READ["byte level"].edges(ids, text_bytes=8, document="d1")
