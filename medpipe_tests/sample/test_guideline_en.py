from pathlib import Path
from typing import Any

import orjson
import pytest

from medpipe.sample.guideline_dialogues import INSTRUCTION
from medpipe.sample.guideline_en import (
    GUIDELINES_PATH,
    finetune_rows,
    guideline_records,
    write_finetune_en,
    write_guidelines,
)
from medpipe.sample.guideline_facts import load_conditions, load_drugs, load_specialties


def shingles(text: str) -> set[tuple[str, ...]]:
    words = text.split()
    return {tuple(words[place : place + 5]) for place in range(len(words) - 4)}


def survivors(texts: list[str]) -> int:
    kept: list[set[tuple[str, ...]]] = []
    for one in map(shingles, texts):
        if all(len(one & other) < 0.8 * len(one | other) for other in kept):
            kept.append(one)
    return len(kept)


@pytest.fixture(scope="module")
def records() -> list[dict[str, Any]]:
    return guideline_records()


def test_two_runs_write_the_same_bytes(tmp_path: Path) -> None:
    for write in (write_guidelines, write_finetune_en):
        first, second = write(tmp_path / "a"), write(tmp_path / "b")
        assert first == second
        for entry in first:
            assert (tmp_path / "a" / entry.path).read_bytes() == (tmp_path / "b" / entry.path).read_bytes()


def test_one_line_of_the_guidelines_is_broken(tmp_path: Path) -> None:
    (written,) = write_guidelines(tmp_path)
    lines = (tmp_path / GUIDELINES_PATH).read_bytes().splitlines()
    broken = 0
    for line in lines:
        try:
            orjson.loads(line)
        except orjson.JSONDecodeError:
            broken += 1
    assert broken == 1
    assert written.records == len(lines)


def test_volume_and_length(records: list[dict[str, Any]]) -> None:
    texts = [record["clean_text"] for record in records]
    assert len(texts) >= 160
    assert len({record["id"] for record in records}) == len(records)
    assert sum(len(text.encode()) for text in set(texts)) >= 330_000
    assert all(600 <= len(text) <= 4_000 for text in texts)


def test_record_shape_follows_the_source(records: list[dict[str, Any]]) -> None:
    assert {record["source"] for record in records} == {"who", "nice", "cdc", "wikidoc", "cma"}
    for record in records:
        source = record["source"]
        assert ("title" in record) == (source in ("cma", "nice", "wikidoc"))
        assert ("url" in record) == (source in ("nice", "wikidoc"))
        assert ("overview" in record) == (source == "nice")
        assert record["clean_text"].startswith("# ")
        assert "{" not in record["clean_text"]
        assert ".example.org/" in record.get("url", ".example.org/")


def test_quirks_are_present(records: list[dict[str, Any]]) -> None:
    assert sum("title" in record and record["title"] is None for record in records) >= 2
    assert sum(record.get("overview") == "" for record in records) >= 2
    assert sum("\u00a0" in record["clean_text"] for record in records) >= 10


def test_raw_text_keeps_every_paragraph(records: list[dict[str, Any]]) -> None:
    for record in records:
        raw = record["raw_text"].split("\n\n")
        assert all(
            part.strip() in [one.strip() for one in raw] for part in record["clean_text"].split("\n\n")
        )
        assert len(record["raw_text"]) > len(record["clean_text"])


def test_nearly_all_documents_survive_near_duplicate_removal(records: list[dict[str, Any]]) -> None:
    texts = [record["clean_text"] for record in records]
    assert survivors(texts) >= 0.95 * len(texts)


def test_finetune_rows(tmp_path: Path) -> None:
    train = finetune_rows("train")
    assert len(train) >= 150
    assert survivors([f"{row['input']} {row['output']}" for row in train]) >= 0.95 * len(train)
    for row in train:
        assert set(row) == {"instruction", "input", "output"}
        assert row["instruction"] == INSTRUCTION
        assert len(row["input"]) > 40 and len(row["output"]) > 80
        assert "{" not in row["input"] + row["output"]
    files = write_finetune_en(tmp_path)
    assert [Path(entry.path).name for entry in files] == [
        "train_en_1.json",
        "valid_en_1.json",
        "test_en_1.json",
    ]
    splits = [{row["input"] for row in finetune_rows(part)} for part in ("train", "valid", "test")]
    assert not splits[0] & splits[1] and not splits[0] & splits[2] and not splits[1] & splits[2]


def test_fact_tables_are_complete() -> None:
    conditions = load_conditions()
    assert len(conditions) >= 60
    assert len({condition.name for condition in conditions}) == len(conditions)
    for condition in conditions:
        assert condition.group in load_specialties()
        assert all(condition.lists.values())
    used = {row.drug for condition in conditions for row in condition.doses}
    assert set(load_drugs()) <= used


def test_tokens_under_a_small_byte_level_vocabulary(records: list[dict[str, Any]]) -> None:
    tokenizers = pytest.importorskip("tokenizers")
    texts = [record["clean_text"] for record in records]
    tokenizer = tokenizers.Tokenizer(tokenizers.models.BPE())
    tokenizer.pre_tokenizer = tokenizers.pre_tokenizers.ByteLevel(add_prefix_space=False)
    trainer = tokenizers.trainers.BpeTrainer(
        vocab_size=4096,
        initial_alphabet=tokenizers.pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator(texts, trainer)
    assert sum(len(row.ids) for row in tokenizer.encode_batch(texts)) >= 40_000
