"""Other programs' layouts, byte by byte."""

from __future__ import annotations

import errno
import shutil
import struct
from pathlib import Path
from typing import Any

import numpy as np
import orjson
import polars as pl
import pytest

from medpipe.lake.dataset import Dataset
from medpipe.lake.files import DiskFullError
from medpipe.tokens.encode import EncodedDocument
from medpipe.tokens.export import Format
from medpipe.tokens.export.common import ExportError
from medpipe.tokens.export.formats import export_shards, export_snapshot
from medpipe.tokens.index import read_index
from medpipe.tokens.sample import scan_documents
from medpipe.tokens.shard import OpenShard, open_dataset
from medpipe.tokens.snapshot import build_snapshot
from medpipe.tokens.writer import ShardWriter
from medpipe_tests.tokens.conftest import Corpus


def small_shard(folder: Path, name: str, documents: list[list[int]], dtype: str = "uint16") -> OpenShard:
    writer = ShardWriter(folder, name, split="train", tier="raw", source="s", dtype=dtype)
    for number, ids in enumerate(documents):
        tokens = np.array([*ids, 0], dtype=dtype)
        writer.add(EncodedDocument(f"{name}-{number}", "zh", "train", "raw", 3, tokens))
    shard = writer.close()
    path = folder / f"{name}.bin"
    return OpenShard(
        domain="tcm",
        source="s",
        digest="0" * 32,
        name=name,
        split="train",
        tier="raw",
        path=path,
        tokens=np.memmap(path, dtype=dtype, mode="r"),
        eos_id=0,
        vocabulary_size=70_000,
        documents=shard.documents,
        text_bytes=shard.text_bytes,
    )


@pytest.fixture
def shards(tmp_path: Path) -> dict[str, list[OpenShard]]:
    """Documents of 2, 1 and 3 tokens with `<eos>`, in two files."""
    folder = tmp_path / "shards"
    folder.mkdir()
    return {
        "train": [small_shard(folder, "00000", [[258], []]), small_shard(folder, "00001", [[7, 65535]])],
        "validation": [],
    }


GOLDEN = bytes.fromhex("0201 0000 0000 0700 ffff 0000")


def export(
    shards: dict[str, list[OpenShard]], target: Path, layout: Format, corpus: Corpus | None = None
) -> dict[str, int]:
    tokenizer: Any = corpus.tokenizer if corpus else Dataset(Path("tok"), None)  # type: ignore[arg-type]
    return export_shards(shards, target, layout=layout, tokenizer=tokenizer)


def test_nanogpt(shards: dict[str, list[OpenShard]], tmp_path: Path) -> None:
    assert export(shards, tmp_path / "out", Format.NANOGPT) == {"train.bin": 6}
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["train.bin"]
    assert (tmp_path / "out/train.bin").read_bytes() == GOLDEN


def test_megatron(shards: dict[str, list[OpenShard]], tmp_path: Path) -> None:
    assert export(shards, tmp_path / "out", Format.MEGATRON) == {"train_text_document": 6}
    assert (tmp_path / "out/train_text_document.bin").read_bytes() == GOLDEN
    assert (tmp_path / "out/train_text_document.idx").read_bytes() == bytes.fromhex(
        "4d4d494449445800 00 0100000000000000 08 0300000000000000 0400000000000000"
        "02000000 01000000 03000000"
        "0000000000000000 0400000000000000 0600000000000000"
        "0000000000000000 0100000000000000 0200000000000000 0300000000000000"
    )


def test_datatrove(shards: dict[str, list[OpenShard]], tmp_path: Path) -> None:
    assert export(shards, tmp_path / "out", Format.DATATROVE) == {
        "train/00000_unshuffled.ds": 3,
        "train/00001_unshuffled.ds": 3,
    }
    folder = tmp_path / "out/train"
    assert (folder / "00000_unshuffled.ds").read_bytes() + (
        folder / "00001_unshuffled.ds"
    ).read_bytes() == GOLDEN
    assert (folder / "00000_unshuffled.ds.index").read_bytes() == struct.pack("<2Q", 2, 3)
    assert (folder / "00001_unshuffled.ds.index").read_bytes() == struct.pack("<Q", 3)
    assert (folder / "00000_unshuffled.ds.metadata").read_text() == "tok/tokenizer.json|2\n3\n3.00 T"
    (folder / "00000_unshuffled.ds").write_bytes(b"changed by its owner")
    assert shards["train"][0].path.read_bytes() == GOLDEN[:6]


@pytest.mark.parametrize(
    ("count", "text"),
    [
        *((999, "999 T"), (1000, "1.00 kT"), (16_394_138, "16.4 MT"), (123_456_789_012, "123 GT")),
        *((999_999, "1.00 MT"), (9_999, "10.0 kT"), (999_499, "999 kT"), (9_994, "9.99 kT"), (0, "0.00 T")),
    ],
)
def test_datatroves_counts(count: int, text: str) -> None:
    from medpipe.tokens.export.datatrove import _human

    assert _human(count) == text


