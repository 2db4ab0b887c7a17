"""What the catalog says of a file, from the published bytes to the records: each option in a whole run."""

from __future__ import annotations

import gzip
import json
import zipfile
from pathlib import Path
from typing import Any, ClassVar

import datasets
import polars as pl
import pytest

from medpipe.catalog.layouts import KINDS
from medpipe.catalog.source import Source
from medpipe.ingest.snapshot import fetch
from medpipe.lake.dataset import Dataset
from medpipe.lake.layout import Lake
from medpipe.normalize.errors import NormalizeError
from medpipe.normalize.run import normalize_source, recipe_of
from medpipe.settings import Settings
from medpipe_tests.normalize.sources import check_funnel, make_raw, make_source, records_of, rejected_of

TEXT = {"layout": "text"}
QA = {"layout": "question_answer"}


@pytest.fixture
def lake(tmp_path: Path) -> Lake:
    return Lake(tmp_path / "lake")


@pytest.fixture
def raw(tmp_path: Path) -> Path:
    folder = tmp_path / "raw"
    folder.mkdir()
    return folder


def lines(*rows: Any) -> str:
    return "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)


def pack(path: Path, **members: str) -> None:
    with zipfile.ZipFile(path, "w") as archive:
        for name, content in members.items():
            archive.writestr(name.replace("__", "/") + ".jsonl", content)


def run(source: Source, raw: Path, lake: Lake) -> Dataset:
    dataset = normalize_source(source, make_raw(raw), lake=lake).dataset
    check_funnel(dataset)
    return dataset


def texts(dataset: Dataset) -> list[str]:
    return records_of(dataset)["text"].to_list()


def entry(path: str, **fields: Any) -> dict[str, Any]:
    return {"path": path, "domain": "disease"} | fields


class TestReaderOptions:
    def test_columns_of_a_table_without_a_header(self, raw: Path, lake: Lake) -> None:
        (raw / "medQA.train.txt").write_text(
            "内科\t1\t头痛怎么办？\t多休息。\n外科\t0\t手术疼吗？\t不知道。\n"
        )
        source = make_source(
            entry(
                "*.txt",
                format="tsv",
                columns=["department", "label", "question", "answer"],
                keep_where={"label": ["1"]},
            ),
            layout=QA,
        )
        dataset = run(source, raw, lake)
        assert records_of(dataset)["turns"].to_list() == [
            [{"role": "user", "content": "头痛怎么办？"}, {"role": "assistant", "content": "多休息。"}]
        ]
        assert rejected_of(dataset).select("row", "reason", "detail").rows() == [
            (1, "not_wanted", "label is '0'")
        ]

    def test_records_within_an_object(self, raw: Path, lake: Lake) -> None:
        content = {"version": 1, "data": {"rows": [{"text": "甲"}, {"text": "乙"}]}}
        (raw / "all.json").write_text(json.dumps(content))
        source = make_source(entry("all.json", format="json_object", records="data.rows"), layout=TEXT)
        assert texts(run(source, raw, lake)) == ["甲", "乙"]

    def test_records_that_start_with_a_line(self, raw: Path, lake: Lake) -> None:
        (raw / "cases.txt").write_text("id=1\n头痛三天\n无发热\nid=2\n咳嗽\n")
        source = make_source(entry("cases.txt", format="text_records", record_start=r"id=\d+"), layout=TEXT)
        assert texts(run(source, raw, lake)) == ["id=1\n头痛三天\n无发热", "id=2\n咳嗽"]

    def test_rows_from_the_start_of_each_file(self, raw: Path, lake: Lake) -> None:
        for name in ("a", "b"):
            (raw / f"{name}.jsonl").write_text(lines(*({"text": f"{name}{i}"} for i in range(5))))
        source = make_source(entry("*.jsonl", max_rows=2), layout=TEXT)
        dataset = run(source, raw, lake)
        assert texts(dataset) == ["a0", "a1", "b0", "b1"]
        assert dataset.manifest.facts["published"] == 4


