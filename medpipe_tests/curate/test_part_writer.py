"""Parts of sources that did not change are taken over, and nobody can tell."""

from __future__ import annotations

import json
from pathlib import Path
from shutil import copytree

import polars as pl
import pytest

from medpipe.curate.config import CurateConfig
from medpipe.curate.corpus import build_corpus
from medpipe.curate.purposes import Purpose
from medpipe.curate.repeated_passages import RepeatedPassagesConfig
from medpipe.lake import files
from medpipe.lake.dataset import Dataset
from medpipe.lake.digest import sha256_file
from medpipe.lake.layout import Lake
from medpipe.records.kinds import Kind
from medpipe_tests.making import article, make_source, publish_records, turns

PHONE = "我的手机号是138{:08d}，请回电。"
SOURCES = {
    "one": make_source("one"),
    "two": make_source("two"),
    "chat": make_source("chat", Kind.CONVERSATION, uses=["pretraining", "finetuning"]),
}


def data(lake: Lake, *, more: bool) -> dict[str, Dataset]:
    one = [article(n) + PHONE.format(n) for n in range(12)] + [article(3) + PHONE.format(3), "无。"]
    two = [article(n) for n in (*range(100, 110), 5)] + ([article(111)] if more else [])
    return {
        "one": publish_records(lake, "one", Kind.DOCUMENT, [{"text": each} for each in one]),
        "two": publish_records(lake, "two", Kind.DOCUMENT, [{"text": each} for each in two]),
        "chat": publish_records(
            lake,
            "chat",
            Kind.CONVERSATION,
            [{"turns": turns(f"第{n}个问题：怎么办？", article(200 + n))} for n in range(5)],
        ),
    }


def parts(dataset: Dataset) -> dict[str, tuple[int, int]]:
    """Device and file of each Parquet file: equal for hard links."""
    found = {}
    for path in dataset.files():
        if path.suffix == ".parquet":
            found[path.relative_to(dataset.path).as_posix()] = path.stat().st_dev, path.stat().st_ino
    return found


def content(dataset: Dataset) -> dict[str, object]:
    tables = {
        path.relative_to(dataset.path).as_posix(): pl.read_parquet(path).rows()
        for path in dataset.files()
        if path.suffix == ".parquet"
    }
    return {**tables, "card": json.loads((dataset.path / "card.json").read_text())}


@pytest.mark.parametrize("has_links", [True, False])
def test_a_rebuild_takes_over_what_is_equal_and_is_equal_to_a_build_from_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, has_links: bool
) -> None:
    if not has_links:

        def refuse(*_: object) -> None:
            raise PermissionError("no hard links here")

        monkeypatch.setattr(files.Path, "hardlink_to", refuse)
    lake, copy = Lake(tmp_path / "lake"), Lake(tmp_path / "copy")
    first = build_corpus(Purpose.DOCUMENTS, data(lake, more=False), SOURCES, lake=lake).dataset
    # The same past, so that sides stay, but no part that could be taken over.
    copytree(lake.root, copy.root)
    said: list[str] = []
    again = build_corpus(
        Purpose.DOCUMENTS, data(lake, more=True), SOURCES, lake=lake, progress=said.append
    ).dataset
    new = build_corpus(Purpose.DOCUMENTS, data(copy, more=True), SOURCES, lake=copy, force=True).dataset
    assert again.digest == new.digest
    assert again.manifest.rows == new.manifest.rows
    assert again.manifest.facts == new.manifest.facts
    assert content(again) == content(new)
    assert all(sha256_file(again.path / file.path) == file.sha256 for file in again.manifest.files)
    assert [file.rows for file in again.manifest.files] == [file.rows for file in new.manifest.files]
    taken = {line.split(": ")[1] for line in said if line.endswith("as before")}
    assert taken == {"one", "chat"}
    shared = {name for name, file in parts(again).items() if file == parts(first).get(name)}
    assert shared == (
        {f"{source}/part-00000.parquet" for source in taken}
        | {f"rejected/part-{source}.parquet" for source in taken}
        | {f"review/sources/{source}.parquet" for source in taken}
        if has_links
        else set()
    )


