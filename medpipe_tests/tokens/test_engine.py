"""The fast engines give the ids of `tokenizers`, or are refused."""

from __future__ import annotations

import json
import random
from typing import Any

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tokenizers import AddedToken, Tokenizer, models, pre_tokenizers, trainers

from medpipe.tokens.bpe_engine import BpeEngine, NotByteLevelBpe
from medpipe.tokens.config import TokenizerConfig
from medpipe.tokens.encode import encode_batches
from medpipe.tokens.engine import (
    PROBES,
    SMALL_BYTES,
    EngineError,
    KitokenEngine,
    TokenizersEngine,
    choose_engine,
)
from medpipe.tokens.tokenizer import untrained_tokenizer
from medpipe_tests.making import article
from medpipe_tests.shared_data import shared_data

SIZE = 3000
ODD = [
    *"病人患者感冒，。！？ \n\r\t\x00\ufffd\u200f\u3000\xa0abcXY01９①²½'st<eos>|😀👨\u200d🏽é\u0301𠀀ﷺ",
    *"龘Ж\u0e01\u1780",
    *("  ", "\r\n", "\n\n", "<eos>", "<pad>", "'s", "'ll", " 1", "10mg", "——", "\ufe0f", "\u2028", "\x85"),
]
"""Pieces of which hostile texts are made."""


def train(texts: list[str], size: int = SIZE, **settings: Any) -> Tokenizer:
    config = TokenizerConfig(vocabulary_size=size, **settings)
    tokenizer = untrained_tokenizer(config)
    trainer = trainers.BpeTrainer(
        vocab_size=size,
        min_frequency=config.min_frequency,
        special_tokens=list(config.special_tokens),
        initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()),
        show_progress=False,
    )
    tokenizer.train_from_iterator(texts, trainer)
    tokenizer.encode_special_tokens = True
    return tokenizer


def mixed_texts() -> list[str]:
    """Rare characters among common ones, so that merges come to lie across the bytes of two characters."""
    rng = random.Random(5)
    letters = [chr(0x4E00 + int(abs(rng.gauss(0, 300)))) for _ in range(4000)]
    texts = ["".join(rng.choices(letters, k=60)) + rng.choice("。！，") for _ in range(600)]
    return texts + [article(number) for number in range(200)] + ["The patient's dose isn't 10 mg. "] * 20


@pytest.fixture(scope="module", params=["individual", "none"])
def tokenizer(request: pytest.FixtureRequest) -> Tokenizer:
    return train(mixed_texts(), digits=request.param)


@pytest.fixture(scope="module")
def kernel(tokenizer: Tokenizer) -> BpeEngine:
    return BpeEngine(tokenizer)


def assert_same(kernel: BpeEngine, tokenizer: Tokenizer, texts: list[str]) -> None:
    arguments: dict[str, Any] = {"eos_id": 0, "dtype": "uint16", "vocabulary_size": SIZE}
    found, lengths = kernel.encode(pl.Series(texts, dtype=pl.String), **arguments)
    expected, counts = TokenizersEngine(tokenizer).encode(pl.Series(texts, dtype=pl.String), **arguments)
    assert found.dtype == np.uint16
    assert lengths.tolist() == counts.tolist()
    assert found.tolist() == expected.tolist()


def test_merges_across_characters_exist_in_the_fixture(tokenizer: Tokenizer) -> None:
    """Else the tests below would not try what the table of whole characters must get right."""
    from medpipe.tokens.bpe_engine import _broken_ends
    from medpipe.tokens.vocabulary import byte_characters

    characters = {character: byte for byte, character in enumerate(byte_characters())}
    merges = json.loads(tokenizer.to_str())["model"]["merges"]
    products = [bytes(characters[c] for c in "".join(merge)) for merge in merges]
    assert sum(_broken_ends(product) != (b"", b"") for product in products) > 5


def test_known_odd_texts(kernel: BpeEngine, tokenizer: Tokenizer) -> None:
    assert_same(kernel, tokenizer, list(PROBES))
    assert_same(kernel, tokenizer, mixed_texts())


