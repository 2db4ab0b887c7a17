"""The Dagster UI in a real browser: the graph is drawn, and a click materialises an asset."""

from __future__ import annotations

import os
import shutil
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from medpipe.lake.dataset import find_current
from medpipe.lake.layout import Lake

playwright = pytest.importorskip("playwright.sync_api")

ARTIFACTS = Path(__file__).resolve().parents[2] / "artifacts"
CHROMIUM = shutil.which("chromium")
FLAGS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]

pytestmark = [pytest.mark.browser, pytest.mark.slow]
if CHROMIUM is None and not os.environ.get("CI"):
    pytestmark.append(pytest.mark.skip(reason="chromium is not installed (CI always has it)"))


@pytest.fixture
def page(address: str) -> Iterator[playwright.Page]:
    with playwright.sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        page = browser.new_page(viewport={"width": 1600, "height": 1000})
        yield page
        ARTIFACTS.mkdir(exist_ok=True)
        browser.close()


def test_the_graph_is_drawn(page: playwright.Page, address: str) -> None:
    page.goto(f"{address}/asset-groups")
    for group in ("raw", "normalized", "corpus", "tokens", "pretrain", "evaluation"):
        page.get_by_text(group, exact=True).first.wait_for(timeout=60_000)
    page.wait_for_timeout(2_000)
    ARTIFACTS.mkdir(exist_ok=True)
    page.screenshot(path=ARTIFACTS / "graph.png")


def test_a_click_materialises_an_asset(page: playwright.Page, address: str, home: Path) -> None:
    lake = Lake(home / "lake")
    assert find_current(lake, "raw", "nlp_guild_medical_data") is None
    page.goto(f"{address}/assets/raw/nlp_guild_medical_data")
    page.get_by_role("button", name="Materialize").first.click(timeout=60_000)
    deadline = time.monotonic() + 120
    while find_current(lake, "raw", "nlp_guild_medical_data") is None:
        assert time.monotonic() < deadline, "the click materialised nothing within two minutes"
        page.wait_for_timeout(500)
    page.goto(f"{address}/assets/raw/nlp_guild_medical_data?view=overview")
    page.get_by_text("folder-").first.wait_for(timeout=60_000)
    page.wait_for_timeout(1_000)
    page.screenshot(path=ARTIFACTS / "materialised.png")
