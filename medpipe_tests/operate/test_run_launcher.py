"""The health check says of a run's process whether it is still the one at work."""

from __future__ import annotations

import inspect
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import dagster as dg
import psutil
import pytest
from dagster._core.errors import DagsterLaunchFailedError
from dagster._core.events import EngineEventData
from dagster._core.launcher import DefaultRunLauncher, WorkerStatus
from dagster._core.remote_origin import (
    GrpcServerCodeLocationOrigin,
    RemoteJobOrigin,
    RemoteRepositoryOrigin,
)
from dagster._grpc.client import DagsterGrpcClient
from dagster._grpc.proxy_server import DagsterProxyApiServicer
from dagster._grpc.server import DagsterApiServer, wait_for_grpc_server

from medpipe.lake.process import (
    ProcessIdentity,
    boot_id,
    this_process,
    ticks_per_second,
    ticks_since_boot,
)
from medpipe.operate.instance import open_instance
from medpipe.operate.run_launcher import (
    MACHINE_TAG,
    PROCESS_TAG,
    START_SECONDS,
    WORKER_TAG,
    LocalRunLauncher,
    is_code_server_unready,
    is_same_process,
    process_tags,
)
from medpipe.settings import Settings


@dg.op
def nothing() -> None:
    """Does nothing."""


@dg.job
def idle() -> None:
    """A job for runs that nobody executes."""
    nothing()


@pytest.fixture(scope="module")
def instance(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dg.DagsterInstance]:
    with (
        pytest.MonkeyPatch.context() as patch,
        open_instance(_settings(tmp_path_factory.mktemp("home"), patch)) as found,
    ):
        yield found


def _settings(home: Path, patch: pytest.MonkeyPatch) -> Settings:
    patch.setenv("DAGSTER_HOME", "")
    return Settings(home=home)


@pytest.fixture
def worker() -> Iterator[subprocess.Popen[bytes]]:
    process = subprocess.Popen([sys.executable, "-c", "import sys; sys.stdin.read()"], stdin=subprocess.PIPE)
    yield process
    process.kill()
    process.communicate()


def run_in(instance: dg.DagsterInstance, pid: int | None, **tags: str) -> dg.DagsterRun:
    run = instance.create_run_for_job(job_def=idle, tags=tags)
    if pid is not None:
        message = f"Started process for run (pid: {pid})."
        instance.report_engine_event(message, run, EngineEventData.in_process(pid))
    return run


def health(instance: dg.DagsterInstance, run: dg.DagsterRun) -> WorkerStatus:
    assert isinstance(instance.run_launcher, LocalRunLauncher)
    assert instance.run_launcher.supports_check_run_worker_health
    return instance.run_launcher.check_run_worker_health(run).status


def test_a_worker_is_healthy_until_it_is_killed(
    instance: dg.DagsterInstance, worker: subprocess.Popen[bytes]
) -> None:
    run = run_in(instance, worker.pid)
    assert health(instance, run) is WorkerStatus.RUNNING
    worker.kill()
    deadline = time.monotonic() + 60
    while psutil.Process(worker.pid).status() != psutil.STATUS_ZOMBIE:
        assert time.monotonic() < deadline
    assert health(instance, run) is WorkerStatus.FAILED, "a zombie works no more"
    worker.wait()
    assert health(instance, run) is WorkerStatus.FAILED


def test_another_process_of_the_same_id_is_not_the_worker(worker: subprocess.Popen[bytes]) -> None:
    started = psutil.Process(worker.pid).create_time()
    assert is_same_process(worker.pid, started + 1)
    assert not is_same_process(worker.pid, started - 60), "seen before this process began: before a restart"


def test_a_run_without_a_launcher_is_known_by_its_tag(
    instance: dg.DagsterInstance, worker: subprocess.Popen[bytes]
) -> None:
    assert health(instance, run_in(instance, None, **process_tags())) is WorkerStatus.RUNNING
    run = run_in(instance, None, **{PROCESS_TAG: str(worker.pid)})
    assert health(instance, run) is WorkerStatus.RUNNING
    worker.kill()
    worker.wait()
    assert health(instance, run) is WorkerStatus.FAILED
    executed_again = run_in(instance, psutil.Process().pid, **{PROCESS_TAG: str(worker.pid)})
    assert health(instance, executed_again) is WorkerStatus.RUNNING


def test_a_run_that_nobody_noted_a_process_of_is_left_alone(instance: dg.DagsterInstance) -> None:
    assert health(instance, run_in(instance, None)) is WorkerStatus.RUNNING