def test_settings_and_templates_that_change_texts_change_parts(tmp_path: Path) -> None:
    lake = Lake(tmp_path)
    normalized = data(lake, more=False)

    def taken(config: CurateConfig, **changes: str) -> set[str]:
        said: list[str] = []
        sources = SOURCES | {"chat": make_source("chat", Kind.CONVERSATION, uses=["pretraining"], **changes)}
        build_corpus(Purpose.DOCUMENTS, normalized, sources, lake=lake, config=config, progress=said.append)
        return {line.split(": ")[1] for line in said if line.endswith("as before")}

    usual = CurateConfig()
    assert taken(usual) == set()
    assert taken(usual, template="B") == {"one", "two"}
    assert taken(CurateConfig(validation_share=0.3)) >= {"one", "two", "chat"}, "sides stay"
    assert taken(CurateConfig(privacy=None)) == set()


def test_facts_of_another_version_are_left_alone(tmp_path: Path) -> None:
    lake = Lake(tmp_path)
    first = build_corpus(Purpose.DOCUMENTS, data(lake, more=False), SOURCES, lake=lake).dataset
    manifest = json.loads((first.path / "manifest.json").read_text())
    manifest["facts"]["parts"]["one"]["new_fact"] = 1
    del manifest["facts"]["by_source"]["chat"]
    (first.path / "manifest.json").write_text(json.dumps(manifest))
    said: list[str] = []
    build_corpus(
        Purpose.DOCUMENTS,
        data(lake, more=False),
        SOURCES,
        lake=lake,
        config=CurateConfig(minimum_documents=3),
        progress=said.append,
    )
    assert {line.split(": ")[1] for line in said if line.endswith("as before")} == {"two"}


def test_rejected_records_stand_in_the_order_of_publication(tmp_path: Path) -> None:
    """Also where one is left with nothing but boilerplate; so the parts of a row are told apart."""
    lake = Lake(tmp_path)
    footer = "本站内容仅供参考不能作为诊断和治疗的依据请及时到医院就诊"
    rows = [{"text": f"{article(n)}\n{footer}", "row": n} for n in range(30)]
    rows += [{"text": f"第一段。\n{footer}", "row": 30, "part": 0}, {"text": "短", "row": 30, "part": 1}]
    rows += [{"text": f"第二段。\n{footer}", "row": 30, "part": 2}]
    normalized = {"one": publish_records(lake, "one", Kind.DOCUMENT, rows)}
    passages = RepeatedPassagesConfig(minimum_characters=10, maximum_documents=10, maximum_share=0.01)
    config = CurateConfig(minimum_characters=8, repeated_passages=passages, near_duplicates=None)
    corpus = build_corpus(Purpose.DOCUMENTS, normalized, SOURCES, lake=lake, config=config).dataset
    out = pl.read_parquet(corpus.path / "rejected").filter(row=30)
    assert out["reason"].to_list() == ["only_repeated_passages", "too_short", "only_repeated_passages"]
    assert [raw[:3] for raw in out["raw"]] == ["第一段", "短", "第二段"]


def test_data_sets_without_facts_of_parts_are_left_alone(tmp_path: Path) -> None:
    lake = Lake(tmp_path)
    first = build_corpus(Purpose.DOCUMENTS, data(lake, more=False), SOURCES, lake=lake).dataset
    manifest = json.loads((first.path / "manifest.json").read_text())
    del manifest["facts"]["parts"]
    (first.path / "manifest.json").write_text(json.dumps(manifest))
    said: list[str] = []
    build_corpus(Purpose.DOCUMENTS, data(lake, more=True), SOURCES, lake=lake, progress=said.append)
    assert not any(line.endswith("as before") for line in said)
