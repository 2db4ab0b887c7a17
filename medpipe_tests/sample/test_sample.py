"""The sample hub: determinism, volumes, variety, record shapes and the deliberate quirks."""

from __future__ import annotations

import json
import re
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from medpipe.sample.dialogues import write_dialogues
from medpipe.sample.disease_records import write_diseases
from medpipe.sample.encyclopedia import shared_pairs, write_encyclopedia
from medpipe.sample.fact_tables import body_systems, diseases, drugs, lab_tests, symptoms, topics
from medpipe.sample.generate import SampleSummary, generate
from medpipe.sample.preferences import write_preferences
from medpipe.sample.quirks import QUIRKS, TELEPHONE
from medpipe.sample.textbook import write_textbook
from medpipe.sample.writing import SampleFile, rng, write_jsonl

ENCYCLOPEDIA = "shibing624/medical/pretrain/train_encyclopedia.json"
BOOK = "shibing624/medical/pretrain/medical_book_zh.json"
FINETUNE = "shibing624/medical/finetune"
REWARD = "shibing624/medical/reward"
DISEASES = "nlp-guild/medical-data/medical.json"
DISEASES_GB = "nlp-guild/medical-data/medical_gb18030.json"
QA = "FreedomIntelligence/huatuo_encyclopedia_qa"
TALKS = "FreedomIntelligence/HuatuoGPT-sft-data-v1/HuatuoGPT_sft_data_v1.jsonl"

DOMAINS = {
    "disease": [DISEASES, DISEASES_GB],
    "encyclopedia": [
        ENCYCLOPEDIA,
        *(f"{QA}/{part}_datasets.jsonl" for part in ("train", "validation", "test")),
    ],
    "textbook": [BOOK],
    "dialogue": [*(f"{FINETUNE}/{part}_zh_0.json" for part in ("train", "valid", "test")), TALKS],
    "preference": [f"{REWARD}/{part}.json" for part in ("train", "valid", "test")],
}


