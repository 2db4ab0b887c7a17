"""A kill or a full disk at any moment: the last data set stays, a rerun goes on behind finished shards."""

from __future__ import annotations

import errno
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
from medpipe.lake.files import DiskFullError
from medpipe.lake.layout import Lake
from medpipe.records.kinds import Domain
from medpipe.tokens import fill
from medpipe.tokens.config import ShardConfig
from medpipe.tokens.engine import EngineError, TokenizersEngine
from medpipe.tokens.shard import verify_shard
from medpipe.tokens.shards import build_shards
from medpipe.tokens.vocabulary import ShardError
from medpipe.tokens.workfolder import JOURNAL, WorkFolder, work_folder
from medpipe.tokens.writer import ShardWriter
from medpipe_tests.tokens.conftest import Corpus

SMALL = ShardConfig(max_tokens_per_shard=1500)


def build(corpus: Corpus, lake: Lake, **arguments: Any) -> Dataset:
    given: dict[str, Any] = {"config": SMALL}
    built = build_shards(Domain.DISEASE, corpus.documents, corpus.tokenizer, lake=lake, **(given | arguments))
    return built["texts"].dataset


def files_of(dataset: Dataset) -> list[tuple[str, str]]:
    return [(file.path, file.sha256) for file in dataset.manifest.files]


def folder_of(lake: Lake) -> Path:
    return lake.room("shards", "disease", "texts")


def failing_after(shards: int, error: BaseException, monkeypatch: pytest.MonkeyPatch) -> None:
    """The writer fails while it closes the shard after so many."""
    close, closed = ShardWriter.close, [0]

    def broken(self: ShardWriter) -> Any:
        if closed[0] == shards:
            raise error
        closed[0] += 1
        return close(self)

    monkeypatch.setattr(ShardWriter, "close", broken)


@pytest.mark.parametrize("shards", [0, 1, 4, 7])
@pytest.mark.parametrize("error", [KeyboardInterrupt(), OSError(errno.ENOSPC, "full")])
def test_a_rerun_goes_on_and_ends_with_the_same_bytes(
    corpus: Corpus, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, shards: int, error: BaseException
) -> None:
    expected = build(corpus, Lake(tmp_path / "whole"))
    assert len(expected.manifest.facts["shards"]) > 7
    lake = Lake(tmp_path / "broken")
    with monkeypatch.context() as patch:
        failing_after(shards, error, patch)
        with pytest.raises(DiskFullError if isinstance(error, OSError) else KeyboardInterrupt):
            build(corpus, lake)
    left = list(folder_of(lake).glob("*/*")) + list(folder_of(lake).glob(".work-*/*"))
    assert len({path for path in left if path.suffix == ".bin"}) == shards
    news: list[str] = []
    dataset = build(corpus, lake, progress=news.append)
    assert files_of(dataset) == files_of(expected)
    assert dataset.digest == expected.digest
    assert any(f"{shards} shards of " in line for line in news) == bool(shards)
    assert {path.name for path in folder_of(lake).iterdir()} == {"HEAD", dataset.digest}
    verify_shard(dataset.path)


