"""The refresh sensor over a folder hub: what changed is requested, once, and nothing else."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import dagster as dg
import pytest
from typer.testing import CliRunner

from medpipe.cli import app
from medpipe.ingest.assets import REVISION_ACCEPTED
from medpipe.ingest.held import accepted
from medpipe.lake.dataset import current
from medpipe.refresh.jobs import raw_config
from medpipe.refresh.sensor import SENSOR
from medpipe.refresh.watch import read_watch
from medpipe.settings import RefreshSettings
from medpipe.tokens.snapshot import read_snapshot
from medpipe_tests.refresh.corpus import SOURCES, Installation, make_installation, write_records

pytestmark = pytest.mark.timeout(120)


@dataclass
class Desk:
    """An installation whose corpus is made, and the sensor's cursor."""

    installation: Installation
    instance: dg.DagsterInstance
    cursor: str | None = None

    def tick(self, **refresh: Any) -> tuple[list[dg.RunRequest], str]:
        """One evaluation: the requests, and what it says where there is none."""
        definitions = self.installation.definitions(refresh=RefreshSettings(**refresh))
        repository = definitions.get_repository_def()
        context = dg.build_sensor_context(
            instance=self.instance, cursor=self.cursor, repository_def=repository, sensor_name=SENSOR
        )
        found = repository.get_sensor_def(SENSOR).evaluate_tick(context)
        self.cursor = found.cursor
        return list(found.run_requests or []), found.skip_message or ""

    def run(self, request: dg.RunRequest) -> dg.ExecuteInProcessResult:
        """Does what was requested."""
        job = self.installation.definitions().resolve_job_def("automatic_refresh")
        return job.get_subset(asset_selection=set(request.asset_selection or [])).execute_in_process(
            instance=self.instance, run_config=request.run_config, raise_on_error=False
        )


@pytest.fixture(scope="module")
def desk(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Desk]:
    installation = make_installation(tmp_path_factory.mktemp("sensor"))
    with dg.DagsterInstance.ephemeral() as instance:
        yield Desk(installation, instance)


def names(keys: Any) -> set[str]:
    return {key.to_user_string() for key in keys}


def test_a_source_goes_its_way_from_the_first_fetch_to_a_change(desk: Desk) -> None:
    requests, said = desk.tick()
    assert not requests and "never fetched, so not watched: guide, web" in said
    assert desk.installation.build(desk.instance).success
    requests, said = desk.tick()
    assert not requests and said == "no source has a newer revision"

    write_records(desk.installation.folder("guide") / "b.jsonl", range(5000, 5010))
    requests, _ = desk.tick()
    (request,) = requests
    made = names(request.asset_selection)
    assert {"raw/guide", "normalized/guide", "corpus/documents", "shards/disease", "snapshot"} <= made
    assert not {"raw/web", "normalized/web"} & made
    assert not [name for name in made if name.startswith(("pretrain", "evaluation"))]
    assert request.run_config["ops"] == {"raw__guide": {"config": {"refresh": True}}}
    assert request.run_key

    # Asked again before the run did anything: not requested twice.
    again, _ = desk.tick()
    assert again == []
    assert desk.run(request).success
    assert desk.tick() == ([], "no source has a newer revision")
    # The daemon died before it kept the cursor: the same request has the same key, which Dagster knows.
    write_records(desk.installation.folder("guide") / "b.jsonl", range(5000, 5020))
    before = desk.cursor
    first, _ = desk.tick()
    desk.cursor = before
    second, _ = desk.tick()
    assert [each.run_key for each in first] == [each.run_key for each in second] != [request.run_key]
    assert desk.run(first[0]).success


def test_nothing_is_requested_in_quiet_hours_while_a_refresh_works_or_of_other_sources(desk: Desk) -> None:
    write_records(desk.installation.folder("web") / "b.jsonl", range(6000, 6010))
    assert desk.tick(quiet_hours="00:00-23:59:59.999999")[1].startswith("quiet hours")
    requests, said = desk.tick(sources="guide")
    assert (requests, said) == ([], "no source has a newer revision")
    run = desk.instance.create_run_for_job(
        desk.installation.definitions().resolve_job_def("automatic_refresh"),
        status=dg.DagsterRunStatus.STARTED,
    )
    requests, said = desk.tick()
    assert not requests and f"a refresh is at work (run {run.run_id})" in said
    desk.instance.report_run_canceled(run)
    requests, _ = desk.tick()
    assert names(requests[0].asset_selection) >= {"raw/web", "snapshot"}
    assert desk.run(requests[0]).success


def test_a_source_whose_records_are_behind_the_lake_is_followed_once(desk: Desk) -> None:
    """As after an acceptance, or where another source stopped the run: the publisher is not asked."""
    write_records(desk.installation.folder("web") / "c.jsonl", range(7000, 7010))
    (request,), _ = desk.tick()
    only_raw = dg.RunRequest(run_config=request.run_config, asset_selection=[dg.AssetKey(["raw", "web"])])
    assert desk.run(only_raw).success
    (request,), _ = desk.tick()
    assert request.run_config["ops"] == {}
    assert names(request.asset_selection) >= {"raw/web", "normalized/web", "snapshot"}
    assert desk.tick()[0] == []
    assert desk.run(request).success
    assert desk.tick() == ([], "no source has a newer revision")


