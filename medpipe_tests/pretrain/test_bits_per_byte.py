from __future__ import annotations

import hashlib
import math
from collections import defaultdict

import numpy as np
import polars as pl
import pytest
import torch
from torch import nn

from medpipe.pretrain.bits_per_byte import WINDOW_BITS_SCHEMA, BitsPerByte, HeldOutShard, window_bits
from medpipe.pretrain.byte_windows import cut_windows, windowed_documents
from medpipe.pretrain.compile import CompiledPlan
from medpipe.pretrain.held_out import measure_held_out
from medpipe.pretrain.model import Compute, build_model, compile_blocks
from medpipe.pretrain.plan import Precision
from medpipe.tokens.token_bytes import TokenBytes
from medpipe_tests.pretrain.corpus import Corpus

FP32 = Compute(torch.device("cpu"), Precision.FP32)
VOCABULARY = 300
SIZES = np.random.default_rng(5).integers(1, 9, VOCABULARY)
SIZES[7] = 0  # a token behind which no text stands
TABLE = TokenBytes(SIZES, np.zeros(VOCABULARY, np.bool_), is_exact=True)
Document = tuple[str, list[int]]
"""Language, token ids without eos."""


@pytest.fixture
def model(compiled: CompiledPlan) -> nn.Module:
    return build_model(compiled.plan, compiled.tokenizer, FP32)


def make_shard(domain: str, documents: list[Document]) -> HeldOutShard:
    lengths = [len(ids) + 1 for _, ids in documents]
    frame = pl.DataFrame(
        {
            "id": [hashlib.md5(f"{domain}{i}".encode()).hexdigest() for i in range(len(documents))],
            "lang": [language for language, _ in documents],
            "offset": np.cumsum([0, *lengths[:-1]]),
            "length": lengths,
            "text_bytes": [int(SIZES[ids].sum()) for _, ids in documents],
        }
    )
    return HeldOutShard(domain, np.array([t for _, ids in documents for t in [*ids, 0]], np.uint16), frame)


def random_documents(seed: int, count: int, longest: int = 40) -> list[Document]:
    draw = np.random.default_rng(seed)
    return [
        (
            ["zh", "en"][int(draw.integers(2))],
            draw.integers(2, VOCABULARY, draw.integers(1, longest)).tolist(),
        )
        for _ in range(count)
    ]


def measure(
    model: nn.Module, shards: list[HeldOutShard], *, sequence_length: int = 16, batch_sequences: int = 4
) -> pl.DataFrame:
    return window_bits(
        model,
        FP32,
        shards,
        sequence_length=sequence_length,
        eos_id=0,
        token_bytes=TABLE,
        batch_sequences=batch_sequences,
    )


def brute_force_bits(model: nn.Module, ids: list[int], sequence_length: int) -> list[float]:
    """Bits of each token of a document, one at a time; the context is what its chunk holds."""
    stride = sequence_length // 2
    bits = []
    for place, target in enumerate(ids):
        chunk = 0 if place < sequence_length else (place - sequence_length) // stride + 1
        first = chunk * stride
        assert place < sequence_length or place - first >= sequence_length / 2
        context = [*([0] if first == 0 else []), *ids[max(0, first - 1) : place]]
        with torch.no_grad():
            logits = model(torch.tensor([context])).logits[0, -1]
        bits.append(-torch.log_softmax(logits.double(), -1)[target].item() / math.log(2))
    return bits


@pytest.mark.parametrize("sequence_length", [8, 15, 1000])
def test_against_brute_force(model: nn.Module, sequence_length: int) -> None:
    model.config.max_position_embeddings = 2000
    by_domain = {"general": random_documents(1, 7), "disease": random_documents(2, 5, longest=60)}
    shards = [make_shard(domain, documents) for domain, documents in by_domain.items()]
    frame = measure(model, shards, sequence_length=sequence_length)
    assert frame.schema == WINDOW_BITS_SCHEMA
    total: dict[tuple[str, str], float] = defaultdict(float)
    size: dict[tuple[str, str], int] = defaultdict(int)
    for shard, documents in zip(shards, by_domain.values(), strict=True):
        for (language, ids), name in zip(documents, shard.documents["id"], strict=True):
            bits = sum(brute_force_bits(model, ids, sequence_length))
            of_document = frame.filter(pl.col("document") == name)
            assert of_document["bits"].sum() == pytest.approx(bits, rel=1e-5)
            total[shard.domain, language] += bits
            size[shard.domain, language] += int(SIZES[ids].sum())
    result = BitsPerByte(frame)
    for (domain, language), bits in total.items():
        assert result.by_domain_and_language[domain][language] == pytest.approx(
            bits / size[domain, language], rel=1e-5
        )
    assert result.overall == pytest.approx(sum(total.values()) / sum(size.values()), rel=1e-5)
    assert result.as_metrics() == {"all": result.overall, **result.by_domain}
    assert set(result.by_language) == {"zh", "en"}


