"""The corpus assets in Dagster: what a licence stops, and what a wrong setting says."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import dagster as dg
import pytest

from medpipe.catalog.source import Source
from medpipe.curate.assets import DOCUMENTS_KEY, LICENCES, build_corpus_assets
from medpipe.curate.filters.registry import RULES
from medpipe.lake.dataset import current, find_current
from medpipe.lake.layout import Lake
from medpipe.records.kinds import Kind
from medpipe.run_form import RunForm
from medpipe_tests.making import article, make_source, publish_records

TOP_2_GRAM, TOP_3_GRAM = (f"gopher_repetition_v1/top_{length}_gram" for length in (2, 3))


@pytest.fixture
def lake(tmp_path: Path) -> Lake:
    lake = Lake(tmp_path / "lake")
    publish_records(lake, "books", Kind.DOCUMENT, [{"text": article(number)} for number in range(30)])
    return lake


def materialize(
    lake: Lake, source: Source, form: dict[str, Any] | None = None, **config: Any
) -> dg.ExecuteInProcessResult:
    """Builds the corpus, and an asset behind it that only says that it ran."""

    @dg.asset(deps=[DOCUMENTS_KEY])
    def behind() -> None: ...

    return dg.materialize(
        [*build_corpus_assets([source], catalog=[source], lake=lake), behind],
        resources={"form": RunForm(**form or {})},
        run_config={"loggers": {"console": {}}, "ops": {"corpus__documents": {"config": config}}},
        raise_on_error=False,
    )


def licence_check(result: dg.ExecuteInProcessResult) -> dg.AssetCheckEvaluation:
    (found,) = (each for each in result.get_asset_check_evaluations() if each.check_name == LICENCES)
    return found


def test_a_source_that_the_purpose_does_not_allow_stops_the_build_and_is_named(lake: Lake) -> None:
    source = make_source("books", licence={"name": "cc-by-nc-4.0", "verified": True})
    result = materialize(lake, source, licence_purpose="commercial")
    check = licence_check(result)
    assert not result.success and not check.passed and check.blocking
    assert "books" in str(check.description) and "cc-by-nc-4.0" in str(check.description)
    assert find_current(lake, "corpus", "documents") is None
    assert not result.asset_materializations_for_node("behind")


def test_the_same_source_passes_for_research_or_once_it_is_cleared(lake: Lake) -> None:
    source = make_source("books", licence={"name": "cc-by-nc-4.0", "verified": True})
    for config in ({}, {"licence_purpose": "commercial", "accepted_sources": ["books"]}):
        result = materialize(lake, source, **config)
        assert result.success and licence_check(result).passed
        assert result.asset_materializations_for_node("behind")
    assert current(lake, "corpus", "documents").manifest.rows == 30


def test_settings_of_the_form_reach_the_corpus_and_its_card(lake: Lake) -> None:
    result = materialize(
        lake,
        make_source("books"),
        filters={"c4": False, "fineweb": "off", TOP_2_GRAM: {"zh": {"drop": 0.875}}, TOP_3_GRAM: 0.75},
        near_duplicates=False,
        contamination=False,
        repeated_passages=True,
        passage_documents=3,
        licence_purpose="research",
    )
    assert result.success
    (event,) = result.asset_materializations_for_node("corpus__documents")
    assert event.metadata["licence purpose"].value == "research"
    assert "repeated passages" in event.metadata
    card = json.loads((current(lake, "corpus", "documents").path / "card.json").read_text("utf-8"))
    assert card["repeated_passages"]["maximum_documents"] == 3
    assert card["deduplication"]["near"] is None
    limits = {rule["name"]: rule["thresholds"] for rule in card["filters"]}
    assert limits[TOP_2_GRAM]["zh"]["drop"] == 0.875
    assert {limit["drop"] for limit in limits[TOP_3_GRAM].values()} == {0.75}
    off = {rule["name"] for rule in card["filters"] if not rule["thresholds"]}
    assert {name for name, rule in RULES.items() if rule.group in ("c4", "fineweb")} <= off


def test_the_preview_shows_no_personal_data_even_where_the_corpus_keeps_it(lake: Lake) -> None:
    texts = [{"text": f"请写信到 doctor@yiyuan{number}.cn。{article(number)}"} for number in range(30)]
    publish_records(lake, "books", Kind.DOCUMENT, texts)
    result = materialize(lake, make_source("books"), privacy=False)
    (event,) = result.asset_materializations_for_node("corpus__documents")
    shown = str(event.metadata["preview"].value)
    assert "[邮箱]" in shown and "yiyuan" not in shown


@pytest.mark.parametrize(
    ("config", "said"),
    [
        (
            {"licence_purpose": "Commercial"},
            "Input should be 'research' or 'commercial'",
        ),
        ({"similarity": 0.2}, "similarity"),
        ({"minimum_documents": 1}, "minimum_documents"),
        ({"filters": {"gopher_quality": 3}}, "the group 'gopher_quality' can only be off"),
        ({"filters": {"no_rule_v1": "off"}}, "Known rules are"),
        ({"accepted_sources": ["bookz"]}, "the catalog has no source 'bookz'; did you mean books?"),
        ({"allow_licences": ["mitt"]}, "allow_licences: the catalog has no licence 'mitt'"),
    ],
)
def test_a_wrong_setting_is_a_plain_failure(lake: Lake, config: dict[str, Any], said: str) -> None:
    result = materialize(lake, make_source("books"), **config)
    failure = result.failure_data_for_node("corpus__documents")
    assert failure is not None and failure.user_failure_data is not None
    assert said in str(failure.user_failure_data.description)
    assert find_current(lake, "corpus", "documents") is None
