"""`medpipe serve`: the real proxy before the real servers lets people in, and nobody else."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import json
import os
import re
import shutil
import subprocess
import sys
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from pydantic import SecretStr
from typer.testing import CliRunner

from medpipe.cli import app
from medpipe.operate.dev import LOG
from medpipe.operate.proxy import Door, ProxyError, caddyfile, check_door, hash_password, places_behind
from medpipe.sample.generate import generate
from medpipe_tests.operate.conftest import free_port
from medpipe_tests.operate.dev import LAUNCH, RUNS, everything, stop_dev, wait_for

PASSWORD = "correct horse battery"
HUB_TOKEN = "hf_ThatNobodyGaveOut"
needs_caddy = pytest.mark.skipif(shutil.which("caddy") is None, reason="apt-get install caddy")


@dataclass
class Answer:
    """What came back."""

    status: int
    headers: dict[str, str]
    body: str
    url: str
    """Where it came from, behind all redirections."""


@dataclass
class Served:
    """A platform behind its proxy."""

    home: Path
    port: int
    dagster_port: int

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def get(
        self,
        path: str,
        *,
        password: str | None = PASSWORD,
        body: Any = None,
        method: str | None = None,
        **headers: str,
    ) -> Answer:
        """Asks; header names are written with `_` for `-`. A body is sent as JSON unless it is bytes."""
        sent = {name.replace("_", "-"): value for name, value in headers.items()}
        if password is not None:
            sent["Authorization"] = "Basic " + base64.b64encode(f"medpipe:{password}".encode()).decode()
        data = body
        if body is not None and not isinstance(body, bytes):
            data = json.dumps(body).encode()
            sent.setdefault("Content-Type", "application/json")
        request = urllib.request.Request(self.url + path, data=data, headers=sent, method=method)
        try:
            with urllib.request.urlopen(request, timeout=60) as answer:
                text = answer.read().decode(errors="replace")
                return Answer(answer.status, dict(answer.headers), text, answer.url)
        except urllib.error.HTTPError as error:
            text = error.read().decode(errors="replace")
            return Answer(error.code, dict(error.headers), text, error.url)

    def runs(self) -> int:
        answer = self.get("/dagster/graphql", body={"query": RUNS})
        return len(json.loads(answer.body)["data"]["runsOrError"]["results"])


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    home = tmp_path_factory.mktemp("serve")
    generate(home / "sample")
    served = Served(home, free_port(), free_port())
    command = [sys.executable, "-m", "medpipe.cli", "serve", "--port", str(served.port)]
    command += ["--dagster-port", str(served.dagster_port), "--mlflow-port", str(free_port())]
    own = {"MEDPIPE_HOME": str(home), "MEDPIPE_HUB": str(home / "sample"), "MEDPIPE_SERVE_PASSWORD": PASSWORD}
    own["HF_TOKEN"] = HUB_TOKEN
    environment = {k: v for k, v in os.environ.items() if k != "MLFLOW_TRACKING_URI"} | own
    with (home / "serve.log").open("wb") as log:
        process = subprocess.Popen(
            command, env=environment, stdout=log, stderr=subprocess.STDOUT, start_new_session=True
        )

    def is_up() -> bool | None:
        assert process.poll() is None, (home / "serve.log").read_text()
        return True if "Ctrl-C stops" in (home / "serve.log").read_text() else None

    try:
        wait_for(is_up, seconds=240, what="medpipe serve")
        yield served
    finally:
        stop_dev(process)
        assert not everything(home)


def mutation() -> dict[str, Any]:
    location = {"repositoryLocationName": "medpipe.definitions", "repositoryName": "__repository__"}
    parameters = {
        "selector": {**location, "jobName": "verify"},
        "mode": "default",
        "runConfigData": {"loggers": {"console": {}}},
        "executionMetadata": {"tags": []},
    }
    return {"query": LAUNCH, "variables": {"params": parameters}}


def asking(body: dict[str, Any]) -> str:
    """As a link would ask."""
    fields = {"query": body["query"], "variables": json.dumps(body["variables"])}
    return "/dagster/graphql?" + urllib.parse.urlencode(fields)


def first_script(page: str) -> str:
    found = re.search(r'<script[^>]* src="([^"]+\.js)"', page)
    assert found is not None, page[:2000]
    return found[1]


@needs_caddy
@pytest.mark.slow
def test_people_come_in_and_nobody_else(served: Served) -> None:
    for path in ("/dagster/", "/mlflow/", "/", "/dagster/graphql", "/nowhere"):
        assert served.get(path, password=None).status == 401
    assert served.get("/dagster/", password="wrong horse battery").status == 401
    assert served.get("/dagster/", Host="rebound.example").status == 421
    assert served.get("/dagster/", Host=f"rebound.example:{served.port}", password=None).status == 421

    for prefix in ("/dagster", "/mlflow"):
        assert served.get(prefix).url == f"{served.url}{prefix}/"
        page = served.get(f"{prefix}/")
        assert page.status == 200
        script = urllib.parse.urljoin(f"{prefix}/", first_script(page.body))
        assert script.startswith(f"{prefix}/")
        loaded = served.get(script)
        assert loaded.status == 200 and "javascript" in loaded.headers["Content-Type"]
        assert page.headers["X-Content-Type-Options"] == "nosniff"
        assert page.headers["X-Frame-Options"] == "SAMEORIGIN"
        assert page.headers["Content-Security-Policy"] and "Server" not in page.headers
    for api in ("ajax-api", "api"):  # of MLflow's pages, and of its client
        found = served.get(f"/mlflow/{api}/2.0/mlflow/experiments/search", body={"max_results": 5})
        assert found.status == 200 and "experiments" in json.loads(found.body), found
    own_page = {"Origin": served.url, "Sec_Fetch_Site": "same-origin"}
    found = served.get("/mlflow/ajax-api/2.0/mlflow/experiments/search", body={"max_results": 5}, **own_page)
    assert found.status == 200, found.body


@needs_caddy
@pytest.mark.slow
def test_a_forged_request_starts_nothing(served: Served) -> None:
    start = mutation()
    evil = {"Origin": "https://evil.example"}
    assert served.get("/dagster/graphql", body=start, **evil).status == 403
    assert served.get("/dagster/graphql", body=start, Origin="null").status == 403
    assert (
        served.get("/dagster/graphql", body=start, Origin=f"http://localhost:{served.port + 1}").status == 403
    )
    assert served.get("/dagster/graphql", body=start, Sec_Fetch_Site="cross-site").status == 403
    assert served.get("/dagster/graphql", body=start, Sec_Fetch_Site="same-site").status == 403
    assert served.get("/dagster/report_asset_materialization/raw", body={}, **evil).status == 403
    assert (
        served.get("/mlflow/ajax-api/2.0/mlflow/experiments/create", body={"name": "x"}, **evil).status == 403
    )
    # What needs no leave of a browser: a link, an image, a form.
    assert served.get(asking(start)).status == 405
    assert served.get(asking(start), Accept="text/html").status == 405
    assert served.get(asking(start), body=b"", Content_Type="text/plain").status == 405
    assert served.get(asking(start), Connection="Upgrade", Upgrade="websocket").status == 405
    assert (
        served.get("/dagster/graphql", body=json.dumps(start).encode(), Content_Type="text/plain").status
        == 415
    )
    # A link to a page of ours is followed, a page of ours in a frame of others is not.
    link = {"Sec_Fetch_Site": "cross-site", "Sec_Fetch_Mode": "navigate", "Sec_Fetch_Dest": "document"}
    assert served.get("/dagster/runs", **link).status == 200
    assert served.get("/dagster/runs", **(link | {"Sec_Fetch_Dest": "iframe"})).status == 403
    assert served.runs() == 0

    launched = served.get("/dagster/graphql", body=start, Origin=served.url, Sec_Fetch_Site="same-origin")
    assert "LaunchRunSuccess" in launched.body, launched
    assert served.runs() == 1, "the same request from our own page"


@needs_caddy
@pytest.mark.slow
def test_a_forged_request_past_the_proxy_starts_nothing(served: Served) -> None:
    """A page in a browser on the machine reaches the port that the proxy hands on to."""
    start, before = mutation(), served.runs()
    past = Served(served.home, served.dagster_port, served.dagster_port)
    assert past.get(asking(start), password=None, Sec_Fetch_Site="cross-site").status == 405
    assert (
        past.get("/dagster/graphql", password=None, body=start, Origin="https://evil.example").status == 403
    )
    assert past.get("/dagster/graphql", password=None, body=start, Host="rebound.example").status == 421
    assert served.runs() == before


@needs_caddy
@pytest.mark.slow
def test_live_pages_of_our_own_get_their_socket(served: Served) -> None:
    websockets = pytest.importorskip("websockets")
    login = "Basic " + base64.b64encode(f"medpipe:{PASSWORD}".encode()).decode()

    async def greeted(**headers: str) -> str:
        address = f"ws://127.0.0.1:{served.port}/dagster/graphql"
        async with websockets.connect(
            address, additional_headers=headers, subprotocols=["graphql-ws"]
        ) as socket:
            await socket.send('{"type": "connection_init", "payload": {}}')
            return str(json.loads(await asyncio.wait_for(socket.recv(), 20))["type"])

    assert asyncio.run(greeted(Authorization=login, Origin=served.url)) == "connection_ack"
    for refused in (
        {"Authorization": login, "Origin": "https://evil.example"},
        {"Origin": served.url},
        {"Authorization": login},
    ):
        with pytest.raises(websockets.exceptions.InvalidStatus, match=r"HTTP 40[135]"):
            asyncio.run(greeted(**refused))


@needs_caddy
@pytest.mark.slow
def test_the_password_is_nowhere(served: Served) -> None:
    served.get("/dagster/")
    working = everything(served.home)
    assert any("caddy" in each.name() for each in working)
    for process in working:
        assert not [part for part in process.cmdline() if PASSWORD in part]
        if "medpipe.cli" not in process.cmdline():
            assert PASSWORD not in process.environ().values()
            fetches_nothing = any("caddy" in part or "mlflow" in part for part in process.cmdline())
            assert not (fetches_nothing and HUB_TOKEN in process.environ().values()), process.cmdline()
    files = [path for path in served.home.rglob("*") if path.is_file() and path.stat().st_size < 50_000_000]
    assert served.home / LOG in files
    for path in files:
        with contextlib.suppress(OSError):
            content = path.read_bytes()
            assert PASSWORD.encode() not in content, path
            assert not re.search(rb"\$2[aby]\$\d\d\$", content), (
                f"{path} has its hash, and outlives the command"
            )


@needs_caddy
@pytest.mark.parametrize(("tls", "has_mlflow"), [("off", True), ("internal", True), ("auto", False)])
def test_caddy_takes_the_configuration(tls: str, has_mlflow: bool, tmp_path: Path) -> None:
    caddy = str(shutil.which("caddy"))
    door = Door(host="0.0.0.0", port=8443, public_url="https://corpus.example", tls=tls)
    hashed = hash_password(caddy, PASSWORD)
    assert PASSWORD not in hashed
    places = places_behind(door, dagster_port=3000, mlflow_port=5000)
    text = caddyfile(door, places, password_hash=hashed, has_mlflow=has_mlflow)
    # Where a server elsewhere has the runs, nothing of ours is at the port: somebody else's may be.
    assert ("127.0.0.1:5000" in text) is has_mlflow
    (tmp_path / "Caddyfile").write_text(text)
    command = [caddy, "validate", "--adapter", "caddyfile", "--config", str(tmp_path / "Caddyfile")]
    said = subprocess.run(
        command, capture_output=True, text=True, env=os.environ | {"XDG_DATA_HOME": str(tmp_path)}
    )
    assert said.returncode == 0, said.stderr


@pytest.mark.parametrize(
    ("door", "fix"),
    [
        (Door(host="0.0.0.0", public_url="https://corpus.example"), "set MEDPIPE_SERVE_PASSWORD"),
        (Door(host="0.0.0.0", password=SecretStr(PASSWORD)), "--public-url https://corpus.example"),
        (Door(host="::1", password=SecretStr(PASSWORD)), "--public-url https://corpus.example"),
        (Door(), "set MEDPIPE_SERVE_PASSWORD"),
        (Door(password=SecretStr("")), "--no-password"),
        (Door(public_url="https://corpus.example"), "set MEDPIPE_SERVE_PASSWORD"),
        (Door(host="0.0.0.0", public_url="https://corpus.example", asks_nobody=True), "leave --host out"),
        (Door(password=SecretStr("short")), "at least 12 characters"),
        (Door(public_url="corpus.example", asks_nobody=True), "must look like https://corpus.example"),
        (Door(public_url="https://corpus.example/{x}", asks_nobody=True), "without a path"),
        (Door(password=SecretStr("long enough"), asks_nobody=True), "unset it, or leave --no-password out"),
        (Door(tls="on", asks_nobody=True), "off, internal, auto"),
        (Door(user="a b", asks_nobody=True), "letters and digits"),
    ],
)
def test_what_would_let_strangers_in_is_refused(door: Door, fix: str) -> None:
    with pytest.raises(ProxyError, match=re.escape(fix)):
        check_door(door)
    check_door(Door(asks_nobody=True))
    check_door(Door(host="0.0.0.0", public_url="https://corpus.example", password=SecretStr(PASSWORD)))


@pytest.mark.parametrize(
    ("door", "origins"),
    [
        (Door(port=80), {"http://127.0.0.1", "http://localhost"}),
        (Door(port=443, tls="internal"), {"https://127.0.0.1", "https://localhost"}),
        (Door(port=8080), {"http://127.0.0.1:8080", "http://localhost:8080"}),
        (
            Door(host="0.0.0.0", port=8443, public_url="https://Corpus.Example:443"),
            {"https://corpus.example", "http://corpus.example:8443"},
        ),
        (
            Door(host="::1", port=8080, public_url="http://[::1]:8080"),
            {"http://[::1]:8080"},
        ),
    ],
)
def test_its_own_origins_are_written_as_browsers_write_them(door: Door, origins: set[str]) -> None:
    assert set(door.origins) == origins


def test_without_caddy_the_command_says_how_to_install_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setenv("MEDPIPE_HOME", str(tmp_path))
    said = CliRunner().invoke(app, ["serve", "--no-password"])
    assert said.exit_code == 1 and "apt-get install caddy" in said.output
