from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

from medpipe.pretrain import model as model_module
from medpipe.pretrain.attention import BY_DOCUMENT, DENSE_FP32, document_borders, document_mask
from medpipe.pretrain.batch import IGNORED, Batch, assemble
from medpipe.pretrain.compile import CompiledPlan
from medpipe.pretrain.dataset import batch_tensors
from medpipe.pretrain.loss import batch_loss
from medpipe.pretrain.model import (
    Compute,
    build_model,
    cpu_has_bf16,
    device_and_precision,
    logits_of,
)
from medpipe.pretrain.optimizer import build_optimizer
from medpipe.pretrain.plan import Plan, Precision

CPU = torch.device("cpu")
FP32 = Compute(CPU, Precision.FP32)
BF16 = Compute(CPU, Precision.BF16)
FP32_BY_DOCUMENT = Compute(CPU, Precision.FP32, by_document=True)
BF16_BY_DOCUMENT = Compute(CPU, Precision.BF16, by_document=True)


@pytest.fixture
def model(compiled: CompiledPlan) -> nn.Module:
    return build_model(compiled.plan, compiled.tokenizer, FP32)


def logits(model: nn.Module, batch: Batch, compute: Compute = FP32) -> torch.Tensor:
    tensors = batch_tensors(batch, CPU)
    tensors.pop("targets")
    with torch.no_grad():
        return logits_of(model, compute, **tensors)


def pack(*documents: list[int], length: int) -> Batch:
    tokens = np.array([t for document in documents for t in [*document, 0]], dtype=np.uint16)
    return assemble([(tokens, 0, len(tokens))], sequence_length=length, eos_id=0)


def some_documents(seed: int, *sizes: int) -> list[list[int]]:
    draw = np.random.default_rng(seed)
    return [draw.integers(2, 300, size).tolist() for size in sizes]


def test_document_mask_by_hand() -> None:
    mask = document_mask(torch.tensor([[1, 1, 2, 2]]))
    assert mask.shape == (1, 1, 4, 4)
    assert mask[0, 0].int().tolist() == [[1, 0, 0, 0], [1, 1, 0, 0], [0, 0, 1, 0], [0, 0, 1, 1]]


@pytest.mark.parametrize(
    "compute", [FP32, BF16, FP32_BY_DOCUMENT, BF16_BY_DOCUMENT], ids=["fp32", "bf16", "fp32-doc", "bf16-doc"]
)
def test_a_packed_neighbour_changes_nothing(compiled: CompiledPlan, compute: Compute) -> None:
    model = build_model(compiled.plan, compiled.tokenizer, compute)
    one, two, other = some_documents(0, 20, 15, 20)
    before = logits(model, pack(one, two, length=40), compute)
    after = logits(model, pack(other, two, length=40), compute)
    assert torch.equal(before[0, 21:37], after[0, 21:37])  # begin mark and text of the second document
    assert not torch.equal(before[0, 1:21], after[0, 1:21])


def test_borders_of_documents_by_hand() -> None:
    borders = document_borders(torch.tensor([[1, 1, 2, 2], [2, 3, 3, 3]]))
    assert borders.dtype is torch.int32
    assert borders.tolist() == [0, 2, 4, 5, 8]


def test_each_document_by_itself_gives_what_the_mask_gives(compiled: CompiledPlan) -> None:
    masked = build_model(compiled.plan, compiled.tokenizer, FP32)
    by_document = build_model(compiled.plan, compiled.tokenizer, FP32_BY_DOCUMENT)
    batch = pack(*some_documents(3, 20, 1, 15, 30), length=80)
    losses = [
        batch_loss(model, compute, batch, micro_batch=1)
        for model, compute in ((masked, FP32), (by_document, FP32_BY_DOCUMENT))
    ]
    assert losses[0] == pytest.approx(losses[1], abs=1e-6)
    for (name, one), two in zip(masked.named_parameters(), by_document.parameters(), strict=True):
        assert one.grad is not None and two.grad is not None
        torch.testing.assert_close(one.grad, two.grad, atol=1e-6, rtol=1e-4, msg=name)


def test_long_windows_are_computed_by_document(plan: Plan) -> None:
    long = plan.model_copy(update={"sequence_length": 1024})
    assert device_and_precision(long).attention == BY_DOCUMENT
    assert device_and_precision(plan).attention != BY_DOCUMENT


def test_a_later_neighbour_changes_nothing(model: nn.Module) -> None:
    one, two, other = some_documents(1, 20, 15, 15)
    before, after = (logits(model, pack(one, second, length=40)) for second in (two, other))
    assert torch.equal(before[0, :21], after[0, :21])


def test_without_the_mask_a_neighbour_would_matter(model: nn.Module, monkeypatch: pytest.MonkeyPatch) -> None:
    """Proves that the tests above look at the mask, not at the causal order alone."""
    monkeypatch.setattr(
        model_module, "document_mask", lambda segments: document_mask(torch.ones_like(segments))
    )
    one, two, other = some_documents(0, 20, 15, 20)
    before, after = (logits(model, pack(first, two, length=40)) for first in (one, other))
    assert not torch.allclose(before[0, 21:37], after[0, 21:37], atol=1e-4)


