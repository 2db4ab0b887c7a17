"""Which entries become assets: by default, by the folder hub, by a person's choice; and why others do not."""

from __future__ import annotations

from pathlib import Path

import pytest
from pydantic import SecretStr

from medpipe.catalog.choices import (
    Choice,
    read_choices,
    replace_choice,
    store_choice,
    web_page,
    with_choice,
)
from medpipe.catalog.load import CatalogError
from medpipe.catalog.selection import (
    Catalog,
    State,
    load_catalog,
    why_not_allowed,
    why_not_fetched,
)
from medpipe.catalog.source import Status, Use
from medpipe.records.kinds import Language
from medpipe.settings import Settings, SettingsError
from medpipe_tests.catalog.test_load import ENTRY, write
from medpipe_tests.ingest.sources import make_settings, make_source

PAGE = "https://example.org/notes"


def enabled(settings: Settings) -> set[str]:
    return {source.id for source in load_catalog(settings).enabled}


def test_with_a_folder_hub_only_what_lies_in_it_is_enabled(tmp_path: Path) -> None:
    (tmp_path / "hub" / "nlp-guild" / "medical-data").mkdir(parents=True)
    assert enabled(Settings(home=tmp_path, hub=tmp_path / "hub")) == {"nlp_guild_medical_data"}


def test_an_own_entry_is_enabled_unless_it_says_otherwise(tmp_path: Path) -> None:
    folder = tmp_path / "sources"
    folder.mkdir()
    write(folder / "a.yaml", ENTRY)
    settings = Settings(home=tmp_path, sources=folder)
    assert "mine" in enabled(settings)
    write(folder / "a.yaml", ENTRY + "    enabled: false\n")
    assert "mine" not in enabled(settings)


def test_a_choice_is_kept_and_wins(tmp_path: Path) -> None:
    settings = Settings(home=tmp_path)
    store_choice(tmp_path, "epfl_guidelines", Choice(enabled=False))
    assert "epfl_guidelines" not in enabled(settings)
    store_choice(tmp_path, "epfl_guidelines", Choice(accept_terms=True))
    source = load_catalog(settings).get("epfl_guidelines")
    assert source.accept_terms and "epfl_guidelines" not in enabled(settings)


def test_an_own_copy_takes_the_place_of_the_repository_until_it_is_forgotten(tmp_path: Path) -> None:
    settings = Settings(home=tmp_path)
    store_choice(tmp_path, "epfl_guidelines", Choice(folder=tmp_path / "copy"))
    source = load_catalog(settings).get("epfl_guidelines")
    assert (source.folder, source.repository) == (tmp_path / "copy", None)
    assert web_page(source) == "https://huggingface.co/datasets/epfl-llm/guidelines"
    replace_choice(tmp_path, "epfl_guidelines", Choice())
    assert load_catalog(settings).get("epfl_guidelines").repository == "epfl-llm/guidelines"
    assert read_choices(tmp_path) == {"epfl_guidelines": Choice()}


def test_a_manual_source_is_available_in_a_folder_and_others_are_not(tmp_path: Path) -> None:
    manual = make_source("a.jsonl", repository=None, status="manual", page=PAGE)
    assert with_choice(manual, Choice(folder=tmp_path)).status is Status.AVAILABLE
    for status in ("listed", "excluded"):
        source = make_source("a.jsonl", status=status, status_note="bad")
        assert with_choice(source, Choice(enabled=True, folder=tmp_path)) == source


