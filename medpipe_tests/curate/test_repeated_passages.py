from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from pathlib import Path
from random import Random

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from medpipe.curate.cleaning import ONLY_BOILERPLATE, PassageRemoval
from medpipe.curate.repeated_passages import (
    RepeatedPassagesConfig,
    find_repeated_passages,
    remove_repeated,
)
from medpipe.records.keys import fold_text

CONFIG = RepeatedPassagesConfig(minimum_characters=10, maximum_documents=3, maximum_share=0)
THANKS = "感谢您对我们医院的信任和支持，祝您早日康复！"
FOOTER = "本文内容仅供参考，不能代替医生的诊断与治疗。"
DOSE = "请您在饭后服用本品，一日三次，用温开水送服。"
VALUES = "空腹血糖的正常范围是3.9到6.1毫摩尔每升左右。"


def body(number: int) -> str:
    """Two sentences that no other number has."""
    random = Random(number)
    return (
        "，".join("".join(chr(0x5000 + random.randrange(3000)) for _ in range(12)) for _ in range(2)) + "。"
    )


def find(texts: list[str | None], folder: Path, config: RepeatedPassagesConfig = CONFIG) -> np.ndarray:
    return find_repeated_passages(
        pl.LazyFrame({"text": texts}, schema={"text": pl.String}), folder=folder, config=config
    ).hashes


def clean(texts: list[str | None], folder: Path, config: RepeatedPassagesConfig = CONFIG) -> list[str | None]:
    repeated = find(texts, folder, config)
    return remove_repeated(pl.Series("text", texts, dtype=pl.String), repeated, config=config).texts.to_list()


def test_a_sentence_of_many_documents_is_removed_wherever_it_stands(tmp_path: Path) -> None:
    texts = [
        f"{body(0)}{THANKS}",
        f"{THANKS}{body(1)}",
        f"{body(2)}\n{THANKS}\n{body(3)}",
        f"{body(4)}　{THANKS.replace('，', ' ').replace('！', '。')}",
        f"{body(5)}\n\n{THANKS}\n",
    ]
    assert clean(texts, tmp_path) == [
        body(0),
        body(1),
        f"{body(2)}\n{body(3)}",
        body(4),
        f"{body(5)}\n\n",
    ]
    assert not list(tmp_path.iterdir())


def test_a_line_of_several_sentences_is_removed_whole(tmp_path: Path) -> None:
    line = "欢迎关注我们。每天更新健康知识。点击阅读更多内容。"
    texts = [f"{body(number)}\n{line}" for number in range(4)]
    repeated = find(texts, tmp_path)
    assert len(repeated) == 1
    removed = remove_repeated(pl.Series(texts), repeated, config=CONFIG)
    assert removed.texts.to_list() == [body(number) for number in range(4)]
    assert removed.counts.to_list() == [1] * 4


def test_documents_are_counted_and_not_occurrences(tmp_path: Path) -> None:
    assert not len(find([THANKS * 9, THANKS, THANKS + "\n" + THANKS], tmp_path))
    assert len(find([THANKS * 9, THANKS, THANKS, body(1) + THANKS], tmp_path)) == 1


def test_all_three_thresholds_have_to_be_passed(tmp_path: Path) -> None:
    texts = [body(number) + (THANKS if number < 5 else "") for number in range(100)]

    def found(**changes: float) -> int:
        return len(find(texts, tmp_path, CONFIG.model_copy(update=changes)))

    assert found() == 1
    assert found(maximum_documents=4) == 1
    assert found(maximum_documents=5) == 0
    assert found(maximum_share=0.049) == 1
    assert found(maximum_share=0.05) == 0
    letters = len(fold_text(THANKS).replace("。", "").replace("，", ""))
    assert found(minimum_characters=letters) == 1
    assert found(minimum_characters=letters + 1) == 0


def test_doses_and_values_are_never_boilerplate(tmp_path: Path) -> None:
    texts = [f"{body(number)}{DOSE}{VALUES}{FOOTER}" for number in range(50)]
    assert clean(texts, tmp_path) == [f"{body(number)}{DOSE}{VALUES}" for number in range(50)]
    assert clean([DOSE] * 9, tmp_path) == [DOSE] * 9


def test_role_markers_stay_and_a_text_of_nothing_else_is_empty(tmp_path: Path) -> None:
    texts: list[str | None] = [f"[QUESTION] {body(number)} [ANSWER] {THANKS}" for number in range(4)]
    texts += [
        f"[QUESTION]{THANKS} [ANSWER] {THANKS}",
        f"问：{body(9)}\n答：{THANKS}",
        f"[ANSWER] {THANKS}",
        THANKS,
        "",
        None,
        "短",
    ]
    repeated = find(texts, tmp_path)
    removed = remove_repeated(pl.Series(texts), repeated, config=CONFIG)
    assert removed.texts.to_list() == [
        *(f"[QUESTION] {body(number)} [ANSWER]" for number in range(4)),
        f"[QUESTION]{THANKS} [ANSWER]",
        f"问：{body(9)}\n答：",
        "",
        "",
        "",
        None,
        "短",
    ]
    assert removed.counts.to_list() == [1, 1, 1, 1, 1, 1, 1, 1, 0, 0, 0]
    assert removed.counts.dtype == pl.UInt32


