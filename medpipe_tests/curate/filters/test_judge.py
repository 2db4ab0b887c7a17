"""Verdicts: the first rule is the reason, the detail says what was measured, the configuration decides."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import polars as pl
import pytest
from pydantic import ValidationError

from medpipe.curate.filters.config import Effect, FilterConfig
from medpipe.curate.filters.describe import rules_table
from medpipe.curate.filters.judge import VERDICT, judge, verdicts
from medpipe.curate.filters.measures import measure
from medpipe.curate.filters.registry import RULES
from medpipe.curate.filters.rules import GROUPS, Limit
from medpipe.records.kinds import Language
from medpipe_tests.curate.filters.prose import en, zh

ZH, EN, OTHER = Language.ZH, Language.EN, Language.OTHER


def one(text: str, config: FilterConfig | None = None, lang: str = "zh") -> dict[str, object]:
    batch = pl.DataFrame({"text": [text], "lang": [lang], "domain": ["disease"]})
    return judge(batch, config=config or FilterConfig()).row(0, named=True)


def test_verdicts_stand_in_the_order_of_the_texts() -> None:
    languages = pl.Enum([language.value for language in Language])
    batch = pl.DataFrame(
        {"text": [zh(80), "药", None, en(60), zh(30)], "lang": ["zh", "zh", "zh", "en", "zh"]}
    ).with_columns(pl.col("lang").cast(languages))
    found = judge(batch)
    assert found.schema == VERDICT
    assert found["reason"].to_list() == [
        None,
        "length_v1/characters",
        "length_v1/characters",
        None,
        None,
    ]
    assert found["detail"].to_list() == [None, "characters 1 < 5", "characters 0 < 5", None, None]
    assert found["refined"].to_list() == [True, False, False, True, False]
    assert found["tier_reason"].to_list() == [None, None, None, None, "gopher_quality_v1/words"]
    assert judge(batch.clear()).schema == VERDICT


def test_the_first_rule_in_order_is_the_reason() -> None:
    found = one("\ufffd\ufffd啊啊")
    assert found["reason"] == "encoding_v1/broken"
    assert found["detail"] == "broken 0.5 > 0.02"
    names = list(RULES)
    assert names.index("encoding_v1/broken") < names.index("length_v1/characters")


def test_a_dropped_text_is_not_refined_and_has_no_tier_reason() -> None:
    found = one(zh(60) + "医生询问：")
    assert found == {
        "reason": "medical_v1/dangling_label",
        "detail": "dangling_label 1 > 0",
        "refined": False,
        "tier_reason": None,
    }


def test_a_rule_can_be_switched_off_or_made_to_decide_the_tier_alone() -> None:
    text, rule = zh(60) + "医生询问：", "medical_v1/dangling_label"
    tier_only = one(text, FilterConfig(effects={rule: Effect.TIER}))
    assert (tier_only["reason"], tier_only["tier_reason"]) == (None, rule)
    off = one(text, FilterConfig(effects={rule: Effect.OFF}))
    assert (off["reason"], off["tier_reason"]) == (None, "medical_v1/open_end")


def test_a_limit_to_drop_decides_the_tier_where_it_may_not_drop() -> None:
    rule = "length_v1/mean_line"
    config = FilterConfig(limits={rule: {ZH: Limit(drop=50)}}, effects={rule: Effect.TIER})
    assert one("\n".join([zh(40), zh(40, start=900)]), config)["tier_reason"] == rule


def test_limits_can_be_changed_by_language() -> None:
    rule = "length_v1/characters"
    config = FilterConfig(limits={rule: {ZH: Limit(drop=100)}})
    assert one(zh(99), config)["detail"] == "characters 99 < 100"
    assert one(zh(100), config)["reason"] is None
    assert one(en(12), config, "en")["reason"] is None


def test_groups_are_on_by_language() -> None:
    groups = {ZH: frozenset(GROUPS) - {"bad_words", "length"}, EN: frozenset({"length"})}
    config = FilterConfig(groups=groups)
    assert one("药", config)["reason"] is None
    assert one("drug", config, "en")["reason"] == "length_v1/characters"
    assert one("x", config, "other")["reason"] is None


def test_too_many_words_are_raw() -> None:
    rule = "gopher_quality_v1/too_many_words"
    config = FilterConfig(limits={rule: {ZH: Limit(refine=70)}})
    assert one(zh(70), config)["refined"]
    assert one(zh(80), config)["tier_reason"] == rule


def test_bad_words_need_a_list_and_medicine_needs_none() -> None:
    everything = {language: frozenset(GROUPS) for language in Language}
    with pytest.raises(ValidationError, match="the list bad_words is empty"):
        FilterConfig(groups=everything)
    config = FilterConfig(groups=everything, bad_words=("赌场", "casino"))
    assert one(zh(60) + "网上赌场。", config)["reason"] == "bad_words_v1/any"
    assert one(en(60) + " Casino.", config, "en")["reason"] == "bad_words_v1/any"
    assert one(en(60) + " Casinos.", config, "en")["reason"] is None
    assert one(zh(60) + "乳房与阴道检查。")["reason"] is None


@pytest.mark.parametrize(
    ("config", "message"),
    [
        ({"effects": {"length_v1/caracters": "off"}}, "effects: there is no length_v1/caracters"),
        ({"limits": {"length": {}}}, "limits: there is no length; known are"),
        ({"groups": {"zh": ["gopher"]}}, "groups: there is no gopher; known are bad_words, c4"),
    ],
)
def test_unknown_names_are_errors_that_name_the_known(config: dict[str, object], message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        FilterConfig.model_validate(config)


def test_a_configuration_survives_json() -> None:
    config = FilterConfig(limits={"length_v1/characters": {ZH: Limit(drop=9)}})
    assert FilterConfig.model_validate_json(config.model_dump_json()) == config
    for groups in config.model_dump(mode="json")["groups"].values():
        assert groups == sorted(groups)


def test_texts_measured_once_can_be_judged_again() -> None:
    batch = pl.DataFrame({"text": [zh(80), "药", en(60)], "lang": ["zh", "zh", "en"]})
    measured = measure(batch).with_columns(batch["lang"])
    assert verdicts(measured).equals(judge(batch))


def test_an_answer_that_takes_up_its_question_repeats_nothing() -> None:
    question = zh(120)
    assert one(f"[QUESTION] {question} [ANSWER] {question}")["reason"] is None
    assert one(f"{question}{question}")["reason"] == "gopher_repetition_v1/duplicate_6_gram"


def test_the_last_words_of_a_long_conversation_may_be_courtesy() -> None:
    talk = (
        f"[User] {zh(90)}\n[Assistant] {zh(90, start=700)}\n[User] 谢谢医生\n[Assistant] 不客气，祝您早日康复"
    )
    assert one(talk)["refined"]


def test_rules_name_measures_and_groups_that_exist() -> None:
    measured = measure(pl.DataFrame({"text": ["x"]}))
    for name, rule in RULES.items():
        assert name == rule.name
        assert rule.measure in measured.columns
        assert rule.group in GROUPS
        assert rule.limits, name
        for limit in rule.limits.values():
            if limit.drop is not None and limit.refine is not None:
                assert limit.drop <= limit.refine if rule.least else limit.drop >= limit.refine, name


def test_the_page_has_the_table_of_the_registry() -> None:
    page = Path(__file__).parents[3] / "docs" / "filters.md"
    assert rules_table() in page.read_text(encoding="utf-8"), (
        "docs/filters.md is not up to date: put in the output of medpipe.curate.filters.describe.rules_table"
    )


def test_rules_and_configuration_load_without_compiled_code() -> None:
    program = (
        "import sys, medpipe.curate.filters.judge, medpipe.curate.filters.describe\n"
        "assert not {'numba', 'pyarrow', 'torch', 'datasets'} & set(sys.modules)\n"
    )
    subprocess.run([sys.executable, "-c", program], check=True)
