"""A failed run is told: to the log, and to a real web service on loopback; a broken one breaks nothing."""

from __future__ import annotations

import json
import logging
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import dagster as dg
import pytest
from dagster._core.definitions.freshness import TimeWindowFreshnessPolicy
from pydantic import SecretStr

from medpipe.refresh.alerts import build_failure_sensor, failure_facts
from medpipe.refresh.webhook import WebhookError, post
from medpipe_tests.refresh.corpus import make_installation

TOKEN = "planted-token-8c1f"


@dataclass
class Service:
    """A web service that keeps what it is told."""

    port: int = 0
    status: int = 200
    waits: bool = False
    told: list[dict[str, Any]] = field(default_factory=list)
    released: threading.Event = field(default_factory=threading.Event)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/hooks/{TOKEN}"


@pytest.fixture
def service() -> Iterator[Service]:
    service = Service()

    class Handler(BaseHTTPRequestHandler):
        def log_message(self, format: str, *args: object) -> None:
            pass

        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            assert self.headers["Content-Type"] == "application/json"
            service.told.append(json.loads(body))
            if service.waits:
                service.released.wait(30)
            self.send_response(service.status)
            self.end_headers()

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    service.port = server.server_address[1]
    thread = threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True)
    thread.start()
    try:
        yield service
    finally:
        service.released.set()
        server.shutdown()
        server.server_close()
        thread.join(10)


@dg.job(name="refresh_corpus")
def broken() -> None:
    @dg.op(name="raw__web")
    def raw() -> None:
        raise dg.Failure(description="web: 401; set HF_TOKEN to a token of that account")

    raw()


def tell(folder: Path, url: str) -> dict[str, Any]:
    """Lets a run fail and the sensor see it; the facts of the run."""
    settings = make_installation(
        folder, webhook_url=url, dagster_ui_url="http://127.0.0.1:3210/", plan="demo"
    ).settings
    with dg.DagsterInstance.ephemeral() as instance:
        failed = broken.execute_in_process(instance=instance, raise_on_error=False)
        (event,) = [e for e in failed.all_events if e.event_type_value == "PIPELINE_FAILURE"]
        context = dg.build_run_status_sensor_context(
            sensor_name="failed_runs",
            dagster_event=event,
            dagster_instance=instance,
            dagster_run=failed.dagster_run,
        ).for_run_failure()
        build_failure_sensor(settings)(context)
        steps = list(context.get_step_failure_events())
        return failure_facts(failed.dagster_run, steps, instance, settings)


def test_the_service_is_told_what_failed_and_what_to_do(
    service: Service, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    facts = tell(tmp_path, service.url)
    assert service.told == [facts]
    assert (facts["job"], facts["step"]) == ("refresh_corpus", "raw/web")
    assert facts["message"] == "web: 401; set HF_TOKEN to a token of that account"
    assert facts["link"] == f"http://127.0.0.1:3210/runs/{facts['run']}"
    assert facts["link"] in facts["what_to_do"] and "medpipe doctor" in facts["what_to_do"]
    said = capfd.readouterr().err
    assert "refresh_corpus failed at raw/web: web: 401" in said
    assert TOKEN not in said


@pytest.mark.parametrize("fault", ["500", "nobody", "no address", "line end"])
def test_a_broken_webhook_is_said_without_its_address_and_breaks_nothing(
    service: Service, tmp_path: Path, capfd: pytest.CaptureFixture[str], fault: str
) -> None:
    service.status = 500
    url = {
        "500": service.url,
        "nobody": f"http://127.0.0.1:1/{TOKEN}",
        "no address": f"file:///etc/{TOKEN}",
        "line end": f"{service.url}\nx",
    }[fault]
    assert tell(tmp_path, url)["run"]
    said = capfd.readouterr().err
    assert "MEDPIPE_WEBHOOK_URL" in said and "was not told" in said
    assert TOKEN not in said


def test_a_service_that_does_not_answer_is_given_up(
    service: Service, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    service.waits = True
    monkeypatch.setattr("medpipe.refresh.webhook.TIMEOUT_SECONDS", 0.3)
    with pytest.raises(WebhookError, match="no answer") as refused:
        post(SecretStr(service.url), {"run": "1"})
    assert TOKEN not in str(refused.value) + caplog.text


def test_what_is_stale_is_shown_on_sources_and_snapshot(tmp_path: Path) -> None:
    graph = make_installation(tmp_path, plan="demo").definitions().resolve_asset_graph()
    policies = {
        key.to_user_string(): graph.get(key).freshness_policy
        for key in graph.materializable_asset_keys
        if graph.get(key).freshness_policy is not None
    }
    assert set(policies) == {"raw/web", "raw/guide", "snapshot"}
    for policy in policies.values():
        assert isinstance(policy, TimeWindowFreshnessPolicy)
        assert policy.warn_window is not None and policy.warn_window.to_timedelta() == timedelta(days=8)
        assert policy.fail_window.to_timedelta() == timedelta(days=16)
