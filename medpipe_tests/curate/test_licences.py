"""A purpose stops what its licence, its note or its parents do not allow, and names it."""

from __future__ import annotations

from typing import Any

import pytest

from medpipe.catalog.load import builtin_sources
from medpipe.catalog.source import Source
from medpipe.curate.licences import (
    COMMERCIAL_USE,
    LicenceConfig,
    LicencePurpose,
    allowed,
    gate,
    licence_as_stated,
)
from medpipe_tests.making import make_source

RESEARCH, COMMERCIAL = LicencePurpose.RESEARCH, LicencePurpose.COMMERCIAL


def licensed(name: str | None, source_id: str = "a", **more: Any) -> Source:
    licence = {"name": name, "verified": more.pop("verified", True), "note": more.pop("note", None)}
    return make_source(source_id, licence=licence, **more)


@pytest.mark.parametrize(
    ("name", "note", "verified", "research", "commercial"),
    [
        ("Apache-2.0", None, True, True, True),
        ("mit", None, True, True, True),
        ("cc-by-sa-3.0", "and gfdl", True, True, True),
        ("GPL-3.0", None, True, True, True),
        ("cc-by-nc-4.0", None, True, True, False),
        ("CC-BY-NC-SA-4.0", None, True, True, False),
        ("apache-2.0", "README: academic use only", True, True, False),
        ("GPL-3.0", "README: for non-commercial research; LICENSE file: GPL-3.0", False, True, False),
        (None, "README: academic use only; no licence file", True, True, False),
        ("apache-2.0", "licence of the code", True, True, None),
        ("cc0-1.0", "of the collection; the pages have authors of their own", True, True, None),
        ("apache-2.0", None, False, True, None),
        (None, None, True, None, None),
        ("unknown", "copyright stays with the web site", True, None, None),
        ("other", None, True, None, None),
        ("cc", None, True, None, None),
        ("Skywork Community License", None, True, None, None),
    ],
)
def test_what_the_catalog_states_decides(
    name: str | None, note: str | None, verified: bool, research: bool | None, commercial: bool | None
) -> None:
    source = licensed(name, note=note, verified=verified)
    assert allowed(source, RESEARCH).allowed is research
    verdict = allowed(source, COMMERCIAL)
    assert verdict.allowed is commercial
    assert licence_as_stated(source.licence) in verdict.reason


def test_a_derived_data_set_inherits_the_stricter_licence() -> None:
    parent = licensed("cc-by-nc-4.0", "parent", title="Nobody/parent (train)", repository="Nobody/parent")
    middle = licensed("mit", "middle", title="Middle", derived_from=["Nobody/parent"])
    child = licensed("mit", "child", derived_from=["Middle"])
    catalog = [parent, middle, child]
    assert allowed(parent, COMMERCIAL, catalog=catalog).allowed is False
    for each in (middle, child):
        verdict = allowed(each, COMMERCIAL, catalog=catalog)
        assert verdict.allowed is False
        assert "parent, which" in verdict.reason
        assert allowed(each, RESEARCH, catalog=catalog).allowed is True


def test_a_parent_that_nobody_knows_is_unknown() -> None:
    child = licensed("mit", derived_from=["Somebody/else"])
    verdict = allowed(child, COMMERCIAL, catalog=[child])
    assert verdict.allowed is None
    assert "Somebody/else, which a repeats, is not in the catalog" in verdict.reason


def test_two_data_sets_that_name_each_other_do_not_run_in_circles() -> None:
    one = licensed("mit", "one", title="One", derived_from=["Two"])
    two = licensed("mit", "two", title="Two", derived_from=["One"])
    assert allowed(one, COMMERCIAL, catalog=[one, two]).allowed is True


def test_the_gate_names_each_source_with_its_licence_and_the_fix() -> None:
    sources = [licensed("mit", "free"), licensed("cc-by-nc-4.0", "closed"), licensed("Own Terms", "own")]
    result = gate(sources, COMMERCIAL)
    assert not result.passed
    assert [(refusal.source, refusal.licence) for refusal in result.refused] == [
        ("closed", "cc-by-nc-4.0"),
        ("own", "Own Terms"),
    ]
    message = result.message()
    assert message.startswith("the purpose 'commercial' does not allow 2 sources:")
    assert "`medpipe sources disable closed`, or build for 'research'" in message
    assert "accepted_sources: [own] or allow_licences: [Own Terms]" in message
    assert "free" not in message


def test_what_is_unknown_passes_for_research_with_a_warning() -> None:
    result = gate([licensed(None, "a"), licensed("mit", "b")], RESEARCH)
    assert result.passed
    assert result.warnings == ("a: no licence is known of a (no licence stated)",)
    assert result.message() == "every source is allowed for the purpose 'research'"


def test_a_person_can_clear_a_source_or_a_licence() -> None:
    own, closed = licensed("Own Terms", "own"), licensed("cc-by-nc-4.0", "closed")
    restricted = licensed("Own Terms", "restricted", note="academic use only")
    sources = [own, closed, restricted]
    by_licence = gate(sources, COMMERCIAL, config=LicenceConfig(allow_licences=("own terms",)))
    assert [refusal.source for refusal in by_licence.refused] == ["closed", "restricted"]
    everything = LicenceConfig(accepted_sources=("own", "closed", "restricted"))
    accepted = gate(sources, COMMERCIAL, config=everything)
    assert accepted.passed
    assert len(accepted.warnings) == 3
    assert all("accepted by you" in warning for warning in accepted.warnings)


def test_a_licence_that_was_cleared_is_clear_for_parents_too() -> None:
    parent = licensed("Own Terms", "parent", title="Parent")
    child = licensed("mit", "child", derived_from=["Parent"])
    config = LicenceConfig(allow_licences=("Own Terms",))
    assert not gate([child], COMMERCIAL, catalog=[parent, child]).passed
    assert gate([child], COMMERCIAL, catalog=[parent, child], config=config).passed


def test_no_sources_pass() -> None:
    assert gate([], COMMERCIAL).passed


def test_every_source_of_the_catalog_has_a_verdict_and_restrictions_are_read() -> None:
    catalog = builtin_sources()
    verdicts = {source.id: allowed(source, COMMERCIAL, catalog=catalog) for source in catalog}
    refused = {source_id for source_id, verdict in verdicts.items() if verdict.allowed is False}
    assert {"cmedqa2", "ceval_medical_exam", "promptcblue", "shibing624_medical_finetune"} <= refused
    unknown = {source_id for source_id, verdict in verdicts.items() if verdict.allowed is None}
    assert {"epfl_guidelines", "cmcqa", "skypile_150b", "huatuo_encyclopedia_qa"} <= unknown
    assert verdicts["wikipedia_cn_20230720_filtered"].allowed is True
    assert not gate(catalog, RESEARCH, catalog=catalog).refused
    names = {source.licence.name.lower() for source in catalog if source.licence.name}
    # A licence that is new to the catalog must be looked up before anybody builds on it.
    assert names - set(COMMERCIAL_USE) == {"unknown", "other", "cc", "skywork community license"}
