"""The deliberate quirks of the sample: what published data really looks like.

`QUIRKS` names every quirk and where it is; the functions below put them in.
"""

from __future__ import annotations

import random
import re
from collections.abc import Mapping, Sequence
from typing import Any, TypeVar

import orjson

QUIRKS: dict[str, str] = {
    "same_qa_two_publishers": "QA of huatuo_encyclopedia_qa reappear, joined, in train_encyclopedia.json",
    "exact_duplicates": "repeated rows in train_datasets.jsonl, medical_book_zh.json and train_zh_0.json",
    "near_duplicates": "rows with one more sentence in the pretraining files and train_zh_0.json",
    "gb18030": "medical_gb18030.json is GB18030, not UTF-8",
    "crlf": "medical_gb18030.json has CRLF line ends",
    "byte_order_mark": "valid_zh_0.json starts with a byte order mark",
    "empty_fields": "empty strings and empty lists in medical.json; empty input in train_zh_0.json",
    "null": "null values in medical.json",
    "absent_keys": "records of medical.json without some keys",
    "misspelled_keys": "prvent, sympton, cure_departmnt in medical.json",
    "broken_json": "a cut row in train_encyclopedia.json, train_zh_0.json, HuatuoGPT_sft_data_v1.jsonl",
    "wrong_type": "the last row of train_datasets.jsonl is a JSON string",
    "telephone": "an invented telephone number in train_zh_0.json and HuatuoGPT_sft_data_v1.jsonl",
    "wide_indent": "U+3000 indents in medical.json and medical_book_zh.json",
    "html": "<br> and &nbsp; in answers",
    "no_break_space": "U+00A0 in answers",
    "zero_width_space": "U+200B in answers",
    "dangling_probe": "reward answers that end with 医生询问：",
    "joined_title": "reward questions with title and detail joined by ？，",
}

TELEPHONE = "13000000000"
"""An invented number: it belongs to nobody."""

_Row = TypeVar("_Row")
_SENTENCE = re.compile(r"[^。！？]*[。！？]")
_INSERTED = (
    "以上内容只作一般介绍。",
    "具体情况因人而异，不可一概而论。",
    "这一点常常被人忽略。",
    "不同地区的做法略有差别。",
)


def broken_row(row: Mapping[str, Any]) -> str:
    """Returns the row as JSON that stops in the middle."""
    text = orjson.dumps(row).decode("utf-8")
    return text[: max(12, len(text) * 2 // 3)].rstrip("}")


def wrong_type_row(text: str) -> str:
    """Returns a JSON string where an object is expected."""
    return orjson.dumps(text).decode("utf-8")


def with_exact_duplicates(chance: random.Random, rows: Sequence[_Row], count: int) -> list[_Row]:
    """Returns the rows with `count` of them repeated at the end."""
    return [*rows, *chance.sample(list(rows), count)]


def near_duplicate(chance: random.Random, text: str) -> str:
    """Returns the text with one short sentence put in between two others."""
    sentences = _SENTENCE.findall(text)
    if len(sentences) < 3:
        return text + chance.choice(_INSERTED)
    place = chance.randrange(1, len(sentences))
    head = "".join(sentences[:place])
    return head + chance.choice(_INSERTED) + text[len(head) :]


def near_duplicates(chance: random.Random, texts: Sequence[str], count: int) -> list[str]:
    """Returns near-duplicates of `count` long texts."""
    long_texts = [text for text in texts if len(text) >= 200]
    return [near_duplicate(chance, text) for text in chance.sample(long_texts, count)]


def decorate(chance: random.Random, text: str) -> str:
    """Returns the text, now and then with HTML remains, a no-break space or a zero-width space."""
    draw = chance.random()
    if draw < 0.03:
        return text.replace("。", "。<br>", 1)
    if draw < 0.05:
        return "&nbsp;&nbsp;" + text
    if draw < 0.07:
        return text.replace("，", "，\u00a0", 1)
    if draw < 0.09:
        return text.replace("、", "、\u200b", 1)
    return text
