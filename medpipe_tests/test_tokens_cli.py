"""`medpipe tokens`: the facts of each command, as text and as JSON."""

from __future__ import annotations

import json

import pytest
from typer.testing import CliRunner, Result

from medpipe.tokens.shard import open_dataset
from medpipe.tokens.snapshot import build_snapshot
from medpipe.tokens_cli import tokens_app
from medpipe_tests.tokens.conftest import Corpus, corpus, own_corpus

__all__ = ["corpus", "own_corpus"]


@pytest.fixture
def lake(own_corpus: Corpus, monkeypatch: pytest.MonkeyPatch) -> Corpus:
    build_snapshot(
        own_corpus.lake,
        tokenizer=own_corpus.tokenizer,
        shards=own_corpus.shards,
        documents=own_corpus.documents,
        revisions={},
    )
    monkeypatch.setenv("MEDPIPE_LAKE", str(own_corpus.lake.root))
    return own_corpus


def run(*arguments: object) -> Result:
    return CliRunner().invoke(tokens_app, [str(argument) for argument in arguments])


def test_inspect(lake: Corpus) -> None:
    shard = open_dataset(lake.shards["tcm", "texts"])[0]
    result = run("inspect", shard.path, "--doc", 1, "--json")
    assert result.exit_code == 0, result.output
    facts = json.loads(result.stdout)
    assert facts["ids"][-1] == shard.eos_id and facts["provenance"]["source"] == "texts"
    result = run("inspect", shard.path, "--doc", 1)
    assert facts["id"] in result.stdout and facts["text"][:20] in result.stdout


def test_verify(lake: Corpus) -> None:
    result = run("verify", "--json")
    assert result.exit_code == 0
    assert [entry["problems"] for entry in json.loads(result.stdout)] == [[]] * len(lake.shards)
    shard = open_dataset(lake.shards["tcm", "texts"])[0]
    shard.path.write_bytes(shard.path.read_bytes()[:-2])
    result = run("verify")
    assert result.exit_code == 1
    assert f"damaged: {shard.path.parent}" in result.stdout and "instead of" in result.stdout
    assert run("verify", lake.shards["disease", "texts"].path).exit_code == 0


def test_export(lake: Corpus) -> None:
    target = lake.lake.root.parent / "out"
    result = run("export", "megatron", target, "--domain", "tcm", "--json")
    assert result.exit_code == 0, result.output
    facts = json.loads(result.stdout)
    assert set(facts["tokens"]) == {"train_text_document", "validation_text_document"}
    assert (target / "train_text_document.idx").is_file()
    assert run("export", "parquet", target).exit_code == 2
