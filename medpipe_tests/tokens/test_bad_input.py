"""Texts that break encoders, and what goes wrong from outside."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from random import Random

import numpy as np
import polars as pl
import pytest

from medpipe.ingest.json_values import parse_json
from medpipe.lake.dataset import Dataset, current
from medpipe.lake.files import DiskFullError
from medpipe.lake.layout import Lake
from medpipe.records.kinds import Domain
from medpipe.tokens.engine import EngineName
from medpipe.tokens.shard import open_dataset, verify_shard
from medpipe.tokens.shards import build_shards
from medpipe.tokens.snapshot import build_snapshot, read_snapshot
from medpipe.tokens.tokenizer import load_tokenizer
from medpipe_tests.making import article
from medpipe_tests.tokens.conftest import Corpus
from medpipe_tests.tokens.documents import Text, publish_documents
from medpipe_tests.tokens.test_earlier import CONFIG, TEXTS, build, same


def encoded(corpus: Corpus, root: Path, text: str, engine: EngineName = "kernel") -> list[int]:
    """The ids of one text, by way of a shard."""
    lake = Lake(root)
    documents = publish_documents(lake, [Text(text)])
    built = build_shards(Domain.DISEASE, documents, corpus.tokenizer, lake=lake, engine=engine)
    verify_shard(built["texts"].dataset.path)
    (shard,) = open_dataset(built["texts"].dataset)
    assert shard.text_bytes == len(text.encode())
    ids: list[int] = shard.tokens.tolist()
    assert ids.pop() == shard.eos_id
    return ids


def test_a_document_of_50_megabytes_in_one_line(corpus: Corpus, tmp_path: Path) -> None:
    line = article(1)
    repeated = 50_000_000 // len(line.encode()) + 1
    ids = load_tokenizer(corpus.tokenizer).encode(line, add_special_tokens=False).ids
    found = np.array(encoded(corpus, tmp_path, line * repeated), np.uint16)
    # A sentence ends before each repetition, and no merge reaches over it.
    assert np.array_equal(found, np.tile(np.array(ids, np.uint16), repeated))


@pytest.mark.parametrize("character", ["哈", " ", "\x00"])
def test_one_character_over_and_over_is_not_quadratic(corpus: Corpus, tmp_path: Path, character: str) -> None:
    encoded(corpus, tmp_path / "small", article(2))
    text = character * (5_000_000 // len(character.encode()))
    started = time.monotonic()
    ids = encoded(corpus, tmp_path / "large", text)
    # Some two seconds; half an hour if each merge looked at all pairs.
    assert time.monotonic() - started < 60
    assert load_tokenizer(corpus.tokenizer).decode(ids, skip_special_tokens=False) == text


@pytest.mark.parametrize("engine", ["kernel", "tokenizers"])
@pytest.mark.parametrize(
    "text",
    [
        "\x00",
        "血压\x00\x00120/80\x00",
        "\u200f\u202eעברית\u202c، عربى\u200e \u2066x\u2069",
        "\ufeff头痛",
        "",
        "\r\r\n",
    ],
)
def test_nul_bytes_and_marks_come_back(corpus: Corpus, tmp_path: Path, text: str, engine: EngineName) -> None:
    ids = encoded(corpus, tmp_path, text, engine)
    assert load_tokenizer(corpus.tokenizer).decode(ids, skip_special_tokens=False) == text


def test_lone_surrogates_end_at_the_reader(corpus: Corpus, tmp_path: Path) -> None:
    """They become U+FFFD there; a String column cannot hold one."""
    text = parse_json(b'{"text": "\\ud83d\\ude00\\ud800\\u5934\\udc00"}')["text"]
    assert text == "😀\ufffd头\ufffd"
    ids = encoded(corpus, tmp_path, text)
    assert load_tokenizer(corpus.tokenizer).decode(ids) == text
    with pytest.raises(UnicodeEncodeError):
        pl.Series(["\ud800"])


def test_sources_without_documents_and_with_one(corpus: Corpus, tmp_path: Path) -> None:
    lake = Lake(tmp_path)
    assert build_shards(Domain.DISEASE, publish_documents(lake, []), corpus.tokenizer, lake=lake) == {}
    other = publish_documents(lake, [Text("多喝水。", domain="tcm")])
    assert build_shards(Domain.DISEASE, other, corpus.tokenizer, lake=lake) == {}
    one = build_shards(Domain.TCM, other, corpus.tokenizer, lake=lake)["texts"].dataset
    verify_shard(one.path)
    assert [shard["documents"] for shard in one.manifest.facts["shards"]] == [1]


def test_a_full_disk_leaves_shards_and_snapshot(corpus: Corpus, tmp_path: Path, small_disk: Path) -> None:
    lake = Lake(small_disk)
    before = build(lake, TEXTS, corpus.tokenizer)
    pinned = pin(lake, corpus, before.dataset)
    random = Random(0)
    much = [Text("".join(chr(random.randrange(0x4E00, 0x9000)) for _ in range(4000))) for _ in range(200)]
    elsewhere = publish_documents(Lake(tmp_path), TEXTS + much)
    with pytest.raises(DiskFullError, match=r"no space left .*MEDPIPE_LAKE"):
        build_shards(Domain.DISEASE, elsewhere, corpus.tokenizer, lake=lake, config=CONFIG)
    verify_shard(before.dataset.path)
    assert read_snapshot(lake).name == pinned
    assert current(lake, "shards", "disease", "texts").digest == before.dataset.digest
    # With room again the same work is finished.
    subprocess.run(["mount", "-o", "remount,size=64m", str(small_disk)], check=True)
    after = build_shards(Domain.DISEASE, elsewhere, corpus.tokenizer, lake=lake, config=CONFIG)["texts"]
    fresh = build_shards(Domain.DISEASE, elsewhere, corpus.tokenizer, lake=Lake(tmp_path), config=CONFIG)
    assert same(after.dataset, fresh["texts"].dataset)


def pin(lake: Lake, corpus: Corpus, shards: Dataset) -> str:
    """Takes a snapshot of the shards; returns its name."""
    pinned, _ = build_snapshot(
        lake,
        tokenizer=corpus.tokenizer,
        shards={("disease", "texts"): shards},
        documents=current(lake, "corpus", "documents"),
        revisions={},
    )
    return pinned.name


def test_killed_at_random_moments(corpus: Corpus, tmp_path: Path) -> None:
    """The same build again and again, each killed a while after its start, until one gets through."""
    lake = Lake(tmp_path / "lake")
    before = build(lake, TEXTS[:100], corpus.tokenizer)
    pinned = pin(lake, corpus, before.dataset)
    publish_documents(lake, TEXTS)
    program = (
        "import sys, time; from pathlib import Path\n"
        "from medpipe.lake.dataset import current; from medpipe.lake.layout import Lake\n"
        "from medpipe.records.kinds import Domain; from medpipe.tokens.shards import build_shards\n"
        "from medpipe_tests.tokens.test_earlier import CONFIG\n"
        "lake = Lake(Path(sys.argv[1]))\n"
        "tokenizer = current(Lake(Path(sys.argv[2])), 'tokenizer', 'medical-bpe')\n"
        "documents = current(lake, 'corpus', 'documents')\n"
        "print('ready', flush=True)\n"
        "build_shards(Domain.DISEASE, documents, tokenizer, lake=lake, config=CONFIG)\n"
    )
    arguments = [sys.executable, "-c", program, str(lake.root), str(corpus.lake.root)]
    random = Random(4)
    for _ in range(4):
        process = subprocess.Popen(arguments, cwd=Path(__file__).parents[2], stdout=subprocess.PIPE)
        assert process.stdout is not None and process.stdout.readline()
        time.sleep(random.uniform(0, 0.6))
        os.kill(process.pid, signal.SIGKILL)
        process.communicate()
        verify_shard(before.dataset.path)
        verify_shard(current(lake, "shards", "disease", "texts").path)
        assert read_snapshot(lake).name == pinned
    after = build(lake, TEXTS, corpus.tokenizer)
    assert same(after.dataset, build(Lake(tmp_path / "fresh"), TEXTS, corpus.tokenizer).dataset)
    verify_shard(after.dataset.path)
