"""Publication: all or nothing, HEAD, and what counts as already made."""

from __future__ import annotations

import errno
import signal
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

from medpipe.lake.dataset import Dataset, current, find_current, find_reusable, publish
from medpipe.lake.digest import sha256_file
from medpipe.lake.files import DiskFullError
from medpipe.lake.layout import Lake
from medpipe.lake.manifest import ManifestError, Recipe, read_manifest


@pytest.fixture
def lake(tmp_path: Path) -> Lake:
    return Lake(tmp_path / "lake")


def recipe(name: str = "a") -> Recipe:
    return Recipe(inputs={"input": name}, code_version="1", config={"share": 0.5})


def make(lake: Lake, text: str, *, by: Recipe | None = None, content: str | None = None) -> Dataset:
    with publish(lake, "corpus", "documents", recipe=by or recipe()) as draft:
        (draft.path / "source").mkdir()
        (draft.path / "source/part.txt").write_text(text)
        draft.content_digest = content
        draft.rows = 1
        draft.rows_by_file["source/part.txt"] = 1
        draft.facts = {"text": text}
    return draft.dataset


def test_a_published_data_set_lists_its_files_and_is_current(lake: Lake) -> None:
    dataset = make(lake, "one")
    assert dataset.path == lake.dataset("corpus", "documents", digest=dataset.digest)
    assert read_manifest(dataset.path) == dataset.manifest
    (file,) = dataset.manifest.files
    path = dataset.path / "source/part.txt"
    assert (file.path, file.bytes, file.rows) == ("source/part.txt", 3, 1)
    assert file.sha256 == sha256_file(path)
    assert current(lake, "corpus", "documents") == dataset
    assert sorted(entry.name for entry in dataset.path.parent.iterdir()) == sorted(["HEAD", dataset.digest])


def test_patterns_match_whole_paths(lake: Lake) -> None:
    with publish(lake, "corpus", "documents", recipe=recipe()) as draft:
        for name in ("part-0.parquet", "rejected/part-0.parquet", "a/part-0.parquet"):
            (draft.path / name).parent.mkdir(exist_ok=True)
            (draft.path / name).write_text(name)
    dataset = draft.dataset

    def found(pattern: str | None = None) -> list[str]:
        return [path.relative_to(dataset.path).as_posix() for path in dataset.files(pattern)]

    assert found("part-*.parquet") == ["part-0.parquet"]
    assert found("*/part-*.parquet") == ["a/part-0.parquet", "rejected/part-0.parquet"]
    assert found() == ["a/part-0.parquet", "part-0.parquet", "rejected/part-0.parquet"]
    assert found("*") == found("part-0.parquet")


def test_the_digest_follows_content_and_code_version_only(lake: Lake) -> None:
    first = make(lake, "one")
    assert make(lake, "one", by=recipe("b")).digest == first.digest
    assert make(lake, "two").digest != first.digest
    newer = Recipe(inputs={}, code_version="2")
    assert make(lake, "one", by=newer).digest != first.digest


@pytest.mark.parametrize("error", [RuntimeError("boom"), KeyboardInterrupt()])
def test_a_failed_block_leaves_nothing_and_head_stays(lake: Lake, error: BaseException) -> None:
    before = make(lake, "one")
    with pytest.raises(type(error)), publish(lake, "corpus", "documents", recipe=recipe("b")) as draft:
        (draft.path / "half.txt").write_text("half")
        raise error
    with pytest.raises(RuntimeError, match="not published"):
        _ = draft.dataset
    assert current(lake, "corpus", "documents") == before
    assert sorted(entry.name for entry in before.path.parent.iterdir()) == sorted(["HEAD", before.digest])


def test_a_full_disk_names_the_place_and_the_fix(lake: Lake) -> None:
    before = make(lake, "one")
    with (
        pytest.raises(DiskFullError, match=r"no space left while writing .*documents.*MEDPIPE_LAKE"),
        publish(lake, "corpus", "documents", recipe=recipe("b")),
    ):
        raise OSError(errno.ENOSPC, "No space left on device")
    assert current(lake, "corpus", "documents") == before


def test_a_process_killed_while_writing_publishes_nothing(lake: Lake) -> None:
    before = make(lake, "one")
    program = textwrap.dedent("""
        import os, signal, sys
        from pathlib import Path
        from medpipe.lake.dataset import publish
        from medpipe.lake.layout import Lake
        from medpipe.lake.manifest import Recipe
        import medpipe.lake.dataset as module
        if sys.argv[2] == "rename":
            module._rename_into_place = lambda *_: os.kill(os.getpid(), signal.SIGKILL)
        recipe = Recipe(inputs={"input": "b"}, code_version="1")
        with publish(Lake(Path(sys.argv[1])), "corpus", "documents", recipe=recipe) as draft:
            (draft.path / "part.txt").write_text("two")
            if sys.argv[2] == "write":
                os.kill(os.getpid(), signal.SIGKILL)
    """)
    for moment in ("write", "rename"):
        run = subprocess.run([sys.executable, "-c", program, str(lake.root), moment], timeout=60)
        assert run.returncode == -signal.SIGKILL
        assert current(lake, "corpus", "documents") == before
        killed = Recipe(inputs={"input": "b"}, code_version="1")
        assert find_reusable(lake, "corpus", "documents", recipe=killed) is None
        assert find_reusable(lake, "corpus", "documents", recipe=recipe()) == before


