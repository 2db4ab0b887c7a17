"""What lies in a shard, who else can read it, when it is reused."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import dagster as dg
import numpy as np
import polars as pl
import pytest
from tokenizers import Tokenizer, models

from medpipe.curate.corpus import build_corpus
from medpipe.curate.purposes import Purpose
from medpipe.lake.dataset import Dataset, current, publish
from medpipe.lake.layout import Lake
from medpipe.lake.manifest import Recipe
from medpipe.records.kinds import Domain, Kind
from medpipe.run_form import RunForm
from medpipe.tokens.asset_config import ShardSettings
from medpipe.tokens.assets import build_token_assets
from medpipe.tokens.config import ShardConfig, TokenizerConfig
from medpipe.tokens.index import read_index
from medpipe.tokens.sample import scan_documents
from medpipe.tokens.shard import ShardError, open_dataset, verify_shard
from medpipe.tokens.shards import build_shards
from medpipe.tokens.tokenizer import load_tokenizer, train_tokenizer
from medpipe_tests.making import article, make_source, publish_records, turns
from medpipe_tests.shared_data import shared_data
from medpipe_tests.tokens.conftest import HOSTILE, SHARDS, Corpus, make_documents


def every_document_comes_back(documents: Dataset, shards: list[Dataset], tokenizer: Dataset) -> int:
    """Decodes all shards and compares text, split, tier and place with the corpus; returns their number."""
    loaded = load_tokenizer(tokenizer)
    columns = ["id", "source", "domain", "split", "tier", "lang", "text"]
    expected = {row[0]: row[1:] for row in scan_documents(documents).select(columns).collect().iter_rows()}
    seen = 0
    for dataset in shards:
        for shard in open_dataset(dataset):
            for record_id, lang, offset, length, text_bytes in shard.document_index().iter_rows():
                ids = shard.tokens[offset : offset + length].tolist()
                assert ids.pop() == shard.eos_id
                text = loaded.decode(ids, skip_special_tokens=False)
                described = (shard.source, shard.domain, shard.split, shard.tier, lang, text)
                assert described == expected[record_id]
                assert text_bytes == len(text.encode())
                seen += 1
    return seen


def test_every_document_comes_back(corpus: Corpus) -> None:
    seen = every_document_comes_back(corpus.documents, list(corpus.shards.values()), corpus.tokenizer)
    assert seen == corpus.documents.manifest.rows
    tiers = {shard.tier for dataset in corpus.shards.values() for shard in open_dataset(dataset)}
    assert tiers == {"raw", "refined"}


def test_shards_are_cut_at_the_limit_and_described(corpus: Corpus) -> None:
    dataset = corpus.shards["disease", "texts"]
    shards = dataset.manifest.facts["shards"]
    assert len([shard for shard in shards if shard["split"] == "train" and shard["tier"] == "refined"]) > 1
    assert all(shard["tokens"] <= SHARDS.max_tokens_per_shard for shard in shards)
    assert [shard["name"] for shard in shards] == [f"{n:05d}" for n in range(len(shards))]
    for facts, shard in zip(shards, open_dataset(dataset), strict=True):
        index = shard.document_index()
        assert facts["documents"] == index.height == len(shard.doc_ends)
        assert facts["tokens"] == len(shard.tokens) == shard.doc_ends[-1] == index["length"].sum()
        assert facts["text_bytes"] == index["text_bytes"].sum()
    assert dataset.manifest.rows == sum(shard["documents"] for shard in shards)


def test_a_document_longer_than_the_limit_has_a_shard_of_its_own(corpus: Corpus, tmp_path: Path) -> None:
    built = build_shards(
        Domain.TCM, corpus.documents, corpus.tokenizer,
        lake=Lake(tmp_path), config=ShardConfig(max_tokens_per_shard=10),
    )  # fmt: skip
    shards = built["texts"].dataset.manifest.facts["shards"]
    assert {shard["documents"] for shard in shards} == {1}
    assert len(shards) == 60


def test_nanogpt_reads_the_tokens_with_one_memmap(corpus: Corpus) -> None:
    """As nanoGPT's train.py does: `np.memmap(path, dtype=np.uint16, mode='r')`, blocks from anywhere."""
    shard = open_dataset(corpus.shards["disease", "texts"])[0]
    data = np.memmap(str(shard.path), dtype=np.uint16, mode="r")
    block = data[100 : 100 + 64].astype(np.int64)
    assert block.shape == (64,)
    assert block.max() < 600
    text = load_tokenizer(corpus.tokenizer).decode(data[: shard.doc_ends[0] - 1].tolist())
    assert text == article(0)


