from __future__ import annotations

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from medpipe.curate.near_duplicates.config import NearDuplicateConfig
from medpipe.curate.near_duplicates.shingles import hash_shingles
from medpipe.records.keys import content_key, fold_text

CONFIG = NearDuplicateConfig()
TEXTS = st.text(st.sampled_from("肺炎发热咳嗽，。：问答[] 　\nABcdＡ１2.5>\x00\u200f\U00020000"), max_size=40)


def sets(*texts: str | None, lang: str = "zh", config: NearDuplicateConfig = CONFIG) -> list[set[int]]:
    shingles = hash_shingles(
        pl.Series(texts, dtype=pl.String), pl.Series([lang] * len(texts), dtype=pl.String), config=config
    )
    return [
        set(shingles.hashes[start:end].tolist())
        for start, end in zip(shingles.ends, shingles.ends[1:], strict=False)
    ]


@given(TEXTS, st.integers(1, 6))
@settings(deadline=None)
def test_there_is_one_hash_for_each_character_n_gram_of_the_fold(text: str, size: int) -> None:
    units = fold_text(text).encode("utf-16-le")
    folded = [units[at : at + 2] for at in range(0, len(units), 2)]
    grams = {b"".join(folded[at : at + size]) for at in range(max(1, len(folded) - size + 1))} - {b""}
    [found] = sets(text, config=NearDuplicateConfig(characters=size))
    assert len(found) == len(grams)


@given(TEXTS, TEXTS)
@settings(deadline=None)
def test_texts_with_one_content_key_have_the_same_shingles(one: str, other: str) -> None:
    keys = pl.DataFrame({"text": [one, other]}).select(content_key(pl.col("text"))).to_series()
    left, right = sets(one, other)
    if keys[0] == keys[1]:
        assert left == right


def test_layout_width_case_and_templates_make_no_difference() -> None:
    plain, wide, asked, told = sets(
        "患者发热三天，咳嗽伴胸痛ct示肺炎",
        "患者 发热三天\n　咳嗽、伴胸痛ＣＴ示肺炎。",
        "[QUESTION] 患者发热三天 [ANSWER] 咳嗽伴胸痛CT示肺炎",
        "Instruction: 患者发热三天\nOutput: 咳嗽伴胸痛CT示肺炎",
    )
    assert plain == wide == asked == told


def test_english_is_cut_by_words() -> None:
    base, moved, asked = sets(
        "The patient had fever, cough and chest pain for 3 days.",
        "the  PATIENT had fever cough\nand chest pain (for 3 days)",
        "[QUESTION] The patient had fever, cough [ANSWER] and chest pain for 3 days.",
        lang="en",
    )
    assert base == moved == asked
    assert len(base) == 11 - 4
    [one], [other] = sets("fever and cough", "fever and coughs", lang="en")
    assert one != other
    assert sets("Question: fever and cough", lang="en") == [{one}]


def test_words_and_ideographs_are_told_apart_where_they_touch() -> None:
    [found] = sets("CT示肺炎", lang="en", config=NearDuplicateConfig(words=1))
    assert len(found) == 4


def test_a_short_text_is_one_shingle_and_an_empty_one_has_none() -> None:
    for lang in ("zh", "en", "other"):
        empty, none, marks, short, same, other, nul = sets(
            "", None, "，。！", "咳嗽", "咳 嗽", "咳", "\0", lang=lang
        )
        assert not empty and not none and not marks and not nul
        assert len(short) == len(same) == len(other) == 1
        assert short != other
        if lang != "en":
            assert short == same


def test_the_last_of_a_repeated_character_is_like_the_first() -> None:
    assert [len(each) for each in sets("啊" * 1000, "啊" * 5)] == [1, 1]
    assert sets("啊" * 1000) == sets("啊" * 5)


def test_rows_do_not_see_each_other_and_languages_can_be_mixed() -> None:
    texts = [
        "发热三天伴咳嗽",
        "fever for three days or more",
        "",
        "发热三天伴咳嗽两周",
        "fever and cough again today",
    ]
    langs = ["zh", "en", "zh", "other", "en"]
    together = hash_shingles(pl.Series(texts), pl.Series(langs), config=CONFIG)
    for row, (text, lang) in enumerate(zip(texts, langs, strict=True)):
        alone = hash_shingles(pl.Series([text]), pl.Series([lang]), config=CONFIG)
        assert together.hashes[together.ends[row] : together.ends[row + 1]].tolist() == alone.hashes.tolist()


def test_columns_of_different_length_are_refused() -> None:
    with pytest.raises(ValueError, match="2 texts have 1 languages"):
        hash_shingles(pl.Series(["a", "b"]), pl.Series(["zh"]), config=CONFIG)
