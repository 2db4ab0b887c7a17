"""Settings come from their own variables and from no other."""

from __future__ import annotations

from pathlib import Path

import pytest

from medpipe.settings import Settings

OWN = {
    "MEDPIPE_HOME": "home",
    "MEDPIPE_LAKE": "lake_root",
    "MEDPIPE_SOURCES": "sources",
    "MEDPIPE_HUB": "hub",
    "MEDPIPE_PLAN": "plan",
    "MEDPIPE_MLFLOW_URL": "mlflow_ui_url",
    "MEDPIPE_DAGSTER_URL": "dagster_ui_url",
    "MLFLOW_TRACKING_URI": "mlflow_tracking_uri",
    "HF_ENDPOINT": "hf_endpoint",
}


@pytest.fixture(autouse=True)
def nothing_set(monkeypatch: pytest.MonkeyPatch) -> None:
    for variable in [*OWN, "HF_TOKEN"]:
        monkeypatch.delenv(variable, raising=False)


@pytest.mark.parametrize(("variable", "field"), OWN.items())
def test_each_setting_has_its_variable(variable: str, field: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(variable, "/somewhere/else")
    assert str(getattr(Settings(), field)) == "/somewhere/else"


@pytest.mark.parametrize("field", ["home", "hub", "plan", "sources", "lake_root"])
def test_a_variable_that_is_only_called_like_a_field_is_not_read(
    field: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = getattr(Settings(), field)
    monkeypatch.setenv(field.upper(), "/root")
    monkeypatch.setenv(field, "/root")
    assert getattr(Settings(), field) == before


def test_state_lies_under_the_working_directory_by_default(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    settings = Settings()
    assert settings.home == tmp_path / ".medpipe"
    assert settings.lake == tmp_path / ".medpipe" / "lake"
    assert settings.tracking_uri == f"sqlite:///{tmp_path / '.medpipe' / 'mlflow' / 'mlflow.db'}"


def test_an_empty_variable_is_unset(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MEDPIPE_HUB", "")
    assert Settings().hub is None


def test_the_token_does_not_show(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_TOKEN", "hf_planted")
    settings = Settings()
    assert "hf_planted" not in repr(settings) + str(settings.model_dump())
    assert settings.hf_token is not None and settings.hf_token.get_secret_value() == "hf_planted"


@pytest.mark.parametrize("scheme", ["postgres", "postgresql", "postgresql+psycopg2"])
def test_a_postgresql_database_gets_the_driver_that_dagster_needs(scheme: str) -> None:
    settings = Settings(home="h", mlflow_tracking_uri=f"{scheme}://u:p@host/db")
    assert settings.tracking_uri == "postgresql+psycopg2://u:p@host/db"


def test_the_password_of_dagsters_database_is_not_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MEDPIPE_DAGSTER_POSTGRES_URL", "postgresql://u:planted@host/db")
    settings = Settings()
    assert settings.dagster_postgres_url is not None
    assert "planted" not in repr(settings) + str(settings) + settings.model_dump_json()