def test_finished_documents_are_not_encoded_again(
    corpus: Corpus, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    lake = Lake(tmp_path)
    with monkeypatch.context() as patch:
        failing_after(5, KeyboardInterrupt(), patch)
        with pytest.raises(KeyboardInterrupt):
            build(corpus, lake)
    (work,) = folder_of(lake).glob(".work-*")
    journal = orjson.loads((work / JOURNAL).read_bytes())
    done = sum(entry["shard"]["documents"] for entry in journal)
    assert len(journal) == 5 and done > 0
    encoded: list[int] = []
    encode = fill.encode_batches
    others = build_shards(Domain.DISEASE, corpus.documents, corpus.tokenizer, lake=Lake(tmp_path / "other"))

    def counting(*args: Any, **arguments: Any) -> Any:
        for batch in encode(*args, **arguments):
            encoded.append(batch.documents.height)
            yield batch

    monkeypatch.setattr(fill, "encode_batches", counting)
    dataset = build(corpus, lake)
    assert sum(encoded) == dataset.manifest.rows - done + others["chats"].dataset.manifest.rows


def left_behind(corpus: Corpus, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Lake:
    """A lake with what a build leaves that was interrupted after three shards."""
    lake = Lake(tmp_path / "broken")
    with monkeypatch.context() as patch:
        failing_after(3, KeyboardInterrupt(), patch)
        with pytest.raises(KeyboardInterrupt):
            build(corpus, lake)
    return lake


@pytest.mark.parametrize("damage", ["cut", "missing", "journal", "flipped", "flipped index"])
def test_damaged_leftovers_are_not_trusted(
    corpus: Corpus, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, damage: str
) -> None:
    expected = build(corpus, Lake(tmp_path / "whole"))
    lake = left_behind(corpus, tmp_path, monkeypatch)
    (work,) = folder_of(lake).glob(".work-*")
    file = next(work.glob("*.idx"))
    if damage == "cut":
        file.write_bytes(file.read_bytes()[:-1])
    elif damage == "missing":
        file.unlink()
    elif damage.startswith("flipped"):
        flip(file if damage == "flipped index" else file.with_suffix(".bin"))
    else:
        (work / JOURNAL).write_text("[{")
    assert files_of(build(corpus, lake)) == files_of(expected)


def flip(path: Path) -> None:
    """Another bit in the middle of a file, whose length stays."""
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)


def test_force_does_not_take_leftovers(
    corpus: Corpus, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    expected = build(corpus, Lake(tmp_path / "whole"))
    lake = left_behind(corpus, tmp_path, monkeypatch)
    news: list[str] = []
    assert files_of(build(corpus, lake, force=True, progress=news.append)) == files_of(expected)
    assert not any("from a run before" in line for line in news)


@pytest.mark.parametrize("suffix", [".bin", ".tokens.parquet"])
def test_force_repairs_a_shard_of_unchanged_length(corpus: Corpus, tmp_path: Path, suffix: str) -> None:
    lake = Lake(tmp_path)
    dataset = build(corpus, lake)
    flip(dataset.path / f"00001{suffix}")
    with pytest.raises(ShardError, match=r"its bytes changed(.|\n)*--force"):
        verify_shard(dataset.path)
    assert build(corpus, lake, force=True).digest == dataset.digest
    verify_shard(dataset.path)


def test_damage_after_a_shard_was_noted_is_found(
    corpus: Corpus, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    hand_over = WorkFolder.hand_over

    def damaging(self: WorkFolder, folder: Path) -> Any:
        flip(next(self.path.glob("*.bin")))
        return hand_over(self, folder)

    monkeypatch.setattr(WorkFolder, "hand_over", damaging)
    with pytest.raises(ShardError, match="its bytes changed"):
        verify_shard(build(corpus, Lake(tmp_path)).path)


def test_a_folder_that_its_holder_removes_meanwhile_is_made_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Between making the folder and opening its lock."""
    mkdir, removed = Path.mkdir, [0]

    def removing(self: Path, *args: Any, **arguments: Any) -> None:
        mkdir(self, *args, **arguments)
        if self.name == ".work-a" and removed[0] < 2:
            removed[0] += 1
            self.rmdir()

    monkeypatch.setattr(Path, "mkdir", removing)
    with work_folder(tmp_path, "a") as work:
        assert removed == [2] and work.path.is_dir()


def test_a_failed_build_leaves_the_data_set_before(
    corpus: Corpus, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    lake = Lake(tmp_path)
    before = build(corpus, lake)
    failing_after(2, OSError(errno.ENOSPC, "full"), monkeypatch)
    with pytest.raises(DiskFullError):
        build(corpus, lake, force=True)
    verify_shard(before.path)
    assert (folder_of(lake) / "HEAD").read_text() == before.digest


def test_two_processes_do_not_write_the_same_shards(tmp_path: Path) -> None:
    with (
        work_folder(tmp_path, "a"),
        pytest.raises(ShardError, match="another process is writing"),
        work_folder(tmp_path, "a"),
    ):
        pass
    with work_folder(tmp_path, "a"), work_folder(tmp_path, "b"):
        assert {path.name for path in tmp_path.iterdir()} == {".work-a", ".work-b"}
    assert list(tmp_path.iterdir()) == []


def test_what_another_recipe_left_is_removed(tmp_path: Path) -> None:
    (tmp_path / ".work-old").mkdir()
    (tmp_path / ".work-old" / "000000000000.bin").write_bytes(b"x")
    with work_folder(tmp_path, "new"):
        assert [path.name for path in tmp_path.iterdir()] == [".work-new"]


def test_an_engine_caught_out_is_replaced_for_the_whole_source(
    corpus: Corpus, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from medpipe.tokens import shards
    from medpipe.tokens.engine import Chosen

    class Astray(TokenizersEngine):
        name = "astray"

        def encode(self, texts: Any, **arguments: Any) -> Any:
            return super().encode(texts.str.replace("病", "痛"), **arguments)

    def choose(tokenizer: Any, *_: Any, **__: Any) -> Chosen:
        return Chosen(Astray(tokenizer), "for the test")

    expected = build(corpus, Lake(tmp_path / "whole"))
    monkeypatch.setattr(shards, "choose_engine", choose)
    news: list[str] = []
    dataset = build(corpus, Lake(tmp_path / "other"), progress=news.append)
    assert dataset.digest == expected.digest
    assert any("encoded with tokenizers instead" in line for line in news)
    with pytest.raises(EngineError, match="astray gives other ids"):
        build(corpus, Lake(tmp_path / "third"), engine="kernel")


def test_killed_at_any_moment(corpus: Corpus, tmp_path: Path) -> None:
    """In a process of its own, which is killed the hard way as soon as some shards are noted."""
    expected = build(corpus, Lake(tmp_path / "whole"))
    program = (
        "import sys, time; from pathlib import Path\n"
        "from medpipe.lake.dataset import current; from medpipe.lake.layout import Lake\n"
        "from medpipe.records.kinds import Domain; from medpipe.tokens.shards import build_shards\n"
        "from medpipe.tokens.writer import ShardWriter\n"
        "from medpipe_tests.tokens.test_resume import SMALL\n"
        "lake, close = Lake(Path(sys.argv[1])), ShardWriter.close\n"
        "ShardWriter.close = lambda self: (time.sleep(0.05), close(self))[1]\n"
        "documents = current(lake, 'corpus', 'documents')\n"
        "tokenizer = current(lake, 'tokenizer', 'medical-bpe')\n"
        "build_shards(Domain.DISEASE, documents, tokenizer, lake=Lake(Path(sys.argv[2])), config=SMALL)\n"
    )
    lake = Lake(tmp_path / "killed")
    arguments = [sys.executable, "-c", program, str(corpus.lake.root), str(lake.root)]
    process = subprocess.Popen(arguments, cwd=Path(__file__).parents[2])
    deadline = time.monotonic() + 60
    while not list(folder_of(lake).glob(f".work-*/{JOURNAL}")) and time.monotonic() < deadline:
        time.sleep(0.01)
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    assert list(folder_of(lake).glob(".work-*/*.bin"))
    assert files_of(build(corpus, lake)) == files_of(expected)
