"""Shards, tokenizer and held-out text are what a plan takes them for."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from medpipe.lake.layout import Lake
from medpipe.pretrain import integrity
from medpipe.pretrain.check import check_plan
from medpipe.pretrain.corpus import tokenizer_info
from medpipe.pretrain.integrity import changed_shards, changed_tokenizer, validation_overlap
from medpipe.pretrain.plan import Plan, PlanError
from medpipe.tokens.snapshot import CorpusSnapshot, build_snapshot
from medpipe_tests.pretrain.corpus import Corpus, publish_shards, publish_tokenizer

LATER = 10**10
"""Nanoseconds: a file system's clock may be coarse."""


def shard_file(corpus: Corpus, suffix: str) -> Path:
    ref = corpus.snapshot.shards[0]
    folder = corpus.lake.dataset("shards", ref.domain, ref.source, digest=ref.digest)
    return sorted(folder.glob(f"*{suffix}"))[0]


def flip(path: Path, *, keep_time: bool = False) -> None:
    """Changes one byte, as a person or a bad disk would."""
    status = path.stat()
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(bytes(content))
    moved = status.st_mtime_ns if keep_time else status.st_mtime_ns + LATER
    os.utime(path, ns=(moved, moved))


def test_a_whole_corpus_is_not_even_read(corpus: Corpus, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(integrity, "sha256_file", lambda path: pytest.fail(f"{path} was read"))
    assert changed_shards(corpus.lake, corpus.snapshot) == []


@pytest.mark.parametrize("suffix", [".bin", ".idx", ".docs.parquet"])
def test_a_shard_that_changed_or_went(own_corpus: Corpus, suffix: str) -> None:
    path = shard_file(own_corpus, suffix)
    flip(path)
    [problem] = changed_shards(own_corpus.lake, own_corpus.snapshot)
    assert f"{path} does not have the bytes that were written" in problem and "materialise shards/" in problem
    path.write_bytes(path.read_bytes() + b"\0\0")
    assert "bytes instead of" in changed_shards(own_corpus.lake, own_corpus.snapshot)[0]
    path.unlink()
    assert f"{path} is missing" in changed_shards(own_corpus.lake, own_corpus.snapshot)[0]


def test_a_file_that_was_only_touched_is_fine(own_corpus: Corpus) -> None:
    path = shard_file(own_corpus, ".bin")
    later = path.stat().st_mtime_ns + LATER
    os.utime(path, ns=(later, later))
    assert changed_shards(own_corpus.lake, own_corpus.snapshot) == []


def test_a_swapped_tokenizer(own_corpus: Corpus) -> None:
    info = tokenizer_info(own_corpus.lake, own_corpus.snapshot)
    assert changed_tokenizer(info) == []
    flip(info.path, keep_time=True)
    [problem] = changed_tokenizer(info)
    assert "was swapped" in problem and "materialise the tokenizer again" in problem
    info.path.unlink()
    assert "cannot be read" in changed_tokenizer(info)[0]


def overlapping(root: Path, *, same: bool) -> tuple[Lake, CorpusSnapshot]:
    """Two sources; one trains on a document that the other holds out, if so asked."""
    from medpipe.lake.dataset import publish
    from medpipe.lake.manifest import Recipe

    lake = Lake(root)
    texts = [
        "头痛时多休息，多喝水。",
        "肺炎常见的表现是咳嗽。",
        "贫血者应定期复查血象。",
        "偏头痛者避免强光。",
    ]
    tokenizer, encode = publish_tokenizer(lake, texts, 300)
    shards = {}
    for source, train, held_out in (
        ("one", texts[:1], texts[2:3]),
        ("two", texts[2 if same else 3 :], texts[1:2]),
    ):
        rows = {
            (split, "raw"): [(text, "zh", encode.encode(text).ids) for text in chosen]
            for split, chosen in (("train", train), ("validation", held_out))
        }
        shards["disease", source] = publish_shards(
            lake, "disease", source, rows, tokenizer=tokenizer, vocabulary_size=encode.get_vocab_size()
        )
    with publish(lake, "corpus", "documents", recipe=Recipe(inputs={}, code_version="1")) as draft:
        draft.content_digest = "0" * 32
    snapshot, _ = build_snapshot(
        lake, tokenizer=tokenizer, shards=shards, documents=draft.dataset, revisions={}
    )
    return lake, snapshot


def test_held_out_text_under_another_id_is_found(tmp_path: Path) -> None:
    lake, snapshot = overlapping(tmp_path / "a", same=True)
    [problem] = validation_overlap(lake, snapshot)
    assert problem.startswith("1 documents of disease/one are held out and trained on in disease/two")
    lake, snapshot = overlapping(tmp_path / "b", same=False)
    assert validation_overlap(lake, snapshot) == []


def test_held_out_text_under_the_same_id_is_found(own_corpus: Corpus) -> None:
    """The document index of a training shard is rewritten with the id of a held-out document."""
    import polars as pl

    assert validation_overlap(own_corpus.lake, own_corpus.snapshot) == []
    ref = own_corpus.snapshot.shards[0]
    folder = own_corpus.lake.dataset("shards", ref.domain, ref.source, digest=ref.digest)
    train, _, held_out = sorted(folder.glob("*.docs.parquet"))[:3]
    stolen = pl.read_parquet(held_out)["id"][0]
    frame = pl.read_parquet(train)
    changed = frame.with_columns(id=pl.when(pl.int_range(pl.len()) == 1).then(pl.lit(stolen)).otherwise("id"))
    changed.write_parquet(train)
    manifest = (folder / "manifest.json").read_text()
    size = train.stat().st_size
    import json

    values = json.loads(manifest)
    for file in values["files"]:
        if file["path"] == train.name:
            file["bytes"] = size
    (folder / "manifest.json").write_text(json.dumps(values))
    [problem] = validation_overlap(own_corpus.lake, own_corpus.snapshot)
    assert stolen in problem and f"{ref.domain}/{ref.source}" in problem


def test_everything_is_refused_at_once(own_corpus: Corpus, plan: Plan) -> None:
    flip(shard_file(own_corpus, ".bin"))
    flip(tokenizer_info(own_corpus.lake, own_corpus.snapshot).path)
    stages = tuple(
        s.model_copy(update={"mixture": s.mixture[:1], "tokens": 10**9}) if s.name == "stable" else s
        for s in plan.stages
    )
    with pytest.raises(PlanError) as caught:
        check_plan(plan.model_copy(update={"stages": stages}), own_corpus.snapshot, own_corpus.lake)
    text = "\n".join(caught.value.problems)
    for expected in ("does not have the bytes", "was swapped", "has too few tokens"):
        assert expected in text