def test_english_sentences_end_at_a_full_stop_before_a_space(tmp_path: Path) -> None:
    thanks = "Thank you for asking at www.example.com today."
    texts = [f"Case {name} was unlike all others. {thanks} Bye now." for name in ("one", "two", "six", "ten")]
    assert clean(texts, tmp_path)[0] == "Case one was unlike all others. Bye now."
    assert clean([text.upper() for text in texts], tmp_path)[3] == "CASE TEN WAS UNLIKE ALL OTHERS. BYE NOW."


def test_nothing_repeated_changes_nothing(tmp_path: Path) -> None:
    texts = pl.Series("text", [body(1), None, ""])
    removed = remove_repeated(texts, find([body(1), None, ""], tmp_path), config=CONFIG)
    assert removed.texts.equals(texts)
    assert removed.counts.to_list() == [0, 0, 0]
    assert not len(find([], tmp_path))
    assert remove_repeated(pl.Series([], dtype=pl.String), find([], tmp_path)).texts.is_empty()


PARTS = st.sampled_from(
    [THANKS, FOOTER, DOSE, "\n", " ", "　", "。", "a.b", "咳嗽", "[ANSWER]", "\x00", "\u200f", "”"]
)


@given(st.lists(st.lists(PARTS, max_size=8).map("".join), min_size=1, max_size=12))
@settings(deadline=None, max_examples=60)
def test_only_whole_passages_go_and_the_rest_stays_in_order(
    tmp_path_factory: pytest.TempPathFactory, texts: list[str]
) -> None:
    repeated = find(list(texts), tmp_path_factory.mktemp("passages"))
    removed = remove_repeated(pl.Series(texts), repeated, config=CONFIG)
    for before, after, count in zip(texts, removed.texts, removed.counts, strict=True):
        rest = iter(before)
        assert all(character in rest for character in after)
        assert (count == 0) == (before == after)
        assert Counter(after)["次"] in (Counter(before)["次"], 0)


FIELD = "是否属于医疗保险：否，患者需要自行承担全部的治疗和检查费用。"
HEADING = "儿童急性上呼吸道感染的一般治疗原则包括以下几个方面："
TASK = "请阅读下面的病历并且判断患者最可能得的是哪一种疾病。"


@pytest.mark.parametrize(
    "of",
    [
        pytest.param(lambda text: f"{text}\n{FIELD}", id="a field on a line of its own"),
        pytest.param(lambda text: f"{text}{FIELD}", id="a field in a line"),
        pytest.param(lambda text: f"{text}\n治疗：{text}{THANKS}", id="a later sentence of a field"),
        pytest.param(lambda text: f"名称：甲病。{text}\n{THANKS}\n{FOOTER}", id="a record of fields"),
        pytest.param(lambda text: f"Name: Alpha.\n{text}{THANKS}", id="an English record of fields"),
        pytest.param(lambda text: f"{text}\n{HEADING}\n{text}", id="a heading"),
        pytest.param(lambda text: f"{text}\n{HEADING} \n{text}", id="a heading with a space behind it"),
        pytest.param(lambda text: f"[QUESTION] {TASK}{text} [ANSWER] {text}", id="a task"),
        pytest.param(lambda text: f"Instruction: {TASK}\n{text}\nOutput: {text}", id="a task by template B"),
        pytest.param(
            lambda text: f"[User] {text}\n[Assistant] 好\n[User] {TASK}", id="a task in a later turn"
        ),
        pytest.param(lambda text: f"{text}\n患者：{TASK}", id="what a patient says"),
    ],
)
def test_what_is_no_boilerplate_for_sure_stays(of: Callable[[str], str], tmp_path: Path) -> None:
    texts: list[str | None] = [of(body(number)) for number in range(9)]
    assert clean(texts, tmp_path) == texts


def test_an_answer_behind_a_task_and_a_colon_late_in_a_sentence_can_be_boilerplate(tmp_path: Path) -> None:
    late = "祝您身体健康，早日康复，也请记住我们的网址，我们说：欢迎常来看看。"
    texts: list[str | None] = [f"[User] {TASK}\n[Assistant] {body(n)}{THANKS}{late}" for n in range(9)]
    assert clean(texts, tmp_path) == [f"[User] {TASK}\n[Assistant] {body(n)}" for n in range(9)]