def test_a_folder_that_is_gone_is_told_and_backed_off_not_raised(desk: Desk, tmp_path: Path) -> None:
    folder = desk.installation.folder("guide")
    hidden = folder.rename(tmp_path / "guide")
    try:
        requests, said = desk.tick()
        assert not requests and "put its files there" in said
        state = read_watch(desk.cursor).asked["folder:guide"]
        assert state.failures == 1 and state.newest is not None
        assert desk.tick()[1] == said, "it is not asked again before its time, and still told"
        assert read_watch(desk.cursor).asked["folder:guide"] == state
    finally:
        hidden.rename(folder)


def checked(result: dg.ExecuteInProcessResult, source: str) -> dg.AssetCheckEvaluation:
    (found,) = [
        each
        for each in result.get_asset_check_evaluations()
        if each.check_name == REVISION_ACCEPTED and each.asset_key.path[-1] == source
    ]
    return found


def test_a_revision_that_shrank_waits_for_a_person_and_stops_nobody_else(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    lake, home = desk.installation.lake, desk.installation.settings.home
    good, corpus = current(lake, "raw", "guide").digest, read_snapshot(lake)
    desk.cursor = None  # the folder that was gone is not asked for hours
    write_records(desk.installation.folder("guide") / "a.jsonl", range(5))
    write_records(desk.installation.folder("web") / "d.jsonl", range(8000, 8010))
    (request,), _ = desk.tick()
    stopped = desk.run(request)
    assert not stopped.success and read_snapshot(lake) == corpus
    check = checked(stopped, "guide")
    assert check.blocking and not check.passed and check.severity is dg.AssetCheckSeverity.ERROR
    assert "less (MEDPIPE_REFRESH_MAX_SHRINK allows 20%)" in str(check.description)
    assert current(lake, "raw", "guide").digest == good
    # The other source goes on by itself; the held one is not requested again.
    (request,), _ = desk.tick()
    assert names(request.asset_selection) >= {"raw/web", "snapshot"} - {"raw/guide"}
    assert desk.run(request).success
    newer = read_snapshot(lake)
    assert newer != corpus and newer.revisions["guide"] == good
    assert desk.tick()[0] == []
    # So does the weekly floor: it warns.
    everything = desk.installation.build(desk.instance, run_config=raw_config(SOURCES, refresh=True))
    assert everything.success and read_snapshot(lake) == newer
    assert checked(everything, "guide").severity is dg.AssetCheckSeverity.WARN

    for name, value in [("HOME", home), ("HUB", home.parent / "hub"), ("SOURCES", home.parent / "sources")]:
        monkeypatch.setenv(f"MEDPIPE_{name}", str(value))
    told = CliRunner().invoke(app, ["sources", "held"])
    assert told.exit_code == 0 and "guide: revision folder-" in told.stdout
    done = CliRunner().invoke(app, ["sources", "accept", "guide"])
    assert done.exit_code == 0 and "is accepted" in done.stdout
    (record,) = accepted(lake, "guide")
    assert record["by"].endswith("by command") and record["over"] == good and record["reasons"]
    assert CliRunner().invoke(app, ["sources", "accept", "guide"]).exit_code == 2
    # The acceptance alone lets the sensor take it up.
    (request,), _ = desk.tick()
    assert request.run_config["ops"] == {} and "normalized/guide" in names(request.asset_selection)
    result = desk.run(request)
    assert result.success and checked(result, "guide").passed
    assert read_snapshot(lake).revisions["guide"] == record["revision"]


def test_a_source_that_was_never_fetched_is_named_where_the_others_wait_for_it(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    installation = make_installation(tmp_path)
    keys = [dg.AssetKey([group, "guide"]) for group in ("raw", "normalized")]
    with dg.DagsterInstance.ephemeral() as instance:
        desk = Desk(installation, instance)
        assert desk.run(dg.RunRequest(asset_selection=keys)).success
        write_records(installation.folder("guide") / "b.jsonl", range(5000, 5010))
        requests, said = desk.tick()
    assert not requests and said.startswith("guide changed, but web was never fetched and normalised")
    assert "materialise it, or `medpipe sources disable` it" in said
    told = capsys.readouterr().err
    assert "WARNING" in told and said in told


def test_it_is_on_where_the_workplace_says_so(desk: Desk) -> None:
    for automatic, status in [(True, "RUNNING"), (False, "STOPPED"), (None, "STOPPED")]:
        refresh = RefreshSettings(automatic=automatic, cron="30 2 * * *", timezone="Europe/Berlin")
        repository = desk.installation.definitions(refresh=refresh).get_repository_def()
        assert repository.get_sensor_def(SENSOR).default_status.value == status
        schedule = repository.get_schedule_def("weekly_refresh")
        assert schedule.default_status.value == status
        assert (schedule.cron_schedule, schedule.execution_timezone) == ("30 2 * * *", "Europe/Berlin")
