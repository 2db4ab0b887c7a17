"""Writes the whole sample hub: every file in the native layout and under the native name of its data set."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from medpipe.sample.dialogues import write_dialogues
from medpipe.sample.disease_records import write_diseases
from medpipe.sample.encyclopedia import write_encyclopedia
from medpipe.sample.general_zh import write_general
from medpipe.sample.guideline_en import write_finetune_en, write_guidelines
from medpipe.sample.preferences import write_preferences
from medpipe.sample.textbook import write_textbook
from medpipe.sample.writing import SampleFile, write_text

_NOTICE = """# {title}

Every text below this folder was written for medpipe as a test sample.

- It is NOT medical advice: do not act on it.
- It is NOT the data set {real}: only file names and layouts are the same.
- Manufacturers, patients and telephone numbers are invented.

本目录下的文字均为 medpipe 的测试样例而写，不构成医疗建议，也不是同名的真实数据集。
"""


@dataclass(frozen=True)
class SampleSummary:
    """What the sample hub holds."""

    documents: int
    bytes: int
    files: tuple[SampleFile, ...]


def _notices(hub: Path, files: list[SampleFile]) -> list[SampleFile]:
    """Writes the README of the hub and of every repository folder in it."""
    repositories = sorted({"/".join(file.path.split("/")[:2]) for file in files})
    top = _NOTICE.format(title="medpipe sample hub", real="of any publisher named here")
    notices = [write_text(hub, "README.md", top)]
    for repository in repositories:
        text = _NOTICE.format(title=f"Test sample in the layout of {repository}", real=repository)
        notices.append(write_text(hub, f"{repository}/README.md", text))
    return notices


def generate(hub: Path) -> SampleSummary:
    """Writes the sample hub below `hub`; the same bytes on every machine and in every run.

    Args:
        hub: root folder; files go to `<hub>/<owner>/<repo>/<files>`. Each file is put in place in one
            step, and a file that already has the right bytes is left alone.

    Returns:
        Counts of rows and bytes, and the list of files.
    """
    files: list[SampleFile] = []
    files += write_encyclopedia(hub)
    files += write_textbook(hub)
    files += write_diseases(hub)
    files += write_dialogues(hub)
    files += write_preferences(hub)
    files += write_general(hub)
    files += write_guidelines(hub)
    files += write_finetune_en(hub)
    files += _notices(hub, files)
    return SampleSummary(
        documents=sum(file.records for file in files),
        bytes=sum(file.bytes for file in files),
        files=tuple(sorted(files, key=lambda file: file.path)),
    )