def test_int32(tmp_path: Path) -> None:
    wide = {"train": [small_shard(tmp_path, "00000", [[65_536]], "int32")]}
    with pytest.raises(ExportError, match="uint16 only"):
        export(wide, tmp_path / "n", Format.NANOGPT)
    export(wide, tmp_path / "m", Format.MEGATRON)
    assert (tmp_path / "m/train_text_document.bin").read_bytes() == bytes.fromhex("00000100 00000000")
    assert read_index(tmp_path / "m/train_text_document.idx").dtype == "int32"
    export(wide, tmp_path / "d", Format.DATATROVE)
    assert (
        (tmp_path / "d/train/00000_unshuffled.ds.metadata").read_text().startswith("tok/tokenizer.json|4\n")
    )


def snapshot_of(corpus: Corpus) -> Any:
    return build_snapshot(
        corpus.lake,
        tokenizer=corpus.tokenizer,
        shards=corpus.shards,
        documents=corpus.documents,
        revisions={},
    )[0]


def expected_texts(corpus: Corpus, split: str) -> list[str]:
    kept = scan_documents(corpus.documents).filter(pl.col("split").cast(pl.String) == split)
    return sorted(kept.select("text").collect()["text"].to_list())


def test_text_for_llama_factory_and_medicalgpt(corpus: Corpus, tmp_path: Path) -> None:
    target = tmp_path / "out"
    written = export_snapshot(corpus.lake, snapshot_of(corpus), target, layout=Format.TEXT)
    for split in ("train", "validation"):
        rows = [orjson.loads(line) for line in (target / f"{split}.jsonl").read_bytes().splitlines()]
        assert {tuple(row) for row in rows} == {("text",)}
        assert sorted(row["text"] for row in rows) == expected_texts(corpus, split)
        assert written[f"{split}.jsonl"] == len(rows)
    assert orjson.loads((target / "dataset_info.json").read_bytes()) == {
        f"medpipe_{split}": {"file_name": f"{split}.jsonl", "columns": {"prompt": "text"}}
        for split in ("train", "validation")
    }


def test_datasets_save_to_disk(corpus: Corpus, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    from datasets import load_from_disk

    target = tmp_path / "out"
    written = export_snapshot(corpus.lake, snapshot_of(corpus), target, layout=Format.DATASETS)
    loaded = load_from_disk(str(target))
    assert {split: rows.num_rows for split, rows in loaded.items()} == written
    for split, rows in loaded.items():
        assert rows.column_names == ["id", "source", "input_ids"]
        assert rows.features["input_ids"].feature.dtype == "uint16"
        shards = [s for d in corpus.shards.values() for s in open_dataset(d) if s.split == split]
        assert sum(map(len, rows["input_ids"])) == sum(len(shard.tokens) for shard in shards)
    assert [path.name for path in tmp_path.iterdir()] == ["out"]


def test_a_domain_alone(corpus: Corpus, tmp_path: Path) -> None:
    snapshot = snapshot_of(corpus)
    written = export_snapshot(
        corpus.lake, snapshot, tmp_path / "a", layout=Format.NANOGPT, domains=frozenset({"tcm"})
    )
    tokens = sum(len(s.tokens) for s in open_dataset(corpus.shards["tcm", "texts"]) if s.split == "train")
    assert written["train.bin"] == tokens
    for domains in ({"general"}, {"tcm", "general"}):
        with pytest.raises(ExportError, match=r"has no domain general; it has disease, tcm"):
            export_snapshot(
                corpus.lake, snapshot, tmp_path / "b", layout=Format.TEXT, domains=frozenset(domains)
            )
    assert not (tmp_path / "b").exists()


def test_nothing_is_overwritten_and_nothing_half_written_stays(
    shards: dict[str, list[OpenShard]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    target = tmp_path / "out"
    target.mkdir()
    with pytest.raises(ExportError, match="is there already"):
        export(shards, target, Format.NANOGPT)
    target.rmdir()

    def full(*_: Any) -> int:
        raise OSError(errno.ENOSPC, "full")

    monkeypatch.setattr("medpipe.tokens.export.nanogpt.join_tokens", full)
    with pytest.raises(DiskFullError, match=r"while writing .*out; .*name a folder on a larger disk"):
        export(shards, target, Format.NANOGPT)
    assert [path.name for path in tmp_path.iterdir()] == ["shards"]


@pytest.mark.parametrize("layout", list(Format))
def test_a_full_disk_is_named_in_every_layout(corpus: Corpus, small_disk: Path, layout: Format) -> None:
    """`datasets` hides the error of the operating system behind one of its own."""
    free = shutil.disk_usage(small_disk).free
    (small_disk / "other").write_bytes(b"x" * (free - 8_000))
    with pytest.raises(DiskFullError, match=r"while writing .*out; .*name a folder on a larger disk"):
        export_snapshot(corpus.lake, snapshot_of(corpus), small_disk / "out", layout=layout)
    assert [path.name for path in small_disk.iterdir()] == ["other"]
