"""Takes the pictures of docs/walkthrough.md anew, by walking the walk in a real browser.

    .venv/bin/python docs/take_pictures.py --home /srv/medpipe     (or: make pictures)

Starts `medpipe dev --sample` in a home that must not exist yet, does with Debian's chromium what the page
tells a newcomer to do, and prints how long each step took. The UI shows the path of the home here and there:
give it a neutral one. The home is left for a look; delete it afterwards.
"""

from __future__ import annotations

import argparse
import contextlib
import re
import shutil
import time
from pathlib import Path

from playwright.sync_api import sync_playwright
from walker import FOR_DIALOGS, LONG_MS, PICTURES, WIDE, Walk, platform

FLAGS = ["--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run"]
SHARPNESS = 1.5
GROUP_ENDS = ("raw", "evaluation")
HALF_BUDGET = 235_520
"""Half the tokens of the demo plan."""


def see_the_graph(walk: Walk) -> None:
    """Step 2: the graph, then the first group by its menu."""
    page, before = walk.page, walk.newest_run()["runId"]
    walk.open("/asset-groups", "evaluation")
    first, last = (page.locator("svg").get_by_text(name, exact=True).bounding_box() for name in GROUP_ENDS)
    if first is None or last is None:
        raise SystemExit("the graph does not show its groups")
    left, right = first["x"] - 20, last["x"] + last["width"] + 50
    walk.keep("graph", {"x": left, "y": first["y"] - 17, "width": right - left, "height": 40})
    row = page.get_by_role("button", name="raw").first
    walk.menu_of(row)
    page.get_by_role("menuitem", name="Materialize assets (8)").wait_for()
    page.wait_for_timeout(700)
    walk.keep("materialise_group", {"x": 0, "y": 0, "width": 760, "height": 375})
    page.get_by_role("menuitem", name="Materialize assets (8)").click()
    page.get_by_text("Launched run").wait_for(timeout=LONG_MS)
    walk.menu_of(row)
    page.get_by_role("menuitem", name="Filter to this group").click()
    walk.wait_for_run(before)
    page.reload()
    page.get_by_text("Materialized", exact=True).first.wait_for(timeout=LONG_MS)
    page.wait_for_timeout(5_000)
    walk.keep("group_green", {"x": 240, "y": 52, "width": 940, "height": 560})
    walk.took("materialise the group raw")


def refresh(walk: Walk) -> None:
    """Step 3: the job refresh_corpus, and what the corpus looks like."""
    before = walk.newest_run()["runId"]
    walk.launch(walk.launchpad("refresh_corpus"))
    walk.wait_for_run(before)
    walk.took("refresh_corpus")
    walk.picture_of("corpus/documents", "funnel", "funnel")
    walk.picture_of("snapshot", "token shares", "token_shares")
    walk.took("look at funnel and token shares")


def train(walk: Walk) -> None:
    """Step 4: the first curriculum, with its loss while it trains."""
    page, before = walk.page, walk.newest_run()["runId"]
    walk.launch(walk.launchpad("pretrain_curriculum"))
    walk.wait_for_run(before, until_step="pretrain__fast")
    walk.open("/assets/pretrain/fast", "Metadata")
    page.get_by_role("button", name="Plots").click()
    page.get_by_text("loss", exact=True).first.scroll_into_view_if_needed()
    page.wait_for_timeout(2_000)
    walk.keep("live_loss", {"x": 240, "y": 0, "width": 640, "height": 630})
    walk.wait_for_run(before)
    walk.took("first curriculum")
    walk.picture_of("evaluation/bits_per_byte", "loss", "loss_by_stage")
    walk.picture_of("evaluation/bits_per_byte", "heat map", "matrix")
    walk.took("look at loss and matrix")