class TestArchives:
    def test_members_are_files_of_their_own(self, raw: Path, lake: Lake) -> None:
        pack(raw / "all.zip", data__a=lines({"text": "甲"}), data__b=lines({"text": "乙"}, 3))
        dataset = run(make_source(entry("all.zip"), layout=TEXT | {"text": "text"}), raw, lake)
        assert records_of(dataset).select("path", "row", "text").rows() == [
            ("all.zip/data/a.jsonl", 0, "甲"),
            ("all.zip/data/b.jsonl", 0, "乙"),
        ]
        assert rejected_of(dataset).select("path", "row").rows() == [("all.zip/data/b.jsonl", 1)]
        by_file = dataset.manifest.facts["by_file"]
        assert {path: counts["published"] for path, counts in by_file.items()} == {
            "all.zip/data/a.jsonl": 1,
            "all.zip/data/b.jsonl": 2,
        }

    def test_one_archive_with_several_entries(self, raw: Path, lake: Lake) -> None:
        pack(raw / "all.zip", train=lines({"text": "甲"}), test=lines({"text": "乙"}), note=lines("丙"))
        source = make_source(
            entry("all.zip", member="test.*", split="test"),
            entry("all.zip", member="t*", domain="encyclopedia"),
            layout=TEXT,
        )
        dataset = run(source, raw, lake)
        assert records_of(dataset).select("path", "split", "domain").rows() == [
            ("all.zip/test.jsonl", "test", "disease"),
            ("all.zip/train.jsonl", "train", "encyclopedia"),
        ]
        assert dataset.manifest.facts["patterns_without_files"] == []

    def test_a_packed_file_keeps_its_name(self, raw: Path, lake: Lake) -> None:
        (raw / "a.jsonl.gz").write_bytes(gzip.compress(lines({"text": "甲"}).encode()))
        dataset = run(make_source(entry("**"), entry("*.gz", split="test"), layout=TEXT), raw, lake)
        assert records_of(dataset).select("path", "split").rows() == [("a.jsonl.gz", "train")]
        assert dataset.manifest.facts["patterns_without_files"] == ["*.gz"]

    def test_a_member_that_is_not_there(self, raw: Path, lake: Lake) -> None:
        pack(raw / "all.zip", a=lines({"text": "甲"}))
        with pytest.raises(ValueError, match=r"all\.zip .*'b\.jsonl'.*correct 'member'"):
            run(make_source(entry("all.zip", member="b.jsonl"), layout=TEXT), raw, lake)

    def test_nothing_is_left_in_the_temporary_folder(
        self, raw: Path, lake: Lake, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        (tmp_path / "scratch").mkdir()
        monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "scratch"))
        pack(raw / "all.zip", a=lines({"text": "甲"}), b=lines({"text": "乙"}))
        assert len(texts(run(make_source(entry("all.zip"), layout=TEXT), raw, lake))) == 2

        def fail(*_: object) -> None:
            raise RuntimeError("in the middle of an archive")

        monkeypatch.setattr("medpipe.normalize.run.normalize_batch", fail)
        with pytest.raises(RuntimeError, match="in the middle"):
            run(make_source(entry("all.zip", language="en"), layout=TEXT), raw, lake)
        assert list((tmp_path / "scratch").iterdir()) == []


