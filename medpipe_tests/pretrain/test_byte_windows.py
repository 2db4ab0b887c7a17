from __future__ import annotations

import hashlib

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tokenizers import Tokenizer, pre_tokenizers, trainers

from medpipe.pretrain.byte_windows import (
    HeldOutShard,
    WindowedDocument,
    choose_windows,
    cut_windows,
    measure_digest,
    windowed_documents,
)
from medpipe.tokens.config import TokenizerConfig
from medpipe.tokens.token_bytes import TokenBytes, token_bytes
from medpipe.tokens.tokenizer import untrained_tokenizer

TEXTS = [
    *(f"第{n}例患者有发热和咳嗽，建议多休息，按时服药。" * (n % 5 + 1) for n in range(8)),
    *(f"Case {n}: the patient was asked to rest and to drink water." * (n % 3 + 1) for n in range(8)),
    "短",
]


def tokenizer_of(size: int) -> Tokenizer:
    tokenizer = untrained_tokenizer(TokenizerConfig())
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    trainer = trainers.BpeTrainer(
        vocab_size=size, special_tokens=["<eos>"], initial_alphabet=alphabet, show_progress=False
    )
    tokenizer.train_from_iterator(TEXTS, trainer)
    tokenizer.encode_special_tokens = True
    return tokenizer


def shard_of(tokenizer: Tokenizer, texts: list[str], domain: str = "general") -> HeldOutShard:
    encoded = [[*tokenizer.encode(text).ids, 0] for text in texts]
    lengths = [len(ids) for ids in encoded]
    documents = pl.DataFrame(
        {
            "id": [hashlib.md5(f"{domain}{text}".encode()).hexdigest() for text in texts],
            "lang": ["en" if text.isascii() else "zh" for text in texts],
            "offset": np.cumsum([0, *lengths[:-1]]),
            "length": lengths,
            "text_bytes": [len(text.encode()) for text in texts],
        }
    )
    return HeldOutShard(domain, np.concatenate(encoded).astype(np.uint16), documents)


BYTES_ONLY, MERGED = tokenizer_of(257), tokenizer_of(500)


@pytest.mark.parametrize("limit", [None, 600])
def test_two_tokenizers_are_measured_on_the_same_windows(limit: int | None) -> None:
    chosen = []
    for tokenizer in (BYTES_ONLY, MERGED):
        windows = cut_windows([shard_of(tokenizer, TEXTS)], window_bytes=64)
        chosen.append(choose_windows(windows, limit).select("domain", "lang", "document", "start", "bytes"))
    assert chosen[0].equals(chosen[1]) and chosen[0].height > 4


def test_windows_tile_each_document() -> None:
    shard = shard_of(MERGED, ["甲" * 100, "", "b" * 64])
    windows = cut_windows([shard, shard_of(MERGED, ["c"], domain="disease")], window_bytes=64)
    assert windows.select("row", "start", "bytes").rows() == [
        (0, 0, 64), (0, 64, 64), (0, 128, 64), (0, 192, 64), (0, 256, 44), (2, 0, 64), (0, 0, 1),
    ]  # fmt: skip
    assert windows["domain"].to_list() == ["general"] * 6 + ["disease"]
    assert windows["shard"].to_list() == [0] * 6 + [1]
    assert cut_windows([]).is_empty()


def test_a_limit_holds_for_each_domain_and_does_not_move_when_text_is_added() -> None:
    few = [shard_of(MERGED, TEXTS), shard_of(MERGED, TEXTS[:2], "disease")]
    windows = cut_windows(few, window_bytes=64)
    chosen = choose_windows(windows, 500)
    by_domain = dict(chosen.group_by("domain").agg(pl.col("bytes").sum()).iter_rows())
    assert (
        0 < by_domain["general"] <= 500
        and by_domain["disease"] == windows.filter(pl.col("domain") == "disease")["bytes"].sum()
    )
    more = choose_windows(windows, 1000)
    assert chosen.join(more, on=["document", "start"], how="anti").is_empty()
    assert choose_windows(windows, 1).height == 2  # one of each domain
    turned = choose_windows(cut_windows(few[::-1], window_bytes=64), 500)
    assert set(turned.select("document", "start").rows()) == set(chosen.select("document", "start").rows())


def test_the_digest_names_text_and_measure(monkeypatch: pytest.MonkeyPatch) -> None:
    digests = {measure_digest(["a"], None), measure_digest(["b"], None), measure_digest(["a"], 5)}
    monkeypatch.setattr("medpipe.pretrain.byte_windows.MEASURE_VERSION", "another")
    digests.add(measure_digest(["a"], None))
    assert len(digests) == 4


@settings(deadline=None, max_examples=200)
@given(
    lengths=st.lists(st.integers(0, 9), min_size=1, max_size=20).filter(sum),
    window=st.integers(1, 30),
    seed=st.integers(0, 99),
    lost=st.integers(0, 4),
)
def test_the_windows_of_a_document_add_up_to_it(
    lengths: list[int], window: int, seed: int, lost: int
) -> None:
    """For tokens of every size, those without bytes and those longer than a window included."""
    size = sum(lengths) + lost
    table = TokenBytes(np.array(lengths), np.zeros(len(lengths), np.bool_), is_exact=False)
    ids = np.arange(len(lengths))
    documents = pl.DataFrame(
        {"id": ["d"], "lang": ["zh"], "offset": [0], "length": [len(ids) + 1], "text_bytes": [size]}
    )
    shard = HeldOutShard("general", np.array([*ids, 99], np.uint16), documents)
    windows = cut_windows([shard], window_bytes=window)
    [document] = windowed_documents(windows, [shard], table)
    bits = np.random.default_rng(seed).exponential(size=len(ids))
    whole = document.share_out(bits)
    assert windows["bytes"].sum() == size
    assert document.needed().all()
    assert whole.sum() == pytest.approx(bits.sum())
    assert (whole >= -1e-9).all()
    # A window alone has the same bits, and needs no token that does not touch it.
    for place in range(len(windows)):
        [alone] = windowed_documents(windows[place : place + 1], [shard], table)
        noise = np.where(alone.needed(), bits, 1e6)
        assert alone.share_out(noise)[0] == pytest.approx(whole[place], abs=1e-9)


def test_a_token_across_a_border_counts_by_its_share() -> None:
    document = WindowedDocument(
        ids=np.arange(3),
        edges=np.array([0.0, 3.0, 7.0, 8.0]),
        starts=np.array([0, 4]),
        sizes=np.array([4, 4]),
    )
    assert document.share_out(np.array([1.0, 4.0, 0.5])).tolist() == [2.0, 3.5]


def test_whole_characters_of_a_text_without_merges() -> None:
    """With a token a byte, a window's bits are those of its bytes."""
    shard = shard_of(BYTES_ONLY, ["甲乙丙丁"])
    windows = cut_windows([shard], window_bytes=5)
    [document] = windowed_documents(windows, [shard], token_bytes(BYTES_ONLY))
    assert document.share_out(np.arange(12.0)).tolist() == [10.0, 35.0, 21.0]
