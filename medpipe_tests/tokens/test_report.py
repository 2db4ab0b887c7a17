"""The report counts the whole validation split, and says what a tokenizer cannot spell or loses."""

from __future__ import annotations

import shutil
from pathlib import Path

import dagster as dg
import polars as pl
import pytest
from tokenizers import Tokenizer, models, normalizers, pre_tokenizers

from medpipe.lake.layout import Lake
from medpipe.run_form import RunForm
from medpipe.tokens import report as module
from medpipe.tokens.assets import build_token_assets
from medpipe.tokens.config import TokenizerConfig
from medpipe.tokens.report import report_markdown, tokenizer_report
from medpipe.tokens.sample import scan_documents
from medpipe.tokens.tokenizer import load_tokenizer, train_tokenizer
from medpipe_tests.making import make_source
from medpipe_tests.tokens.conftest import Corpus


def validation(corpus: Corpus) -> pl.DataFrame:
    records = scan_documents(corpus.documents).with_columns(pl.col("split", "domain").cast(pl.String))
    return records.filter(pl.col("split") == "validation").collect()


def characters_tokenizer(known: str) -> Tokenizer:
    """A token a character; all others are `?`."""
    vocabulary = {"?": 0, "<eos>": 1} | {c: n + 2 for n, c in enumerate(sorted(set(known)))}
    tokenizer = Tokenizer(models.WordLevel(vocabulary, unk_token="?"))
    tokenizer.pre_tokenizer = pre_tokenizers.Split("", "isolated")
    tokenizer.add_special_tokens(["<eos>"])
    return tokenizer


def test_the_numbers(corpus: Corpus) -> None:
    texts = validation(corpus)
    known = "".join(texts["text"])
    report = tokenizer_report(characters_tokenizer(known.replace("病", "") + "鬱龘"), corpus.documents)
    assert report["all"]["documents"] == texts.height == report["round_trip_texts"]
    assert report["all"]["tokens"] == len(known)
    assert report["all"]["characters_per_token"] == 1
    assert report["all"]["bytes_per_token"] == round(len(known.encode()) / len(known), 3)
    assert report["all"]["unknown_rate"] == round(known.count("病") / len(known), 6)
    kinds = len(set(known) - {"病"})
    assert report["unused_share"] == round(2 / (kinds + 2 + 1), 4)
    assert set(report["by_language"]) == {"zh"}
    for domain, frame in texts.group_by("domain"):
        joined = "".join(frame["text"])
        assert report["by_domain"][domain[0]]["tokens"] == len(joined)
        assert report["by_domain"][domain[0]]["unknown_rate"] == round(joined.count("病") / len(joined), 6)
    assert report["round_trip_failures"] == sum(len(text) > 1 for text in texts["text"])


def test_long_documents_are_measured_in_pieces(corpus: Corpus, monkeypatch: pytest.MonkeyPatch) -> None:
    tokenizer = characters_tokenizer("".join(validation(corpus)["text"]))
    whole = tokenizer_report(tokenizer, corpus.documents)
    monkeypatch.setattr(module, "PIECE_CHARACTERS", 7)
    pieces = tokenizer_report(tokenizer, corpus.documents)
    assert pieces["by_domain"] == whole["by_domain"]
    assert pieces["longest_tokens"] == whole["longest_tokens"]


def test_a_trained_tokenizer_loses_and_lacks_nothing(corpus: Corpus) -> None:
    report = corpus.tokenizer.manifest.facts["report"]
    assert report["round_trip_texts"] == validation(corpus).height
    assert report["round_trip_failures"] == 0 and report["round_trip_examples"] == []
    assert report["all"]["unknown_rate"] == 0
    lengths = [each["characters"] for each in report["longest_tokens"]]
    assert lengths == sorted(lengths, reverse=True) and lengths[0] > 1
    assert all(each["count"] > 0 for each in report["longest_tokens"])
    table = report_markdown(report)
    assert f"| all | {report['all']['documents']:,} |" in table
    assert "| tcm |" in table and "| zh |" in table


def test_a_lossy_tokenizer_is_told_and_must_be_allowed(corpus: Corpus, tmp_path: Path) -> None:
    tokenizer = load_tokenizer(corpus.tokenizer)
    tokenizer.normalizer = normalizers.Replace("。", ".")
    path = tmp_path / "lossy.json"
    tokenizer.save(str(path))
    for allowed in (False, True):
        config = TokenizerConfig(name="lossy", file=path, allow_lossy=allowed)
        built = train_tokenizer(corpus.documents, lake=Lake(tmp_path / str(allowed)), config=config)
        report = built.dataset.manifest.facts["report"]
        assert report["round_trip_failures"] == validation(corpus).height
        assert set(report["round_trip_examples"]) <= set(validation(corpus)["id"])
        assert config.may_lose is allowed
    assert not TokenizerConfig(allow_lossy=True).may_lose


def test_whether_texts_may_be_lost_is_decided_by_the_settings_of_the_day(
    corpus: Corpus, tmp_path: Path
) -> None:
    """The tokenizer that is there is reused, whichever way it was allowed when it was made."""
    tokenizer = load_tokenizer(corpus.tokenizer)
    tokenizer.normalizer = normalizers.Replace("。", ".")
    path = tmp_path / "lossy.json"
    tokenizer.save(str(path))
    lake = Lake(tmp_path / "lake")
    shutil.copytree(corpus.lake.room("corpus"), lake.room("corpus"))
    passed = []
    for allowed in (True, False, True):
        config = TokenizerConfig(name="lossy", file=path, allow_lossy=allowed)
        asset = build_token_assets([make_source("texts")], tokenizer=config, lake=lake)[0]
        result = dg.materialize([asset], resources={"form": RunForm()}, raise_on_error=False)
        passed += [check.passed for check in result.get_asset_check_evaluations()]
        assert len(list(lake.room("tokenizer", "lossy").glob("*/tokenizer.json"))) == 1
    assert passed == [True, False, True]
