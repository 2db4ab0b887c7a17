"""A source that comes into the catalog folder is in the UI after "Reload", and its jobs' forms work there."""

from __future__ import annotations

import json
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from medpipe.lake.dataset import find_current
from medpipe.lake.layout import Lake
from medpipe.operate.dev import LOG
from medpipe.pretrain.plan import builtin_plans
from medpipe_tests.operate.conftest import free_port
from medpipe_tests.operate.dev import (
    RELOAD,
    ask,
    runs_of,
    start_dev,
    status_of,
    stop_dev,
    wait_for,
    wait_until_served,
)
from medpipe_tests.small_home import CATALOG, write_records

pytestmark = pytest.mark.slow

LOCATION = "medpipe.definitions"
SELECTOR = {"repositoryLocationName": LOCATION, "repositoryName": "__repository__"}
ASSETS = "{ assetNodes { assetKey { path } } }"
TROUBLE = """
{ workspaceOrError { ... on Workspace { locationEntries {
  locationOrLoadError { __typename ... on PythonError { message causes { message } } } } } } }
"""
FORM = """
query($selector: PipelineSelector!) {
  runConfigSchemaOrError(selector: $selector) {
    __typename
    ... on RunConfigSchema { allConfigTypes { ... on EnumConfigType { givenName values { value } } } }
  }
}
"""
LAUNCH = """
mutation($params: ExecutionParams!) {
  launchPipelineExecution(executionParams: $params) {
    __typename
    ... on LaunchRunSuccess { run { runId } }
    ... on RunConfigValidationInvalid { errors { message } }
    ... on PythonError { message causes { message } }
  }
}
"""
ENTRY = """
sources:
  - {id: ward_notes, title: Ward notes, description: Notes., folder: notes, kind: document, language: zh,
     files: [{path: "*.txt", domain: disease}], layout: {layout: text}, licence: {name: null},
     uses: [pretraining]}
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("reload")
    (folder / "sources" / "notes").mkdir(parents=True)
    (folder / "home").mkdir()
    (folder / "sources" / "catalog.yaml").write_text(CATALOG)
    (folder / "sources" / "notes" / "a.txt").write_text("患者今日体温正常，继续观察。\n明日复查血常规。\n")
    write_records(folder / "hub/nobody/web/a.jsonl", range(5))
    write_records(folder / "hub/nobody/guide/a.jsonl", range(1000, 1005))
    # What the servers start with is broken: they start none the less.
    (folder / "plan.yaml").write_text(plan_text().replace("stages:", "stages: ["))
    return folder


def plan_text() -> str:
    return builtin_plans()["tiny"].read_text(encoding="utf-8")


@dataclass(frozen=True)
class Served:
    """`medpipe dev`, and what it said of the plan that it started with."""

    url: str
    told: str


@pytest.fixture(scope="module")
def served(folder: Path) -> Iterator[Served]:
    home, dagster = folder / "home", free_port()
    process = start_dev(
        home,
        dagster=dagster,
        mlflow=free_port(),
        MEDPIPE_HUB=str(folder / "hub"),
        MEDPIPE_SOURCES=str(folder / "sources"),
        MEDPIPE_PLAN=str(folder / "plan.yaml"),
    )
    try:
        address = f"http://127.0.0.1:{dagster}"
        wait_until_served(home, address, process)
        told = trouble(address)
        assert told["__typename"] == "PythonError"
        (folder / "plan.yaml").write_text(plan_text())
        ask(address, RELOAD, name=LOCATION)
        yield Served(address, str(told))
    finally:
        stop_dev(process)


@pytest.fixture(scope="module")
def url(served: Served) -> str:
    return served.url


def assets(url: str) -> set[str]:
    return {"/".join(node["assetKey"]["path"]) for node in ask(url, ASSETS)["assetNodes"]}


def offered(url: str, job: str, choice: str) -> list[str]:
    schema = ask(url, FORM, selector={**SELECTOR, "pipelineName": job})["runConfigSchemaOrError"]
    (found,) = [each for each in schema["allConfigTypes"] if each.get("givenName") == choice]
    return [value["value"] for value in found["values"]]


def launch(url: str, job: str, *names: str, **chosen: Any) -> dict[str, Any]:
    params = {
        "selector": {
            **SELECTOR,
            "jobName": job,
            "assetSelection": [{"path": name.split("/")} for name in names],
        },
        "mode": "default",
        "runConfigData": chosen,
        "executionMetadata": {"tags": []},
    }
    answer: dict[str, Any] = ask(url, LAUNCH, params=params)["launchPipelineExecution"]
    return answer


def trouble(url: str) -> dict[str, Any]:
    (location,) = ask(url, TROUBLE)["workspaceOrError"]["locationEntries"]
    found: dict[str, Any] = location["locationOrLoadError"]
    return found


def test_a_broken_plan_is_told_with_its_line_and_mended_by_reload(served: Served, folder: Path) -> None:
    url, plan, text = served.url, folder / "plan.yaml", plan_text()
    start = next(n for n, line in enumerate(text.splitlines(), 1) if line.startswith("stages:"))
    said = served.told
    assert f"plan.yaml: 1 problem\\n  - line {start + 1}: no readable YAML" in said, said
    assert "mend that line" in said
    assert trouble(url)["__typename"] == "RepositoryLocation"

    plan.write_text(text.replace("\nsequence_length:", "\nsequence_lenght:"))
    ask(url, RELOAD, name=LOCATION)
    line = next(n for n, each in enumerate(text.splitlines(), 1) if each.startswith("sequence_length:"))
    said = str(trouble(url))
    assert f"line {line}: sequence_lenght: " in said and "did you mean 'sequence_length'" in said
    plan.write_text(text)
    ask(url, RELOAD, name=LOCATION)
    assert "pretrain/fast" in assets(url)
    log = (folder / "home" / LOG).read_text()
    assert "ended with status" not in log, "a server went down with the plan"


def test_a_new_source_appears_after_reload_and_its_form_refreshes_it(url: str, folder: Path) -> None:
    assert "raw/web" in assets(url) and "raw/ward_notes" not in assets(url)
    (folder / "sources" / "ward.yaml").write_text(ENTRY)
    assert "raw/ward_notes" not in assets(url)
    ask(url, RELOAD, name=LOCATION)
    assert {"raw/ward_notes", "normalized/ward_notes"} <= assets(url)
    assert "ward_notes" in offered(url, "refresh_corpus", "EnabledSource")

    started = launch(url, "refresh_corpus", "raw/ward_notes", "normalized/ward_notes", sources=["ward_notes"])
    assert started["__typename"] == "LaunchRunSuccess", started
    run = started["run"]["runId"]

    def ended() -> str | None:
        status = status_of(url, run)
        return status if status in ("SUCCESS", "FAILURE", "CANCELED") else None

    log = (folder / "home" / "dev.log").read_text()[-3000:]
    assert wait_for(ended, seconds=180, what="the end of the run") == "SUCCESS", log
    made = find_current(Lake(folder / "home" / "lake"), "normalized", "ward_notes")
    assert made is not None and made.manifest.rows == 2


def test_a_plan_outside_the_folder_is_refused_by_the_server(url: str) -> None:
    for plan in ("/etc/passwd", "../../plan"):
        answer = launch(url, "pretrain_curriculum", "pretrain/fast", plan=plan)
        assert answer["__typename"] == "RunConfigValidationInvalid", answer
        assert "not in enum type Plan" in answer["errors"][0]["message"]
    answer = launch(url, "pretrain_curriculum", "pretrain/fast", token_budget=7)
    assert "give at least" in str(answer), answer


def refused(url: str, *, body: bytes | None = None, **headers: str) -> int:
    """Status of an answer that is none; header names are written with `_` for `-`."""
    sent = {"Content-Type": "application/json"} | {k.replace("_", "-"): v for k, v in headers.items()}
    with pytest.raises(urllib.error.HTTPError) as answer:
        urllib.request.urlopen(urllib.request.Request(url, data=body, headers=sent), timeout=30)
    return answer.value.code


def test_a_page_of_another_site_starts_nothing(url: str) -> None:
    params = {
        "selector": {**SELECTOR, "jobName": "verify"},
        "mode": "default",
        "runConfigData": {},
        "executionMetadata": {"tags": []},
    }
    start = {"query": LAUNCH, "variables": json.dumps({"params": params})}
    body = json.dumps({"query": LAUNCH, "variables": {"params": params}}).encode()
    before = runs_of(url)
    assert refused(f"{url}/graphql?{urllib.parse.urlencode(start)}") == 405
    assert refused(f"{url}/graphql", body=body, Origin="https://evil.example") == 403
    assert refused(f"{url}/graphql", body=body, Sec_Fetch_Site="cross-site") == 403
    assert refused(f"{url}/graphql", body=body, Host="rebound.example") == 421
    upgrade = {"Connection": "Upgrade", "Upgrade": "websocket", "Sec_WebSocket_Version": "13"}
    socket = upgrade | {"Sec_WebSocket_Key": "AAAAAAAAAAAAAAAAAAAAAA=="}
    assert refused(f"{url}/graphql", Origin="https://evil.example", **socket) == 403
    assert runs_of(url) == before


def test_a_broken_entry_is_told_with_its_line_and_mended_by_another_reload(url: str, folder: Path) -> None:
    entry = folder / "sources" / "ward.yaml"
    entry.write_text(ENTRY.replace("language: zh", "langage: zh"))
    ask(url, RELOAD, name=LOCATION)
    told = trouble(url)
    assert told["__typename"] == "PythonError"
    assert "ward.yaml" in str(told) and "did you mean 'language'" in str(told), told
    entry.write_text(ENTRY)
    ask(url, RELOAD, name=LOCATION)
    assert "raw/ward_notes" in assets(url)
