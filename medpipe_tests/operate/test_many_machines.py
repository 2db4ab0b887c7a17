"""The whole graph on a real PostgreSQL and a real S3 server, by environment alone, from two homes."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from http.client import HTTPException
from pathlib import Path
from typing import Any

import pytest

from medpipe.lake.digest import sha256_file
from medpipe.lake.layout import Lake, open_lake
from medpipe.lake.object_store import object_store
from medpipe.settings import Settings
from medpipe.tokens.snapshot import list_snapshots
from medpipe.tracking.registry import download, find_best
from medpipe_tests.operate.dev import (
    launch,
    retry_of,
    start_dev,
    status_of,
    stop_dev,
    wait_for,
    wait_until_served,
)
from medpipe_tests.postgres_server import PASSWORD, QUOTED, Postgres, postgres_server
from medpipe_tests.s3_server import BUCKET, SECRET_KEY, S3Server, s3_server
from medpipe_tests.small_home import CATALOG, write_plan, write_records
from medpipe_tests.tracking.mlflow_server import free_port

pytestmark = [pytest.mark.slow, pytest.mark.hub]


@dataclass(frozen=True)
class Place:
    """Servers and inputs that several machines share."""

    folder: Path
    postgres: Postgres
    s3: S3Server
    dagster: str
    mlflow: str

    def environment(self, home: str, **more: str) -> dict[str, str]:
        """All that makes a process a part of this installation."""
        return {
            **os.environ,
            **self.s3.environment,
            "MEDPIPE_HOME": str(self.folder / home),
            "MEDPIPE_HUB": str(self.folder / "hub"),
            "MEDPIPE_SOURCES": str(self.folder / "sources"),
            "MEDPIPE_PLAN": str(self.folder / "plan.yaml"),
            "MEDPIPE_LAKE": f"s3://{BUCKET}/team",
            "MEDPIPE_DAGSTER_POSTGRES_URL": self.dagster,
            "MLFLOW_TRACKING_URI": self.mlflow,
            "MLFLOW_DEFAULT_ARTIFACT_ROOT": f"s3://{BUCKET}/mlflow",
            **more,
        }

    @contextmanager
    def here(self, home: str) -> Iterator[Settings]:
        """The settings of a machine, in this process."""
        with pytest.MonkeyPatch.context() as patch:
            for name, value in self.environment(home).items():
                patch.setenv(name, value)
            object_store.cache_clear()
            yield Settings()
            object_store.cache_clear()

    def start(self, home: str, *selection: str, **more: str) -> subprocess.Popen[str]:
        return subprocess.Popen(
            [sys.executable, "-m", "medpipe.cli", "run", *selection, "--json"],
            env=self.environment(home, **more),
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )


def ended(process: subprocess.Popen[str]) -> dict[str, Any]:
    out, err = process.communicate(timeout=300)
    assert process.returncode == 0, err[-4000:]
    for secret in (PASSWORD, QUOTED, SECRET_KEY):
        assert secret not in out + err
    facts: dict[str, Any] = json.loads(out)
    return facts


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Place]:
    folder = tmp_path_factory.mktemp("many")
    (folder / "sources").mkdir()
    (folder / "sources" / "catalog.yaml").write_text(CATALOG)
    (folder / "s3").mkdir()
    write_records(folder / "hub/nobody/web/a.jsonl", range(60))
    write_records(folder / "hub/nobody/guide/a.jsonl", range(1000, 1060))
    write_plan(folder / "plan.yaml")
    with postgres_server() as postgres, s3_server(folder / "s3") as s3:
        yield Place(folder, postgres, s3, postgres.database("dagster"), postgres.database("mlflow"))


DATA = "group:raw or group:normalized or group:corpus or group:tokens"


@dataclass(frozen=True)
class Shared:
    """What machines `a` and `b` did, one after the other and at once."""

    at_once: list[dict[str, Any]]
    rest: dict[str, Any]
    again: dict[str, Any]


@pytest.fixture(scope="module")
def shared(place: Place) -> Shared:
    """Both machines make the data at once, `a` trains the first stage, `b` the others, `a` looks again."""
    workers = [place.start("a", f'{DATA} or key:"pretrain/fast"'), place.start("b", DATA)]
    at_once = [ended(worker) for worker in workers]
    return Shared(at_once, ended(place.start("b", "*")), ended(place.start("a", "*")))


def datasets(lake: Lake) -> dict[str, list[str]]:
    """Digests of all data sets in the store, by name."""
    found: dict[str, list[str]] = {}
    for item in object_store(str(lake.store)).objects(""):
        if item.key.endswith("/manifest.json"):
            name, digest, _ = item.key.rsplit("/", 2)
            found.setdefault(name, []).append(digest)
    return found


def test_what_one_machine_made_no_other_makes_again(place: Place, shared: Shared) -> None:
    everything = shared.rest["assets"]
    assert set(everything) - set(shared.rest["reused"]) == {
        *(f"pretrain/{stage}" for stage in ("stable", "anneal", "converge")),
        "evaluation/bits_per_byte",
        "evaluation/registered_model",
    }
    assert shared.again["assets"] == shared.again["reused"] == everything


def test_two_workers_at_once_leave_one_data_set_of_each_name(place: Place, shared: Shared) -> None:
    with place.here("c") as settings:
        lake = open_lake(settings)
        found = datasets(lake)
        assert {"raw/web", "normalized/guide", "corpus/documents", "shards/disease/guide"} <= set(found)
        assert {name: len(digests) for name, digests in found.items() if not name.startswith("runs/")} == {
            name: 1 for name in found if not name.startswith("runs/")
        }
        assert len(found["runs/small"]) == 4
        assert len(list_snapshots(lake)) == 1
    copies = [Settings(home=place.folder / home, lake_root=f"s3://{BUCKET}/team").lake for home in "ab"]
    stages, weights = (
        [{path.relative_to(copy): sha256_file(path) for path in copy.glob(name)} for copy in copies]
        for name in ("runs/small/*/result.json", "runs/small/*/checkpoints/*/model.safetensors")
    )
    assert stages[0] == stages[1] and len(stages[0]) == 4
    both = weights[0].keys() & weights[1].keys()
    assert len(both) >= 4 and all(weights[0][name] == weights[1][name] for name in both)


def test_runs_events_metrics_and_models_lie_in_the_servers(place: Place, shared: Shared) -> None:
    assert int(place.postgres.sql("SELECT count(*) FROM runs", database="dagster")) == 4
    assert place.postgres.sql("SELECT DISTINCT status FROM runs", database="dagster") == "SUCCESS"
    loss = "SELECT count(*) n FROM metrics WHERE key = 'train/loss' GROUP BY run_uuid, step"
    doubled = f"SELECT max(n) FROM ({loss}) points"
    assert place.postgres.sql(doubled, database="mlflow") == "1", "nothing is doubled"
    best = "SELECT version FROM registered_model_aliases WHERE alias = 'best'"
    assert place.postgres.sql(best, database="mlflow") == "1"
    listed = place.s3.client().list_objects_v2(Bucket=BUCKET, Prefix="mlflow/")
    names = [item["Key"].rpartition("/")[2] for item in listed["Contents"]]
    assert names.count("model.safetensors") >= 4 and "plan.yaml" in names
    for home in "ab":
        assert not list((place.folder / home).rglob("*.db")), "no SQLite is left to be used by mistake"
        assert not list((place.folder / home / "mlflow").rglob("*.safetensors"))


def test_no_secret_was_written_to_a_file(place: Place, shared: Shared) -> None:
    secrets = [secret.encode() for secret in (PASSWORD, QUOTED, SECRET_KEY)]
    homes = [path for home in "ab" for path in (place.folder / home).rglob("*") if path.is_file()]
    assert len(homes) > 50
    assert not [path for path in homes if any(secret in path.read_bytes() for secret in secrets)]
    shown = place.postgres.sql("SELECT event FROM event_logs", database="dagster")
    shown += place.postgres.sql("SELECT run_body FROM runs", database="dagster")
    shown += place.postgres.sql("SELECT value FROM tags UNION SELECT value FROM params", database="mlflow")
    assert not [secret for secret in secrets if secret.decode() in shown]


def test_the_registered_model_can_be_fetched_from_any_machine(place: Place, shared: Shared) -> None:
    with place.here("c") as settings:
        version = find_best(settings, "medpipe-small")
        assert version is not None
        folder = download(settings, version, place.folder / "fetched")
        assert (folder / "model.safetensors").stat().st_size > 100_000


def finally_successful(address: str, run: str) -> str | None:
    """The run, or the retry of it, that ended well; None while it goes on."""
    status = status_of(address, run)
    if status == "SUCCESS":
        return run
    if status in ("FAILURE", "CANCELED") and (again := retry_of(address, run)) is not None:
        return finally_successful(address, again)
    return None


def patiently(ask_for: Callable[[], str | None]) -> Callable[[], str | None]:
    """No answer while the servers have lost their database is no answer yet."""

    def asked() -> str | None:
        with suppress(OSError, HTTPException, AssertionError):
            return ask_for()
        return None

    return asked


def test_two_launched_runs_survive_a_restart_of_postgresql(place: Place, shared: Shared) -> None:
    home, port = place.folder / "c", free_port()
    home.mkdir(exist_ok=True)
    before = place.s3.client().list_objects_v2(Bucket=BUCKET, Prefix="team/files/")["KeyCount"]
    process = start_dev(home, dagster=port, mlflow=free_port(), **place.environment("c"))
    address = f"http://127.0.0.1:{port}"
    try:
        wait_until_served(home, address, process)
        retries = {"dagster/max_retries": "3", "dagster/retry_strategy": "FROM_FAILURE"}
        retries["dagster/retry_on_asset_or_op_failure"] = "true"
        jobs = ("refresh_corpus", "pretrain_curriculum")
        runs = [launch(address, job, tags=retries) for job in jobs]

        def are_at_work() -> bool | None:
            return all(status_of(address, run) == "STARTED" for run in runs) or None

        wait_for(are_at_work, seconds=120, what="both runs at once")
        place.postgres.stop(at_once=True)
        place.postgres.start()
        for run in runs:
            wait_for(
                patiently(lambda run=run: finally_successful(address, run)),  # type: ignore[misc]
                seconds=240,
                what=f"success of {run}",
            )
    finally:
        stop_dev(process)
    after = place.s3.client().list_objects_v2(Bucket=BUCKET, Prefix="team/files/")["KeyCount"]
    assert after == before, "all of it was there: nothing is made or sent again"
    with place.here("c") as settings:
        assert len(list_snapshots(open_lake(settings))) == 1
    log = b"".join(path.read_bytes() for path in home.rglob("*.log"))
    assert not [secret for secret in (PASSWORD, QUOTED, SECRET_KEY) if secret.encode() in log]
