"""Which entries become assets: by default, by the folder hub, by a person's choice."""

from __future__ import annotations

from pathlib import Path

import pytest

from medpipe.catalog.load import CatalogError
from medpipe.catalog.selection import Choice, load_catalog, store_choice, why_not_fetched
from medpipe.settings import Settings, SettingsError
from medpipe_tests.catalog.test_load import ENTRY, write


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


def test_gated_large_and_listed_sources_are_not_fetched_without_a_word(tmp_path: Path) -> None:
    source = load_catalog(Settings(home=tmp_path)).get("epfl_guidelines")
    assert why_not_fetched(source) is None
    gated = source.model_copy(update={"gated": True})
    assert "--accept-terms" in (why_not_fetched(gated) or "")
    assert why_not_fetched(gated.model_copy(update={"accept_terms": True})) is None
    large = source.model_copy(update={"size_bytes": 6_000_000_000})
    assert "--accept-size" in (why_not_fetched(large) or "")
    assert "only listed" in (why_not_fetched(source.model_copy(update={"status": "listed"})) or "")


def test_a_folder_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match=r"MEDPIPE_HUB names .*nowhere"):
        load_catalog(Settings(home=tmp_path, hub=tmp_path / "nowhere"))


def test_an_own_entry_cannot_take_a_built_in_id(tmp_path: Path) -> None:
    write(tmp_path / "a.yaml", ENTRY.replace("id: mine", "id: epfl_guidelines"))
    with pytest.raises(CatalogError, match="rename them"):
        load_catalog(Settings(home=tmp_path / "home", sources=tmp_path))


def test_an_unknown_source_is_answered_with_where_to_look(tmp_path: Path) -> None:
    with pytest.raises(CatalogError, match="medpipe sources"):
        load_catalog(Settings(home=tmp_path)).get("no_such")
