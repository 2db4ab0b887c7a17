"""The card of a corpus says what was set for this build."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from medpipe.catalog.source import Source
from medpipe.curate.card import JSON, MARKDOWN
from medpipe.curate.corpus import build_corpus
from medpipe.curate.filters.registry import RULES
from medpipe.curate.form import curation_of
from medpipe.curate.privacy.rules import RULES as PRIVACY_RULES
from medpipe.curate.purposes import Purpose
from medpipe.lake.dataset import Built
from medpipe.lake.layout import Lake
from medpipe.records.kinds import Kind
from medpipe_tests.making import article, make_source, publish_records

RULE = next(name for name, rule in RULES.items() if rule.group == "c4" and "zh" in rule.limits)
FOOTER = "感谢您对我们医院的信任和支持，祝您早日康复，欢迎您再次光临本院！"
PARENT = make_source("parent", title="Nobody/parent", licence={"name": "mit", "verified": True})
TEXT = make_source(
    "text", licence={"name": "mit", "verified": True}, derived_from=["Nobody/parent", "Nobody/lost"]
)


@pytest.fixture
def lake(tmp_path: Path) -> Lake:
    lake = Lake(tmp_path / "lake")
    publish_records(
        lake, "text", Kind.DOCUMENT, [{"text": f"{article(number)}\n{FOOTER}"} for number in range(12)]
    )
    return lake


def build(lake: Lake, *, parent: Source = PARENT, **form: Any) -> Built:
    from medpipe.lake.dataset import current

    return build_corpus(
        Purpose.DOCUMENTS,
        {"text": current(lake, "normalized", "text")},
        {"text": TEXT},
        lake=lake,
        config=curation_of({"filters": dict.fromkeys(("repetition", "medical"), "off")} | form),
        catalog=[TEXT, parent],
    )


def card(built: Built) -> dict[str, Any]:
    return json.loads((built.dataset.path / JSON).read_text(encoding="utf-8"))


def markdown(built: Built) -> str:
    return (built.dataset.path / MARKDOWN).read_text(encoding="utf-8")


def thresholds(built: Built) -> dict[str, Any]:
    return {rule["name"]: rule["thresholds"] for rule in card(built)["filters"]}


def test_a_changed_threshold_stands_on_the_card(lake: Lake) -> None:
    before = build(lake)
    after = build(lake, filters={RULE: {"zh": 4321}, "fineweb": "off"}, minimum_characters=7)
    assert set(RULES) < set(thresholds(after))
    assert thresholds(before)[RULE].get("zh", {}).get("drop") != 4321
    assert thresholds(after)[RULE]["zh"]["drop"] == 4321
    assert "4,321" in markdown(after) and "4,321" not in markdown(before)
    assert thresholds(after)["too_short"] == {"least": 7}
    off = {name for name, rule in RULES.items() if rule.group == "fineweb"}
    assert off and all(thresholds(after)[name] == {} for name in off)
    assert all(f"| `{name}` " in markdown(after) for name in RULES)


def test_what_was_switched_off_or_set_stands_on_the_card(lake: Lake) -> None:
    plain = card(build(lake))
    assert plain["deduplication"]["near"]["similarity"] == 0.8
    assert plain["contamination"]["characters"] == 30 and plain["contamination"]["exams"] == []
    assert plain["repeated_passages"] == {"state": "left in"}
    assert plain["split_rule"]["validation_share"] == 0.02
    assert set(plain["privacy"]) == set(PRIVACY_RULES)
    other = card(
        build(lake, similarity=0.9, contamination=False, privacy=False, validation_share=0.25, exam_words=9)
    )
    assert other["deduplication"]["near"]["similarity"] == 0.9
    assert other["contamination"] == {"state": "not looked for"}
    assert other["privacy"] == {}
    assert other["split_rule"]["validation_share"] == 0.25


def test_removed_passages_stand_in_the_facts_and_on_the_card(lake: Lake) -> None:
    built = build(lake, repeated_passages=True, passage_documents=5, near_duplicates=False)
    facts = built.dataset.manifest.facts
    assert facts["passages_removed"] == 12
    told = facts["by_source"]["text"]["repeated_passages"]["passages"]
    assert told == [{"passage": FOOTER, "documents": 12, "removed": 12}]
    assert card(built)["passages"] == [{"source": "text", **told[0]}]
    assert FOOTER in markdown(built)


def test_the_purpose_stands_in_recipe_facts_and_card(lake: Lake) -> None:
    research = build(lake)
    commercial = build(lake, licence_purpose="commercial", accepted_sources=["text"])
    assert not commercial.reused
    for built, purpose in ((research, "research"), (commercial, "commercial")):
        assert built.dataset.manifest.facts["licence_purpose"] == purpose
        assert card(built)["purpose"] == purpose
        assert purpose in str(built.dataset.manifest.recipe.config)
    assert card(commercial)["cleared"] == {"sources": ["text"]}
    assert "accepted by you" in markdown(commercial)


def test_a_parents_new_licence_makes_a_new_card(lake: Lake) -> None:
    first = build(lake)
    assert build(lake).reused
    assert card(first)["sources"][0]["unknown_parents"] == ["Nobody/lost"]
    assert "nothing is known of Nobody/lost" in markdown(first)
    stricter = make_source("parent", title="Nobody/parent", licence={"name": None})
    second = build(lake, parent=stricter)
    assert not second.reused
    assert "parent, which text repeats" in "".join(card(second)["licence_warnings"])
