from __future__ import annotations

import hashlib
import math

import numpy as np
import polars as pl
import pytest
import torch
from torch import nn

from medpipe.pretrain.bits_per_byte import HeldOutShard, measure, select_documents
from medpipe.pretrain.compile import CompiledPlan
from medpipe.pretrain.model import Compute, build_model
from medpipe.pretrain.plan import Precision

FP32 = Compute(torch.device("cpu"), Precision.FP32)
Document = tuple[str, int, list[int]]
"""Language, UTF-8 bytes of the text, token ids without eos."""


@pytest.fixture
def model(compiled: CompiledPlan) -> nn.Module:
    return build_model(compiled.plan, compiled.tokenizer, FP32)


def make_shard(domain: str, documents: list[Document]) -> HeldOutShard:
    lengths = [len(ids) + 1 for _, _, ids in documents]
    offsets = np.cumsum([0, *lengths[:-1]])
    frame = pl.DataFrame(
        {
            "id": [hashlib.md5(f"{domain}{i}".encode()).hexdigest() for i in range(len(documents))],
            "lang": [language for language, _, _ in documents],
            "offset": offsets,
            "length": lengths,
            "text_bytes": [size for _, size, _ in documents],
        }
    )
    tokens = np.array([t for _, _, ids in documents for t in [*ids, 0]], dtype=np.uint16)
    return HeldOutShard(domain, tokens, frame)


def random_documents(seed: int, count: int) -> list[Document]:
    draw = np.random.default_rng(seed)
    return [
        (
            ["zh", "en"][int(draw.integers(2))],
            int(draw.integers(5, 90)),
            draw.integers(2, 300, draw.integers(1, 30)).tolist(),
        )
        for _ in range(count)
    ]


def brute_force_bits(model: nn.Module, documents: list[Document], sequence_length: int) -> list[float]:
    """Bits of each document, one token at a time: its context is what stands before it in its document
    and its window, and the begin mark or the one token before the window."""
    tokens = [t for _, _, ids in documents for t in [*ids, 0]]
    bits = []
    place = 0
    for _, _, ids in documents:
        total = 0.0
        start = place
        for target in [*ids, 0]:
            window_start = place - place % sequence_length
            context_start = max(start - 1, window_start - 1)
            context = [0 if p < 0 else tokens[p] for p in range(context_start, place)]
            if target != 0:
                with torch.no_grad():
                    out = model(torch.tensor([context])).logits[0, -1]
                total -= torch.log_softmax(out.double(), -1)[target].item() / math.log(2)
            place += 1
        bits.append(total)
    return bits


@pytest.mark.parametrize("sequence_length", [8, 16, 1000])
def test_against_brute_force(model: nn.Module, sequence_length: int) -> None:
    model.config.max_position_embeddings = 2000
    by_domain = {"general": random_documents(1, 9), "disease": random_documents(2, 7)}
    result = measure(
        model,
        FP32,
        [make_shard(domain, documents) for domain, documents in by_domain.items()],
        sequence_length=sequence_length,
        eos_id=0,
        batch_sequences=3,
    )
    total_bits = total_bytes = 0.0
    for domain, documents in by_domain.items():
        bits = brute_force_bits(model, documents, sequence_length)
        sizes = [size for _, size, _ in documents]
        assert result.by_domain[domain] == pytest.approx(sum(bits) / sum(sizes), rel=1e-5)
        for language in {language for language, _, _ in documents}:
            chosen = [i for i, (of, _, _) in enumerate(documents) if of == language]
            expected = sum(bits[i] for i in chosen) / sum(sizes[i] for i in chosen)
            assert result.by_domain_and_language[domain][language] == pytest.approx(expected, rel=1e-5)
        total_bits, total_bytes = total_bits + sum(bits), total_bytes + sum(sizes)
    assert result.overall == pytest.approx(total_bits / total_bytes, rel=1e-5)
    assert result.as_metrics() == {"all": result.overall, **result.by_domain}


def test_batch_size_does_not_matter_and_the_mode_is_kept(model: nn.Module) -> None:
    shards = [make_shard("general", random_documents(3, 20))]
    values = []
    for size, training in ((1, True), (7, False)):
        model.train(training)
        values.append(
            measure(model, FP32, shards, sequence_length=16, eos_id=0, batch_sequences=size).overall
        )
        assert model.training is training
    assert values[0] == pytest.approx(values[1], rel=1e-6)


def test_a_uniform_model_needs_the_bits_of_its_vocabulary(compiled: CompiledPlan, model: nn.Module) -> None:
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.zero_()
    documents: list[Document] = [("zh", 12, [5, 6, 7, 8]), ("zh", 3, [9])]
    result = measure(model, FP32, [make_shard("general", documents)], sequence_length=4, eos_id=0)
    assert result.overall == pytest.approx(5 * math.log2(compiled.tokenizer.vocabulary_size) / 15)


def test_a_cap_takes_the_same_whole_documents_of_every_domain() -> None:
    shards = [
        make_shard("general", random_documents(4, 40)),
        make_shard("general", random_documents(5, 40)),
        make_shard("disease", random_documents(6, 2)),
    ]
    chosen = list(select_documents(shards, 200))
    for domain in ("general", "disease"):
        tokens = sum(len(s.tokens) for s in chosen if s.domain == domain)
        assert 0 < tokens <= 200
    assert len([s for s in chosen if s.domain == "general"]) == 2  # spread over both shards
    for shard in chosen:
        ends = (shard.documents["offset"] + shard.documents["length"]).to_numpy()
        assert (shard.tokens[ends - 1] == 0).all()
        assert ends[-1] == len(shard.tokens)
    again = list(select_documents(shards, 200))
    assert [s.documents["id"].to_list() for s in chosen] == [s.documents["id"].to_list() for s in again]


def test_a_cap_below_the_first_document_takes_one() -> None:
    [shard] = select_documents([make_shard("general", random_documents(7, 5))], 1)
    assert shard.documents.height == 1


def test_check_may_break_off(model: nn.Module) -> None:
    def refuse() -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        measure(
            model,
            FP32,
            [make_shard("general", random_documents(8, 3))],
            sequence_length=8,
            eos_id=0,
            check=refuse,
        )
