"""Settings of one medpipe installation: the only module that reads the environment."""

from __future__ import annotations

import re
from datetime import datetime, time
from functools import cached_property
from pathlib import Path
from typing import Any, Literal, Self

from pydantic import Field, SecretStr, ValidationError, field_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

NEWEST_SNAPSHOT = "current"
"""The name that stands for the newest corpus snapshot."""


class SettingsError(ValueError):
    """A setting names something that is not there; the message says which variable and the fix."""


def with_driver(uri: str) -> str:
    """A PostgreSQL URI with the driver that dagster-postgres needs; any other URI as it is.

    SQLAlchemy 2.1 takes psycopg 3 where none is named, with which Dagster's notifications fail.
    """
    scheme, separator, rest = uri.partition("://")
    return f"postgresql+psycopg2://{rest}" if separator and scheme in ("postgresql", "postgres") else uri


def _in_words(error: ValidationError, *, prefix: str) -> str:
    """Which variables have which values that cannot be, and the fix.

    A secret is never among them: whatever its value, it is a text.
    """
    wrong = []
    for each in error.errors():
        field = str(each["loc"][0])
        name = field if field.isupper() else prefix + field.upper()
        wrong.append(f"{name} is {str(each['input'])!r}: {each['msg'].removeprefix('Value error, ')}")
    return "; ".join(wrong) + "; correct the variable or unset it"


class _Variables(BaseSettings):
    """Settings whose mistakes are named as the variables that a person set."""

    def __init__(self, **values: Any) -> None:
        """Reads the variables.

        Raises:
            SettingsError: one has a value that cannot be; all are named.
        """
        try:
            super().__init__(**values)
        except ValidationError as error:
            raise SettingsError(_in_words(error, prefix=str(self.model_config["env_prefix"]))) from None


class RefreshSettings(_Variables):
    """How the corpus is kept up to date, each by one variable `MEDPIPE_REFRESH_…`."""

    model_config = SettingsConfigDict(
        env_prefix="MEDPIPE_REFRESH_", frozen=True, extra="ignore", env_ignore_empty=True
    )

    automatic: bool | None = None
    """Whether sensor and schedule are on where nobody switched them in the UI; `medpipe dev` says yes unless
    the variable says no, any other server that loads the graph must be told."""
    cron: str = "0 3 * * 1"
    """When all sources are refreshed, whatever the sensor saw; checked where the schedule is made."""
    timezone: str = "Asia/Shanghai"
    """Time zone of the cron and of the quiet hours, by its IANA name."""
    interval_minutes: int = Field(default=60, ge=1)
    """How often the hub is asked for each source's newest commit."""
    sources: str = "all"
    """Ids of the sources that are refreshed without a person, separated by commas; or `all`."""
    quiet_hours: str = ""
    """Times of day in which nothing is requested, such as `08:00-18:00` or `22:00-02:00, 12:00-13:00`."""
    max_shrink: float = Field(default=0.2, ge=0, le=1)
    """A revision whose files have lost more than this share of their bytes is held back."""
    stale_days: float = Field(default=8, gt=0)
    """After so many days without a materialisation sources and snapshot are shown as stale."""

    @field_validator("timezone")
    @classmethod
    def _known_zone(cls, value: str) -> str:
        from zoneinfo import ZoneInfo

        try:
            ZoneInfo(value)
        except (OSError, ValueError, KeyError):
            raise ValueError("no time zone of that name; give one such as Asia/Shanghai or UTC") from None
        return value

    @field_validator("quiet_hours")
    @classmethod
    def _readable_hours(cls, value: str) -> str:
        _spans(value)
        return value

    def is_quiet(self, moment: datetime) -> bool:
        """Whether a moment (with its time zone) lies in the quiet hours."""
        from zoneinfo import ZoneInfo

        clock = moment.astimezone(ZoneInfo(self.timezone)).time()
        return any(
            start <= clock < end if start < end else clock >= start or clock < end
            for start, end in _spans(self.quiet_hours)
        )

    def chosen(self, known: tuple[str, ...]) -> tuple[str, ...]:
        """Those of some source ids that are refreshed without a person.

        Raises:
            SettingsError: a name is none of them.
        """
        if self.sources.strip() == "all":
            return known
        asked = [name.strip() for name in self.sources.split(",") if name.strip()]
        if unknown := [name for name in asked if name not in known]:
            raise SettingsError(
                f"MEDPIPE_REFRESH_SOURCES names {', '.join(unknown)}, which is no enabled source; there are: "
                f"{', '.join(known)}. Correct it, `medpipe sources enable ID`, or set it to 'all'"
            )
        return tuple(name for name in known if name in asked)