def train_half(walk: Walk) -> None:
    """Step 5: a second curriculum with half the tokens, by the form."""
    page, before = walk.page, walk.newest_run()["runId"]
    pad = walk.launchpad("pretrain_curriculum")
    pad.get_by_text("token_budget").first.click()
    page.keyboard.press("End")
    page.keyboard.press("Backspace")
    page.keyboard.type(str(HALF_BUDGET))
    pad.get_by_text("Launchpad (configure assets)").click()  # else the help on the field stays in front
    page.wait_for_timeout(2_500)
    pad.get_by_text("No errors").wait_for(timeout=LONG_MS)
    walk.keep("launchpad", {"x": 145, "y": 35, "width": 890, "height": 690})
    walk.launch(pad)
    walk.wait_for_run(before)
    walk.took("second curriculum")


def compare(walk: Walk) -> None:
    """Step 6: both curricula in MLflow."""
    page = walk.page
    page.set_viewport_size(FOR_DIALOGS)
    walk.open("/assets/pretrain/converge", "mlflow comparison")
    address = page.get_by_role("link", name=re.compile("compareRunsMode")).first.get_attribute("href")
    if address is None or not address.startswith(walk.mlflow):
        raise SystemExit(f"no link to MLflow beside 'mlflow comparison': {address}")
    page.goto(address)
    page.get_by_text(f"demo-{HALF_BUDGET}-tok").first.wait_for(timeout=LONG_MS)
    assistant = page.get_by_role("button", name="Close")
    if assistant.count():
        assistant.last.click()
    page.wait_for_timeout(3_000)
    walk.keep("mlflow_comparison", {"x": 200, "y": 40, "width": 1190, "height": 660})
    page.get_by_placeholder("Search metric charts").fill("train/loss")
    chart = page.get_by_text("train/loss", exact=True).first
    chart.wait_for(timeout=LONG_MS)
    page.wait_for_timeout(2_000)
    chart.locator("xpath=following::button[1]").click()
    page.get_by_role("dialog").last.wait_for(timeout=LONG_MS)
    page.mouse.move(5, 895)  # else the chart's tools stay in front
    page.wait_for_timeout(2_500)
    walk.keep("mlflow_loss", {"x": 40, "y": 38, "width": 1320, "height": 700})
    page.goto(address.replace("&compareRunsMode=CHART", ""))
    page.get_by_text(f"demo-{HALF_BUDGET}-tok").first.wait_for(timeout=LONG_MS)
    page.wait_for_timeout(2_000)
    walk.keep("mlflow_runs", {"x": 0, "y": 0, "width": 1400, "height": 400})
    page.set_viewport_size(WIDE)
    walk.took("compare in MLflow")


def automation(walk: Walk) -> None:
    """Step 7: what goes on by itself."""
    walk.open("/automation", "weekly_refresh")
    walk.keep("automation", {"x": 0, "y": 0, "width": 1180, "height": 480})


STEPS = (see_the_graph, refresh, train, train_half, compare, automation)


def main() -> None:
    """Walks, and keeps the pictures."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--home", type=Path, required=True)
    parser.add_argument("--dagster-port", type=int, default=3000)
    parser.add_argument("--mlflow-port", type=int, default=5000)
    parser.add_argument("--running", action="store_true", help="use servers that run already")
    names = [step.__name__ for step in STEPS]
    parser.add_argument("--only", choices=names, nargs="*", default=names, help="some of the steps")
    chosen = parser.parse_args()
    if not chosen.running and chosen.home.exists():
        raise SystemExit(f"{chosen.home} exists; name a home that does not")
    PICTURES.mkdir(exist_ok=True)
    ports = (chosen.dagster_port, chosen.mlflow_port)
    servers = contextlib.nullcontext() if chosen.running else platform(chosen.home, ports)
    with servers, sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=shutil.which("chromium"), args=FLAGS)
        page = browser.new_page(viewport=WIDE, device_scale_factor=SHARPNESS)
        walk = Walk(page, f"http://127.0.0.1:{ports[0]}", f"http://127.0.0.1:{ports[1]}")
        for step in STEPS:
            if step.__name__ in chosen.only:
                step(walk)
        print(f"{time.monotonic() - walk.started:6.0f} s  all")
        browser.close()


if __name__ == "__main__":
    main()