def test_the_index_and_the_token_parquet_agree_with_the_tokens(corpus: Corpus) -> None:
    for dataset in corpus.shards.values():
        for shard in open_dataset(dataset):
            index = read_index(shard.path.with_suffix(".idx"))
            table = pl.read_parquet(shard.path.with_suffix(".tokens.parquet"))
            assert table.schema == {"id": pl.String, "source": pl.String, "tokens": pl.List(pl.UInt16)}
            assert set(table["source"]) == {shard.source}
            assert table["id"].to_list() == shard.document_index()["id"].to_list()
            assert table["tokens"].list.len().to_list() == index.lengths.tolist()
            assert np.array_equal(table["tokens"].explode().to_numpy(), shard.tokens)


def test_special_tokens_in_a_text_stay_text(corpus: Corpus) -> None:
    shards = open_dataset(corpus.shards["disease", "texts"])
    assert sum(int((shard.tokens == shard.eos_id).sum()) for shard in shards) == sum(
        shard.documents for shard in shards
    )
    hostile = scan_documents(corpus.documents).filter(pl.col("text") == HOSTILE).collect()["id"].item()
    assert any(hostile in shard.document_index()["id"].to_list() for shard in shards)


def test_tokens_are_read_only(corpus: Corpus) -> None:
    shard = open_dataset(corpus.shards["disease", "texts"])[0]
    with pytest.raises(ValueError, match="read-only"):
        shard.tokens[0] = 1


def test_unchanged_sources_are_reused_and_force_builds_again(tmp_path: Path) -> None:
    lake = Lake(tmp_path)
    documents = make_documents(lake)
    tokenizer = train_tokenizer(documents, lake=lake, config=TokenizerConfig(vocabulary_size=400)).dataset
    news: list[str] = []

    def build(given: Dataset, **arguments: bool) -> dict[str, tuple[bool, str]]:
        built = build_shards(Domain.DISEASE, given, tokenizer, lake=lake, progress=news.append, **arguments)
        return {source: (result.reused, result.dataset.digest) for source, result in built.items()}

    first = build(documents)
    assert {reused for reused, _ in first.values()} == {False}
    assert news
    second = build(documents)
    assert second == {source: (True, digest) for source, (_, digest) in first.items()}
    assert build(documents, force=True) == first
    grown = build(make_documents(lake, diseases=200))
    assert grown["chats"] == second["chats"]
    assert not grown["texts"][0] and grown["texts"][1] != first["texts"][1]
    before = build(documents)
    assert before == second


def test_a_domain_that_no_source_has_gives_nothing(corpus: Corpus) -> None:
    assert build_shards(Domain.GUIDELINE, corpus.documents, corpus.tokenizer, lake=corpus.lake) == {}


def make_wide_tokenizer(lake: Lake, size: int, *, claimed: int | None = None) -> Dataset:
    """A tokenizer of `size` entries whose last id stands for every character it does not know."""
    vocabulary = {"<eos>": 0} | {f"entry{n}": n for n in range(1, size - 1)} | {"last": size - 1}
    tokenizer = Tokenizer(models.WordLevel(vocabulary, unk_token="last"))
    recipe = Recipe(inputs={}, code_version="test", config={"size": size, "claimed": claimed})
    with publish(lake, "tokenizer", "wide", recipe=recipe) as draft:
        tokenizer.save(str(draft.path / "tokenizer.json"))
        draft.facts = {"vocabulary_size": claimed or size, "eos_id": 0}
    return draft.dataset


@pytest.mark.parametrize(("size", "dtype"), [(65_536, np.uint16), (65_537, np.int32)])
def test_the_type_follows_the_largest_id(tmp_path: Path, size: int, dtype: type) -> None:
    lake = Lake(tmp_path)
    documents = make_documents(lake, diseases=3)
    tokenizer = make_wide_tokenizer(lake, size)
    dataset = build_shards(Domain.DISEASE, documents, tokenizer, lake=lake)["texts"].dataset
    verify_shard(dataset.path)
    shard = open_dataset(dataset)[0]
    assert shard.tokens.dtype == dtype
    assert shard.tokens[:2].tolist() == [size - 1, 0]
    table = pl.read_parquet(shard.path.with_suffix(".tokens.parquet"))
    assert table["tokens"][0].to_list() == [size - 1, 0]