def _spans(hours: str) -> list[tuple[time, time]]:
    spans = []
    for span in filter(None, (part.strip() for part in hours.split(","))):
        start, _, end = span.partition("-")
        try:
            spans.append((time.fromisoformat(start.strip()), time.fromisoformat(end.strip())))
        except ValueError:
            raise ValueError(f"{span!r} is no span of hours; write it as 22:00-06:00") from None
        if any(each.tzinfo for each in spans[-1]):
            raise ValueError(f"{span!r} names a time zone; leave it to MEDPIPE_REFRESH_TIMEZONE")
        if spans[-1][0] == spans[-1][1]:
            raise ValueError(f"{span!r} is no span of hours: it ends where it starts")
    return spans


def _is_store(value: Path | str | None) -> bool:
    return isinstance(value, str) and value.startswith("s3://")


class Settings(_Variables):
    """What a person can set from outside, each by one environment variable.

    Paths are made absolute against the working directory, so that a process started elsewhere with
    the same values (a Dagster worker, the trainer) sees the same state.
    """

    # The prefix keeps a field such as `home` from being read from HOME.
    model_config = SettingsConfigDict(
        env_prefix="MEDPIPE_", frozen=True, populate_by_name=True, extra="ignore"
    )

    home: Path = Path(".medpipe")
    """Folder of all state: `lake/`, `dagster/`, `mlflow/`."""
    lake_root: Path | str | None = Field(default=None, validation_alias="MEDPIPE_LAKE")
    """Another root for data, a folder or `s3://bucket/prefix`; `<home>/lake` if unset."""
    sources: Path | None = None
    """Folder of further catalog entries (`*.yaml`, `dataset_info.json`)."""
    hub: Path | None = None
    """Folder laid out as `<owner>/<repo>/<files>`, read instead of the hub."""
    plan: str = "demo"
    """Stage plan: the name of a built-in one or the path of a YAML file."""
    start_from: str | None = None
    """Earlier run that the plan goes on from with the newest data, instead of starting over: the name of a
    curriculum, or `name/<folder of its stable stage>`."""
    snapshot: str = NEWEST_SNAPSHOT
    """Corpus snapshot that a curriculum pins when its first stage begins: a day's name or the beginning of a
    digest, as `medpipe snapshots list` shows them; the newest one if unset."""
    token_budget: int | None = Field(default=None, gt=0)
    """Tokens of the whole curriculum instead of the plan's own: every stage is scaled alike."""
    mlflow_tracking_uri: str | None = Field(default=None, validation_alias="MLFLOW_TRACKING_URI")
    """MLflow store; a SQLite file under `<home>/mlflow` if unset."""
    mlflow_artifact_root: str | None = Field(default=None, validation_alias="MLFLOW_DEFAULT_ARTIFACT_ROOT")
    """Where a new experiment's artifacts lie, such as `s3://bucket/mlflow`, where runs are written straight
    to a database; a server has a place of its own. `<home>/mlflow/artifacts` if unset."""
    dagster_postgres_url: SecretStr | None = Field(
        default=None, validation_alias="MEDPIPE_DAGSTER_POSTGRES_URL"
    )
    """Dagster's storage, `postgresql://user:password@host:port/database`; SQLite files under
    `<home>/dagster` if unset. Never written to a file or logged."""
    executor: Literal["processes", "kubernetes"] = "processes"
    """Where steps run: in processes of the run's machine, or each in a pod of its own (`medpipe[k8s]`)."""
    mlflow_ui_url: str = Field(default="http://127.0.0.1:5000", validation_alias="MEDPIPE_MLFLOW_URL")
    """Where people open MLflow; used in links."""
    dagster_ui_url: str = Field(default="http://127.0.0.1:3000", validation_alias="MEDPIPE_DAGSTER_URL")
    """Where people open Dagster; used in links."""
    code_url: str | None = None
    """Where people read medpipe's code, as far as the revision, such as
    `https://github.com/owner/medpipe/blob/<commit>`; code links lead there instead of to local files."""
    hf_endpoint: str | None = Field(default=None, validation_alias="HF_ENDPOINT")
    """A mirror of the hub."""
    hf_token: SecretStr | None = Field(default=None, validation_alias="HF_TOKEN")
    """Credential for gated data sets; never logged."""
    keep_snapshots: int = Field(default=10, ge=1)
    """Corpus snapshots that `medpipe prune` keeps although nobody needs them: the newest so many."""
    keep_checkpoints: int = Field(default=2, ge=1)
    """Of each finished run."""
    keep_event_days: int = Field(default=90, ge=1)
    """Days for which the events of finished runs stay."""
    keep_idle_hours: float = Field(default=24.0, ge=0)
    """Hours for which a data set stays after another took its place."""
    serve_user: str = "medpipe"
    """Who comes in at `medpipe serve`."""
    serve_password: SecretStr | None = None
    """What they have to say; kept as a hash only, never logged."""
    webhook_url: SecretStr | None = None
    """Address that failed runs are posted to; a secret, never logged."""
    refresh: RefreshSettings = Field(default_factory=RefreshSettings, validation_alias="refresh")
    """How the corpus is kept up to date."""

    @field_validator("snapshot", mode="before")
    @classmethod
    def _newest_if_empty(cls, value: object) -> object:
        return "current" if value == "" else value

    @field_validator("home", "lake_root", "sources", "hub", mode="after")
    @classmethod
    def _absolute(cls, value: Path | str | None) -> Path | str | None:
        if value is None or _is_store(value):
            return value
        return Path.cwd() / Path(value).expanduser()

    @field_validator(
        "lake_root",
        "sources",
        "hub",
        "start_from",
        "token_budget",
        "code_url",
        "mlflow_tracking_uri",
        "mlflow_artifact_root",
        "dagster_postgres_url",
        "hf_endpoint",
        "webhook_url",
        mode="before",
    )
    @classmethod
    def _empty_is_unset(cls, value: object) -> object:
        return None if value == "" else value

    def checked(self) -> Self:
        """Returns the settings themselves.

        Raises:
            SettingsError: `MEDPIPE_HUB` or `MEDPIPE_SOURCES` names a folder that is not there.
        """
        for name, folder in (("MEDPIPE_HUB", self.hub), ("MEDPIPE_SOURCES", self.sources)):
            if folder is not None and not folder.is_dir():
                raise SettingsError(
                    f"{name} names {folder}, which is not a folder; create it or unset {name}"
                )
        return self

    @cached_property
    def lake(self) -> Path:
        """Root folder of all data sets; of a store the folder of its local copy."""
        if self.lake_store is not None:
            return self.home / "lake-copy" / re.sub(r"[^A-Za-z0-9._-]+", "-", self.lake_store[5:])
        return self.home / "lake" if self.lake_root is None else Path(self.lake_root)

    @property
    def lake_store(self) -> str | None:
        """The object store that the data sets lie in, `s3://bucket/prefix`; None where they lie on a disk."""
        return str(self.lake_root).rstrip("/") if _is_store(self.lake_root) else None

    @cached_property
    def dagster_home(self) -> Path:
        """Folder of Dagster's storage and its instance file."""
        return self.home / "dagster"

    @cached_property
    def mlflow_home(self) -> Path:
        """Folder of the default MLflow store."""
        return self.home / "mlflow"

    @property
    def tracking_uri(self) -> str:
        """The MLflow store that runs are written to."""
        if self.mlflow_tracking_uri is not None:
            return with_driver(self.mlflow_tracking_uri)
        return f"sqlite:///{self.mlflow_home / 'mlflow.db'}"