class TestChosenRows:
    def test_every_condition_must_hold(self, raw: Path, lake: Lake) -> None:
        rows = [
            {"text": "甲", "label": 1, "kind": "a"},
            {"text": "乙", "label": 1.0, "kind": "b"},
            {"text": "丙", "label": True, "kind": "a"},
            {"text": "丁", "kind": "a"},
            {"text": "戊", "label": "1", "kind": "c"},
            "不是对象",
        ]
        (raw / "rows.jsonl").write_text(lines(*rows))
        wanted = {"label": ["1"], "kind": ["a", "b"]}
        dataset = run(make_source(entry("rows.jsonl", keep_where=wanted), layout=TEXT), raw, lake)
        assert texts(dataset) == ["甲", "乙"]
        rejected = rejected_of(dataset)
        assert set(rejected["reason"]) == {"not_wanted"}
        assert rejected["detail"].to_list() == [
            "label is 'true'",
            "label is missing",
            "kind is 'c'",
            "label is missing",
        ]
        assert json.loads(rejected["raw"][2]) == rows[4]

    def test_fields_of_lists(self, raw: Path, lake: Lake) -> None:
        (raw / "pairs.jsonl").write_text(lines(["头痛？", "休息。", 1], ["咳嗽？", "不知道。", 0]))
        source = make_source(
            entry("pairs.jsonl", keep_where={"2": ["1"]}), layout=QA | {"question": "0", "answer": "1"}
        )
        dataset = run(source, raw, lake)
        assert records_of(dataset)["row"].to_list() == [0]
        assert rejected_of(dataset)["raw"].to_list() == ['["咳嗽？","不知道。",0]']

    @pytest.mark.parametrize("kind", KINDS, ids=lambda layout: layout.__name__)
    def test_every_layout_takes_a_batch_of_which_no_row_is_left(
        self, raw: Path, lake: Lake, kind: type[Any]
    ) -> None:
        name = kind.model_fields["layout"].default
        layout = {"layout": name} | ({"task": "entities"} if name == "task" else {})
        (raw / "rows.jsonl").write_text(lines({"text": "甲"}, {"text": "乙"}))
        source = make_source(
            entry("rows.jsonl", keep_where={"x": ["1"]}), layout=layout, kind=KINDS[kind][0].value
        )
        dataset = run(source, raw, lake)
        assert dataset.manifest.facts["rejected_by_reason"] == {"not_wanted": 2}


LOOKUP = {"path": "question.zip", "key": "question_id", "take": ["content"], "prefix": "question_"}
CANDIDATES = QA | {"question": "question_content", "answer": "content"}


class TestLookup:
    """Answers in one packed table, questions in another, as cMedQA2 has them."""

    @pytest.fixture
    def packed(self, raw: Path) -> Path:
        for name, content in {
            "question": "question_id,content\n11,头痛怎么办？\n12,咳嗽怎么办？\n",
            "answer": 'ans_id,question_id,content\n1,12,"多喝，\n休息。"\n2,11,休息。\n3,13,不知。\n4,11,\n',
        }.items():
            with zipfile.ZipFile(raw / f"{name}.zip", "w") as archive:
                archive.writestr(f"{name}.csv", content)
                archive.writestr(f"__MACOSX/._{name}.csv", "x")
        return raw

    def test_answers_get_their_questions(self, packed: Path, lake: Lake) -> None:
        dataset = run(make_source(entry("answer.zip", lookup=LOOKUP), layout=CANDIDATES), packed, lake)
        records = records_of(dataset)
        assert records.select("path", "row").rows() == [
            ("answer.zip/answer.csv", 0),
            ("answer.zip/answer.csv", 1),
        ]
        assert [[turn["content"] for turn in turns] for turns in records["turns"]] == [
            ["咳嗽怎么办？", "多喝，\n休息。"],
            ["头痛怎么办？", "休息。"],
        ]
        rejected = rejected_of(dataset)
        assert rejected.select("row", "reason").rows()[0] == (2, "no_match")
        assert rejected["detail"][0] == "question_id 13"
        assert rejected["row"].to_list() == [2, 3]
        assert "question_content" not in rejected["raw"][1], "a rejected row is shown as it was published"

    def test_rows_that_nobody_wants_need_no_partner(self, packed: Path, lake: Lake) -> None:
        file = entry("answer.zip", lookup=LOOKUP, keep_where={"ans_id": ["1"]})
        dataset = run(make_source(file, layout=CANDIDATES), packed, lake)
        assert dataset.manifest.facts["rejected_by_reason"] == {"not_wanted": 3}

    def test_a_table_that_nothing_matches(self, packed: Path, lake: Lake) -> None:
        file = entry("answer.zip", lookup=LOOKUP | {"path": "questions.zip"})
        with pytest.raises(NormalizeError, match=r"no file matches 'questions\.zip' of a lookup"):
            run(make_source(file, layout=CANDIDATES), packed, lake)


