"""Every file of the real records, read as the test catalog says: no row is lost, and the text is whole."""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from typer.testing import CliRunner

from medpipe.catalog.load import read_catalog_folder
from medpipe.catalog.source import Source, SourceFile, Status
from medpipe.cli import app
from medpipe.ingest.patterns import path_matches
from medpipe.ingest.readers import read_rows
from medpipe.normalize.files import opened_files
from medpipe.normalize.run import normalized_batches
from medpipe.records.kinds import Kind
from medpipe_tests.normalize.sources import make_raw
from medpipe_tests.shared_data import shared_data

CATALOG = Path(__file__).parents[1] / "shared_data_catalog"
SOURCES = {source.id: source for source in read_catalog_folder(CATALOG)}
READ = {name: source for name, source in SOURCES.items() if source.status is Status.AVAILABLE}

REJECTED: dict[str, dict[str, int]] = {
    "shared_bentsao_questions": {"missing_field": 200},
    "shared_cmb_exam_answers": {"missing_field": 1330},
    "shared_comparison_gpt4_zh": {"identical_answers": 4},
    "shared_covid_dialogue": {"no_answer": 31},
    "shared_medical_dialog_raw": {"no_answer": 2},
    "shared_oaast_rm_zh": {"single_answer": 2},
    "shared_pubmedqa_ground_truth": {"missing_field": 338},
    "shared_tcm_ancient_books": {"encoding": 2},
    "shared_webmedqa_questions": {"empty_answer": 93},
}
"""Rows that give no record, by reason; of every other source all rows are kept."""

WITHOUT_RECORDS = {
    "shared_bentsao_questions",
    "shared_cmb_exam_answers",
    "shared_pubmedqa_ground_truth",
    "shared_webmedqa_questions",
}
"""Answers without questions, questions without answers: no training text may come of them."""

KEPT_TEXT = {
    "shared_apollo_guideline_passages": 0.93,  # titles of what is cited
    "shared_bioasq": 0.04,  # passages, addresses and other answers
    "shared_chatdoctor_diseases": 0.6,  # without the column `reason`
    "shared_covid_dialogue": 0.7,  # conversations that nobody answered, addresses
    "shared_disc_med_cmd": 0.9,
    "shared_disc_med_sft_examples": 0.9,
    "shared_imcs21_dxy": 0.5,  # the slots that were filled
    "shared_medical_dialog_raw": 0.6,
    "shared_medmcqa_dev": 0.35,  # explanations
    "shared_medqa_us_test": 0.55,  # phrases of a tagger
    "shared_promptcblue_examples": 0.75,  # the options are given twice
    "shared_pubmedqa_labelled": 0.7,  # long answers, subject headings
    "shared_qizhengpt_drugs": 0.7,  # the indications as labels, too
    "shared_scientific_papers_pubmed": 0.4,  # twice, sections with their subsections
    "shared_shennong_tcm_examples": 0.75,  # the answers of another model
}
"""Least share of the letters, digits and Chinese characters of the kept rows that is in their records."""
MOST_KEPT_TEXT = 0.95

MARKERS = r"<s>|<user>|<bot>|<目录>|<篇名>|\A(?:问|答|问题|回答)[：:]|答：\z"
TAGS = r"</?(?:p|br|b|i|span|div|li|ul|td|tr|table|sup|sub|h[1-6]|img|font|strong|em)(?:\s[^<>]*)?/?>"
LOST = r"[^\p{N} .,．，]\x{FFFD}(?:[^\p{N} .,．，]|\z)"
UNSEEN = rf"[\x{{200B}}-\x{{200F}}\x{{FEFF}}\x{{3000}}\x{{A0}}\r\x00-\x08\x0E-\x1F]|{LOST}"
NO_VALUE = r"(?:[：，；]|: |, )(?:None|none|null|NULL|nan|NaN)(?:[。，；]|\. |, |$)"


@dataclass(frozen=True)
class Read:
    """One file and what became of it."""

    source: Source
    file: SourceFile
    path: str
    published: int
    records: pl.DataFrame
    rejected: pl.DataFrame
    values: dict[int, Any]
    """The rows as they were read."""

    @property
    def name(self) -> str:
        return f"{self.source.id}: {self.path}"


@pytest.fixture(scope="module")
def files() -> dict[str, list[Read]]:
    shared_data()
    return {name: list(read(source)) for name, source in READ.items()}


def read(source: Source) -> Iterator[Read]:
    assert source.folder is not None
    with ThreadPoolExecutor(2) as pool:
        for path, origin in opened_files(source, make_raw(source.folder)):
            batches = list(normalized_batches(path, origin, pool, None))
            yield Read(
                source,
                origin.file,
                origin.path,
                sum(rows for rows, _ in batches),
                pl.concat([batch.records for _, batch in batches]),
                pl.concat([batch.rejected for _, batch in batches]),
                dict(rows_of(path, origin.file)),
            )


