"""One small corpus and tokenizer for the tests of this room, made once."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import pytest

from medpipe.curate.config import CurateConfig
from medpipe.curate.corpus import build_corpus
from medpipe.curate.purposes import Purpose
from medpipe.lake.dataset import Dataset
from medpipe.lake.layout import Lake
from medpipe.records.kinds import Domain, Kind
from medpipe.tokens.config import ShardConfig, TokenizerConfig
from medpipe.tokens.shards import build_shards
from medpipe.tokens.tokenizer import train_tokenizer
from medpipe_tests.making import article, make_source, publish_records, turns

TOKENIZER = TokenizerConfig(vocabulary_size=600, sample_bytes=200_000)
SHARDS = ShardConfig(max_tokens_per_shard=4_000)
HOSTILE = "文中写着<eos>和<pad>，它们只是文字。" + article(1_000_000)


@dataclass(frozen=True)
class Corpus:
    """A lake with documents, a tokenizer and shards of two domains."""

    lake: Lake
    documents: Dataset
    tokenizer: Dataset
    shards: dict[tuple[str, str], Dataset]


def make_documents(lake: Lake, *, diseases: int = 160) -> Dataset:
    """Texts of two domains in one source, questions and answers in another."""
    rows = [{"text": article(number), "domain": "disease"} for number in range(diseases)]
    rows += [{"text": article(number), "domain": "tcm"} for number in range(1000, 1060)]
    rows += [{"text": HOSTILE, "domain": "disease"}, {"text": "多喝水，好好休息。", "domain": "disease"}]
    chats = [{"turns": turns(f"{n}号病人怎么办？", article(n))} for n in range(2000, 2040)]
    normalized = {
        "texts": publish_records(lake, "texts", Kind.DOCUMENT, rows),
        "chats": publish_records(lake, "chats", Kind.CONVERSATION, chats),
    }
    sources = {"texts": make_source("texts"), "chats": make_source("chats", Kind.CONVERSATION)}
    config = CurateConfig(validation_share=0.1)
    return build_corpus(Purpose.DOCUMENTS, normalized, sources, lake=lake, config=config).dataset


def make_corpus(root: Path) -> Corpus:
    """Builds everything."""
    lake = Lake(root)
    documents = make_documents(lake)
    tokenizer = train_tokenizer(documents, lake=lake, config=TOKENIZER).dataset
    shards = {
        (domain.value, source): built.dataset
        for domain in (Domain.DISEASE, Domain.TCM)
        for source, built in build_shards(domain, documents, tokenizer, lake=lake, config=SHARDS).items()
    }
    return Corpus(lake, documents, tokenizer, shards)


@pytest.fixture(scope="session")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Corpus:
    """Shared by tests that only read or add."""
    return make_corpus(tmp_path_factory.mktemp("corpus") / "lake")


@pytest.fixture
def own_corpus(corpus: Corpus, tmp_path: Path) -> Corpus:
    """A copy for tests that damage files."""
    root = tmp_path / "lake"
    shutil.copytree(corpus.lake.root, root, ignore=shutil.ignore_patterns("snapshots"))

    def moved(dataset: Dataset) -> Dataset:
        return replace(dataset, path=root / dataset.path.relative_to(corpus.lake.root))

    return Corpus(
        Lake(root),
        moved(corpus.documents),
        moved(corpus.tokenizer),
        {key: moved(dataset) for key, dataset in corpus.shards.items()},
    )


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of three megabytes."""
    folder = tmp_path / "disk"
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=3m", "tmpfs", str(folder)]
    mounted = subprocess.run(mount, capture_output=True, text=True)
    if mounted.returncode != 0:
        pytest.skip(f"mounting needs root: {mounted.stderr.strip()}")
    yield folder
    subprocess.run(["umount", "-l", str(folder)], check=True)