def test_the_same_recipe_is_found_again_and_becomes_current(lake: Lake) -> None:
    first, second = make(lake, "one"), make(lake, "two", by=recipe("b"))
    assert current(lake, "corpus", "documents") == second
    assert find_reusable(lake, "corpus", "documents", recipe=recipe()) == first
    assert current(lake, "corpus", "documents") == first
    assert find_reusable(lake, "corpus", "documents", recipe=recipe("c")) is None
    assert find_reusable(lake, "corpus", "absent", recipe=recipe()) is None
    assert current(lake, "corpus", "documents") == first


def test_of_two_data_sets_of_one_recipe_the_current_one_is_found(lake: Lake) -> None:
    made = [make(lake, text) for text in ("one", "two", "three")]
    for dataset in made:
        (dataset.path.parent / "HEAD").write_text(dataset.digest)
        assert find_reusable(lake, "corpus", "documents", recipe=recipe()) == dataset


@pytest.mark.parametrize("damage", ["shorter", "missing", "no manifest", "broken manifest"])
def test_a_damaged_data_set_is_not_reused_and_is_replaced(lake: Lake, damage: str) -> None:
    dataset = make(lake, "one")
    part, manifest = dataset.path / "source/part.txt", dataset.path / "manifest.json"
    match damage:
        case "shorter":
            part.write_text("o")
        case "missing":
            part.unlink()
        case "no manifest":
            manifest.unlink()
        case _:
            manifest.write_text("{")
    assert find_reusable(lake, "corpus", "documents", recipe=recipe()) is None
    again = make(lake, "one")
    assert again.digest == dataset.digest
    assert part.read_text() == "one"
    assert find_reusable(lake, "corpus", "documents", recipe=recipe()) == again


@pytest.mark.parametrize("content", [None, "given"])
def test_a_flipped_byte_is_replaced_by_what_is_made_again(lake: Lake, content: str | None) -> None:
    """Nothing but reading the file tells this damage, so it is found where the same digest comes again."""
    dataset = make(lake, "one", content=content)
    part = dataset.path / "source/part.txt"
    part.write_text("onf")
    assert find_reusable(lake, "corpus", "documents", recipe=recipe()) is not None
    again = make(lake, "one", content=content)
    assert again.digest == dataset.digest and again.manifest.files == dataset.manifest.files
    assert part.read_text() == "one"
    assert {path.name for path in dataset.path.parent.iterdir()} == {"HEAD", dataset.digest}


def test_equal_content_in_other_bytes_keeps_the_files_and_their_checksums(lake: Lake) -> None:
    """Parquet bytes may differ between versions of a writer; the manifest fits the files that are there."""
    first = make(lake, "one", content="same")
    second = make(lake, "ONE!", by=recipe("b"), content="same")
    assert second.path == first.path
    assert (second.path / "source/part.txt").read_text() == "one"
    assert second.manifest.files == first.manifest.files
    assert second.manifest == read_manifest(second.path)
    assert find_reusable(lake, "corpus", "documents", recipe=recipe("b")) == second


def test_nothing_there_is_an_error_that_names_the_asset(lake: Lake) -> None:
    with pytest.raises(ManifestError, match="corpus/documents has no data set yet; materialise"):
        current(lake, "corpus", "documents")
    assert find_current(lake, "corpus", "documents") is None
    dataset = make(lake, "one")
    (dataset.path / "manifest.json").unlink()
    with pytest.raises(ManifestError, match="is no data set"):
        current(lake, "corpus", "documents")


def test_readers_see_the_old_or_the_new_head_while_a_writer_publishes(lake: Lake) -> None:
    """A process that publishes all the time, and a reader that never finds a half-made data set."""
    make(lake, "0")
    program = textwrap.dedent("""
        import sys
        from pathlib import Path
        from medpipe.lake.layout import Lake
        from medpipe.lake.manifest import Recipe
        from medpipe_tests.lake.test_dataset import make
        for number in range(1000):
            by = Recipe(inputs={"n": str(number)}, code_version="1")
            make(Lake(Path(sys.argv[1])), str(number % 7), by=by)
    """)
    writer = subprocess.Popen([sys.executable, "-c", program, str(lake.root)], cwd=Path(__file__).parents[2])
    seen = set()
    try:
        while len(seen) < 5:
            assert writer.poll() is None, "the writer ended early"
            dataset = current(lake, "corpus", "documents")
            text = (dataset.path / "source/part.txt").read_text()
            assert dataset.manifest.facts["text"] == text
            seen.add(text)
    finally:
        writer.terminate()
        writer.wait(timeout=20)