def rows_of(path: Path, file: SourceFile) -> Iterator[tuple[int, Any]]:
    for batch in read_rows(
        path,
        file_format=file.format,
        columns=file.columns,
        records=file.records,
        record_start=file.record_start,
    ):
        yield from zip(batch.rows, batch.values, strict=True)


def every(files: dict[str, list[Read]]) -> Iterator[Read]:
    for found in files.values():
        yield from found


def contents(each: Read) -> pl.Series:
    """All texts of the records of a file."""
    frame = each.records
    columns = {
        Kind.DOCUMENT: ["text"],
        Kind.CONVERSATION: ["system", "turns.content"],
        Kind.PREFERENCE: ["system", "prompt.content", "chosen", "rejected"],
        Kind.EXAM_ITEM: ["question", "options.text"],
    }[each.source.record_kind]
    parts = []
    for column in columns:
        name, _, field = column.partition(".")
        item = pl.col(name)
        item = item.list.eval(pl.element().struct.field(field)).list.explode() if field else item
        parts.append(frame.select(item.alias("text")).to_series())
    return pl.concat(parts).drop_nulls()


def test_every_file_is_claimed_by_one_entry() -> None:
    root = shared_data().resolve()
    claims = {path: [] for path in root.rglob("*") if path.is_file()}
    for source in SOURCES.values():
        assert source.folder is not None
        for path, claimed_by in claims.items():
            if path.is_relative_to(source.folder):
                place = path.relative_to(source.folder).as_posix()
                if any(path_matches(place, file.path) for file in source.files):
                    claimed_by.append(source.id)
    assert {str(path): entries for path, entries in claims.items() if len(entries) != 1} == {}


def test_every_row_is_kept_or_rejected_once(files: dict[str, list[Read]]) -> None:
    for each in every(files):
        kept = each.records["row"].unique().to_list()
        assert sorted(kept + each.rejected["row"].to_list()) == list(range(each.published)), each.name


def test_counts_are_the_published_ones_or_explained(files: dict[str, list[Read]]) -> None:
    for name, found in files.items():
        for file in READ[name].files:
            rows = sum(each.published for each in found if each.file is file)
            assert rows > 0, (name, file.path)
            assert rows == file.published_rows or file.note, (name, file.path, rows)


def test_rows_without_text_are_rejected_and_no_others(files: dict[str, list[Read]]) -> None:
    found = {
        name: Counter(reason for each in reads for reason in each.rejected["reason"])
        for name, reads in files.items()
    }
    assert {name: dict(reasons) for name, reasons in found.items() if reasons} == REJECTED


def test_files_without_training_text_yield_none(files: dict[str, list[Read]]) -> None:
    empty = {name for name, found in files.items() if all(each.records.height == 0 for each in found)}
    assert empty == WITHOUT_RECORDS


def test_texts_are_clean(files: dict[str, list[Read]]) -> None:
    wrong: list[tuple[str, str]] = []
    for each in every(files):
        texts = contents(each)
        # HTML within code is what the text is about.
        prose = texts.filter(texts.str.contains("```|</|<html|<!", literal=False).not_())
        is_medical = each.file.domain != "general"
        for column, pattern in (
            (texts, UNSEEN),
            (texts, r"\A\s|\s\z"),
            (texts if is_medical else prose, MARKERS if is_medical else UNSEEN),
            (texts if is_medical else prose, TAGS),
        ):
            hits = column.filter(column.str.contains(f"(?i){pattern}"))
            wrong += [(each.name, text[:200]) for text in hits.head(2)]
    assert wrong == []


def test_missing_values_leave_no_trace(files: dict[str, list[Read]]) -> None:
    for each in every(files):
        if each.source.record_layout.layout == "fields":
            texts = each.records["text"]
            for pattern in (NO_VALUE, r"\$oid|\['|'\]|\{'"):
                assert texts.filter(texts.str.contains(pattern)).to_list() == [], each.name


def test_conversations_alternate_and_start_with_the_question(files: dict[str, list[Read]]) -> None:
    for each in every(files):
        if each.source.record_kind is Kind.CONVERSATION and each.records.height:
            roles = each.records["turns"].list.eval(pl.element().struct.field("role"))
            assert (roles.list.first() == "user").all(), each.name
            assert roles.list.contains("assistant").all(), each.name
            repeats = roles.list.eval(pl.element() == pl.element().shift(1)).list.any()
            assert not repeats.any(), each.name


def letters(text: str) -> str:
    return re.sub(r"[\W_]", "", text)


def strings(value: Any) -> Iterator[str]:
    if isinstance(value, dict):
        for name, item in value.items():
            if name not in ("_id", "id", "key", "url", "role", "from"):
                yield from strings(item)
    elif isinstance(value, list):
        for item in value:
            yield from strings(item)
    elif value is not None:
        yield str(value)


