"""Opening and verifying: everything that is not what the snapshot names is refused, with its name."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import orjson
import polars as pl
import pytest

from medpipe.lake.dataset import Dataset
from medpipe.lake.digest import sha256_file
from medpipe.lake.layout import UnsafePathError
from medpipe.lake.manifest import ManifestError, read_manifest, write_manifest
from medpipe.tokens.shard import ShardError, open_dataset, open_shards, verify_shard
from medpipe.tokens.snapshot import (
    CorpusSnapshot,
    DatasetRef,
    SnapshotError,
    build_snapshot,
    read_snapshot,
    write_snapshot,
)
from medpipe.tokens.verify import verify, verify_snapshot
from medpipe_tests.tokens.conftest import Corpus, make_documents


def snapshot_of(corpus: Corpus, **changes: Any) -> CorpusSnapshot:
    arguments: dict[str, Any] = {
        "tokenizer": corpus.tokenizer,
        "shards": corpus.shards,
        "documents": corpus.documents,
        "revisions": {"texts": "r1", "chats": "r1"},
    }
    return build_snapshot(corpus.lake, **(arguments | changes))[0]


def first_bin(corpus: Corpus) -> Path:
    return open_dataset(corpus.shards["disease", "texts"])[0].path


def test_a_split_opens_whole_and_alone(corpus: Corpus) -> None:
    snapshot = snapshot_of(corpus)
    for split in ("train", "validation"):
        shards = open_shards(corpus.lake, snapshot, split=split)
        assert {shard.split for shard in shards} == {split}
        order = [(shard.domain, shard.source, shard.name) for shard in shards]
        assert order == sorted(order)
        counts = corpus.documents.manifest.facts["by_domain"].values()
        assert sum(shard.documents for shard in shards) == sum(count[split] for count in counts)
        assert all(shard.text_bytes > 0 for shard in shards)


def test_the_same_content_has_the_same_name_and_is_reused(own_corpus: Corpus) -> None:
    arguments: dict[str, Any] = {
        "tokenizer": own_corpus.tokenizer,
        "documents": own_corpus.documents,
        "revisions": {"a": "1", "b": "2"},
    }
    first, reused = build_snapshot(own_corpus.lake, shards=own_corpus.shards, **arguments)
    assert not reused
    backwards = dict(reversed(own_corpus.shards.items()))
    arguments["revisions"] = {"b": "2", "a": "1"}
    assert build_snapshot(own_corpus.lake, shards=backwards, **arguments) == (first, True)
    other = snapshot_of(own_corpus, revisions={"a": "2"})
    assert other.name != first.name
    assert read_snapshot(own_corpus.lake) == other
    assert read_snapshot(own_corpus.lake, first.name) == first
    assert write_snapshot(own_corpus.lake, first)
    assert read_snapshot(own_corpus.lake) == first


def test_a_snapshot_that_is_absent_or_changed_is_refused(own_corpus: Corpus) -> None:
    lake = own_corpus.lake
    with pytest.raises(SnapshotError, match=r"no snapshot yet.*materialise"):
        read_snapshot(lake)
    snapshot = snapshot_of(own_corpus)
    with pytest.raises(SnapshotError, match="no snapshot 'absent'"):
        read_snapshot(lake, "absent")
    with pytest.raises(UnsafePathError):
        read_snapshot(lake, "../../etc/passwd")
    path = lake.snapshots / f"{snapshot.name}.json"
    path.write_bytes(orjson.dumps(orjson.loads(path.read_bytes()) | {"documents": "other"}))
    with pytest.raises(SnapshotError, match="not the digest"):
        read_snapshot(lake)


def test_shards_of_another_tokenizer_are_refused(corpus: Corpus) -> None:
    snapshot = snapshot_of(corpus)
    other = DatasetRef(name="medical-bpe", digest="0" * 32)
    with pytest.raises(ShardError, match=f"names {'0' * 32}; materialise shards/disease again"):
        open_shards(corpus.lake, snapshot.model_copy(update={"tokenizer": other}), split="train")
    manifest = corpus.tokenizer.manifest.model_copy(update={"digest": "0" * 32})
    with pytest.raises(SnapshotError, match="was made with tokenizer"):
        snapshot_of(corpus, tokenizer=Dataset(corpus.tokenizer.path, manifest))
    with pytest.raises(SnapshotError, match="needs shards"):
        snapshot_of(corpus, shards={})


def test_shards_of_other_documents_are_not_pinned(own_corpus: Corpus) -> None:
    before = snapshot_of(own_corpus)
    fewer = make_documents(own_corpus.lake, diseases=150)
    with pytest.raises(SnapshotError, match=r"shards/disease/texts was not made of .*materialise shards/dis"):
        snapshot_of(own_corpus, documents=fewer)
    assert read_snapshot(own_corpus.lake) == before
    only_tcm = {key: dataset for key, dataset in own_corpus.shards.items() if key == ("tcm", "texts")}
    assert snapshot_of(own_corpus, documents=fewer, shards=only_tcm).name != before.name


def test_data_sets_in_each_others_place_are_refused(own_corpus: Corpus) -> None:
    snapshot = snapshot_of(own_corpus)
    one, other = (own_corpus.shards[key].path for key in (("disease", "texts"), ("tcm", "texts")))
    elsewhere = one.with_name("elsewhere")
    one.rename(elsewhere)
    other.rename(one)
    elsewhere.rename(other)
    for folder, its in ((one, other), (other, one)):
        assert verify(folder) == [f"the folder is called {folder.name}, its manifest is that of {its.name}"]
    assert [folder for folder, found in verify_snapshot(own_corpus.lake, snapshot).items() if found] == [
        *(one, other)
    ]
    with pytest.raises(ShardError, match=r"holds the data set tcm/texts/.*names disease/texts/"):
        open_shards(own_corpus.lake, snapshot, split="train")


@pytest.mark.parametrize("change", [{"tokenizer": "0" * 32}, {"eos_id": 5}, {"split": "validation"}])
def test_verify_finds_changed_facts(own_corpus: Corpus, change: dict[str, Any]) -> None:
    folder = own_corpus.shards["disease", "texts"].path
    manifest = read_manifest(folder)
    facts = manifest.facts | change
    if "split" in change:
        facts = manifest.facts | {"shards": [shard | change for shard in manifest.facts["shards"]]}
    write_manifest(folder, manifest.model_copy(update={"facts": facts}))
    assert verify(folder) == ["manifest.json: its facts changed since it was written"]


def test_verify_compares_tokens_and_documents_with_the_digest_of_the_content(own_corpus: Corpus) -> None:
    """Ids of other documents, with checksums that fit."""
    folder = own_corpus.shards["disease", "texts"].path
    path = folder / "00000.docs.parquet"
    table = pl.read_parquet(path)
    table.with_columns(id=pl.col("id").reverse()).write_parquet(path)
    manifest = read_manifest(folder)
    files = tuple(
        file.model_copy(
            update={
                "sha256": sha256_file(folder / file.path),
                "bytes": (folder / file.path).stat().st_size,
            }
        )
        for file in manifest.files
    )
    write_manifest(folder, manifest.model_copy(update={"files": files}))
    assert verify(folder) == ["00000.bin: tokens and documents are not those that the manifest describes"]


def test_a_snapshot_is_compared_with_what_it_names(own_corpus: Corpus) -> None:
    snapshot = snapshot_of(own_corpus)
    assert not any(verify_snapshot(own_corpus.lake, snapshot).values())
    other = DatasetRef(name="medical-bpe", digest="0" * 32)
    found = verify_snapshot(own_corpus.lake, snapshot.model_copy(update={"tokenizer": other}))
    assert all(f"names {'0' * 32}" in problem for (problem,) in found.values())


@pytest.mark.parametrize("change", [-2, -1, 1, 2])
@pytest.mark.parametrize("suffix", [".bin", ".idx", ".docs.parquet"])
def test_a_shorter_or_longer_file_is_refused(own_corpus: Corpus, change: int, suffix: str) -> None:
    snapshot = snapshot_of(own_corpus)
    path = first_bin(own_corpus).with_suffix(suffix)
    data = path.read_bytes()
    path.write_bytes(data[:change] if change < 0 else data + b"\0" * change)
    with pytest.raises(ShardError, match=f"{path.name} has .* bytes instead of .*materialise shards/disease"):
        open_shards(own_corpus.lake, snapshot, split="train")


def test_a_missing_file_or_folder_is_refused(own_corpus: Corpus) -> None:
    snapshot = snapshot_of(own_corpus)
    first_bin(own_corpus).unlink()
    with pytest.raises(ShardError, match=r"00000.bin is missing; materialise shards/disease again"):
        open_shards(own_corpus.lake, snapshot, split="train")
    folder = own_corpus.shards["disease", "texts"].path
    folder.rename(folder.with_name("elsewhere"))
    with pytest.raises(ShardError, match="materialise shards/disease again"):
        open_shards(own_corpus.lake, snapshot, split="train")


@pytest.mark.parametrize("dtype", ["int32", "float16"])
def test_another_type_than_the_vocabulary_needs_is_refused(own_corpus: Corpus, dtype: str) -> None:
    snapshot = snapshot_of(own_corpus)
    folder = own_corpus.shards["disease", "texts"].path
    manifest = read_manifest(folder)
    write_manifest(folder, manifest.model_copy(update={"facts": manifest.facts | {"dtype": dtype}}))
    with pytest.raises(ShardError, match=dtype):
        open_shards(own_corpus.lake, snapshot, split="train")


def test_verify_accepts_what_was_written(corpus: Corpus) -> None:
    for dataset in corpus.shards.values():
        verify_shard(dataset.path)
    with pytest.raises(ManifestError):
        verify_shard(corpus.lake.root)


@pytest.mark.parametrize("suffix", [".bin", ".idx", ".docs.parquet", ".tokens.parquet"])
def test_verify_finds_a_changed_byte(own_corpus: Corpus, suffix: str) -> None:
    path = first_bin(own_corpus).with_suffix(suffix)
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)
    with pytest.raises(ShardError, match=f"{path.name}: its bytes changed"):
        verify_shard(own_corpus.shards["disease", "texts"].path)


@pytest.mark.parametrize(
    ("position", "value", "message"),
    [(0, 600, "outside the vocabulary"), (0, 0, "<eos> does not stand"), (-1, 5, "<eos> does not stand")],
)
def test_verify_reads_the_ids_not_only_the_checksums(
    own_corpus: Corpus, position: int, value: int, message: str
) -> None:
    """A writer with a fault would note a checksum that fits its wrong bytes."""
    import numpy as np

    path = first_bin(own_corpus)
    tokens = np.memmap(path, dtype=np.uint16, mode="r+")
    tokens[position] = value
    tokens.flush()
    manifest = read_manifest(path.parent)
    files = tuple(
        file.model_copy(update={"sha256": sha256_file(path.parent / file.path)}) for file in manifest.files
    )
    write_manifest(path.parent, manifest.model_copy(update={"files": files}))
    with pytest.raises(ShardError, match=message):
        verify_shard(path.parent)