def test_each_window_has_the_bits_of_its_tokens(model: nn.Module) -> None:
    [(language, ids)] = documents = [("zh", np.random.default_rng(3).integers(2, 300, 700).tolist())]
    shard = make_shard("general", documents)
    frame = measure(model, [shard], sequence_length=32)
    assert frame["start"].to_list() == list(range(0, int(SIZES[ids].sum()), 1024))
    [whole] = windowed_documents(cut_windows([shard]), [shard], TABLE)
    expected = whole.share_out(np.array(brute_force_bits(model, ids, 32)))
    assert frame["bits"].to_list() == pytest.approx(expected.tolist(), rel=1e-5)
    assert frame["lang"].to_list() == [language] * len(frame)


def test_grouping_and_neighbours_do_not_matter_and_the_mode_is_kept(model: nn.Module) -> None:
    """A document's windows have the same bits alone, in another order, and in batches of another size."""
    documents = random_documents(3, 12)
    shard = make_shard("general", documents)
    frames = []
    for size, training in ((1, True), (5, False), (64, False)):
        model.train(training)
        frames.append(measure(model, [shard], batch_sequences=size))
        assert model.training is training
    for frame in frames[1:]:
        assert frame.drop("bits").equals(frames[0].drop("bits"))
        assert frame["bits"].to_list() == pytest.approx(frames[0]["bits"].to_list(), rel=1e-5)
    for number, row in enumerate(shard.documents.iter_rows(named=True)):
        alone = measure(model, [make_shard("general", [documents[number]])])
        among = frames[0].filter(pl.col("document") == row["id"])
        assert alone["bits"].to_list() == pytest.approx(among["bits"].to_list(), rel=1e-5)


def test_a_limit_changes_no_window(model: nn.Module) -> None:
    shard = make_shard("general", [("zh", ids * 20) for _, ids in random_documents(4, 5)])
    everything = measure(model, [shard], sequence_length=32)
    few = window_bits(
        model, FP32, [shard], sequence_length=32, eos_id=0, token_bytes=TABLE, bytes_per_domain=3000
    )
    assert 1 < few.height < everything.height and few["bytes"].sum() <= 3000
    both = few.join(everything, on=["document", "start"], suffix="_all")
    assert both.height == few.height
    assert both["bits"].to_list() == pytest.approx(both["bits_all"].to_list(), rel=1e-5)


def test_a_uniform_model_needs_the_bits_of_its_vocabulary(compiled: CompiledPlan, model: nn.Module) -> None:
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.zero_()
    documents: list[Document] = [("zh", [5, 6, 9, 8]), ("zh", [9])]
    frame = measure(model, [make_shard("general", documents)], sequence_length=4)
    bits = 5 * math.log2(compiled.tokenizer.vocabulary_size)
    assert BitsPerByte(frame).overall == pytest.approx(bits / SIZES[[5, 6, 9, 8, 9]].sum())


def test_compiled_blocks_are_not_compiled_for_each_length(model: nn.Module) -> None:
    shard = make_shard("general", random_documents(6, 5))
    expected = measure(model, [shard], batch_sequences=1)
    compile_blocks(model)
    torch._dynamo.reset()
    frame = measure(model, [shard], batch_sequences=1)
    assert frame["bits"].to_list() == expected["bits"].to_list()
    assert not torch._dynamo.utils.counters["stats"].get("unique_graphs")


def test_the_held_out_text_of_a_plan(compiled: CompiledPlan, corpus: Corpus, model: nn.Module) -> None:
    result = measure_held_out(model, FP32, compiled=compiled, lake=corpus.lake, snapshot=corpus.snapshot)
    for domain in ("general", "disease"):
        size = sum(len(text.encode()) for text, _ in corpus.texts[domain, "validation"])
        assert result.windows.filter(pl.col("domain") == domain)["bytes"].sum() == size
    assert result.windows["document"].n_unique() == 24
    assert 1.0 < result.overall < 6.0


def test_nothing_held_out_is_no_number(model: nn.Module) -> None:
    frame = measure(model, [])
    assert frame.schema == WINDOW_BITS_SCHEMA and math.isnan(BitsPerByte(frame).overall)


def test_check_may_break_off(model: nn.Module) -> None:
    def refuse() -> None:
        raise KeyboardInterrupt

    shards = [make_shard("general", random_documents(8, 3))]
    with pytest.raises(KeyboardInterrupt):
        window_bits(model, FP32, shards, sequence_length=8, eos_id=0, token_bytes=TABLE, check=refuse)