@pytest.fixture(scope="module")
def hub(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("hub")
    generate(folder)
    return folder


def parsed(hub: Path, path: str) -> list[Any]:
    """Every row of a file that is JSON."""
    encoding = "gb18030" if "gb18030" in path else "utf-8-sig"
    rows = []
    for line in (hub / path).read_bytes().decode(encoding).splitlines():
        try:
            rows.append(json.loads(line))
        except ValueError:
            continue
    return rows


def objects(hub: Path, path: str) -> list[dict[str, Any]]:
    return [row for row in parsed(hub, path) if isinstance(row, dict)]


def words(value: Any) -> list[str]:
    if isinstance(value, str):
        return [value]
    if isinstance(value, list):
        return [text for item in value for text in words(item)]
    if isinstance(value, dict):
        return [text for key, item in value.items() if key != "_id" for text in words(item)]
    return []


def documents(hub: Path, domain: str) -> list[str]:
    return ["\n".join(words(row)) for path in DOMAINS[domain] for row in objects(hub, path)]


def survivors(texts: list[str], threshold: float = 0.8) -> int:
    """How many texts are left when each near-duplicate (exact Jaccard of 5-gram sets) of a kept one goes."""
    holders: dict[str, list[int]] = {}
    sizes: list[int] = []
    for text in texts:
        grams = {text[start : start + 5] for start in range(max(1, len(text) - 4))}
        shared: Counter[int] = Counter()
        for gram in grams:
            shared.update(holders.get(gram, ()))
        if any(both >= threshold * (len(grams) + sizes[place] - both) for place, both in shared.items()):
            continue
        for gram in grams:
            holders.setdefault(gram, []).append(len(sizes))
        sizes.append(len(grams))
    return len(sizes)


def test_two_generations_are_byte_equal(tmp_path: Path, hub: Path) -> None:
    summary = generate(tmp_path)
    again = {path.relative_to(tmp_path): path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}
    first = {path.relative_to(hub): path.read_bytes() for path in hub.rglob("*") if path.is_file()}
    assert again == first
    assert {file.path for file in summary.files} == {str(path) for path in first}


def test_a_file_with_the_right_bytes_is_left_alone(tmp_path: Path) -> None:
    generate(tmp_path)
    before = {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*") if path.is_file()}
    (tmp_path / BOOK).write_text("stale", encoding="utf-8")
    before.pop(tmp_path / BOOK)
    generate(tmp_path)
    assert {path: path.stat().st_mtime_ns for path in before} == before
    assert (tmp_path / BOOK).stat().st_size > 100_000


def test_summary_counts(tmp_path: Path) -> None:
    summary = generate(tmp_path)
    assert isinstance(summary, SampleSummary)
    assert all(isinstance(file, SampleFile) for file in summary.files)
    assert summary.documents == sum(file.records for file in summary.files)
    assert summary.bytes == sum((tmp_path / file.path).stat().st_size for file in summary.files)


def test_size_of_the_chinese_medical_part(tmp_path: Path) -> None:
    writers = (write_encyclopedia, write_textbook, write_diseases, write_dialogues, write_preferences)
    files = [file for writer in writers for file in writer(tmp_path)]
    assert sum(file.records for file in files) >= 1200
    assert sum(file.bytes for file in files) <= 3_500_000


@pytest.mark.parametrize("domain", ["disease", "encyclopedia", "textbook", "dialogue"])
def test_unique_volume(hub: Path, domain: str) -> None:
    unique = set(documents(hub, domain))
    assert sum(len(text.encode("utf-8")) for text in unique) >= 330_000


def test_tokens_by_domain(hub: Path) -> None:
    tokenizers = pytest.importorskip("tokenizers")
    tokenizer = tokenizers.ByteLevelBPETokenizer()
    texts = {domain: sorted(set(documents(hub, domain))) for domain in DOMAINS}
    everything = [text for group in texts.values() for text in group]
    tokenizer.train_from_iterator(everything, vocab_size=4096, show_progress=False)
    for domain in ("disease", "encyclopedia", "textbook", "dialogue"):
        assert sum(len(tokenizer.encode(text).ids) for text in texts[domain]) >= 40_000, domain


@pytest.mark.parametrize("domain", list(DOMAINS))
def test_most_documents_survive_near_duplicate_removal(hub: Path, domain: str) -> None:
    texts = documents(hub, domain)
    assert survivors(texts) >= 0.9 * len(texts)


def test_survival_over_all_domains(hub: Path) -> None:
    texts = [text for domain in DOMAINS for text in documents(hub, domain)]
    assert survivors(texts) >= 0.8 * len(texts)


def test_fact_tables_are_rich() -> None:
    assert len(diseases()) >= 100
    assert len({disease.name for disease in diseases()}) == len(diseases())
    assert len(drugs()) >= 60
    assert len(lab_tests()) >= 40
    assert len(symptoms()) >= 50
    assert len(topics()) >= 30
    assert {disease.system for disease in diseases()} <= set(body_systems())


def test_record_shapes(hub: Path) -> None:
    for path in (ENCYCLOPEDIA, BOOK):
        assert all(set(row) == {"text"} and row["text"] for row in objects(hub, path))
    for path in DOMAINS["dialogue"][:3]:
        for row in objects(hub, path):
            assert set(row) == {"instruction", "input", "output"}
            assert row["instruction"] and row["output"]
    for path in DOMAINS["preference"]:
        assert all(
            set(row) == {"question", "response_chosen", "response_rejected"} for row in objects(hub, path)
        )
    for path in DOMAINS["encyclopedia"][1:]:
        for row in objects(hub, path):
            assert set(row) == {"questions", "answers"}
            assert 1 <= len(row["questions"][0]) <= 2 and len(row["answers"]) == 1
    for row in objects(hub, TALKS):
        assert 2 <= len(row["data"]) <= 8 and len(row["data"]) % 2 == 0
        assert all(
            turn.startswith("问：" if place % 2 == 0 else "答：") for place, turn in enumerate(row["data"])
        )
    for path in DOMAINS["disease"]:
        for row in objects(hub, path):
            assert re.fullmatch(r"[0-9a-f]{24}", row["_id"]["$oid"])
            assert row["category"][0] == "疾病百科"


def test_textbook_passages_have_the_length_of_passages(hub: Path) -> None:
    lengths = [len(row["text"]) for row in objects(hub, BOOK)]
    assert sum(300 <= length <= 1500 for length in lengths) >= 0.6 * len(lengths)


def test_values_typical_of_medicine_occur(hub: Path) -> None:
    text = "\n".join(text for domain in DOMAINS for text in documents(hub, domain))
    for sign in ("≥7.0mmol/L", "×10⁹/L", "m²", "℃", "μg", "Ⅱ", "～", "½片", "0.5～1.0"):
        assert sign in text, sign


def same_qa_two_publishers(hub: Path) -> bool:
    joined = {row["text"] for row in objects(hub, ENCYCLOPEDIA)}
    asked = {
        row["questions"][0][0] + row["answers"][0]
        for path in DOMAINS["encyclopedia"][1:]
        for row in objects(hub, path)
    }
    share = len(joined & asked) / len(joined)
    return len(joined & asked) >= 0.9 * len(shared_pairs()) and 0.2 <= share <= 0.45


def repeated(hub: Path, path: str) -> int:
    lines = (hub / path).read_text("utf-8").splitlines()
    return len(lines) - len(set(lines))


def near_pairs(hub: Path, path: str) -> int:
    texts = list(dict.fromkeys("\n".join(words(row)) for row in objects(hub, path)))
    return len(texts) - survivors(texts)


def broken_lines(hub: Path, path: str) -> int:
    return len((hub / path).read_text("utf-8").splitlines()) - len(parsed(hub, path))


def anywhere(hub: Path, path: str, mark: str) -> bool:
    return mark in (hub / path).read_text("utf-8")


CHECKS = {
    "same_qa_two_publishers": same_qa_two_publishers,
    "exact_duplicates": lambda hub: all(
        repeated(hub, path) >= 4
        for path in (BOOK, f"{FINETUNE}/train_zh_0.json", f"{QA}/train_datasets.jsonl")
    ),
    "near_duplicates": lambda hub: (
        sum(near_pairs(hub, path) for path in (BOOK, ENCYCLOPEDIA, f"{FINETUNE}/train_zh_0.json")) >= 24
    ),
    "gb18030": lambda hub: "疾病百科" in (hub / DISEASES_GB).read_bytes().decode("gb18030"),
    "crlf": lambda hub: (hub / DISEASES_GB).read_bytes().count(b"\r\n") == len(objects(hub, DISEASES_GB)),
    "byte_order_mark": lambda hub: (hub / FINETUNE / "valid_zh_0.json").read_bytes()[:3] == b"\xef\xbb\xbf",
    "empty_fields": lambda hub: (
        any("" in row.values() for row in objects(hub, DISEASES))
        and any([] in row.values() for row in objects(hub, DISEASES))
        and any(row["input"] == "" for row in objects(hub, f"{FINETUNE}/train_zh_0.json"))
    ),
    "null": lambda hub: any(None in row.values() for row in objects(hub, DISEASES)),
    "absent_keys": lambda hub: any("yibao_status" not in row for row in objects(hub, DISEASES)),
    "misspelled_keys": lambda hub: any(
        {"prvent", "sympton", "cure_departmnt"} <= set(row) for row in objects(hub, DISEASES)
    ),
    "broken_json": lambda hub: all(
        broken_lines(hub, path) == 1 for path in (ENCYCLOPEDIA, f"{FINETUNE}/train_zh_0.json", TALKS)
    ),
    "wrong_type": lambda hub: any(isinstance(row, str) for row in parsed(hub, f"{QA}/train_datasets.jsonl")),
    "telephone": lambda hub: (
        anywhere(hub, TALKS, TELEPHONE) and anywhere(hub, f"{FINETUNE}/train_zh_0.json", TELEPHONE)
    ),
    "wide_indent": lambda hub: (
        anywhere(hub, BOOK, "\u3000\u3000") and anywhere(hub, DISEASES, "\u3000\u3000")
    ),
    "html": lambda hub: (
        anywhere(hub, f"{QA}/train_datasets.jsonl", "<br>")
        and anywhere(hub, f"{QA}/train_datasets.jsonl", "&nbsp;")
    ),
    "no_break_space": lambda hub: anywhere(hub, f"{QA}/train_datasets.jsonl", "\u00a0"),
    "zero_width_space": lambda hub: anywhere(hub, f"{QA}/train_datasets.jsonl", "\u200b"),
    "dangling_probe": lambda hub: any(
        row["response_chosen"].endswith("医生询问：") for row in objects(hub, f"{REWARD}/train.json")
    ),
    "joined_title": lambda hub: all(
        "？，" in row["question"] for row in objects(hub, f"{REWARD}/train.json")
    ),
}


def test_every_quirk_has_a_check() -> None:
    assert set(CHECKS) == set(QUIRKS)


@pytest.mark.parametrize("quirk", sorted(QUIRKS))
def test_quirk_is_present(hub: Path, quirk: str) -> None:
    assert CHECKS[quirk](hub)


def test_gb18030_file_is_not_utf8(hub: Path) -> None:
    content = (hub / DISEASES_GB).read_bytes()
    with pytest.raises(UnicodeDecodeError):
        content.decode("utf-8")
    names = {row["name"] for row in objects(hub, DISEASES_GB)}
    assert names and not names & {row["name"] for row in objects(hub, DISEASES)}


def test_no_telephone_number_but_the_invented_one(hub: Path) -> None:
    mobile = re.compile(r"(?<![0-9a-f.])1[3-9]\d{9}(?![0-9a-f])")
    line = re.compile(r"(?<!\d)0\d{2,3}[- ]\d{7,8}(?!\d)")
    for domain in DOMAINS:
        for text in documents(hub, domain):
            assert set(mobile.findall(text)) <= {TELEPHONE}
            assert not line.findall(text)


def test_every_folder_says_what_it_is(hub: Path) -> None:
    for folder in [hub, *(folder for folder in hub.glob("*/*") if folder.is_dir())]:
        text = (folder / "README.md").read_text("utf-8")
        assert "NOT medical advice" in text and "test sample" in text and "NOT the data set" in text


def test_rng_depends_on_its_key_only() -> None:
    assert rng("a", 1).random() == rng("a", 1).random()
    assert rng("a", 1).random() != rng("a", 2).random()
    assert rng("sample", "哮喘").getrandbits(32) == 2491693292


def test_write_jsonl_takes_rows_and_raw_lines(tmp_path: Path) -> None:
    file = write_jsonl(tmp_path, "a/b.json", [{"x": "甲"}, "{broken"], newline="\r\n", bom=True)
    assert (tmp_path / "a/b.json").read_bytes() == '\ufeff{"x":"甲"}\r\n{broken\r\n'.encode()
    assert file == SampleFile(path="a/b.json", records=2, bytes=(tmp_path / "a/b.json").stat().st_size)
    assert [path.name for path in (tmp_path / "a").iterdir()] == ["b.json"]
