"""The token Parquet is read by `datasets`, the interface that people of the field expect."""

from __future__ import annotations

from pathlib import Path

import pytest

from medpipe.tokens.shard import open_dataset
from medpipe_tests.tokens.conftest import Corpus


def test_datasets_reads_the_token_parquet(
    corpus: Corpus, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    from datasets import load_dataset

    shard = open_dataset(corpus.shards["tcm", "texts"])[0]
    table = load_dataset(
        "parquet",
        data_files=str(shard.path.with_suffix(".tokens.parquet")),
        split="train",
        cache_dir=str(tmp_path),
    )
    assert table.column_names == ["id", "source", "tokens"]
    assert sum(len(row["tokens"]) for row in table) == len(shard.tokens)
    assert table[0]["tokens"] == shard.tokens[: len(table[0]["tokens"])].tolist()
