"""Settings come from their own variables and from no other."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest

from medpipe.settings import RefreshSettings, Settings, SettingsError

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


REFRESH = {
    "automatic": ("maybe", "bool"),
    "timezone": ("Asia/Shanghay", "no time zone of that name"),
    "interval_minutes": ("0", "greater than or equal to 1"),
    "quiet_hours": ("8 to 6", "write it as 22:00-06:00"),
    "max_shrink": ("20%", "number"),
}


@pytest.mark.parametrize(
    ("field", "value", "fix"),
    [
        *((field, *rest) for field, rest in REFRESH.items()),
        ("quiet_hours", "08:00Z-18:00Z", "leave it to MEDPIPE_REFRESH_TIMEZONE"),
    ],
)
def test_a_refresh_setting_that_cannot_be_names_its_variable_and_the_fix(
    field: str, value: str, fix: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    variable = f"MEDPIPE_REFRESH_{field.upper()}"
    monkeypatch.setenv(variable, value)
    with pytest.raises(SettingsError, match=f"{variable} is '{value}'.*{fix}.*unset it"):
        Settings()


def test_every_setting_that_cannot_be_names_its_variable_and_the_fix(monkeypatch: pytest.MonkeyPatch) -> None:
    values = {"MEDPIPE_KEEP_SNAPSHOTS": "0", "MEDPIPE_TOKEN_BUDGET": "many", "MEDPIPE_EXECUTOR": "both"}
    for variable, value in {**values, "HF_TOKEN": "hf_planted"}.items():
        monkeypatch.setenv(variable, value)
    with pytest.raises(SettingsError) as raised:
        Settings()
    said = str(raised.value)
    assert all(f"{variable} is '{value}': " in said for variable, value in values.items())
    assert said.endswith("correct the variable or unset it")
    assert "\n" not in said and "hf_planted" not in said


def test_what_only_the_graph_can_check_is_refused_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from medpipe.graph import build_definitions

    monkeypatch.setenv("MEDPIPE_REFRESH_CRON", "weekly, please")
    with pytest.raises(SettingsError, match=r"MEDPIPE_REFRESH_CRON is 'weekly, please'.*five fields"):
        build_definitions(Settings(home=tmp_path))
    monkeypatch.setenv("MEDPIPE_REFRESH_CRON", "")
    monkeypatch.setenv("MEDPIPE_REFRESH_SOURCES", "nothing_like_it")
    with pytest.raises(SettingsError, match=r"MEDPIPE_REFRESH_SOURCES names nothing_like_it.*there are:"):
        build_definitions(Settings(home=tmp_path))


@pytest.mark.parametrize(
    ("hours", "clock", "quiet"),
    [
        ("", "12:00", False),
        ("08:00-18:00", "07:59", False),
        ("08:00-18:00", "08:00", True),
        ("08:00-18:00", "18:00", False),
        ("22:00-02:00", "23:30", True),
        ("22:00-02:00", "01:59", True),
        ("22:00-02:00", "02:00", False),
        ("22:00-02:00, 12:00-13:00", "12:30", True),
    ],
)
def test_quiet_hours_are_those_of_the_time_zone(hours: str, clock: str, quiet: bool) -> None:
    there = datetime.fromisoformat(f"2026-03-02T{clock}").replace(tzinfo=ZoneInfo("Asia/Shanghai"))
    settings = RefreshSettings(quiet_hours=hours, timezone="Asia/Shanghai")
    assert settings.is_quiet(there.astimezone(UTC)) is quiet
