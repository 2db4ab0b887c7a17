"""A shard whose documents an earlier data set has is linked to it, and the result is the same."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import orjson
import pytest

from medpipe.lake.dataset import Dataset
from medpipe.lake.layout import Lake
from medpipe.records.kinds import Domain
from medpipe.tokens import fill, shards
from medpipe.tokens.config import ShardConfig
from medpipe.tokens.shard import verify_shard
from medpipe.tokens.shards import BuiltShards, build_shards
from medpipe.tokens.workfolder import JOURNAL
from medpipe.tokens.writer import SUFFIXES, ShardWriter
from medpipe_tests.making import article
from medpipe_tests.tokens.conftest import Corpus
from medpipe_tests.tokens.documents import Text, publish_documents

CONFIG = ShardConfig(max_tokens_per_shard=1500, min_text_bytes=1500)
"""Some chunks have more tokens than a shard may have."""
TEXTS = [
    Text(article(n), "validation" if n % 7 == 0 else "train", "refined" if n % 3 else "raw")
    for n in range(150)
]


def build(lake: Lake, texts: list[Text], tokenizer: Dataset, **arguments: Any) -> BuiltShards:
    documents = publish_documents(lake, texts)
    given: dict[str, Any] = {"lake": lake, "config": CONFIG}
    return build_shards(Domain.DISEASE, documents, tokenizer, **(given | arguments))["texts"]


def same(found: Dataset, expected: Dataset) -> bool:
    def described(dataset: Dataset) -> Any:
        return dataset.manifest.model_dump(exclude={"created"})

    return bool(described(found) == described(expected))


def inodes(dataset: Dataset, names: tuple[str, ...]) -> set[int]:
    return {(dataset.path / (name + suffix)).stat().st_ino for name in names for suffix in SUFFIXES}


@pytest.mark.parametrize(
    ("change", "at"), [("removed", 0), ("removed", 70), ("inserted", 149), ("changed", 71)]
)
def test_one_document_rewrites_the_shards_around_it(
    corpus: Corpus, tmp_path: Path, at: int, change: str
) -> None:
    texts = list(TEXTS)
    if change == "removed":
        del texts[at]
    else:
        new = Text(article(9000 + at), TEXTS[at].split, TEXTS[at].tier)
        texts[at : at + (change == "changed")] = [new]
    expected = build(Lake(tmp_path / "fresh"), texts, corpus.tokenizer)
    assert expected.linked == () and len(expected.written) > 12
    lake = Lake(tmp_path / "lake")
    before = build(lake, TEXTS, corpus.tokenizer)
    news: list[str] = []
    after = build(lake, texts, corpus.tokenizer, progress=news.append)
    assert not after.reused and same(after.dataset, expected.dataset)
    verify_shard(after.dataset.path)
    # Three chunks at most, and each is one shard or two here.
    assert 1 <= len(after.written) <= 6
    assert len(after.linked) + len(after.written) == len(expected.written)
    assert any(f"{len(after.linked)} shards are linked" in line for line in news)
    assert inodes(after.dataset, after.linked) <= inodes(before.dataset, before.written)
    assert not inodes(after.dataset, after.written) & inodes(before.dataset, before.written)


def test_some_chunks_here_have_several_shards(corpus: Corpus, tmp_path: Path) -> None:
    facts = build(Lake(tmp_path), TEXTS, corpus.tokenizer).dataset.manifest.facts["shards"]
    chunks = [shard["chunk"] for shard in facts]
    assert len(facts) > len(set(chunks)) > 10
    assert max(shard["tokens"] for shard in facts) <= CONFIG.max_tokens_per_shard


def test_a_run_that_changes_its_tier_is_linked_with_the_new_one(corpus: Corpus, tmp_path: Path) -> None:
    raw = [Text(each.text) for each in TEXTS]
    refined = [Text(each.text, tier="refined") for each in TEXTS]
    build(Lake(tmp_path), raw, corpus.tokenizer)
    after = build(Lake(tmp_path), refined, corpus.tokenizer)
    assert after.written == () and after.linked
    assert {shard["tier"] for shard in after.dataset.manifest.facts["shards"]} == {"refined"}
    assert same(after.dataset, build(Lake(tmp_path / "fresh"), refined, corpus.tokenizer).dataset)


@pytest.mark.parametrize("obstacle", ["settings", "force", "old", "damaged", "code"])
def test_what_was_made_otherwise_is_not_linked(
    corpus: Corpus, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, obstacle: str
) -> None:
    lake = Lake(tmp_path)
    before = build(lake, TEXTS, corpus.tokenizer)
    expected = build(Lake(tmp_path / "fresh"), TEXTS[1:], corpus.tokenizer)
    arguments: dict[str, Any] = {}
    if obstacle == "settings":
        arguments["config"] = CONFIG.model_copy(update={"max_tokens_per_shard": 1499})
    elif obstacle == "force":
        arguments["force"] = True
    elif obstacle == "code":
        monkeypatch.setattr(shards, "SHARD_CODE_VERSION", "next")
    elif obstacle == "old":
        path = before.dataset.path / "manifest.json"
        manifest = orjson.loads(path.read_bytes())
        for shard in manifest["facts"]["shards"]:
            del shard["chunk"]
        path.write_bytes(orjson.dumps(manifest))
    else:
        for path in before.dataset.path.glob("*.bin"):
            data = bytearray(path.read_bytes())
            data[0] ^= 1
            path.write_bytes(data)
    after = build(lake, TEXTS[1:], corpus.tokenizer, **arguments)
    assert after.linked == () and after.written
    verify_shard(after.dataset.path)
    if obstacle not in ("settings", "code"):
        assert same(after.dataset, expected.dataset)


def test_files_are_copied_where_links_fail(
    corpus: Corpus, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(self: Path, target: Path) -> None:
        raise OSError("no hard links here")

    before = build(Lake(tmp_path), TEXTS, corpus.tokenizer)
    with monkeypatch.context() as patch:
        patch.setattr(Path, "hardlink_to", refuse)
        after = build(Lake(tmp_path), TEXTS[1:], corpus.tokenizer)
    assert after.linked
    assert not inodes(after.dataset, after.linked) & inodes(before.dataset, before.written)
    assert same(after.dataset, build(Lake(tmp_path / "fresh"), TEXTS[1:], corpus.tokenizer).dataset)


def test_only_what_is_not_linked_is_encoded(
    corpus: Corpus, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    build(Lake(tmp_path), TEXTS, corpus.tokenizer)
    encoded: list[int] = []
    encode = fill.encode_batches

    def counting(*args: Any, **arguments: Any) -> Any:
        for batch in encode(*args, **arguments):
            encoded.append(batch.documents.height)
            yield batch

    monkeypatch.setattr(fill, "encode_batches", counting)
    after = build(Lake(tmp_path), TEXTS[:-1], corpus.tokenizer)
    written = [s for s in after.dataset.manifest.facts["shards"] if s["name"] in after.written]
    assert sum(encoded) == sum(shard["documents"] for shard in written) < 40


def test_killed_between_links_and_shards(corpus: Corpus, tmp_path: Path) -> None:
    texts = TEXTS[:40] + [Text(article(n)) for n in range(5000, 5100)] + TEXTS[41:]
    lake = Lake(tmp_path / "lake")
    before = build(lake, TEXTS, corpus.tokenizer)
    publish_documents(lake, texts)
    program = (
        "import sys, time; from pathlib import Path\n"
        "from medpipe.lake.dataset import current; from medpipe.lake.layout import Lake\n"
        "from medpipe.records.kinds import Domain; from medpipe.tokens.shards import build_shards\n"
        "from medpipe.tokens.writer import ShardWriter\n"
        "from medpipe_tests.tokens.test_earlier import CONFIG\n"
        "lake, close = Lake(Path(sys.argv[1])), ShardWriter.close\n"
        "ShardWriter.close = lambda self: (time.sleep(0.2), close(self))[1]\n"
        "tokenizer = current(Lake(Path(sys.argv[2])), 'tokenizer', 'medical-bpe')\n"
        "documents = current(lake, 'corpus', 'documents')\n"
        "build_shards(Domain.DISEASE, documents, tokenizer, lake=lake, config=CONFIG)\n"
    )
    arguments = [sys.executable, "-c", program, str(lake.root), str(corpus.lake.root)]
    process = subprocess.Popen(arguments, cwd=Path(__file__).parents[2])
    folder = lake.room("shards", "disease", "texts")

    def written() -> int:
        journals = [orjson.loads(path.read_bytes()) for path in folder.glob(f".work-*/{JOURNAL}")]
        return sum(not entry["linked"] for journal in journals for entry in journal)

    deadline = time.monotonic() + 60
    while not written() and time.monotonic() < deadline:
        time.sleep(0.01)
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    left = written()
    assert left
    verify_shard(before.dataset.path)
    after = build(lake, texts, corpus.tokenizer)
    assert same(after.dataset, build(Lake(tmp_path / "fresh"), texts, corpus.tokenizer).dataset)
    assert after.linked and len(after.written) > left
    verify_shard(before.dataset.path)


def test_a_failed_link_pass_leaves_the_earlier_data_set(
    corpus: Corpus, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = build(Lake(tmp_path), TEXTS, corpus.tokenizer)

    def broken(self: ShardWriter) -> Any:
        raise OSError(28, "full")

    monkeypatch.setattr(ShardWriter, "close", broken)
    with pytest.raises(OSError, match="no space left"):
        build(Lake(tmp_path), TEXTS[1:], corpus.tokenizer)
    verify_shard(before.dataset.path)
    assert (before.dataset.path.parent / "HEAD").read_text() == before.dataset.digest
