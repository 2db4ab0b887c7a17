"""The kernels beside plain Python, and on input that breaks kernels."""

from __future__ import annotations

import time
import tracemalloc
from concurrent.futures import ThreadPoolExecutor

import polars as pl
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from medpipe.curate import tier
from medpipe.curate.filters import code_points as k
from medpipe.curate.filters.measures import measure
from medpipe.curate.filters.repetition_kernel import WINDOW
from medpipe_tests.curate.filters import reference
from medpipe_tests.curate.filters.prose import en, zh

any_text = st.text(alphabet=st.characters(codec="utf-8"), max_size=60)
few = st.text(alphabet="头痛a1。 \n", max_size=90)
PIECES = [
    *("[User]", "[Assistant]", "[QUESTION] ", " [ANSWER] ", "[ANSWER", "Instruction:", "\nOutput: ", "Outpu"),
    *(
        "头痛",
        "药",
        "的",
        "the",
        "of ",
        "T-cell",
        "don't",
        "38.5",
        "．",
        "。",
        ".",
        "...",
        "…",
        "#",
        "{",
        "•",
        "-",
    ),
    *(" ", "\n", "\n\n", "\t", "\u3000", "\u200f", "\u202e", "\x00", "\ufffd", "\ue000", "é", "\u0301", "ア"),
    *("0", "²", "Ⅱ", "℃", "👨‍⚕️", "𠀀", "\u2028", "\x85", "\r\n", "x" * 31, "y" * 33),
]
pieces = st.lists(st.sampled_from(PIECES), max_size=40).map("".join)


def measured(*texts: str) -> list[dict[str, float]]:
    return measure(pl.DataFrame({"text": texts}, schema={"text": pl.String})).to_dicts()


def check(*texts: str) -> None:
    for text, found in zip(texts, measured(*texts), strict=True):
        for name, expected in reference.measures(text).items():
            if expected is None:
                assert found[name] is None, (name, text)
            else:
                assert found[name] == pytest.approx(expected), (name, text)


@settings(max_examples=300, deadline=None)
@given(any_text, few, pieces)
@example("", " ", "\n")
@example("aa aa aa aa aa aa", "a" * 70, "中" * 70)
@example("a.", "a.b", "a-\u200fb")
@example("[User] 头痛 [User]", "Output: [ANSWER]", " Instruction:x\n  Output: y")
def test_the_kernels_count_what_plain_python_counts(one: str, two: str, three: str) -> None:
    check(one, two, three)


def test_windows_of_long_texts() -> None:
    text = (zh(3_000) + "头痛头痛") * 4
    assert len(text) > WINDOW
    check(text, en(9_000) + " " + en(500), "头痛" * (WINDOW // 2) + zh(7))


@settings(max_examples=200, deadline=None)
@given(any_text, few, pieces)
@example("a. b.", "．1[3800000000]13800000000", "加我微信")
def test_the_tier_rule_is_that_of_the_house(one: str, two: str, three: str) -> None:
    texts = pl.DataFrame({"text": [one, two, three, (two + zh(60)), three + zh(80)]})
    expected = texts.select(tier.refined_v1(pl.col("text"))).to_series().to_list()
    assert [found == 1 for found in measure(texts)["refined_v1"]] == expected


@pytest.mark.parametrize(
    ("kind", "pattern"),
    [
        (k.HAN, r"[\p{Han}&&\p{L}]"),
        (k.LATIN, r"[\p{Latin}&&\p{L}]"),
        (k.DIGIT, r"\p{N}"),
        (k.PUNCTUATION, r"\p{P}"),
        (k.SPACE, r"[\s&&[^\n]]"),
        (k.INVISIBLE, r"\p{Cf}"),
        (k.MARK, r"\p{M}"),
    ],
)
def test_the_table_agrees_with_the_regular_expressions(kind: int, pattern: str) -> None:
    characters = pl.Series([chr(code) for code in range(0x20000) if not 0xD800 <= code < 0xE000])
    matched = characters.filter(characters.str.contains(f"^{pattern}$")).to_list()
    assert [c for c in characters if k.kinds()[ord(c)] & k.KIND_BITS == kind] == matched


def test_rows_stand_apart_in_a_sliced_column_with_nulls() -> None:
    texts = ["前" * 50, zh(80), None, "", en(70), "后" * 50]
    batch = pl.DataFrame({"text": texts})
    alone = [measure(pl.DataFrame({"text": [text]}, schema={"text": pl.String})) for text in texts]
    assert measure(batch).equals(pl.concat(alone))
    assert measure(batch[1:5]).equals(pl.concat(alone[1:5]))
    assert measure(batch.clear()).height == 0


def test_threads_do_not_disturb_each_other() -> None:
    batches = [pl.DataFrame({"text": [zh(80, start=7 * n) * (n % 3 + 1), en(60)] * 50}) for n in range(8)]
    alone = [measure(batch) for batch in batches]
    with ThreadPoolExecutor(4) as pool:
        assert all(a.equals(b) for a, b in zip(pool.map(measure, batches), alone, strict=True))


@pytest.mark.parametrize("character", ["中", "a", "。", " ", "\n", "\u200f", "\x00", "[", "."])
def test_one_character_over_and_over(character: str) -> None:
    (found,) = measured(character * 100_000)
    units = found["units"]
    assert units == {" ": 0, "\n": 0, "\u200f": 0, "a": 3125}.get(character, 100_000)
    if units:
        assert found["top_2_gram"] == pytest.approx(1, abs=0.01)
        assert found["duplicate_10_gram"] == pytest.approx(1, abs=0.01)


@pytest.mark.slow
@pytest.mark.parametrize("text", ["中" * 17_000_000, "a\n" * 25_000_000])
def test_fifty_megabytes_in_linear_time_and_bounded_memory(text: str) -> None:
    size = len(text.encode()) / 1e6
    tenth = pl.DataFrame({"text": [text[: len(text) // 10]]})
    whole = pl.DataFrame({"text": [text]})
    measure(tenth)
    seconds = []
    tracemalloc.start()
    for batch in (tenth, whole):
        started = time.process_time()
        measure(batch)
        seconds.append(time.process_time() - started)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert seconds[1] < 30 * max(seconds[0], 0.01)
    assert peak < size * 1e6
