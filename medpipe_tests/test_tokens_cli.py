"""`medpipe tokens`: the facts of each command, as text and as JSON."""

from __future__ import annotations

import json

import pytest
from typer.testing import CliRunner, Result

from medpipe.tokens.shard import ShardError, open_dataset
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


def test_the_text_is_printed_as_it_is(lake: Corpus) -> None:
    """Not cut into lines of 80 columns, nor read as markup."""
    shard = next(s for s in open_dataset(lake.shards["disease", "texts"]) if s.text_bytes)
    longest = int(shard.document_index()["text_bytes"].arg_max() or 0)
    facts = json.loads(run("inspect", shard.path, "--doc", longest, "--json").stdout)
    assert len(facts["text"]) > 80
    assert run("inspect", shard.path, "--doc", longest).stdout.endswith("\n" + facts["text"] + "\n")


def test_verify_says_what_is_no_shard_data_set(lake: Corpus) -> None:
    shards = lake.shards["disease", "texts"].path
    for path, message in [
        (shards / "absent", "there is no folder"),
        (shards / "00000.bin", f"is a file; name the folder of its data set, {shards}"),
        (shards.parent, "is no data set"),
        (lake.documents.path, "is corpus/documents, which has no shards"),
    ]:
        result = run("verify", path)
        assert result.exit_code == 1 and isinstance(result.exception, ShardError)
        assert message in str(result.exception)
        assert "damaged" not in result.output and "force" not in result.output


def test_verify_names_the_command_that_repairs(lake: Corpus) -> None:
    (lake.shards["tcm", "texts"].path / "manifest.json").write_text("{")
    result = run("verify")
    assert result.exit_code == 1 and "damaged" in result.stdout and "--force" in result.stderr
    assert run("verify", lake.shards["tcm", "texts"].path).exit_code == 1


def test_verify_finds_data_sets_in_each_others_place(lake: Corpus) -> None:
    one, other = (lake.shards[key].path for key in (("disease", "texts"), ("tcm", "texts")))
    elsewhere = one.with_name("elsewhere")
    one.rename(elsewhere)
    other.rename(one)
    elsewhere.rename(other)
    result = run("verify")
    assert result.exit_code == 1 and result.stdout.count("damaged") == 2


def test_export(lake: Corpus) -> None:
    target = lake.lake.root.parent / "out"
    result = run("export", "megatron", target, "--domain", "tcm", "--json")
    assert result.exit_code == 0, result.output
    facts = json.loads(result.stdout)
    assert set(facts["tokens"]) == {"train_text_document", "validation_text_document"}
    assert (target / "train_text_document.idx").is_file()
    assert run("export", "parquet", target).exit_code == 2