def test_a_record_leads_back_to_its_row(files: dict[str, list[Read]]) -> None:
    for each in every(files):
        rows = each.records["row"].unique().sort()
        for row in (rows.gather_every(max(1, len(rows) // 5))).to_list():
            published = letters("".join(strings(each.values[row])))
            record = each.records.filter(pl.col("row") == row)
            pieces = [
                piece
                for text in contents(replace(each, records=record))
                for piece in re.findall(r"\w{2,}", text)
            ]
            found = sum(letters(piece) in published for piece in pieces)
            assert found > 0, (each.name, row)
            # Labels and converted characters are ours; so is what a task asks.
            if each.source.record_layout.layout != "task":
                assert found >= 0.5 * len(pieces), (each.name, row)


def test_the_text_of_kept_rows_is_whole(files: dict[str, list[Read]]) -> None:
    for name, found in files.items():
        if name in WITHOUT_RECORDS:
            continue
        kept = published = 0
        for each in found:
            rows = set(each.records["row"])
            published += sum(
                len(letters("".join(strings(value)))) for row, value in each.values.items() if row in rows
            )
            kept += sum(len(letters(text)) for text in contents(each))
        assert kept >= KEPT_TEXT.get(name, MOST_KEPT_TEXT) * published, (name, kept / published)


def keys(files: dict[str, list[Read]], source: str, path: str) -> set[str]:
    (each,) = (each for each in files[source] if each.path == path)
    return set(each.records["content_key"])


def test_the_same_content_has_one_key_in_every_layout_and_encoding(files: dict[str, list[Read]]) -> None:
    family = "shared_nlp_guild_family"
    assert keys(files, family, "medical.gb18030.json") <= keys(files, family, "medical.json")
    questions = "shared_medicalgpt_questions"
    assert keys(files, questions, "grpo/sample.jsonl") & keys(files, questions, "rag/medical_corpus.txt")
    lists = keys(files, "shared_huatuo_26m_lists", "huatuo26M_test.json")
    strings_ = keys(files, "shared_huatuo_26m_test", "test_datasets.jsonl")
    assert len(lists & strings_) >= 0.9 * len(lists)
    # A text with the question above the answer, and a conversation of the two.
    blocks, table = (
        set().union(*(each.records["content_key"] for each in files[name]))
        for name in ("shared_toyhom_blocks", "shared_toyhom_dialogues")
    )
    assert len(blocks & table) >= 0.7 * len(blocks)


def rounds(each: Read) -> pl.Series:
    return each.records["turns"].list.len()


@pytest.mark.parametrize(
    ("source", "most"),
    [
        ("shared_bentsao_liver_cancer", 12),
        ("shared_cmtmedqa_test", 8),
        ("shared_covid_dialogue", 20),
        ("shared_imcs21_dxy", 8),
        ("shared_medicalgpt_sft", 8),
    ],
)
def test_conversations_keep_their_rounds(files: dict[str, list[Read]], source: str, most: int) -> None:
    assert max(rounds(each).max() for each in files[source]) >= most


def test_preferences_tell_better_from_worse(files: dict[str, list[Read]]) -> None:
    preferences = [each for each in every(files) if each.source.record_kind is Kind.PREFERENCE]
    assert len(preferences) == 7
    for each in preferences:
        assert (each.records["chosen"] != each.records["rejected"]).all(), each.name
    systems = {each.path: each.records["system"].is_not_null().sum() for each in preferences}
    assert systems["dpo_zh_demo.json"] == 43
    assert systems["reward/dpo_zh_500.jsonl"] == 60
    assert systems["reward/dpo_zh.jsonl"] == 18


def test_exam_items_know_their_answers(files: dict[str, list[Read]]) -> None:
    exams = [
        each for each in every(files) if each.source.record_kind is Kind.EXAM_ITEM and each.records.height
    ]
    assert {each.path.split("/")[0]: each.records.height for each in exams} == {
        "dev.json": 1287,
        "questions": 486,
        "ori_pqal.json": 428,
    }
    for each in exams:
        assert (each.records["options"].list.len() >= 2).all()
        labels = pl.col("options").list.eval(pl.element().struct.field("label"))
        known = each.records.select(pl.col("answers").list.set_difference(labels).list.len() == 0).to_series()
        assert known.all(), each.name


@pytest.mark.slow
def test_one_command_prints_the_table_of_all_files() -> None:
    root = shared_data()
    result = CliRunner().invoke(app, ["sources", "try", str(CATALOG), "--json"])
    assert result.exit_code == 0, result.stderr
    table = json.loads(result.stdout)
    assert len(table) == sum(path.is_file() for path in root.rglob("*"))
    assert all(row["published"] == row["kept"] + sum(row["rejected"].values()) for row in table)
    unread = [row for row in table if row["kind"] is None]
    assert {row["status"] for row in unread} == {"excluded"}
    assert all(row["note"] for row in unread)