@pytest.mark.parametrize(
    ("fields", "told"),
    [
        ({"status": "listed"}, "only listed and cannot be fetched: nobody could verify its files"),
        ({"status": "listed", "status_note": "page gone"}, "only listed and cannot be fetched: page gone"),
        (
            {"status": "excluded", "status_note": "answers are links"},
            "is excluded and is not fetched: answers are links",
        ),
        (
            {"status": "manual", "repository": None, "page": PAGE},
            f"get it from {PAGE}, then `medpipe sources enable clinic_notes --folder DIR`",
        ),
        (
            {"gated": True},
            "terms at https://huggingface.co/datasets/clinic/notes, set HF_TOKEN, then "
            "`medpipe sources enable clinic_notes --accept-terms`",
        ),
        (
            {"size_bytes": 6_000_000_000},
            "6,000,000,000 bytes: `medpipe sources enable clinic_notes --accept-size`",
        ),
        (
            {"status": "manual", "repository": None, "page": PAGE, "gated": True, "accept_terms": True},
            "`medpipe sources enable clinic_notes --folder DIR`",
        ),
        (
            {"status": "manual", "repository": None, "page": PAGE, "gated": True},
            f"get it from {PAGE}, accept the publisher's terms there, then "
            "`medpipe sources enable clinic_notes --folder DIR --accept-terms`",
        ),
        (
            {"gated": True, "size_bytes": 6_000_000_000},
            "`medpipe sources enable clinic_notes --accept-terms --accept-size`",
        ),
    ],
)
def test_what_must_not_be_used_is_told_with_the_fix(
    tmp_path: Path, fields: dict[str, object], told: str
) -> None:
    source = make_source("a.jsonl", **fields)
    settings = make_settings(tmp_path)
    assert told in (why_not_allowed(source, settings) or "")
    assert why_not_fetched(source, settings) == why_not_allowed(source, settings)


def test_a_gated_source_needs_consent_and_a_credential(tmp_path: Path) -> None:
    gated = make_source("a.jsonl", gated=True, accept_terms=True)
    settings = make_settings(tmp_path)
    assert why_not_allowed(gated, settings) is None
    assert "set HF_TOKEN to a token" in (why_not_fetched(gated, settings) or "")
    assert "set HF_TOKEN" in (why_not_fetched(gated, make_settings(tmp_path, hf_token=SecretStr(""))) or "")
    assert why_not_fetched(gated, make_settings(tmp_path, hf_token=SecretStr("token"))) is None


@pytest.mark.parametrize("is_hub", [True, False])
def test_a_gated_source_in_a_folder_needs_consent_only(tmp_path: Path, is_hub: bool) -> None:
    settings = make_settings(tmp_path, hub=tmp_path if is_hub else None)
    fields = {} if is_hub else {"folder": tmp_path}
    refusal = why_not_fetched(make_source("a.jsonl", gated=True, **fields), settings) or ""
    assert "--accept-terms" in refusal and "HF_TOKEN" not in refusal
    assert why_not_fetched(make_source("a.jsonl", gated=True, accept_terms=True, **fields), settings) is None


def test_no_source_is_fetched_without_its_conditions_as_the_catalog_stands(tmp_path: Path) -> None:
    catalog = load_catalog(make_settings(tmp_path))
    for source in catalog.sources:
        if source.gated or source.status is not Status.AVAILABLE:
            assert why_not_fetched(source, make_settings(tmp_path)), source.id
    for source in catalog.enabled:
        assert why_not_fetched(source, make_settings(tmp_path)) is None, source.id


def small_catalog() -> Catalog:
    notes = make_source("a.jsonl")
    exams = make_source(
        {"path": "e.jsonl", "language": "en"},
        id="exams",
        title="Board Exams",
        uses=["evaluation"],
        gated=True,
        derived_from=["Old Questions"],
    )
    gone = make_source("g.jsonl", id="gone", title="Gone", language="other", status="listed")
    return Catalog((notes, exams, gone), (notes,))