def test_packed_equals_separate(model: nn.Module) -> None:
    documents = some_documents(2, 5, 17, 9)
    packed = logits(model, pack(*documents, length=34))
    start = 0
    for document in documents:
        alone = model(torch.tensor([[0, *document]])).logits.detach()
        torch.testing.assert_close(packed[:, start : start + len(document) + 1], alone, atol=1e-5, rtol=1e-5)
        start += len(document) + 1


def test_bf16_uses_fp32_attention_and_stays_near_fp32(compiled: CompiledPlan) -> None:
    assert BF16.attention == DENSE_FP32
    assert FP32.attention == "sdpa"
    batch = pack(*some_documents(3, 20, 15), length=40)
    exact = logits(build_model(compiled.plan, compiled.tokenizer, FP32), batch)
    rough = logits(build_model(compiled.plan, compiled.tokenizer, BF16), batch, BF16)
    assert not torch.equal(exact, rough)
    torch.testing.assert_close(rough, exact, atol=0.05, rtol=0.05)


def test_fp32_attention_sees_fp32(compiled: CompiledPlan, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: set[torch.dtype] = set()
    original = torch.nn.functional.scaled_dot_product_attention

    def spy(query: torch.Tensor, *args: object, **kwargs: object) -> torch.Tensor:
        seen.add(query.dtype)
        return original(query, *args, **kwargs)

    monkeypatch.setattr(torch.nn.functional, "scaled_dot_product_attention", spy)
    logits(build_model(compiled.plan, compiled.tokenizer, BF16), pack([5, 6], length=4), BF16)
    assert seen == {torch.float32}


def test_weights_depend_on_the_seed_alone(compiled: CompiledPlan, plan: Plan) -> None:
    torch.manual_seed(1)
    one = build_model(plan, compiled.tokenizer, FP32)
    state = torch.get_rng_state()
    torch.manual_seed(1)
    assert torch.equal(torch.get_rng_state(), state)
    torch.manual_seed(2)
    two = build_model(plan, compiled.tokenizer, FP32)
    other = build_model(plan.model_copy(update={"seed": 8}), compiled.tokenizer, FP32)
    pairs = list(zip(one.parameters(), two.parameters(), strict=True))
    assert all(torch.equal(a, b) for a, b in pairs)
    assert any(not torch.equal(a, b) for a, b in zip(one.parameters(), other.parameters(), strict=True))
    assert all(p.dtype == torch.float32 for p in one.parameters())


def test_demo_model_has_at_most_three_million_parameters(compiled: CompiledPlan) -> None:
    from dataclasses import replace

    from medpipe.pretrain.model import count_parameters
    from medpipe.pretrain.plan import load_plan

    tokenizer = replace(compiled.tokenizer, vocabulary_size=4096)
    assert count_parameters(build_model(load_plan("demo"), tokenizer, FP32)) <= 3_000_000


@pytest.mark.parametrize("micro", [1, 2, 3])
def test_accumulation_equals_the_big_batch(compiled: CompiledPlan, micro: int) -> None:
    """With windows of very different numbers of target tokens, where a mean of means would be wrong."""
    rows = [pack(document, length=24) for document in some_documents(4, 23, 2, 11, 1, 23, 7)]
    batch = Batch(
        *(
            np.concatenate([getattr(row, name) for row in rows])
            for name in ("input_ids", "targets", "position_ids", "segment_ids")
        )
    )
    whole = build_model(compiled.plan, compiled.tokenizer, FP32)
    parts = build_model(compiled.plan, compiled.tokenizer, FP32)
    loss = batch_loss(whole, FP32, batch, micro_batch=6)
    assert batch_loss(parts, FP32, batch, micro_batch=micro) == pytest.approx(loss, rel=1e-5)
    for one, two in zip(whole.parameters(), parts.parameters(), strict=True):
        assert one.grad is not None and two.grad is not None
        torch.testing.assert_close(one.grad, two.grad, atol=1e-6, rtol=1e-4)
    # The loss is the mean over target tokens, padding left out.
    values = logits(whole, batch)
    picked = torch.from_numpy(batch.targets)
    expected = nn.functional.cross_entropy(values[picked != IGNORED], picked[picked != IGNORED])
    assert loss == pytest.approx(expected.item(), rel=1e-5)


def test_groups_are_named_and_norms_are_not_decayed(model: nn.Module, plan: Plan) -> None:
    groups = {group["name"]: group for group in build_optimizer(model, plan.optimizer).param_groups}
    assert groups["decay"]["weight_decay"] == plan.optimizer.weight_decay
    assert groups["no_decay"]["weight_decay"] == 0
    assert all(p.dim() >= 2 for p in groups["decay"]["params"])
    assert all("norm" in name for name in groups["no_decay"]["param_names"])
    count = sum(p.numel() for group in groups.values() for p in group["params"])
    assert count == model_module.count_parameters(model)


def test_precision_of_the_plan_overrides_the_choice(plan: Plan, monkeypatch: pytest.MonkeyPatch) -> None:
    assert device_and_precision(plan).precision is Precision.FP32
    auto = plan.model_copy(update={"precision": Precision.AUTO})
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    for has_bf16, expected in ((True, Precision.BF16), (False, Precision.FP32)):
        monkeypatch.setattr(model_module, "cpu_has_bf16", lambda has=has_bf16: has)
        assert device_and_precision(auto) == Compute(CPU, expected)
    assert isinstance(cpu_has_bf16(), bool)
