"""From a `dataset_info.json` and the files beside it to records, for each of its layouts."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from medpipe.catalog.load import read_catalog_folder
from medpipe.ingest.errors import FetchError
from medpipe.ingest.snapshot import fetch
from medpipe.lake.dataset import Dataset
from medpipe.lake.layout import Lake
from medpipe.normalize.run import normalize_source
from medpipe_tests.ingest.sources import make_settings


def normalized(
    folder: Path, entry: dict[str, Any], rows: list[Any] | str, name: str = "data.json"
) -> Dataset:
    """The records of one data set of a registry, whose file holds these rows."""
    (folder / name).write_text(rows if isinstance(rows, str) else json.dumps(rows, ensure_ascii=False))
    (folder / "dataset_info.json").write_text(json.dumps({"问诊集": {"file_name": name, **entry}}))
    (source,) = read_catalog_folder(folder)
    lake = Lake(folder / "lake")
    raw = fetch(source, lake=lake, settings=make_settings(folder / "home"))
    return normalize_source(source, raw.dataset, lake=lake).dataset


def records(dataset: Dataset) -> pl.DataFrame:
    return pl.read_parquet(dataset.path / "part-*.parquet").sort("row", "part")


def reasons(dataset: Dataset) -> dict[int, str]:
    """Why each row gave nothing."""
    paths = list((dataset.path / "rejected").glob("*.parquet"))
    frame = pl.concat([pl.read_parquet(path) for path in paths])
    return dict(frame.sort("row").select("row", "reason").iter_rows())


def said(turns: list[dict[str, str]]) -> list[tuple[str, str]]:
    return [(turn["role"], turn["content"]) for turn in turns]


def test_alpaca_with_query_system_and_history(tmp_path: Path) -> None:
    columns = {
        "prompt": "ask",
        "query": "more",
        "response": "reply",
        "system": "setting",
        "history": "before",
    }
    rows = [
        {
            "ask": "头痛怎么办？",
            "more": "已经三天了。",
            "reply": "先测血压。",
            "setting": "你是医生。",
            "before": [["你好", "您好，请讲。"]],
        },
        {"ask": "咳嗽怎么办？", "more": "", "reply": "多喝水。", "setting": "", "before": []},
    ]
    first, second = records(normalized(tmp_path, {"columns": columns}, rows)).to_dicts()
    assert first["system"] == "你是医生。"
    assert said(first["turns"]) == [
        ("user", "你好"),
        ("assistant", "您好，请讲。"),
        ("user", "头痛怎么办？\n已经三天了。"),
        ("assistant", "先测血压。"),
    ]
    assert said(second["turns"]) == [("user", "咳嗽怎么办？"), ("assistant", "多喝水。")]
    assert second["system"] is None


def test_prompt_and_response_must_be_non_empty_strings(tmp_path: Path) -> None:
    rows = [
        {"instruction": "发热怎么办？", "input": "", "output": "多休息。"},
        {"instruction": " ", "input": "发热怎么办？", "output": "多休息。"},
        {"instruction": "发热怎么办？", "input": "", "output": ""},
        {"instruction": "发热怎么办？", "input": "", "output": ["多休息。", "不用管。"]},
        {"instruction": ["发热怎么办？"], "output": "多休息。"},
        {"instruction": "发热怎么办？", "output": None},
        {"instruction": "发热怎么办？"},
        {"instruction": "只有一句", "output": "没有补充。"},
    ]
    dataset = normalized(tmp_path, {}, rows)
    assert records(dataset)["row"].to_list() == [0, 7]
    assert reasons(dataset) == {
        1: "empty_question",
        2: "empty_answer",
        3: "unexpected_type",
        4: "unexpected_type",
        5: "unexpected_type",
        6: "missing_field",
    }


def test_kto_keeps_what_is_desirable(tmp_path: Path) -> None:
    columns = {"prompt": "q", "response": "a", "kto_tag": "good"}
    rows = [{"q": "发热？", "a": "多喝水。", "good": True}, {"q": "发热？", "a": "不用管。", "good": False}]
    dataset = normalized(tmp_path, {"columns": columns}, rows)
    assert records(dataset)["row"].to_list() == [0]
    assert reasons(dataset) == {1: "undesirable"}


def test_text_lines_and_text_fields(tmp_path: Path) -> None:
    entry = {"columns": {"prompt": "text"}}
    assert records(normalized(tmp_path, entry, "第一段。\n第二段。\n", "a.txt"))["text"].to_list() == [
        "第一段。",
        "第二段。",
    ]
    assert records(normalized(tmp_path, entry, '{"text": "第三段。"}\n', "b.jsonl"))["text"].to_list() == [
        "第三段。"
    ]


def test_ranked_alpaca_by_columns_and_by_a_list(tmp_path: Path) -> None:
    columns = {"prompt": "q", "query": "x", "chosen": "good", "rejected": "bad"}
    rows = [{"q": "头晕？", "x": "两天了。", "good": "测血压。", "bad": "不用管。"}]
    (pair,) = records(normalized(tmp_path, {"ranking": True, "columns": columns}, rows)).to_dicts()
    assert said(pair["prompt"]) == [("user", "头晕？\n两天了。")]
    assert (pair["chosen"], pair["rejected"]) == ("测血压。", "不用管。")
    old = [{"instruction": "头晕？", "input": "", "output": ["测血压。", "不用管。"]}]
    (pair,) = records(normalized(tmp_path, {"ranking": True}, old, "old.json")).to_dicts()
    assert (pair["chosen"], pair["rejected"]) == ("测血压。", "不用管。")


def test_sharegpt_with_tools(tmp_path: Path) -> None:
    rows = [
        {
            "conversations": [
                {"from": "human", "value": "今天天气？"},
                {"from": "function_call", "value": '{"name": "weather"}'},
                {"from": "observation", "value": "晴"},
                {"from": "gpt", "value": "今天晴。"},
            ],
            "system": "你是助手。",
            "tools": "[weather]",
        },
        {"conversations": [{"from": "bystander", "value": "?"}], "system": "", "tools": ""},
    ]
    columns = {"messages": "conversations", "system": "system", "tools": "tools"}
    dataset = normalized(tmp_path, {"formatting": "sharegpt", "columns": columns}, rows)
    (talk,) = records(dataset).to_dicts()
    assert talk["system"] == "你是助手。"
    assert said(talk["turns"]) == [
        ("user", "今天天气？"),
        ("function", '{"name": "weather"}'),
        ("observation", "晴"),
        ("assistant", "今天晴。"),
    ]
    assert reasons(dataset) == {1: "unknown_role"}


OPENAI = {
    "formatting": "openai",
    "columns": {"messages": "messages"},
    "tags": {
        "role_tag": "role",
        "content_tag": "content",
        "user_tag": "user",
        "assistant_tag": "assistant",
        "system_tag": "system",
    },
}


def test_openai_messages(tmp_path: Path) -> None:
    messages = [
        {"role": "system", "content": "你是医生。"},
        {"role": "user", "content": "腹痛？"},
        {"role": "assistant", "content": "哪里痛？"},
    ]
    (talk,) = records(normalized(tmp_path, OPENAI, [{"messages": messages}])).to_dicts()
    assert (talk["system"], said(talk["turns"])) == (
        "你是医生。",
        [("user", "腹痛？"), ("assistant", "哪里痛？")],
    )


@pytest.mark.parametrize("formatting", ["sharegpt", "openai"])
def test_ranked_messages(tmp_path: Path, formatting: str) -> None:
    columns = {"messages": "messages", "chosen": "good", "rejected": "bad", "system": "setting"}
    row = {
        "setting": "你是医生。",
        "messages": [
            {"role": "user", "content": "腹痛？"},
            {"role": "assistant", "content": "哪里痛？"},
            {"role": "user", "content": "右下。"},
        ],
        "good": {"role": "assistant", "content": "请就诊。"},
        "bad": {"role": "assistant", "content": "不用管。"},
    }
    entry = OPENAI | {"formatting": formatting, "ranking": True, "columns": columns}
    (pair,) = records(normalized(tmp_path, entry, [row])).to_dicts()
    assert said(pair["prompt"]) == [("user", "腹痛？"), ("assistant", "哪里痛？"), ("user", "右下。")]
    assert (pair["system"], pair["chosen"], pair["rejected"]) == ("你是医生。", "请就诊。", "不用管。")


def test_the_first_rows_only(tmp_path: Path) -> None:
    rows = [{"instruction": f"第{n}问？", "output": "答。"} for n in range(5)]
    dataset = normalized(tmp_path, {"num_samples": 2}, rows)
    assert records(dataset)["row"].to_list() == [0, 1]


def test_a_file_must_have_its_hash(tmp_path: Path) -> None:
    rows = json.dumps([{"instruction": "问？", "output": "答。"}])
    right = hashlib.sha1(rows.encode()).hexdigest()
    assert records(normalized(tmp_path, {"file_sha1": right}, rows)).height == 1
    with pytest.raises(FetchError, match=r"data\.json.*SHA-1"):
        normalized(tmp_path, {"file_sha1": "0" * 40}, rows + " ")
