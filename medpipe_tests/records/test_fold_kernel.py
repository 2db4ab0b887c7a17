"""The compiled fold beside the same rules written as regular expressions."""

from __future__ import annotations

import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from string import ascii_lowercase, ascii_uppercase

import polars as pl
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from medpipe.records.fold_kernel import fold_column
from medpipe.records.keys import content_key, fold_text
from medpipe.records.utf8 import code_points, utf8_of
from medpipe_tests.shared_data import shared_data

NAMES = (
    "问题|回答|提问|问|答|医生|患者|病人|用户|助手"
    "|question|answer|user|assistant|human|instruction|output|response"
)
WIDE = [chr(code) for code in range(0xFF01, 0xFF5F)]
NARROW = [chr(code - 0xFEE0).lower() for code in range(0xFF01, 0xFF5F)]


MARK, NUMBER, OTHER = r"[\p{P}--[%‰]]", r"\p{N}", r"(?:[^\s\p{P}\p{C}\p{N}]|[%‰])"
PARTS = rf"{OTHER}+|{MARK}?{NUMBER}+(?:{MARK}? ?{MARK}?{NUMBER}+)*{MARK}?"


DIGITS = frozenset(chr(code) for code in code_points(NUMBER).tolist())


def joined(parts: list[str]) -> str:
    """The parts one behind the other, two numbers apart."""
    text, is_behind_number = "", False
    for part in parts:
        is_number = not DIGITS.isdisjoint(part)
        text += f" {part}" if is_number and is_behind_number else part
        is_behind_number = is_number
    return text


def by_expressions(column: pl.Series) -> list[str]:
    text = (
        pl.col("text")
        .str.replace_many(WIDE + list(ascii_uppercase), NARROW + list(ascii_lowercase))
        .str.replace_all(rf"(^|[\s.。?!;…])(?:{NAMES})\s*:|\[(?:{NAMES})\]", "${1} ")
        .str.replace_all(r"[?!。;…]\s*", "。")
        .str.replace_all(r"\s+", " ")
        .str.extract_all(PARTS)
    )
    return [joined(parts) for parts in column.to_frame("text").select(text).to_series().to_list()]


def by_kernel(column: pl.Series) -> list[str]:
    folded = fold_column(column)
    return [folded.text(row) for row in range(column.len())]


def check(*texts: str) -> None:
    column = pl.Series(texts, dtype=pl.String)
    assert by_kernel(column) == by_expressions(column)


any_text = st.text(alphabet=st.characters(codec="utf-8"), max_size=40)
dense = st.text(
    alphabet="1２٣½Ⅱ𝟗.,、。；;？?！!…()—𐄀 \u3000\n\t\u200b\ufffda中Ｂ℃[]:：问题答医生usｅR", max_size=40
)
PIECES = [
    "问",
    "问题",
    "：",
    ":",
    "。",
    "…",
    ".",
    "[User]",
    "［assistant］",
    "Human",
    "答",
    "[",
    "]",
    "1",
    "5",
    "！",
]
pieces = st.lists(
    st.sampled_from([*PIECES, "ＡＮＳＷＥＲ", "头痛", "👨", "𠀀", " ", "\n", "\u3000", "\u0301", "\x00"]),
    max_size=14,
).map("".join)


@settings(max_examples=300)
@given(any_text, dense, pieces)
@example("", "1", "问")
@example("1. ,5", "1.. 5", "1 ， 5")
@example("5 - 10", "5 (-10", "5 )( 𐄀10")
@example("50 %", "1 . 5", "2 、 3‰")
@example("é1\u0301", "𝟗 𐄀𝟗", "user :1 user:1[user]1")
def test_the_kernel_is_what_the_expressions_say(one: str, two: str, three: str) -> None:
    check(one, two, three)


def test_every_character_beside_letters_and_numbers() -> None:
    every = [chr(code) for code in range(0x110000) if not 0xD800 <= code < 0xE000]
    check(*(f"a{character}1{character}2{character} {character}b" for character in every))


@pytest.mark.parametrize(
    ("folder", "file"),
    [("nlp-guild_medical-data", "medical.json"), ("huatuo-26m", "test_datasets.jsonl"), ("imcs21", "")],
)
def test_real_text(folder: str, file: str) -> None:
    place = shared_data(f"{folder}/{file}".rstrip("/"))
    files = [place] if place.is_file() else sorted(path for path in place.rglob("*") if path.is_file())
    texts = [line for path in files for line in path.read_text(errors="replace").splitlines()]
    assert texts
    check(*texts[:3_000])


def test_rows_stand_apart_in_a_sliced_column_with_nulls() -> None:
    column = pl.Series(["前", "1", None, "2", "问：x", "后"])[1:5]
    assert by_kernel(column) == ["1", "", "2", "x"]
    keys = column.to_frame("text").select(content_key(pl.col("text"))).to_series()
    assert keys.n_unique() == 4
    assert pl.Series([], dtype=pl.String).to_frame("t").select(content_key(pl.col("t"))).height == 0
    assert utf8_of(pl.Series([None, None], dtype=pl.String)).offsets.tolist() == [0, 0, 0]
    assert utf8_of(pl.Series(["x", "y"]).scatter(0, None)).offsets.tolist() == [0, 0, 1]


def test_threads_do_not_disturb_each_other() -> None:
    columns = [pl.Series([f"第{number}例，{row}.5mg。" * 50 for row in range(200)]) for number in range(8)]
    alone = [by_kernel(column) for column in columns]
    with ThreadPoolExecutor(4) as pool:
        assert list(pool.map(by_kernel, columns)) == alone


def test_the_tables_agree_with_the_regular_expressions() -> None:
    for pattern in (r"\p{P}", r"\p{N}", r"\s", r"[^\p{C}]"):
        listed = set(code_points(pattern).tolist())
        characters = pl.Series([chr(code) for code in range(0x30000) if not 0xD800 <= code < 0xE000])
        matched = characters.filter(characters.str.contains(f"^{pattern}$")).to_list()
        assert {code for code in listed if code < 0x30000} == {ord(character) for character in matched}


def test_a_process_that_can_write_nowhere_compiles_for_itself(tmp_path: Path) -> None:
    """As where the package is installed read-only and there is no home folder."""
    program = (
        "from numba.core import caching\n"
        "caching.CacheImpl._locator_classes = []\n"
        "from medpipe.records.keys import fold_text\n"
        "print(fold_text('１．０Ｇ，好'))\n"
    )
    environment = {**os.environ, "PYTHONIOENCODING": "utf-8"}
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, encoding="utf-8", env=environment, cwd=tmp_path
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() == fold_text("1.0g好") == "1.0g好"