class TestSimplify:
    @pytest.mark.parametrize(
        ("layout", "row", "column", "expected"),
        [
            (TEXT, {"text": "頭痛與發熱"}, "text", "头痛与发热"),
            (
                QA | {"system": "s"},
                {"s": "你是醫生", "question": "頭痛？", "answer": "多喝熱水"},
                "turns",
                [{"role": "user", "content": "头痛？"}, {"role": "assistant", "content": "多喝热水"}],
            ),
            (
                {"layout": "preference", "prompt": "q", "chosen": "c", "rejected": "r"},
                {"q": "頭痛？", "c": "多喝熱水", "r": "問護士"},
                "rejected",
                "问护士",
            ),
        ],
        ids=["document", "conversation", "preference"],
    )
    def test_only_where_the_source_asks(
        self, raw: Path, lake: Lake, layout: dict[str, Any], row: dict[str, Any], column: str, expected: Any
    ) -> None:
        (raw / "rows.jsonl").write_text(lines(row))
        as_published = records_of(run(make_source(entry("rows.jsonl"), layout=layout), raw, lake))
        simplified = records_of(
            run(make_source(entry("rows.jsonl"), layout=layout, simplify=True), raw, lake)
        )
        assert simplified[column].to_list() == [expected]
        assert as_published[column].to_list() != [expected]
        assert simplified["id"][0] != as_published["id"][0]

    def test_exam_items(self, raw: Path, lake: Lake) -> None:
        row = {
            "question": "頭痛首選？",
            "options": {"A": "熱水", "B": "藥物"},
            "answer": "B",
            "subject": "內科",
        }
        (raw / "exam.jsonl").write_text(lines(row))
        source = make_source(
            entry("exam.jsonl"),
            layout={"layout": "multiple_choice", "subject": "subject"},
            kind="exam_item",
            simplify=True,
        )
        (item,) = records_of(run(source, raw, lake)).iter_rows(named=True)
        assert (item["question"], item["subject"], item["answers"]) == ("头痛首选？", "内科", ["B"])
        assert item["options"] == [{"label": "A", "text": "热水"}, {"label": "B", "text": "药物"}]


class TestRecipe:
    BASE = entry("a.jsonl")

    @pytest.mark.parametrize(
        "change",
        [
            {"format": "jsonl"},
            {"domain": "general"},
            {"split": "test"},
            {"language": "en"},
            {"member": "*.json"},
            {"subset": "zh"},
            {"published_split": "dev"},
            {"records": "data"},
            {"columns": ["text"]},
            {"record_start": "id"},
            {"keep_where": {"label": ["1"]}},
            {"max_rows": 9},
            {"lookup": {"path": "b.csv", "key": "id", "take": ["text"]}},
        ],
        ids=lambda change: next(iter(change)),
    )
    def test_what_is_said_of_reading_a_file_makes_other_records(self, change: dict[str, Any]) -> None:
        raw = make_raw(Path())
        before, after = (make_source(file, layout=TEXT) for file in (self.BASE, self.BASE | change))
        assert recipe_of(before, raw).digest != recipe_of(after, raw).digest

    @pytest.mark.parametrize(
        "change",
        [{"note": "a quirk"}, {"published_rows": 5}, {"sha1": "0" * 40}],
        ids=lambda c: next(iter(c)),
    )
    def test_what_is_said_about_a_file_does_not(self, change: dict[str, Any]) -> None:
        raw = make_raw(Path())
        before, after = (make_source(file, layout=TEXT) for file in (self.BASE, self.BASE | change))
        assert recipe_of(before, raw).digest == recipe_of(after, raw).digest

    def test_of_a_source_only_what_changes_records(self) -> None:
        raw = make_raw(Path())
        source = make_source("a.jsonl", layout=TEXT)
        recipe = recipe_of(source, raw).digest
        about = {
            "title": "x",
            "description": "x",
            "page": "https://example.org/x",
            "revision": "v1",
            "genre": "web",
            "licence": {"name": None},
            "uses": ["finetuning"],
            "published_rows": 3,
            "size_bytes": 9,
            "gated": True,
            "verified": True,
            "derived_from": ["y"],
            "status_note": "x",
            "template": "B",
        }
        for name, value in about.items():
            changed = make_source("a.jsonl", layout=TEXT, **{name: value})
            assert recipe_of(changed, raw).digest == recipe, name
        for name, value in {"id": "other", "language": "en", "simplify": True}.items():
            changed = make_source("a.jsonl", layout=TEXT, **{name: value})
            assert recipe_of(changed, raw).digest != recipe, name