@given(st.lists(st.lists(st.sampled_from(ODD), max_size=40).map("".join), max_size=5))
@settings(max_examples=300, deadline=None)
def test_hostile_mixtures(kernel: BpeEngine, tokenizer: Tokenizer, texts: list[str]) -> None:
    assert_same(kernel, tokenizer, texts)


@given(st.lists(st.text(), max_size=5))
@settings(max_examples=300, deadline=None)
def test_any_text(kernel: BpeEngine, tokenizer: Tokenizer, texts: list[str]) -> None:
    assert_same(kernel, tokenizer, texts)


def test_every_plane_of_unicode(kernel: BpeEngine, tokenizer: Tokenizer) -> None:
    rng = random.Random(1)
    blocks = [*rng.sample(range(0x400), 30), 0x7D0, 0x43FF]
    codes = [b * 64 + n for b in blocks for n in range(64) if not 0xD800 <= b * 64 < 0xE000]
    assert_same(kernel, tokenizer, [f"a{chr(c)}1 {chr(c)}{chr(c)}x 病{chr(c)}  {chr(c)}'s" for c in codes])


def test_long_pieces_are_merged_as_short_ones(kernel: BpeEngine, tokenizer: Tokenizer) -> None:
    rng = random.Random(2)
    runs = ["病" * 5000, "ab" * 4000, " " * 999 + "a", "\n" * 777, "。" * 3001]
    runs += ["".join(rng.choices("病人患者感冒发热咳嗽abcdefg", k=9000))]
    runs += ["".join(c for text in mixed_texts()[:100] for c in text if c.isalpha())]
    assert_same(kernel, tokenizer, runs)


def test_no_rows_and_a_slice_of_a_column(kernel: BpeEngine, tokenizer: Tokenizer) -> None:
    assert_same(kernel, tokenizer, [])
    column = pl.Series(["一", "二二", "三三三", "四"]).slice(1, 2)
    ids, lengths = kernel.encode(column, eos_id=0, dtype="int32", vocabulary_size=SIZE)
    assert tokenizer.decode(ids.tolist(), skip_special_tokens=True) == "二二三三三"
    assert ids.dtype == np.int32 and len(lengths) == 2


@pytest.mark.parametrize("file", ["skywork/zh_general.jsonl", "bentsao/llama_data.json"])
def test_real_records(kernel: BpeEngine, tokenizer: Tokenizer, file: str) -> None:
    assert_same(kernel, tokenizer, shared_data(file).read_text().splitlines()[:300])


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"model": {"ignore_merges": True}}, "ignore_merges"),
        ({"model": {"dropout": 0.1}}, "dropout"),
        ({"normalizer": {"type": "NFC"}}, "normalises"),
        ({"pre_tokenizer": {"type": "Whitespace"}}, "Whitespace"),
    ],
)
def test_other_tokenizers_are_refused_with_the_reason(change: dict[str, Any], reason: str) -> None:
    content = json.loads(train(["病人" * 10], 300).to_str())
    model = content["model"] | change.pop("model", {})
    changed = Tokenizer.from_str(json.dumps(content | change | {"model": model}))
    with pytest.raises(NotByteLevelBpe, match=reason):
        BpeEngine(changed)


@pytest.mark.parametrize("wanted", ["kernel", "kitoken"])
def test_texts_that_hold_an_added_token_go_to_the_reference(wanted: str) -> None:
    """Published tokenizers have tokens that text can make, such as `<think>`."""
    tokenizer = train(["病人" * 10], 300)
    tokenizer.add_tokens([AddedToken("<think>", special=False)])
    texts = pl.Series(["病人", "a <think> b", "", "<think><think>", "<eos>\n\n<eos> x", "人"])
    arguments: dict[str, Any] = {"eos_id": 0, "dtype": "uint16", "vocabulary_size": 400}
    engine = choose(tokenizer, wanted=wanted).engine
    for part in (texts, texts.filter(texts.str.contains("<")), texts.head(0), texts.head(1)):
        found, lengths = engine.encode(part, **arguments)
        expected, counts = TokenizersEngine(tokenizer).encode(part, **arguments)
        assert (found.tolist(), lengths.tolist()) == (expected.tolist(), counts.tolist())
    assert tokenizer.token_to_id("<think>") in engine.encode(texts, **arguments)[0]