def test_an_id_that_would_wrap_stops_the_build_and_leaves_nothing(tmp_path: Path) -> None:
    lake = Lake(tmp_path)
    documents = make_documents(lake, diseases=3)
    lying = make_wide_tokenizer(lake, 65_537, claimed=65_536)
    with pytest.raises(ShardError, match="65,536 does not fit uint16"):
        build_shards(Domain.DISEASE, documents, lying, lake=lake)
    assert list(lake.room("shards", "disease", "texts").iterdir()) == []


def test_real_records(tmp_path: Path) -> None:
    lake = Lake(tmp_path)
    articles = [json.loads(line)["text"] for line in shared_data("skywork/zh_general.jsonl").open()][:60]
    pairs = [json.loads(line) for line in shared_data("bentsao/llama_data.json").open()][:1000]
    normalized = {
        "web": publish_records(
            lake, "web", Kind.DOCUMENT, [{"text": t, "domain": "general"} for t in articles]
        ),
        "qa": publish_records(
            lake, "qa", Kind.CONVERSATION, [{"turns": turns(p["instruction"], p["output"])} for p in pairs]
        ),
    }
    sources = {"web": make_source("web"), "qa": make_source("qa", Kind.CONVERSATION)}
    documents = build_corpus(Purpose.DOCUMENTS, normalized, sources, lake=lake).dataset
    config = TokenizerConfig(vocabulary_size=1500, sample_bytes=300_000)
    tokenizer = train_tokenizer(documents, lake=lake, config=config).dataset
    shards = []
    for domain in (Domain.GENERAL, Domain.DISEASE):
        for built in build_shards(domain, documents, tokenizer, lake=lake).values():
            verify_shard(built.dataset.path)
            shards.append(built.dataset)
    assert every_document_comes_back(documents, shards, tokenizer) == documents.manifest.rows
    assert tokenizer.manifest.facts["report"]["by_domain"]["disease"]["characters_per_token"] > 1.2


def asset_run(lake: Lake, **settings: Any) -> dg.ExecuteInProcessResult:
    """One run of the asset shards/disease."""
    config = TokenizerConfig(vocabulary_size=400)
    shards = build_token_assets([make_source("texts")], tokenizer=config, lake=lake)[1]
    ops = {"shards__disease": {"config": settings}}
    return dg.materialize(
        [shards], resources={"form": RunForm()}, run_config={"ops": ops}, raise_on_error=False
    )


def test_the_asset_verifies_what_it_reuses_and_repairs_it_with_force(tmp_path: Path) -> None:
    lake = Lake(tmp_path)
    documents = make_documents(lake, diseases=20)
    train_tokenizer(documents, lake=lake, config=TokenizerConfig(vocabulary_size=400))
    assert asset_run(lake).success
    path = open_dataset(current(lake, "shards", "disease", "texts"))[0].path
    data = bytearray(path.read_bytes())
    data[9] ^= 1
    path.write_bytes(data)
    again = asset_run(lake)
    assert not again.success
    (failure,) = again.filter_events(lambda event: event.is_step_failure)
    assert "--force" in str(failure.step_failure_data.user_failure_data.description)
    assert asset_run(lake, force=True).success
    assert path.read_bytes() != bytes(data)
    assert asset_run(lake).success


def test_the_form_cuts_shards_and_refuses_wrong_settings(tmp_path: Path) -> None:
    lake = Lake(tmp_path)
    documents = make_documents(lake, diseases=20)
    train_tokenizer(documents, lake=lake, config=TokenizerConfig(vocabulary_size=400))
    assert ShardSettings().cuts() == ShardConfig()
    assert asset_run(lake, max_tokens_per_shard=10).success
    shards = current(lake, "shards", "disease", "texts").manifest.facts["shards"]
    assert {shard["documents"] for shard in shards} == {1}
    wrong = asset_run(lake, min_text_bytes=0)
    (failure,) = wrong.filter_events(lambda event: event.is_step_failure)
    assert "min_text_bytes" in str(failure.step_failure_data.user_failure_data.description)
