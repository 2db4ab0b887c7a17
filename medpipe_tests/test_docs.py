"""What the pages in docs/ show and lead to is there, and no picture is large."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
DOCS = ROOT / "docs"
PAGES = sorted([*DOCS.glob("*.md"), *(ROOT / "deploy").glob("*.md"), *ROOT.glob("*.md")])
MOST_BYTES = 150_000
PNG = b"\x89PNG\r\n\x1a\n"


def targets(page: Path) -> set[str]:
    """What a page leads to, without other sites and without places inside a page."""
    text = re.sub(r"^```.*?^```$", "", page.read_text(encoding="utf-8"), flags=re.DOTALL | re.MULTILINE)
    found = {target.partition("#")[0] for target in re.findall(r"\]\(([^)\s]+)\)", text)}
    return {target for target in found if target and not re.match(r"[a-z]+:", target)}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.relative_to(ROOT).as_posix())
def test_links_and_pictures_lead_somewhere(page: Path) -> None:
    assert [target for target in sorted(targets(page)) if not (page.parent / target).is_file()] == []


def test_every_picture_is_small_and_shown() -> None:
    shown = {(page.parent / target).resolve() for page in PAGES for target in targets(page)}
    pictures = sorted((DOCS / "pictures").iterdir())
    assert len(pictures) >= 10
    for picture in pictures:
        assert picture in shown, f"no page shows {picture.name}"
        assert picture.stat().st_size <= MOST_BYTES, picture.name
        assert picture.read_bytes().startswith(PNG), picture.name


def test_the_script_takes_the_pictures_that_are_shown() -> None:
    script = (DOCS / "take_pictures.py").read_text(encoding="utf-8")
    for picture in (DOCS / "pictures").iterdir():
        assert f'"{picture.stem}"' in script, f"nothing takes {picture.name}"
