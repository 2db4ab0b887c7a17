"""The preset `continue` from end to end: a published model, its tokenizer, shards, stages, a checkpoint."""

from __future__ import annotations

import io
import json
import random
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from rich.console import Console
from safetensors.torch import load_file, save_file
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from torch import nn
from transformers import AutoConfig, AutoModelForCausalLM, AutoTokenizer

from medpipe.lake.layout import Lake
from medpipe.operate.demo import DemoFacts, _stage_facts
from medpipe.operate.report import print_demo
from medpipe.pretrain.checkpoint import WEIGHTS
from medpipe.pretrain.compile import compile_plan
from medpipe.pretrain.curriculum import compile_pinned, finished_stages
from medpipe.pretrain.model import Compute, first_model
from medpipe.pretrain.plan import STAGES, Plan, Precision, builtin_plans, parse_plan
from medpipe.pretrain.published_model import PublishedModelError, tokenizer_config
from medpipe.pretrain.stage_run import StageRun
from medpipe.pretrain.stop import StopRequest
from medpipe.records.kinds import Domain
from medpipe.tokens.shards import build_shards
from medpipe.tokens.snapshot import CorpusSnapshot, build_snapshot
from medpipe.tokens.tokenizer import train_tokenizer
from medpipe_tests.pretrain.corpus import Corpus, sentence
from medpipe_tests.pretrain.starts import SMALL, compiled_from, save_model
from medpipe_tests.tokens.documents import Text, publish_documents

FP32 = Compute(torch.device("cpu"), Precision.FP32)
END = "<|endoftext|>"
STEPS = 3


def texts() -> list[Text]:
    """Documents of every domain that the preset reads, of both tiers, each once."""
    chance = random.Random(3)
    found: dict[str, Text] = {}
    domains = ("general", "encyclopedia", "dialogue", "literature", "textbook", "tcm", "guideline", "disease")
    for domain in domains:
        for number in range(60):
            text, _ = sentence(domain, chance)
            split = "validation" if number % 10 == 9 else "train"
            found.setdefault(text, Text(text, split, "refined" if number % 2 else "raw", domain))
    return list(found.values())


