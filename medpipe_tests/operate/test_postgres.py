"""Dagster and MLflow on a real PostgreSQL server, by environment alone."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from medpipe.operate.instance import POSTGRES_VARIABLE, StorageError, open_instance, prepare_instance
from medpipe.settings import Settings
from medpipe.tracking.store import TrackingError, client, experiment_id
from medpipe_tests.postgres_server import PASSWORD, QUOTED, Postgres, postgres_server

OPEN_BOTH = """
import sys
from medpipe.operate.instance import open_instance
from medpipe.settings import Settings
from medpipe.tracking.store import experiment_id
settings = Settings()
with open_instance(settings) as instance:
    print(type(instance.run_storage).__name__, instance.get_runs_count(), experiment_id(settings))
"""


@pytest.fixture(scope="module")
def postgres() -> Iterator[Postgres]:
    with postgres_server() as server:
        yield server


@pytest.fixture
def _clean(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in (POSTGRES_VARIABLE, "DAGSTER_HOME", "MLFLOW_TRACKING_URI"):
        monkeypatch.setenv(name, "")


def files_with(text: str, folder: Path) -> list[str]:
    return [str(path) for path in folder.rglob("*") if path.is_file() and text.encode() in path.read_bytes()]


def test_two_homes_that_open_fresh_databases_at_once_share_them(postgres: Postgres, tmp_path: Path) -> None:
    dagster, mlflow = postgres.database("dagster_race"), postgres.database("mlflow_race")
    environment = {**os.environ, POSTGRES_VARIABLE: dagster, "MLFLOW_TRACKING_URI": mlflow}
    environment["MLFLOW_DEFAULT_ARTIFACT_ROOT"] = "s3://somewhere/mlflow"
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
    processes = [
        subprocess.Popen(
            [sys.executable, "-c", OPEN_BOTH],
            # A folder of its own for each, so that locks that lie in files do not help.
            env=environment | {"MEDPIPE_HOME": str(tmp_path / name), "TMPDIR": str(tmp_path / name)},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for name in ("a", "b")
    ]
    ends = [process.communicate(timeout=120) for process in processes]
    assert [process.returncode for process in processes] == [0, 0], [end[1][-2000:] for end in ends]
    assert ends[0][0] == ends[1][0] and ends[0][0].startswith("PostgresRunStorage 0 ")
    assert (
        postgres.sql("SELECT count(*) FROM experiments WHERE name = 'medpipe'", database="mlflow_race") == "1"
    )
    location = "SELECT artifact_location FROM experiments WHERE name = 'medpipe'"
    assert postgres.sql(location, database="mlflow_race") == "s3://somewhere/mlflow"
    for secret in (PASSWORD, QUOTED):
        assert not [end for end in ends if secret in end[0] + end[1]]
        assert not files_with(secret, tmp_path)


@pytest.mark.usefixtures("_clean")
def test_runs_and_events_lie_in_the_database_and_the_password_nowhere_else(
    postgres: Postgres, tmp_path: Path
) -> None:
    import dagster as dg

    @dg.asset
    def something() -> int:
        return 1

    settings = Settings(home=tmp_path, dagster_postgres_url=postgres.database("dagster_runs"))
    with open_instance(settings) as instance:
        run = dg.materialize([something], instance=instance).run_id
        shown = instance.info_str()
    with open_instance(
        Settings(home=tmp_path / "other", dagster_postgres_url=settings.dagster_postgres_url)
    ) as other:
        assert other.get_run_by_id(run) is not None
        assert other.get_latest_materialization_event(dg.AssetKey("something")) is not None
    assert postgres.sql("SELECT count(*) FROM runs", database="dagster_runs") == "1"
    assert POSTGRES_VARIABLE in (tmp_path / "dagster" / "dagster.yaml").read_text()
    assert not list(tmp_path.rglob("*.db"))
    for secret in (PASSWORD, QUOTED):
        assert secret not in shown and not files_with(secret, tmp_path)


@pytest.mark.usefixtures("_clean")
def test_what_a_failed_step_left_in_a_working_database_has_no_password(
    postgres: Postgres, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    import dagster as dg

    settings = Settings(
        home=tmp_path,
        dagster_postgres_url=postgres.database("dagster_errors"),
        mlflow_tracking_uri=postgres.database("mlflow_errors"),
    )

    @dg.asset
    def refused() -> None:
        with open_instance(Settings(home=tmp_path, dagster_postgres_url=gone)):
            pass

    @dg.asset
    def untold() -> None:
        experiment_id(settings.model_copy(update={"mlflow_tracking_uri": gone}))

    gone = postgres.url("not_there")
    experiment_id(settings)
    with open_instance(settings) as instance:
        for asset in (refused, untold):
            assert not dg.materialize([asset], instance=instance, raise_on_error=False).success
    left = postgres.dump("dagster_errors")
    assert "not_there" in left and "StorageError" in left and "TrackingError" in left
    said = "".join(capfd.readouterr())
    for secret in (PASSWORD, QUOTED):
        assert secret not in left + said + postgres.dump("mlflow_errors")
        assert not files_with(secret, tmp_path)


@pytest.mark.usefixtures("_clean")
def test_a_database_that_cannot_be_used_is_named_without_its_password(
    postgres: Postgres, tmp_path: Path
) -> None:
    wrong = postgres.url("postgres", password="wr0ng%21secret")
    for url in (wrong, f"postgresql://medpipe:{QUOTED}@127.0.0.1:1/none"):
        with (
            pytest.raises(StorageError, match=rf"127\.0\.0\.1.*{POSTGRES_VARIABLE}") as caught,
            open_instance(Settings(home=tmp_path, dagster_postgres_url=url)),
        ):
            pass
        with pytest.raises(TrackingError, match=r"(?s)127\.0\.0\.1.*MLFLOW_TRACKING_URI") as told:
            experiment_id(Settings(home=tmp_path, mlflow_tracking_uri=url))
        for secret in (QUOTED, PASSWORD, "wr0ng%21secret", "wr0ng!secret"):
            assert secret not in str(caught.value) + str(told.value)


@pytest.mark.usefixtures("_clean")
def test_wrong_addresses_are_refused_before_anything_is_written(tmp_path: Path) -> None:
    with pytest.raises(StorageError, match="must be postgresql://"):
        prepare_instance(Settings(home=tmp_path, dagster_postgres_url="mysql://a:secret@b/c"))
    same = "postgresql://a:secret@b:5432/c"
    with pytest.raises(StorageError, match="database of its own") as caught:
        prepare_instance(
            Settings(
                home=tmp_path, dagster_postgres_url=same, mlflow_tracking_uri="postgresql+psycopg2://d@b/c"
            )
        )
    assert "secret" not in str(caught.value) and not list(tmp_path.iterdir())


@pytest.mark.usefixtures("_clean")
def test_mlflow_keeps_runs_in_the_database(postgres: Postgres, tmp_path: Path) -> None:
    settings = Settings(home=tmp_path, mlflow_tracking_uri=postgres.database("mlflow_runs"))
    experiment = experiment_id(settings)
    run = client(settings).create_run(experiment)
    other = Settings(home=tmp_path / "other", mlflow_tracking_uri=settings.mlflow_tracking_uri)
    assert client(other).get_run(run.info.run_id).info.experiment_id == experiment
    assert experiment_id(other) == experiment
