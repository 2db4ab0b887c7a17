"""README.md and README.zh-CN.md say the same: same code, same tables, same links."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
ENGLISH, CHINESE = ROOT / "README.md", ROOT / "README.zh-CN.md"


def code_blocks(path: Path) -> list[str]:
    return re.findall(r"^```.*?^```$", path.read_text(encoding="utf-8"), flags=re.DOTALL | re.MULTILINE)


def prose(path: Path) -> str:
    return re.sub(r"^```.*?^```$", "", path.read_text(encoding="utf-8"), flags=re.DOTALL | re.MULTILINE)


def links(path: Path) -> set[str]:
    return set(re.findall(r"\]\(([^)]+)\)", prose(path))) - {ENGLISH.name, CHINESE.name}


def test_the_same_commands_and_examples() -> None:
    assert code_blocks(ENGLISH) == code_blocks(CHINESE)
    assert len(code_blocks(ENGLISH)) >= 4


def test_the_same_headings_and_rows_of_tables() -> None:
    def shape(path: Path) -> list[str]:
        lines = prose(path).splitlines()
        heads = [line.split()[0] for line in lines if line.startswith("#")]
        return heads + [str(line.count(" | ")) for line in lines if line.startswith("| ")]

    assert shape(ENGLISH) == shape(CHINESE)


def test_the_same_names_are_spoken_of() -> None:
    def names(path: Path) -> set[str]:
        return set(re.findall(r"`([^`\n]+)`", prose(path).replace("\n", " ")))

    assert names(ENGLISH) == names(CHINESE)


def test_they_lead_to_the_same_pages_and_to_each_other() -> None:
    assert links(ENGLISH) == links(CHINESE)
    assert f"]({CHINESE.name})" in ENGLISH.read_text(encoding="utf-8")
    assert f"]({ENGLISH.name})" in CHINESE.read_text(encoding="utf-8")


@pytest.mark.parametrize("path", [ENGLISH, CHINESE], ids=lambda path: path.name)
def test_links_lead_somewhere(path: Path) -> None:
    assert [link for link in links(path) if not (ROOT / link).exists()] == []