def choose(tokenizer: Tokenizer, **arguments: Any) -> Any:
    given = {"sample": pl.Series(["病人"]), "vocabulary_size": 10**6, "total_bytes": SMALL_BYTES}
    return choose_engine(tokenizer, **(given | arguments))


def test_the_fastest_that_agrees_is_chosen(tokenizer: Tokenizer) -> None:
    assert choose(tokenizer).engine.name == "kernel"
    assert choose(tokenizer, total_bytes=10).engine.name == "tokenizers"
    assert choose(tokenizer, wanted="tokenizers").engine.name == "tokenizers"


def test_kitoken_is_refused_for_the_regular_expression(tokenizer: Tokenizer) -> None:
    """It cuts `\\n's` otherwise than the expression of byte-level BPE does, with digits alone or not."""
    text = ["x\n's 'll\t're\u2028's\x85'lle"]
    reference = TokenizersEngine(tokenizer).encode(
        pl.Series(text), eos_id=0, dtype="uint16", vocabulary_size=SIZE
    )[0]
    found = KitokenEngine(tokenizer).encode(pl.Series(text), eos_id=0, dtype="uint16", vocabulary_size=SIZE)[
        0
    ]
    assert found.tolist() != reference.tolist()
    with pytest.raises(EngineError, match="kitoken gives other ids than tokenizers for the text"):
        choose(tokenizer, wanted="kitoken")


def test_what_no_fast_engine_can_do_falls_back_with_the_reasons() -> None:
    words = Tokenizer(models.WordLevel({"<eos>": 0, "?": 1}, unk_token="?"))
    chosen = choose(words)
    assert chosen.engine.name == "tokenizers"
    assert "not kernel: the kernel cannot stand for this tokenizer: its model is WordLevel" in chosen.reason
    assert "not kitoken: " in chosen.reason
    with pytest.raises(EngineError, match="WordLevel"):
        choose(words, wanted="kernel")


def test_ids_do_not_depend_on_the_workers(kernel: BpeEngine, tokenizer: Tokenizer) -> None:
    reference = TokenizersEngine(tokenizer)
    frame = pl.DataFrame({"text": mixed_texts() * 3}).with_row_index("row")
    frames = [frame.slice(start, 97) for start in range(0, frame.height, 97)]
    results = []
    for engine, workers in ((kernel, 1), (kernel, 3), (reference, 2)):
        batches = list(
            encode_batches(
                frames,
                engine,
                reference,
                dtype="uint16",
                eos_id=0,
                vocabulary_size=SIZE,
                workers=workers,
            )
        )
        assert [row for batch in batches for row in batch.documents["row"]] == list(range(frame.height))
        results.append(np.concatenate([batch.tokens for batch in batches]))
    assert np.array_equal(results[0], results[1]) and np.array_equal(results[0], results[2])


def test_an_engine_that_goes_astray_is_caught(tokenizer: Tokenizer) -> None:
    class Astray(TokenizersEngine):
        name = "astray"

        def encode(self, texts: pl.Series, **arguments: Any) -> Any:
            return super().encode(texts.str.replace_all("x", "y"), **arguments)

    arguments: dict[str, Any] = {"dtype": "uint16", "eos_id": 0, "vocabulary_size": SIZE, "workers": 2}
    reference = TokenizersEngine(tokenizer)
    frames = [pl.DataFrame({"text": ["病人"] * 10})] * 3
    assert (
        sum(len(b.lengths) for b in encode_batches(frames, Astray(tokenizer), reference, **arguments)) == 30
    )
    with pytest.raises(EngineError, match=r"astray gives other ids .* 'xx'"):
        list(
            encode_batches(
                [*frames, pl.DataFrame({"text": ["xx"]})], Astray(tokenizer), reference, **arguments
            )
        )


def test_kitoken_encodes_what_it_can() -> None:
    tokenizer = train(mixed_texts(), 500)
    ids, lengths = KitokenEngine(tokenizer).encode(
        pl.Series(["第1号病例。"]), eos_id=0, dtype="uint16", vocabulary_size=500
    )
    assert tokenizer.decode(ids.tolist()[:-1]) == "第1号病例。"
    assert lengths.tolist() == [len(ids)]
