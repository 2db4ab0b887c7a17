"""Both UIs in a real browser, as a person uses them; what was seen is kept in `artifacts/`."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
import yaml

from medpipe.lake.dataset import current, find_current
from medpipe.lake.layout import Lake
from medpipe.tokens.tokenizer import load_tokenizer
from medpipe_tests.operate.conftest import free_port
from medpipe_tests.operate.curricula import train_two_curricula
from medpipe_tests.operate.dev import (
    ask,
    runs_of,
    start_dev,
    status_of,
    stop_dev,
    trainers,
    wait_for,
    wait_until_served,
)
from medpipe_tests.small_home import CATALOG, write_plan, write_records

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
PATIENCE_MS = 120_000
"""The machine may do other work; whatever is waited for comes at once on a quiet one."""
VOCABULARY = 600
"""Of the plan that a person chooses; the other has less."""
GROUPS = ("raw", "normalized", "corpus", "tokens", "pretrain", "evaluation")
INSTIGATORS = """
query($repository: RepositorySelector!) {
  repositoryOrError(repositorySelector: $repository) {
    ... on Repository {
      schedules { name scheduleState { status } }
      sensors { name sensorState { status } }
    }
  }
}
"""
CONFIG = "query($id: ID!) { runOrError(runId: $id) { ... on Run { runConfigYaml } } }"

pytestmark = [pytest.mark.browser, pytest.mark.slow]
if CHROMIUM is None and not os.environ.get("CI"):
    pytestmark.append(pytest.mark.skip(reason="chromium is not installed (CI always has it)"))


@dataclass(frozen=True)
class Workplace:
    """A running `medpipe dev`: two sources, a plan that trains for minutes, two finished curricula."""

    folder: Path
    dagster: str
    mlflow: str
    curricula: tuple[str, str]

    @property
    def lake(self) -> Lake:
        return Lake(self.folder / "home" / "lake")

    @property
    def location(self) -> str:
        return f"{self.dagster}/locations/medpipe.definitions"

    def automation(self) -> dict[str, str]:
        """RUNNING or STOPPED by name of a schedule or sensor."""
        repository = {
            "repositoryLocationName": "medpipe.definitions",
            "repositoryName": "__repository__",
        }
        found = ask(self.dagster, INSTIGATORS, repository=repository)["repositoryOrError"]
        states = {each["name"]: each["scheduleState"]["status"] for each in found["schedules"]}
        return states | {each["name"]: each["sensorState"]["status"] for each in found["sensors"]}


@pytest.fixture(scope="module")
def workplace(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Workplace]:
    folder = tmp_path_factory.mktemp("ui")
    home = folder / "home"
    (home / "plans").mkdir(parents=True)
    (folder / "sources").mkdir()
    (folder / "sources" / "catalog.yaml").write_text(CATALOG)
    write_records(folder / "hub/nobody/web/a.jsonl", range(60))
    write_records(folder / "hub/nobody/guide/a.jsonl", range(1000, 1060))
    write_plan(folder / "small.yaml")
    values = yaml.safe_load((folder / "small.yaml").read_text(encoding="utf-8"))
    values |= {"name": "patient", "maximum_epochs": 100_000, "tokenizer": {"vocabulary_size": VOCABULARY}}
    for stage in values["stages"]:
        stage["tokens"] *= 200
    (home / "plans" / "patient.yaml").write_text(yaml.safe_dump(values, allow_unicode=True))
    curricula = train_two_curricula(folder / "two", home=home)
    dagster, mlflow = free_port(), free_port()
    process = start_dev(
        home,
        dagster=dagster,
        mlflow=mlflow,
        MEDPIPE_HUB=str(folder / "hub"),
        MEDPIPE_SOURCES=str(folder / "sources"),
        MEDPIPE_PLAN=str(folder / "small.yaml"),
    )
    try:
        address = f"http://127.0.0.1:{dagster}"
        wait_until_served(home, address, process)
        wait_until_served(home, f"http://127.0.0.1:{mlflow}", process, path="/health")
        yield Workplace(folder, address, f"http://127.0.0.1:{mlflow}", curricula)
    finally:
        stop_dev(process)


@pytest.fixture(scope="module")
def browser() -> Iterator[playwright.Browser]:
    with playwright.sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        yield browser
        browser.close()


@pytest.fixture
def page(browser: playwright.Browser, request: pytest.FixtureRequest) -> Iterator[playwright.Page]:
    page = browser.new_page(viewport={"width": 1600, "height": 1000})
    page.set_default_timeout(PATIENCE_MS)
    yield page
    ARTIFACTS.mkdir(exist_ok=True)
    page.screenshot(path=ARTIFACTS / f"{request.node.name.removeprefix('test_')}.png")
    page.close()


def form(page: playwright.Page, change: Callable[[str], str]) -> None:
    """Changes the text of the launchpad's form, as typing into it does, and launches the run."""
    editor = page.locator(".CodeMirror")
    editor.wait_for()
    before = editor.evaluate("each => each.CodeMirror.getValue()")
    after = change(before)
    assert after != before, before
    editor.evaluate("(each, text) => each.CodeMirror.setValue(text)", after)
    page.get_by_text("No errors", exact=True).wait_for()
    page.get_by_role("button", name="Launch Run").click()
    page.wait_for_url("**/runs/*")