def test_a_letter_of_ascii_counts_a_third(tmp_path: Path) -> None:
    texts: list[str | None] = [
        f"Case {chr(65 + n) * 9} differs. Take good care of yourself now." for n in range(9)
    ]
    assert len("Takegoodcareofyourselfnow") == 25
    assert len(find(texts, tmp_path, CONFIG.model_copy(update={"minimum_characters": 8}))) == 1
    assert not len(find(texts, tmp_path, CONFIG.model_copy(update={"minimum_characters": 9})))


def test_only_documents_that_count_make_boilerplate(tmp_path: Path) -> None:
    frame = pl.LazyFrame({"text": [body(number) + THANKS for number in range(8)]})
    for kept, found in ((4, [4]), (3, [])):
        counted = pl.Series([number < kept for number in range(8)])
        repeated = find_repeated_passages(frame, folder=tmp_path, counted=counted, config=CONFIG)
        assert repeated.documents.tolist() == found


def test_each_removed_passage_is_told_once_with_its_number(tmp_path: Path) -> None:
    texts = pl.Series([f"{body(n)}{THANKS}\n{FOOTER}{THANKS}" for n in range(5)] + [body(9) + FOOTER])
    removed = remove_repeated(texts, find(texts.to_list(), tmp_path), config=CONFIG)
    told = {passage: often for _, passage, often in removed.passages.iter_rows()}
    assert told == {THANKS: 5, FOOTER + THANKS: 5, FOOTER: 1}
    assert removed.counts.sum() == 11


def removal(texts: list[str], folder: Path) -> PassageRemoval:
    return PassageRemoval(
        pl.LazyFrame({"text": texts}),
        counted=pl.repeat(True, len(texts), eager=True),
        folder=folder,
        config=CONFIG,
        minimum_characters=5,
    )


def test_documents_of_which_too_little_is_left_are_rejected_as_they_were(tmp_path: Path) -> None:
    texts = [
        *(f"[QUESTION] {body(n)} [ANSWER] {body(n + 50)}{THANKS}" for n in range(3)),
        f"[QUESTION] {body(3)} [ANSWER] {THANKS}",
        f"Instruction: {body(4)}\nOutput: {THANKS}",
        f"[User] {body(5)}\n[Assistant] {THANKS}\n[User] {body(6)}\n[Assistant] {body(7)}",
        f"好的。{THANKS}",
        f"[QUESTION] {body(8)} [ANSWER]",
    ]
    removing = removal(texts, tmp_path)
    kept, lost = removing.remove(pl.DataFrame({"id": list("abcdefgh"), "text": texts}))
    assert kept["id"].to_list() == ["a", "b", "c", "h"]
    assert kept["text"].to_list() == [text.replace(THANKS, "") for text in (*texts[:3], texts[7])]
    assert lost.rows() == [
        (name, text, ONLY_BOILERPLATE, None) for name, text in zip("defg", texts[3:7], strict=True)
    ]
    assert removing.facts() == {
        "removed": 7,
        "different": 1,
        "passages": [{"passage": THANKS, "documents": 7, "removed": 7}],
    }


def test_the_most_frequent_passages_are_shown_without_personal_data(tmp_path: Path) -> None:
    lines = [
        f"请拨打我们医院的免费咨询热线电话，号码{'零' * (n % 5)}是 {chr(0x4E00 + n) * 12}" for n in range(30)
    ]
    mail = "有任何的问题请您写信到 zhang@yiyuan.cn 我们的医生会回答。"
    texts = [body(100 + n) + "\n" + "\n".join([*lines[: 30 - n], mail]) for n in range(25)]
    removing = removal(texts, tmp_path)
    removing.remove(pl.DataFrame({"text": texts}))
    facts = removing.facts()
    assert len(facts["passages"]) == 20
    assert facts["different"] > 20
    often = [each["removed"] for each in facts["passages"]]
    assert often == sorted(often, reverse=True)
    assert "zhang@yiyuan.cn" not in str(facts) and "我们的医生会回答" in str(facts)


def test_batches_do_not_matter_and_hashes_are_in_order(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    texts: list[str | None] = [body(number) + (THANKS, FOOTER, "")[number % 3] for number in range(60)]
    texts += [f"{body(100 + number // 6)}" for number in range(300)]
    whole = find(texts, tmp_path)
    assert len(whole) == 52
    assert whole.dtype == np.uint64
    assert (np.diff(whole.astype(object)) > 0).all()
    monkeypatch.setattr("medpipe.curate.repeated_passages._BATCH_ROWS", 7)
    assert np.array_equal(find(texts, tmp_path), whole)


def test_a_long_document_and_one_repeated_character(tmp_path: Path) -> None:
    long = "啊" * 5_000_000
    texts: list[str | None] = [long, (body(1) + THANKS) * 20_000, *[THANKS] * 4]
    assert clean(texts, tmp_path) == [long, body(1) * 20_000, "", "", "", ""]
