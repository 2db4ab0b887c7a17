"""The settings as a person fills them in: what they become, and what a mistake says."""

from __future__ import annotations

import math
from typing import Any

import pytest

from medpipe.curate.assets import CorpusConfig
from medpipe.curate.config import CurateConfig
from medpipe.curate.filters.config import Effect, FilterConfig, filters_of
from medpipe.curate.filters.describe import configured_limits
from medpipe.curate.filters.registry import RULES
from medpipe.curate.filters.rules import GROUPS, Limit
from medpipe.curate.form import curation_of
from medpipe.curate.licence_statements import check_statements, stated_parents, unknown_parents
from medpipe.curate.licences import LicenceConfig, LicencePurpose, gate
from medpipe.curate.privacy.rules import RULES as PRIVACY_RULES
from medpipe.curate.repeated_passages import RepeatedPassagesConfig
from medpipe.records.kinds import Language
from medpipe_tests.making import make_source

RULE = next(
    name for name, rule in RULES.items() if rule.limits.keys() == set(Language) and rule.group == "c4"
)
SHARE = "gopher_repetition_v1/top_2_gram"
NO_LIMITS: list[Any] = [
    *(math.nan, math.inf, True, -1, None, {}),
    *({"zh": value} for value in (None, {}, {"drop": None}, {"refine": math.nan}, {"refine": True})),
    *({"en": value} for value in (-0.1, "0.5", {"refine": -0.1}, {"drop": "0.5"})),
]
OTHER = next(name for name, rule in RULES.items() if rule.group == "repetition")


def test_the_form_as_it_is_gives_the_defaults() -> None:
    assert CorpusConfig().curation() == CurateConfig()
    assert curation_of({}) == CurateConfig()


def test_every_part_can_be_switched_off_and_set() -> None:
    off = CorpusConfig(near_duplicates=False, contamination=False, privacy=False).curation()
    assert (off.near_duplicates, off.contamination, off.privacy) == (None, None, None)
    some = next(iter(PRIVACY_RULES))
    on = CorpusConfig(
        similarity=0.9,
        exam_characters=12,
        exam_words=7,
        privacy_rules=[some],
        repeated_passages=True,
        passage_documents=7,
        licence_purpose="commercial",
        accepted_sources=["books"],
    ).curation()
    assert on.near_duplicates is not None and on.near_duplicates.similarity == 0.9
    assert on.contamination is not None
    assert (on.contamination.characters, on.contamination.short_characters) == (12, 12)
    assert (on.contamination.words, on.contamination.short_words) == (7, 7)
    assert on.privacy is not None and on.privacy.rules == (some,)
    assert on.repeated_passages == RepeatedPassagesConfig(maximum_documents=7)
    assert on.licences == LicenceConfig(purpose=LicencePurpose.COMMERCIAL, accepted_sources=("books",))


@pytest.mark.parametrize(
    ("form", "said"),
    [
        ({"similarity": 0.2}, ["similarity is 0.2", "0.5"]),
        ({"minimum_documents": 1}, ["minimum_documents is 1", "2"]),
        ({"validation_share": 1.5}, ["validation_share is 1.5"]),
        ({"exam_characters": 3}, ["exam_characters is 3", "8"]),
        ({"repeated_passages": True, "passage_share": 2}, ["passage_share is 2"]),
        ({"privacy_rules": ["privacy_v1/nothing"]}, ["privacy_rules", "privacy_v1/nothing", "there are"]),
        ({"licence_purpose": "profit"}, ["licence_purpose is 'profit'", "'research' or 'commercial'"]),
        ({"filters": {RULE[:-1]: "off"}}, [f"no rule '{RULE[:-1]}'", "did you mean", RULE, OTHER]),
        ({"filters": {RULE: "maybe"}}, [RULE, "'maybe' is no limit", "'tier'"]),
        ({"filters": {RULE: {"de": 1}}}, [RULE, "no language 'de'", "zh, en, other"]),
        ({"filters": {RULE: {"zh": {"drops": 1}}}}, [RULE, "no limit"]),
        ({"filters": {"c4": 3}}, ["the group 'c4' can only be off"]),
        *(
            ({"filters": {SHARE: value}}, [SHARE, "is no limit; say 'off', 'tier', a number"])
            for value in NO_LIMITS
        ),
        ({"filters": {SHARE: 1.5}}, [SHARE, "1.5 is no limit of a share; say 1 at most"]),
        ({"bad_words": [""]}, ["bad_words", "blank"]),
        ({"bad_words": ["坏词", " \u3000"]}, ["bad_words", "blank"]),
        ({"exam_characters": 1_000_000}, ["exam_characters is 1000000", "200"]),
        ({"exam_words": 1_000_000}, ["exam_words is 1000000", "100"]),
        ({"similarity": math.nan}, ["similarity is nan"]),
        ({"validation_share": math.nan}, ["validation_share is nan"]),
        ({"repeated_passages": True, "passage_share": math.nan}, ["passage_share is nan"]),
    ],
)
def test_a_mistake_names_the_field_and_what_it_may_be(form: dict[str, Any], said: list[str]) -> None:
    with pytest.raises(ValueError) as raised:
        CorpusConfig(**form).curation()
    message = str(raised.value)
    assert all(each in message for each in said)
    assert "validation error" not in message and "pydantic" not in message