@pytest.mark.parametrize(
    ("conditions", "found"),
    [
        ({}, ["clinic_notes", "exams", "gone"]),
        ({"state": State.ENABLED}, ["clinic_notes"]),
        ({"state": State.AVAILABLE}, ["exams"]),
        ({"state": State.GATED}, ["exams"]),
        ({"state": State.LISTED}, ["gone"]),
        ({"state": State.EXCLUDED}, []),
        ({"language": Language.EN}, ["exams"]),
        ({"language": Language.ZH}, ["clinic_notes", "exams"]),
        ({"use": Use.EVALUATION}, ["exams"]),
        ({"text": "old quest"}, ["exams"]),
        ({"text": "CLINIC/"}, ["clinic_notes", "exams", "gone"]),
        ({"text": "board", "state": State.LISTED}, []),
    ],
)
def test_sources_are_found_by_state_language_use_and_name(
    conditions: dict[str, object], found: list[str]
) -> None:
    assert [source.id for source in small_catalog().find(**conditions)] == found  # type: ignore[arg-type]


def test_a_gated_source_has_two_states() -> None:
    catalog = small_catalog()
    assert catalog.states(catalog.get("exams")) == (State.AVAILABLE, State.GATED)
    assert catalog.states(catalog.get("clinic_notes")) == (State.ENABLED,)


def test_a_folder_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match=r"MEDPIPE_HUB names .*nowhere"):
        load_catalog(Settings(home=tmp_path, hub=tmp_path / "nowhere"))


def test_an_own_entry_cannot_take_a_built_in_id(tmp_path: Path) -> None:
    write(tmp_path / "a.yaml", ENTRY.replace("id: mine", "id: epfl_guidelines"))
    with pytest.raises(CatalogError, match=r"a\.yaml:3: .* is taken by a built-in source; choose another"):
        load_catalog(Settings(home=tmp_path / "home", sources=tmp_path))


def test_an_unknown_source_is_answered_with_where_to_look(tmp_path: Path) -> None:
    with pytest.raises(CatalogError, match="medpipe sources"):
        load_catalog(Settings(home=tmp_path)).get("no_such")


def test_a_choice_of_an_older_version_is_read(tmp_path: Path) -> None:
    (tmp_path / "sources.json").write_text('{"epfl_guidelines": {"enabled": false, "accept_size": true}}')
    assert read_choices(tmp_path)["epfl_guidelines"] == Choice(enabled=False, accept_size=True)


def test_what_is_only_tried_is_part_of_the_fix(tmp_path: Path) -> None:
    """Nothing of a refused decision is kept, so the next one must say all of it again."""
    stored = make_source("a.jsonl", gated=True)
    tried = with_choice(stored, Choice(folder=tmp_path))
    told = why_not_fetched(tried, make_settings(tmp_path), stored=stored) or ""
    assert "`medpipe sources enable clinic_notes --folder DIR --accept-terms`" in told
    tried = with_choice(stored, Choice(accept_terms=True))
    told = why_not_fetched(tried, make_settings(tmp_path), stored=stored) or ""
    assert "set HF_TOKEN to a token" in told
    assert "`medpipe sources enable clinic_notes --folder DIR --accept-terms`" in told


def test_a_source_is_found_by_its_exact_title_unless_several_have_it() -> None:
    first, second = (make_source("a.jsonl", id=name, title=name.upper()) for name in ("one", "two"))
    catalog = Catalog((first, second, make_source("a.jsonl", id="one_more", title="TWO")), ())
    assert catalog.get("ONE") is first
    with pytest.raises(
        CatalogError, match="several sources have the title 'TWO'; give one of the ids two, one_m"
    ):
        catalog.get("TWO")
    with pytest.raises(CatalogError, match="no source 'One'"):
        catalog.get("One")


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ('{"a": {"enabled": "perhaps"}}', "a.enabled: Input should be a valid boolean"),
        ("[]", "the whole file: Input should be a valid dictionary"),
        ("{", "line 1"),
    ],
)
def test_a_broken_file_of_choices_is_told_in_one_plain_line(tmp_path: Path, text: str, why: str) -> None:
    (tmp_path / "sources.json").write_text(text)
    with pytest.raises(CatalogError) as caught:
        read_choices(tmp_path)
    told = str(caught.value)
    assert why in told and "correct or delete it" in told
    assert "\n" not in told and "pydantic" not in told and "http" not in told