def run_of(page: playwright.Page) -> str:
    """Id of the run that a page shows."""
    return str(page.url.rpartition("/")[2].partition("?")[0])


def test_the_graph_is_drawn_in_the_order_of_the_data(page: playwright.Page, workplace: Workplace) -> None:
    page.goto(f"{workplace.dagster}/asset-groups")
    list_at_the_left = 500

    def place(group: str) -> float | None:
        boxes = [label.bounding_box() for label in page.get_by_text(group, exact=True).all()]
        return next((box["x"] for box in boxes if box and box["x"] > list_at_the_left), None)

    places = [
        wait_for(lambda group=group: place(group), seconds=PATIENCE_MS / 1000, what=group)  # type: ignore[misc]
        for group in GROUPS
    ]
    assert places == sorted(set(places)), dict(zip(GROUPS, places, strict=True))


def test_two_curricula_are_compared(page: playwright.Page, workplace: Workplace) -> None:
    """Before `test_a_run_is_cancelled`, which adds a third."""
    page.goto(f"{workplace.mlflow}/#/experiments/1/runs?workflowType=machine_learning&compareRunsMode=TABLE")
    for name in workplace.curricula:
        page.get_by_text(name, exact=True).first.wait_for()
    for box in page.get_by_role("checkbox", name="Press Space to toggle row selection").all():
        box.click(force=True)
    page.get_by_role("button", name="Compare", exact=True).click()
    page.get_by_text("Comparing 2 Runs").wait_for()
    page.get_by_role("link", name="eval/bits_per_byte/all", exact=True).click()
    page.locator(".js-plotly-plot .scatterlayer .trace").first.wait_for()
    drawn = page.locator(".js-plotly-plot").first
    curves = drawn.evaluate("each => each.data.map(curve => [curve.name, curve.x])")
    assert {name for name, _ in curves} == set(workplace.curricula)
    steps = [steps for _, steps in curves]
    assert len(steps[0]) >= 4 and steps == steps[:1] * len(steps), "both are measured behind the same steps"


def test_a_group_turns_green(page: playwright.Page, workplace: Workplace) -> None:
    assert find_current(workplace.lake, "raw", "guide") is None
    page.goto(f"{workplace.location}/asset-groups/raw")
    page.get_by_role("button", name="Materialize all").click()
    green = page.get_by_text("Materialized", exact=True)
    playwright.expect(green).to_have_count(2, timeout=PATIENCE_MS)
    playwright.expect(page.get_by_text("1 / 1 Passed")).to_have_count(2, timeout=PATIENCE_MS)
    for each in green.all():
        colour = each.evaluate("each => getComputedStyle(each).color.match(/[0-9]+/g).map(Number)")
        assert colour[1] > max(colour[0], colour[2]), "it is not green"
    assert all(find_current(workplace.lake, "raw", source) is not None for source in ("web", "guide"))