def test_filters_are_changed_by_rule_language_and_group() -> None:
    assert filters_of({}) == FilterConfig()
    own = RULES[RULE].limits
    assert filters_of({RULE: "tier"}).effects == {RULE: Effect.TIER}
    # What YAML makes of `off`.
    assert filters_of({RULE: False}).effects == filters_of({RULE: "off"}).effects == {RULE: Effect.OFF}
    everywhere = filters_of({RULE: 0.75}).limits[RULE]
    assert {language: limit.drop for language, limit in everywhere.items()} == dict.fromkeys(own, 0.75)
    assert {limit.refine for limit in everywhere.values()} == {limit.refine for limit in own.values()}
    chinese = filters_of({RULE: {"zh": {"refine": 0.25}}}).limits[RULE]
    assert list(chinese) == [Language.ZH]
    assert (chinese[Language.ZH].drop, chinese[Language.ZH].refine) == (own[Language.ZH].drop, 0.25)
    off = filters_of({SHARE: {"zh": "off", "en": {"drop": False}}}).limits[SHARE]
    assert off[Language.ZH] == Limit()
    assert off[Language.EN] == Limit(refine=RULES[SHARE].limits[Language.EN].refine)
    without = filters_of({"c4": "off"}, bad_words=["坏词"])
    assert set(without.groups[Language.ZH]) == set(GROUPS) - {"c4"}


def test_configured_limits_are_those_of_the_build() -> None:
    rule = RULES[RULE]
    assert configured_limits(rule, filters_of({RULE: {"en": 0.125}}))["en"]["drop"] == 0.125
    assert configured_limits(rule, filters_of({RULE: "off"})) == {}
    assert configured_limits(rule, filters_of({"c4": "off"})) == {}
    assert all("drop" not in each for each in configured_limits(rule, filters_of({RULE: "tier"})).values())
    own = {k: v.model_dump(exclude_none=True) for k, v in rule.limits.items()}
    assert configured_limits(rule, FilterConfig()) == {k: v for k, v in own.items() if v}


BOOKS = make_source("old_books", licence={"name": "CC-BY-NC-4.0"})


def test_a_mistyped_source_or_licence_is_told_with_what_is_near() -> None:
    check_statements(
        LicenceConfig(accepted_sources=("old_books",), allow_licences=("cc-by-nc-4.0",)), [BOOKS]
    )
    with pytest.raises(ValueError) as raised:
        check_statements(
            LicenceConfig(accepted_sources=("old_book", "xyz"), allow_licences=("cc-by-nc-40",)), [BOOKS]
        )
    first, second, third = str(raised.value).splitlines()
    assert "accepted_sources" in first and "'old_book'" in first and "did you mean old_books?" in first
    assert "'xyz'" in second and "medpipe sources list" in second
    assert "allow_licences" in third and "did you mean cc-by-nc-4.0?" in third


@pytest.mark.parametrize("name", ["unknown", "Unknown"])
def test_a_licence_that_nobody_knows_clears_nothing(name: str) -> None:
    lost = make_source("lost", licence={"name": "unknown"})
    config = LicenceConfig(purpose=LicencePurpose.COMMERCIAL, allow_licences=(name,))
    with pytest.raises(ValueError, match=r"'unknown' is no licence.*accepted_sources"):
        check_statements(config, [BOOKS, lost])
    assert not gate([lost], config.purpose, config=config).passed


def test_parents_are_followed_through_the_whole_catalog() -> None:
    child = make_source("child", derived_from=["old_books", "nobody's"])
    middle = make_source("books", title="old_books", derived_from=["oldest"])
    oldest = make_source("oldest", licence={"name": "mit"})
    stated = stated_parents(child, [child, middle, oldest])
    assert list(stated) == ["nobody's", "old_books", "oldest"]
    assert stated["nobody's"] == []
    assert stated["oldest"][0]["id"] == "oldest" and stated["oldest"][0]["licence"]["name"] == "mit"
    assert unknown_parents(child, [child, middle, oldest]) == ("nobody's",)