def test_of_a_run_on_another_machine_nothing_is_said(
    instance: dg.DagsterInstance, worker: subprocess.Popen[bytes]
) -> None:
    worker.kill()
    worker.wait()
    elsewhere = {PROCESS_TAG: str(worker.pid), MACHINE_TAG: "another-machine"}
    assert health(instance, run_in(instance, None, **elsewhere)) is WorkerStatus.RUNNING
    here = elsewhere | {MACHINE_TAG: process_tags()[MACHINE_TAG]}
    assert health(instance, run_in(instance, None, **here)) is WorkerStatus.FAILED


def started_an_hour_ago(instance: dg.DagsterInstance, pid: int, **tags: str) -> dg.DagsterRun:
    """A run whose worker said that it started when the clock was an hour behind, before somebody set it."""
    run = instance.create_run_for_job(job_def=idle, tags=tags)
    event = dg.DagsterEvent(
        dg.DagsterEventType.ENGINE_EVENT.value,
        run.job_name,
        message=f"Started process for run (pid: {pid}).",
        event_specific_data=EngineEventData.in_process(pid),
    )
    instance.report_dagster_event(event, run.run_id, timestamp=time.time() - 3600)
    return run


def test_a_live_worker_stays_so_when_the_clock_jumps(
    instance: dg.DagsterInstance, worker: subprocess.Popen[bytes]
) -> None:
    asked = f"asked {ticks_since_boot() - 200} {boot_id()}"
    run = started_an_hour_ago(instance, worker.pid, **{WORKER_TAG: asked})
    assert health(instance, run) is WorkerStatus.RUNNING
    found = instance.get_run_by_id(run.run_id)
    assert found is not None and found.tags[WORKER_TAG] == str(ProcessIdentity.of(worker.pid))
    assert health(instance, found) is WorkerStatus.RUNNING
    worker.kill()
    worker.wait()
    assert health(instance, found) is WorkerStatus.FAILED


def test_another_process_of_its_id_is_not_the_worker_whatever_the_clock_says(
    instance: dg.DagsterInstance, worker: subprocess.Popen[bytes]
) -> None:
    this = ProcessIdentity.of(worker.pid)
    assert this is not None
    late = this.started - (START_SECONDS + 1) * ticks_per_second()
    for noted in (
        str(replace(this, started=this.started - 1)),
        str(replace(this, boot="another-boot")),
        f"asked {late} {this.boot}",
        f"asked {this.started} another-boot",
        f"asked {this.started + 1} {this.boot}",
    ):
        assert health(instance, run_in(instance, worker.pid, **{WORKER_TAG: noted})) is WorkerStatus.FAILED


def test_an_identity_survives_being_written() -> None:
    this = this_process()
    assert ProcessIdentity.parse(str(this)) == this and this.is_running
    assert ProcessIdentity.parse("asked 12 boot") is None


def refused(code: Path, instance: dg.DagsterInstance) -> DagsterLaunchFailedError:
    """What a code server of a file says that is asked to start a run of it."""
    socket = str(code.with_suffix(".sock"))
    command = ["dagster", "api", "grpc", "--lazy-load-user-code", "--socket", socket, "-f", str(code)]
    location = GrpcServerCodeLocationOrigin(host="localhost", socket=socket, location_name="code")
    job = RemoteJobOrigin(RemoteRepositoryOrigin(location, "another_repository"), idle.name)
    run = instance.create_run_for_job(job_def=idle, remote_job_origin=job)
    server = subprocess.Popen([sys.executable, "-m", *command])
    try:
        client = DagsterGrpcClient(socket=socket)
        wait_for_grpc_server(server, client, command, timeout=120)
        with pytest.raises(DagsterLaunchFailedError) as error:
            DefaultRunLauncher.launch_run_from_grpc_client(instance, run, client)
        return error.value
    finally:
        server.terminate()
        server.wait(60)


def test_a_code_server_that_has_nothing_loaded_is_not_ready(
    instance: dg.DagsterInstance, tmp_path: Path
) -> None:
    code = tmp_path / "code.py"
    code.write_text("raise ValueError('broken')")
    assert is_code_server_unready(refused(code, instance))
    code.write_text("import dagster\ndefs = dagster.Definitions()")
    assert not is_code_server_unready(refused(code, instance)), "it will never have that repository"


def test_a_code_server_that_is_about_to_end_is_not_ready() -> None:
    for server in (DagsterApiServer, DagsterProxyApiServicer):
        assert "after telling it to shut down" in inspect.getsource(server.StartRun)
    said = "Tried to start a run on a server after telling it to shut down"
    assert is_code_server_unready(DagsterLaunchFailedError(said, serializable_error_info=None))
    assert not is_code_server_unready(DagsterLaunchFailedError("the process ended unexpectedly"))