class TestPublishedSplits:
    """From a folder hub to records, beside what `datasets` itself loads of the same folder."""

    README = """---
configs:
- config_name: zh
  data_files:
  - split: train
    path: zh/train-*
  - split: test
    path: zh/test-*
- config_name: en
  data_files: en/*
---
"""
    FILES: ClassVar = {
        "zh/train-00000-of-00002": ["头痛", "咳嗽，\n发热", "腹痛"],
        "zh/train-00001-of-00002": ["失眠"],
        "zh/test-00000-of-00001": ["乏力"],
        "en/notes": ["cough", 'a "cold"'],
    }

    def hub(self, folder: Path, suffix: str) -> Path:
        """A folder hub whose repository has its files in one format."""
        place = folder / "hub" / "clinic" / "notes"
        for name, texts in self.FILES.items():
            path = place / f"{name}.{suffix}"
            path.parent.mkdir(parents=True, exist_ok=True)
            frame = pl.DataFrame({"text": texts, "number": list(range(len(texts)))})
            write = {"parquet": frame.write_parquet, "csv": frame.write_csv, "jsonl": frame.write_ndjson}[
                suffix
            ]
            write(path)
        (place / "README.md").write_text(self.README)
        return place

    def normalized(self, folder: Path, *files: dict[str, Any]) -> Dataset:
        settings = Settings(home=folder, hub=folder / "hub", sources=None, lake_root=None)
        source = make_source(*files, layout=TEXT, folder=None, repository="clinic/notes")
        lake = Lake(folder / "lake")
        dataset = normalize_source(
            source, fetch(source, lake=lake, settings=settings).dataset, lake=lake
        ).dataset
        check_funnel(dataset)
        return dataset

    @pytest.mark.parametrize("suffix", ["parquet", "csv", "jsonl"])
    @pytest.mark.parametrize(("subset", "split"), [("zh", "train"), ("zh", "test"), ("en", "train")])
    def test_the_rows_are_those_of_the_library(
        self, tmp_path: Path, suffix: str, subset: str, split: str
    ) -> None:
        hub = self.hub(tmp_path, suffix)
        dataset = self.normalized(tmp_path, entry("**", subset=subset, split=split))
        loaded = datasets.load_dataset(str(hub), subset, split=split, cache_dir=str(tmp_path / "cache"))
        assert texts(dataset) == loaded["text"][:]
        assert set(records_of(dataset)["split"]) == {split}

    def test_two_splits_of_one_subset(self, tmp_path: Path) -> None:
        self.hub(tmp_path, "parquet")
        dataset = self.normalized(tmp_path, *(entry("**", subset="zh", split=s) for s in ("train", "test")))
        assert dict(records_of(dataset).group_by("split").len().rows()) == {"train": 4, "test": 1}
        assert dataset.manifest.facts["patterns_without_files"] == []