def published(folder: Path, *, architecture: str, tied: bool, sharded: bool) -> nn.Module:
    """A model as publishers leave it: their own tokenizer, an embedding rounded up, maybe in parts."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.train_from_iterator(
        [each.text for each in texts()],
        trainers.BpeTrainer(
            vocab_size=360,
            special_tokens=[END],
            initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()),
            show_progress=False,
        ),
    )
    folder.mkdir()
    tokenizer.save(str(folder / "tokenizer.json"))
    torch.manual_seed(5)
    values = SMALL | {"vocab_size": 384, "head_dim": 16 if architecture == "qwen3" else 8}
    config = AutoConfig.for_model(architecture, **values, tie_word_embeddings=tied, eos_token_id=0)
    model = AutoModelForCausalLM.from_config(config)
    model.save_pretrained(folder, max_shard_size="20KB" if sharded else "1GB")
    assert (folder / "model.safetensors.index.json").exists() == sharded
    return model


def preset(folder: Path) -> Plan:
    """The preset with its mixtures and rates, at the size of a test."""
    values = yaml.safe_load(builtin_plans()["continue"].read_text(encoding="utf-8"))
    values |= {"start_from": {"model": str(folder)}, "sequence_length": 32, "batch_sequences": 8}
    values |= {"micro_batch_sequences": 4, "precision": "fp32", "threads": 1, "maximum_epochs": 10_000}
    values |= {"log_every_steps": 1}
    del values["batch_tokens"], values["validation_tokens"]
    for stage in values["stages"]:
        whole = stage["tokens"]
        stage["tokens"] = STEPS * 256
        for name in ("warmup_tokens", "half_life_tokens"):
            if name in stage["learning_rate"]:
                stage["learning_rate"][name] = max(1, stage["learning_rate"][name] * STEPS * 256 // whole)
    return parse_plan(values, origin="test")


def corpus_for(plan: Plan, lake: Lake) -> CorpusSnapshot:
    """Tokenizer, shards and snapshot as the assets of the rooms before make them."""
    documents = publish_documents(lake, texts())
    tokenizer = train_tokenizer(documents, lake=lake, config=tokenizer_config(plan, lake)).dataset
    shards = {
        (domain.value, source): built.dataset
        for domain in sorted({Domain(each.domain) for each in texts()})
        for source, built in build_shards(domain, documents, tokenizer, lake=lake, workers=1).items()
    }
    snapshot, _ = build_snapshot(lake, tokenizer=tokenizer, shards=shards, documents=documents, revisions={})
    return snapshot


def run_of(plan: Plan, snapshot: CorpusSnapshot, lake: Lake, stage: str, news: list[str]) -> StageRun:
    compiled = compile_pinned(plan, lake, stage=stage)
    return StageRun(
        compiled=compiled,
        stage=compiled.stage(stage),
        lake=lake,
        snapshot=snapshot,
        progress=news.append,
        stop=StopRequest(),
    )


@pytest.mark.parametrize(
    ("architecture", "tied", "sharded"),
    [("llama", True, False), ("llama", False, True), ("qwen3", True, True), ("qwen3", False, False)],
)
def test_four_stages_from_a_published_model(
    tmp_path: Path, architecture: str, tied: bool, sharded: bool
) -> None:
    theirs = published(tmp_path / "model", architecture=architecture, tied=tied, sharded=sharded)
    plan, lake = preset(tmp_path / "model"), Lake(tmp_path / "lake")
    snapshot = corpus_for(plan, lake)
    compiled = compile_plan(plan, snapshot, lake)
    assert compiled.vocabulary_size == 384 and compiled.shape.tie_embeddings is tied
    begun = dict(first_model(compiled, FP32).named_parameters())
    assert begun.keys() == dict(theirs.named_parameters()).keys()
    assert all(torch.equal(begun[name], p) for name, p in theirs.named_parameters())
    news: list[str] = []
    for stage in STAGES:
        run = run_of(plan, snapshot, lake, stage, news)
        result = run.run().result
        assert result.steps == STEPS and result.is_finite
        assert set(result.bits_per_byte) > {"all"}
    assert news[0].startswith(f"going on from {tmp_path / 'model'}")
    checkpoint = run.folder / result.checkpoint
    trained = run._prepare(None).model.eval()
    loaded = AutoModelForCausalLM.from_pretrained(checkpoint, local_files_only=True)
    assert loaded.config.tie_word_embeddings is tied
    assert ("lm_head.weight" in load_file(checkpoint / WEIGHTS)) is not tied
    ids = torch.randint(1, 300, (2, 16), generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        assert torch.equal(loaded(ids).logits, trained(ids).logits)
        assert not torch.equal(loaded(ids).logits, theirs.eval()(ids).logits)
    text = texts()[0].text
    tokenizer = AutoTokenizer.from_pretrained(checkpoint, local_files_only=True)
    wanted = Tokenizer.from_file(str(tmp_path / "model" / "tokenizer.json")).encode(text).ids
    assert tokenizer(text)["input_ids"] == wanted and tokenizer.eos_token == END


def test_tables_of_a_plan_that_took_stages_over(own_corpus: Corpus) -> None:
    """A refresh whose earlier stages are gone has fewer results than stages."""
    import shutil

    from medpipe_tests.pretrain.conftest import stage_run
    from medpipe_tests.pretrain.starts import REFRESH, plan_from
    from medpipe_tests.pretrain.trainers import tiny

    compile_pinned(tiny(), own_corpus.lake, stage="fast")
    for stage in ("fast", "stable"):
        stage_run(own_corpus, tiny(), stage).run()
    shutil.rmtree(stage_run(own_corpus, tiny(), "fast").folder)
    plan = plan_from(REFRESH, name="refreshed")
    for stage in ("anneal", "converge"):
        compile_pinned(plan, own_corpus.lake, stage=stage)
        stage_run(own_corpus, plan, stage).run()
    stages = finished_stages(plan, own_corpus.lake)
    assert [each.result.stage for each in stages] == ["stable", "anneal", "converge"]
    facts = DemoFacts(
        sources=[],
        tokens={},
        stages=[_stage_facts(each) for each in stages],
        mlflow_run=None,
        sample="",
        seconds=1.0,
        reused=[],
        links={},
    )
    said = io.StringIO()
    print_demo(facts, Console(file=said, width=120))
    assert "converge" in said.getvalue() and "fast" not in said.getvalue()


# Published weights that are not what they seem.


def poisoned(folder: Path, name: str, change: Any) -> None:
    tensors = load_file(folder / WEIGHTS)
    if change is None:
        del tensors[name]
    else:
        tensors[name] = change(tensors[name])
    save_file(tensors, folder / WEIGHTS, metadata={"format": "pt"})


def with_nan(tensor: torch.Tensor) -> torch.Tensor:
    tensor[1, 2] = float("nan")
    return tensor


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (None, r"1 missing such as model\.layers\.1\.mlp\.up_proj\.weight; fetch the model again"),
        (with_nan, r"model\.layers\.1\.mlp\.up_proj\.weight holds NaN or infinity; name another model"),
    ],
    ids=["missing", "not a number"],
)
def test_weights_that_are_missing_or_no_numbers_are_refused(
    corpus: Corpus, tmp_path: Path, change: Any, says: str
) -> None:
    """Transformers would fill a missing one with random numbers, and warn at most."""
    save_model(tmp_path / "model", corpus)
    poisoned(tmp_path / "model", "model.layers.1.mlp.up_proj.weight", change)
    with pytest.raises(PublishedModelError, match=says):
        first_model(compiled_from(corpus, {"model": str(tmp_path / "model")}), FP32)


def test_weights_beyond_the_configuration_are_refused(corpus: Corpus, tmp_path: Path) -> None:
    save_model(tmp_path / "model", corpus)
    config = json.loads((tmp_path / "model" / "config.json").read_text())
    (tmp_path / "model" / "config.json").write_text(json.dumps(config | {"num_hidden_layers": 1}))
    with pytest.raises(PublishedModelError, match=r"unexpected such as model\.layers\.1\."):
        first_model(compiled_from(corpus, {"model": str(tmp_path / "model")}), FP32)
