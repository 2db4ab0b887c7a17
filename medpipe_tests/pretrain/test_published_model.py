"""Plans that start from a published model."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch

from medpipe.lake.manifest import MANIFEST
from medpipe.pretrain import published_model
from medpipe.pretrain.checkpoint import WEIGHTS
from medpipe.pretrain.compile import compile_plan
from medpipe.pretrain.model import first_model
from medpipe.pretrain.published_model import PublishedModelError, fetch_model, tokenizer_config
from medpipe_tests.pretrain.conftest import stage_run
from medpipe_tests.pretrain.corpus import Corpus
from medpipe_tests.pretrain.starts import (
    FP32,
    compiled_from,
    plan_from,
    problems_of,
    save_model,
)


@pytest.mark.parametrize("architecture", ["llama", "qwen3"])
def test_a_published_model_is_taken_with_shape_and_weights(
    corpus: Corpus, tmp_path: Path, architecture: str
) -> None:
    published = save_model(tmp_path / "model", corpus, architecture)
    compiled = compiled_from(corpus, {"model": str(tmp_path / "model")})
    assert compiled.shape.architecture == architecture and compiled.vocabulary_size == 512
    assert compiled.shape.head_dim == (16 if architecture == "qwen3" else None)
    model = first_model(compiled, FP32)
    weights = dict(published.named_parameters())
    assert {name for name, _ in model.named_parameters()} == set(weights)
    assert all(torch.equal(p, weights[name]) for name, p in model.named_parameters())
    ids = torch.randint(2, 300, (1, 16))
    torch.testing.assert_close(model(ids).logits, published.eval()(ids).logits)


def test_a_stage_trained_from_a_published_model_goes_on_like_any_other(
    own_corpus: Corpus, tmp_path: Path
) -> None:
    save_model(tmp_path / "model", own_corpus, "qwen3")
    plan = plan_from({"model": str(tmp_path / "model")}, name="continued")
    news: list[str] = []
    first = stage_run(own_corpus, plan, "fast", news=news)
    result = first.run().result
    assert any("going on from" in line and "model" in line for line in news)
    assert result.loss_last < result.loss_first
    facts = json.loads((first.folder / "stage.json").read_text())
    assert facts["start_from"]["content"] == first.compiled.start.content
    config = json.loads((first.folder / result.checkpoint / "config.json").read_text())
    assert config["model_type"] == "qwen3" and config["vocab_size"] == 512
    second = stage_run(own_corpus, plan, "stable")
    assert second.run().result.first_step == result.steps
    assert "start_from" not in json.loads((second.folder / "stage.json").read_text())


def test_the_chain_follows_the_published_bytes(own_corpus: Corpus, tmp_path: Path) -> None:
    save_model(tmp_path / "one", own_corpus)
    shutil.copytree(tmp_path / "one", tmp_path / "two")
    digests = [
        compiled_from(own_corpus, {"model": str(tmp_path / n)}).stages[0].digest for n in ("one", "two")
    ]
    assert digests[0] == digests[1]  # the place does not count
    weights = (tmp_path / "two" / WEIGHTS).read_bytes()
    (tmp_path / "two" / WEIGHTS).write_bytes(weights[:-1] + bytes([weights[-1] ^ 1]))
    assert compiled_from(own_corpus, {"model": str(tmp_path / "two")}).stages[0].digest != digests[0]


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ({"model_type": "gpt2"}, "a model of type gpt2; medpipe trains llama and qwen3"),
        ({"quantization_config": {"bits": 4}}, "quantization_config in config.json is not supported"),
        ({"max_position_embeddings": 32}, "longer than the 32 positions"),
        ({"num_key_value_heads": 3}, "config.json describes no llama that medpipe knows"),
        ({"num_attention_heads": 0}, "config.json describes no llama that medpipe knows"),
        (["a", "list"], "config.json is no mapping of fields; name another folder"),
    ],
)
def test_models_that_cannot_be_trained(corpus: Corpus, tmp_path: Path, change: Any, expected: str) -> None:
    save_model(tmp_path / "model", corpus)
    path = tmp_path / "model" / "config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | change if isinstance(change, dict) else change))
    assert expected in problems_of(corpus, {"model": str(tmp_path / "model")})


def test_pickled_weights_and_missing_folders_are_refused(corpus: Corpus, tmp_path: Path) -> None:
    start = {"model": str(tmp_path / "model")}
    assert "correct start_from.model" in problems_of(corpus, start)
    save_model(tmp_path / "model", corpus)
    (tmp_path / "model" / WEIGHTS).rename(tmp_path / "model" / "pytorch_model.bin")
    assert "pickled weights are never loaded" in problems_of(corpus, start)
    hub = {"model": "owner/name", "revision": "c" * 40}
    assert "run `medpipe plan fetch` on this plan first" in problems_of(corpus, hub)


def test_a_model_with_another_tokenizer_is_refused(corpus: Corpus, tmp_path: Path) -> None:
    folder = tmp_path / "model"
    save_model(folder, corpus, vocab_size=300)
    text = problems_of(corpus, {"model": str(folder)})
    assert "entries, the model embeds 300" in text
    save_model(folder, corpus)
    values = json.loads((folder / "tokenizer.json").read_text())
    values["model"]["merges"][-2:] = reversed(values["model"]["merges"][-2:])
    (folder / "tokenizer.json").write_text(json.dumps(values))
    text = problems_of(corpus, {"model": str(folder)})
    assert "they differ in model" in text and f"set tokenizer.file to {folder}/tokenizer.json" in text
    (folder / "tokenizer.json").unlink()
    assert "has no tokenizer to compare with" in problems_of(corpus, {"model": str(folder)})


def test_a_model_section_must_agree_with_the_checkpoint(corpus: Corpus, tmp_path: Path) -> None:
    save_model(tmp_path / "model", corpus)
    theirs = compiled_from(corpus, {"model": str(tmp_path / "model")}).shape.model_dump()
    start = {"model": str(tmp_path / "model")}
    assert compiled_from(corpus, start, model=theirs).shape.layers == 2
    assert "model differs from the checkpoint in layers 3 (there 2)" in problems_of(
        corpus, start, model=theirs | {"layers": 3}
    )


def test_a_hub_model_is_fetched_once_at_its_commit(
    own_corpus: Corpus, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import huggingface_hub

    save_model(tmp_path / "hub", own_corpus)
    (tmp_path / "hub" / "modeling_evil.py").write_text("raise SystemExit")
    calls: list[dict[str, Any]] = []

    def download(repository: str, **options: Any) -> str:
        calls.append({"repository": repository, **options})
        return str(tmp_path / "hub")

    monkeypatch.setattr(huggingface_hub, "snapshot_download", download)
    plan = plan_from({"model": "owner/name", "revision": "c" * 40})
    assert plan.start_from is not None
    for _ in range(2):
        folder = fetch_model(plan.start_from, own_corpus.lake, endpoint=None, token=None, progress=print)
    [call] = calls
    assert (call["repository"], call["revision"], call["token"]) == ("owner/name", "c" * 40, False)
    assert "*.bin" not in call["allow_patterns"] and "*.py" not in call["allow_patterns"]
    assert (folder / MANIFEST).is_file()
    # The same bytes in a person's own folder are the same start.
    compiled = compile_plan(plan, own_corpus.snapshot, own_corpus.lake)
    local = compiled_from(own_corpus, {"model": str(tmp_path / "hub")})
    assert compiled.stages[0].digest == local.stages[0].digest
    assert tokenizer_config(plan, own_corpus.lake).file == folder / "tokenizer.json"


def test_a_failed_fetch_names_the_fix(own_corpus: Corpus, monkeypatch: pytest.MonkeyPatch) -> None:
    import huggingface_hub
    from huggingface_hub.errors import LocalEntryNotFoundError

    def download(*_: Any, **__: Any) -> str:
        raise LocalEntryNotFoundError("no connection")

    monkeypatch.setattr(huggingface_hub, "snapshot_download", download)
    plan = plan_from({"model": "owner/name", "revision": "c" * 40})
    assert plan.start_from is not None
    with pytest.raises(PublishedModelError, match=r"cannot be fetched \(no connection\).*HF_ENDPOINT"):
        fetch_model(plan.start_from, own_corpus.lake, endpoint=None, token=None, progress=print)
    assert not published_model.model_folder(plan.start_from, own_corpus.lake).exists()
