from pathlib import Path

import orjson
import pytest

from medpipe.sample.general_facts import load_kinds
from medpipe.sample.general_zh import GENERAL_PATH, general_articles, write_general


def shingles(text: str) -> set[str]:
    packed = "".join(text.split())
    return {packed[place : place + 5] for place in range(len(packed) - 4)}


def survivors(sets: list[set[str]]) -> int:
    kept: list[set[str]] = []
    for one in sets:
        if all(len(one & other) < 0.8 * len(one | other) for other in kept):
            kept.append(one)
    return len(kept)


@pytest.fixture(scope="module")
def articles() -> list[str]:
    return general_articles()


def test_two_runs_write_the_same_bytes(tmp_path: Path) -> None:
    first, second = write_general(tmp_path / "a"), write_general(tmp_path / "b")
    assert first == second
    assert (tmp_path / "a" / GENERAL_PATH).read_bytes() == (tmp_path / "b" / GENERAL_PATH).read_bytes()


def test_the_file_is_one_array_of_native_records(tmp_path: Path) -> None:
    (written,) = write_general(tmp_path)
    content = (tmp_path / GENERAL_PATH).read_bytes()
    rows = orjson.loads(content)
    assert content.startswith(b"[{") and content.endswith(b"}]\n")
    assert (written.path, written.records, written.bytes) == (GENERAL_PATH, len(rows), len(content))
    assert content.count(b"\n") == len(rows)
    assert all(set(row) == {"completion", "source"} for row in rows)
    assert {row["source"] for row in rows} == {"wikipedia.zh2307"}


def test_volume_and_length(articles: list[str]) -> None:
    assert len(articles) >= 300
    assert len(set(articles)) == len(articles)
    assert sum(len(article.encode()) for article in articles) >= 330_000
    assert all(150 <= len(article) <= 900 for article in articles)


def test_articles_begin_with_their_title_and_leave_no_field_open(articles: list[str]) -> None:
    for article in articles:
        title = article.split(" ", 1)[0]
        assert 0 < len(title) <= 20
        assert "{" not in article and "None" not in article


def test_nearly_all_articles_survive_near_duplicate_removal(articles: list[str]) -> None:
    assert survivors([shingles(article) for article in articles]) >= 0.95 * len(articles)


def test_fact_tables_are_complete() -> None:
    kinds = load_kinds()
    assert len(kinds) >= 15
    for kind in kinds:
        names = [entry.name for entry in kind.entries]
        assert len(set(names)) == len(names)
        for entry in kind.entries:
            assert len(entry.notes) == 3
            assert set(kind.aspect) <= set(entry.values)
            assert all(note.endswith("。") for note in entry.notes)


def test_tokens_under_a_small_byte_level_vocabulary(articles: list[str]) -> None:
    tokenizers = pytest.importorskip("tokenizers")
    tokenizer = tokenizers.Tokenizer(tokenizers.models.BPE())
    tokenizer.pre_tokenizer = tokenizers.pre_tokenizers.ByteLevel(add_prefix_space=False)
    trainer = tokenizers.trainers.BpeTrainer(
        vocab_size=4096,
        initial_alphabet=tokenizers.pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator(articles, trainer)
    assert sum(len(row.ids) for row in tokenizer.encode_batch(articles)) >= 40_000
