"""A newcomer at a browser: what `take_pictures.py` walks with."""

from __future__ import annotations

import contextlib
import io
import json
import os
import re
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from PIL import Image
from playwright.sync_api import FloatRect, Locator, Page, ViewportSize

PICTURES = Path(__file__).parent / "pictures"
MOST_BYTES = 150_000
WIDE: ViewportSize = {"width": 1180, "height": 760}
FOR_DIALOGS: ViewportSize = {"width": 1400, "height": 900}
LONG_MS = 120_000
RUN_SECONDS = 1_200
START_SECONDS = 180


@dataclass
class Walk:
    """A newcomer at a browser, with a clock."""

    page: Page
    dagster: str
    mlflow: str
    started: float = field(default_factory=time.monotonic)
    taken: list[tuple[str, float]] = field(default_factory=list)

    def took(self, step: str) -> None:
        """Notes how long it took since the last note."""
        now = time.monotonic()
        seconds = now - self.started - sum(seconds for _, seconds in self.taken)
        self.taken.append((step, seconds))
        print(f"{seconds:6.0f} s  {step}", flush=True)

    def keep(self, name: str, clip: FloatRect | None = None, of: Locator | None = None) -> None:
        """Keeps what the browser shows, all of it or a part, with few colours and below `MOST_BYTES`."""
        png = of.screenshot() if of is not None else self.page.screenshot(clip=clip)
        image = Image.open(io.BytesIO(png)).convert("RGB")
        for colours in (256, 128, 64, 32):
            held = io.BytesIO()
            image.quantize(colours, dither=Image.Dither.NONE).save(held, "PNG", optimize=True)
            if held.tell() <= MOST_BYTES:
                break
        else:
            raise SystemExit(f"{name}: {held.tell():,} bytes are more than {MOST_BYTES:,}; crop it")
        (PICTURES / f"{name}.png").write_bytes(held.getvalue())

    def open(self, path: str, wait_for: str) -> None:
        """Opens a page of Dagster and waits for a text on it."""
        self.page.goto(f"{self.dagster}{path}")
        self.page.get_by_text(wait_for, exact=True).first.wait_for(timeout=LONG_MS)
        self.page.wait_for_timeout(2_500)

    def newest_run(self) -> dict[str, Any]:
        """Id and status of the newest Dagster run, and its steps that succeeded."""
        query = "{runsOrError(limit: 1) {... on Runs {results {runId status stepStats {stepKey status}}}}}"
        request = urllib.request.Request(  # noqa: S310  # loopback
            f"{self.dagster}/graphql",
            data=json.dumps({"query": query}).encode(),
            headers={"Content-Type": "application/json"},
        )
        with urllib.request.urlopen(request, timeout=60) as answer:  # noqa: S310
            found = json.load(answer)["data"]["runsOrError"]["results"]
        return dict(found[0]) if found else {"runId": "", "status": "NONE", "stepStats": []}

    def wait_for_run(self, before: str, *, until_step: str | None = None) -> str:
        """Waits until the run after `before` has succeeded, or a step of it; returns its id."""
        deadline = time.monotonic() + RUN_SECONDS
        while time.monotonic() < deadline:
            run = self.newest_run()
            if run["runId"] != before:
                done = {each["stepKey"] for each in run["stepStats"] if each["status"] == "SUCCESS"}
                if run["status"] == "SUCCESS" or until_step in done:
                    return str(run["runId"])
                if run["status"] in ("FAILURE", "CANCELED"):
                    raise SystemExit(f"run {run['runId']} ended as {run['status']}")
            self.page.wait_for_timeout(1_000)
        raise SystemExit(f"no run has succeeded within {RUN_SECONDS} s")

    def menu_of(self, row: Locator) -> None:
        """Opens the menu at the right end of a line of the list of groups."""
        row.hover()
        self.page.wait_for_timeout(300)
        box = row.bounding_box()
        if box is None:
            raise SystemExit("the line of a group is not shown")
        self.page.mouse.click(box["x"] + box["width"] - 18, box["y"] + box["height"] / 2)

    def launchpad(self, job: str) -> Locator:
        """Jobs, the job, the arrow beside "Materialize all", "Open launchpad"."""
        self.open("/jobs", job)
        self.page.get_by_role("link", name=job).first.click()
        every = self.page.get_by_role("button", name="Materialize all")
        every.wait_for(timeout=LONG_MS)
        every.locator("xpath=following::button[1]").click()
        self.page.get_by_role("menuitem", name="Open launchpad").click()
        pad = self.page.locator(".dagster-portal", has_text="Launchpad (configure assets)")
        pad.get_by_text("No errors").wait_for(timeout=LONG_MS)
        return pad

    def launch(self, pad: Locator) -> None:
        """Presses "Materialize" in the launchpad."""
        pad.get_by_role("button", name=re.compile("Materialize$")).click()
        self.page.wait_for_url("**/runs/*", timeout=LONG_MS)

    def picture_of(self, asset: str, key: str, name: str) -> None:
        """Opens an asset's page and presses "[Show Markdown]" beside a key."""
        self.page.set_viewport_size(FOR_DIALOGS)
        self.open(f"/assets/{asset}", "Metadata")
        row = self.page.locator(
            "tr", has=self.page.locator("td:first-child", has_text=re.compile(f"^{key}$"))
        )
        row.get_by_text("[Show Markdown]").first.click()
        shown = self.page.locator(".bp5-dialog, [role=dialog]").last
        shown.locator("img").wait_for(timeout=LONG_MS)
        self.page.wait_for_timeout(1_000)
        self.keep(name, of=shown)
        self.page.set_viewport_size(WIDE)


def _answers(address: str) -> bool:
    try:
        urllib.request.urlopen(address, timeout=5).close()  # noqa: S310  # loopback
    except OSError:
        return False
    return True


@contextlib.contextmanager
def platform(home: Path, ports: tuple[int, int]) -> Iterator[None]:
    """`medpipe dev --sample` until the block ends."""
    command = [sys.executable, "-m", "medpipe.cli", "dev", "--sample"]
    command += ["--dagster-port", str(ports[0]), "--mlflow-port", str(ports[1])]
    started = time.monotonic()
    server = subprocess.Popen(command, env={**os.environ, "MEDPIPE_HOME": str(home)}, start_new_session=True)
    try:
        for port in ports:
            while not _answers(f"http://127.0.0.1:{port}"):
                if server.poll() is not None or time.monotonic() - started > START_SECONDS:
                    raise SystemExit("medpipe dev did not start; its log is above")
                time.sleep(0.5)
        print(f"{time.monotonic() - started:6.0f} s  start", flush=True)
        yield
    finally:
        server.terminate()
        server.wait(timeout=180)