def test_a_form_decides_what_a_run_does(page: playwright.Page, workplace: Workplace) -> None:
    """Another plan, and so a tokenizer of another size."""
    page.goto(f"{workplace.location}/jobs/refresh_corpus/playground")
    form(page, lambda text: text.replace(str(workplace.folder / "small.yaml"), "patient"))
    run = run_of(page)
    assert "plan: patient" in ask(workplace.dagster, CONFIG, id=run)["runOrError"]["runConfigYaml"]
    ended = ("SUCCESS", "FAILURE", "CANCELED")
    wait_for(lambda: status_of(workplace.dagster, run) in ended or None, seconds=300, what="its end")
    assert status_of(workplace.dagster, run) == "SUCCESS"
    page.get_by_text("Success", exact=True).first.wait_for()
    tokenizer = load_tokenizer(current(workplace.lake, "tokenizer", "medical-bpe"))
    assert tokenizer.get_vocab_size() == VOCABULARY


def test_the_picture_of_an_asset_is_read(page: playwright.Page, workplace: Workplace) -> None:
    """Behind `test_a_form_decides_what_a_run_does`, which made the corpus."""
    page.goto(f"{workplace.dagster}/assets/corpus/documents")
    row = page.get_by_role("row").filter(has=page.get_by_text("funnel", exact=True))
    row.get_by_text("[Show Markdown]").click()
    picture = page.locator("img[src^='data:image/']").last
    picture.wait_for()
    width, height = picture.evaluate("each => [each.naturalWidth, each.naturalHeight]")
    shown = picture.bounding_box()
    assert width > 300 and height > 150
    assert shown is not None and shown["width"] > 300, "it is too small to be read"


def test_a_run_is_cancelled(page: playwright.Page, workplace: Workplace) -> None:
    """Of the plan that trains for minutes. Behind the test that made the corpus."""
    page.goto(f"{workplace.location}/jobs/pretrain_curriculum/playground")
    form(page, lambda text: text.replace(str(workplace.folder / "small.yaml"), "patient"))
    run, home = run_of(page), workplace.folder / "home"

    def trainer() -> bool | None:
        assert status_of(workplace.dagster, run) not in ("FAILURE", "CANCELED", "SUCCESS")
        return True if trainers(home) else None

    wait_for(trainer, seconds=180, what="the trainer")
    page.get_by_role("button", name="Terminate").click()
    page.get_by_role("button", name="Terminate 1 run").click()
    wait_for(lambda: None if trainers(home) else True, seconds=120, what="the end of the trainer")
    ended = ("SUCCESS", "FAILURE", "CANCELED")
    wait_for(lambda: status_of(workplace.dagster, run) in ended or None, seconds=60, what="its end")
    assert status_of(workplace.dagster, run) == "CANCELED"
    page.get_by_text("Canceled", exact=True).filter(visible=True).first.wait_for()
    assert all(each["status"] != "STARTED" for each in runs_of(workplace.dagster))


@pytest.mark.parametrize("name", ["weekly_refresh", "new_revisions"])
def test_automation_is_switched_off_and_on(page: playwright.Page, workplace: Workplace, name: str) -> None:
    def click_the_switch(*, is_on: bool) -> None:
        """It is the box on the right in the name's row; the one on the left selects the row."""

        def switches() -> list[playwright.Locator] | None:
            boxes = [(box, box.bounding_box()) for box in page.locator("input[type=checkbox]").all()]
            right = [box for box, place in boxes if place is not None and place["x"] > 800]
            return right if len(right) == len(before) else None

        middle = page.get_by_text(name, exact=True).bounding_box()["y"]
        found = wait_for(switches, seconds=60, what="the switches")
        switch = min(found, key=lambda box: abs(box.bounding_box()["y"] - middle))
        assert switch.is_checked() == is_on
        switch.evaluate("box => box.click()")  # what is drawn lies beside the box itself

    def has_become(expected: str) -> None:
        states = before | {name: expected}
        wait_for(lambda: workplace.automation() == states or None, seconds=60, what=f"{name} {expected}")

    before = workplace.automation()
    assert before[name] == "RUNNING"
    page.goto(f"{workplace.dagster}/automation")
    click_the_switch(is_on=True)
    has_become("STOPPED")
    page.reload()
    click_the_switch(is_on=False)
    has_become("RUNNING")
