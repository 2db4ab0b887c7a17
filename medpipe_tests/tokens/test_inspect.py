"""Looking at one document, and finding damage."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from medpipe.lake.layout import Lake
from medpipe.tokens.inspect import show_document
from medpipe.tokens.sample import scan_documents
from medpipe.tokens.shard import ShardError, open_dataset
from medpipe.tokens.verify import verify
from medpipe_tests.tokens.conftest import Corpus


def test_text_ids_and_provenance(corpus: Corpus) -> None:
    documents = scan_documents(corpus.documents).collect()
    for (domain, source), dataset in corpus.shards.items():
        for shard in open_dataset(dataset):
            number = shard.documents // 2
            shown = show_document(shard.path, number, lake=corpus.lake)
            row = documents.filter(pl.col("id") == shown.id).row(0, named=True)
            assert shown.text == row["text"]
            assert (shown.domain, shown.split, shown.tier) == (domain, shard.split, shard.tier)
            assert shown.provenance == {
                "source": source,
                **{name: row[name] for name in ("revision", "path", "row", "part")},
            }
            end = shard.doc_ends[number]
            assert shown.ids == shard.tokens[end - len(shown.ids) : end].tolist()
            assert shown.ids[-1] == shard.eos_id


def test_places_and_names(corpus: Corpus) -> None:
    shard = open_dataset(corpus.shards["tcm", "texts"])[0]
    last = show_document(shard.path, -1, lake=corpus.lake)
    assert last == show_document(shard.path.with_suffix(""), shard.documents - 1, lake=corpus.lake)
    with pytest.raises(ShardError, match=f"has the documents 0 to {shard.documents - 1}, not 9,999"):
        show_document(shard.path, 9999, lake=corpus.lake)
    with pytest.raises(ShardError, match=r"no shard 77777 in .*; it has 00000"):
        show_document(shard.path.with_name("77777.bin"), 0, lake=corpus.lake)
    with pytest.raises(ShardError, match="lies in no shard data set"):
        show_document(corpus.lake.root / "x.bin", 0, lake=corpus.lake)
    with pytest.raises(ShardError, match="which has no shards"):
        show_document(corpus.tokenizer.path / "tokenizer.json", 0, lake=corpus.lake)
    with pytest.raises(ShardError, match=r"the tokenizer .* is not in .*MEDPIPE_LAKE"):
        show_document(shard.path, 0, lake=Lake(corpus.lake.root / "elsewhere"))


def test_a_document_that_the_corpus_lost_still_names_its_source(own_corpus: Corpus) -> None:
    shard = open_dataset(own_corpus.shards["tcm", "texts"])[0]
    shutil.rmtree(own_corpus.documents.path)
    assert show_document(shard.path, 0, lake=own_corpus.lake).provenance == {"source": "texts"}


def test_a_corpus_that_is_being_written_is_not_read(own_corpus: Corpus) -> None:
    shard = open_dataset(own_corpus.shards["tcm", "texts"])[0]
    found = show_document(shard.path, 0, lake=own_corpus.lake)
    draft = own_corpus.documents.path.parent / ".4f2a.77-1a2b3c4d.tmp"
    draft.mkdir()
    (draft / "manifest.json").write_text("{")
    assert show_document(shard.path, 0, lake=own_corpus.lake) == found


def test_whole_data_sets_have_no_mistakes(corpus: Corpus) -> None:
    assert [verify(dataset.path) for dataset in corpus.shards.values()] == [[]] * len(corpus.shards)


def test_swapped_files_of_equal_length_are_found(own_corpus: Corpus) -> None:
    folder = own_corpus.shards["disease", "texts"].path
    path = sorted(folder.glob("*.bin"))[0]
    tokens = np.fromfile(path, np.uint16)
    tokens[:-1] = tokens[:-1][::-1]
    tokens.tofile(path)
    assert verify(folder) == [f"{path.name}: its bytes changed since it was written"]


def test_every_damaged_file_is_listed(own_corpus: Corpus) -> None:
    folder = own_corpus.shards["disease", "texts"].path
    first, second = sorted(folder.glob("*.bin"))[:2]
    size = first.stat().st_size
    first.write_bytes(first.read_bytes()[:-2])
    second.unlink()
    assert verify(folder) == [
        f"{first.name}: it has {size - 2:,} bytes instead of {size:,}",
        f"{second.name}: it is missing",
    ]


def test_what_is_no_shard_data_set(corpus: Corpus, tmp_path: Path) -> None:
    assert "is no data set" in verify(tmp_path)[0]
    assert "is no shard data set but tokenizer/medical-bpe" in verify(corpus.tokenizer.path)[0]


def test_a_shard_without_its_table_is_refused(own_corpus: Corpus) -> None:
    dataset = own_corpus.shards["tcm", "texts"]
    shard = open_dataset(dataset)[0]
    other = open_dataset(own_corpus.shards["disease", "texts"])[0]
    shutil.copyfile(other.path.with_suffix(".idx"), shard.path.with_suffix(".idx"))
    assert verify(dataset.path)
    with pytest.raises(ShardError, match="does not describe"):
        _ = replace(shard).index
