"""What goes wrong from outside: each error names the thing and the fix, and what was good stays."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from typer.testing import CliRunner

from medpipe.cli import app
from medpipe.lake.dataset import current
from medpipe.lake.digest import sha256_file
from medpipe.lake.layout import Lake
from medpipe.operate.materialise import RunFailedError, SelectionError, materialise
from medpipe.settings import Settings

CATALOG = """
sources:
  - id: notes
    title: Notes
    description: Notes.
    folder: records
    files: [{path: "*.jsonl", domain: disease}]
    kind: document
    layout: {layout: text}
    language: zh
    licence: {name: null}
    uses: [pretraining]
"""
NORMALIZED = 'key:"normalized/notes" or key:"raw/notes"'


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    folder = tmp_path / "sources"
    (folder / "records").mkdir(parents=True)
    (folder / "catalog.yaml").write_text(CATALOG)
    (folder / "records" / "a.jsonl").write_text('{"text": "头痛时先测血压。"}\n{"text": "发热时多饮水。"}\n')
    return Settings(home=tmp_path / "home", sources=folder)


def records_of(settings: Settings) -> Path:
    assert settings.sources is not None
    return settings.sources / "records" / "a.jsonl"


def test_a_missing_file_is_named_and_the_last_records_stay(settings: Settings) -> None:
    materialise(settings, selection=NORMALIZED)
    before = current(Lake(settings.lake), "normalized", "notes")
    records_of(settings).unlink()
    with pytest.raises(RunFailedError, match=r"raw/notes failed: .*\*\.jsonl"):
        materialise(settings, selection=NORMALIZED)
    assert current(Lake(settings.lake), "normalized", "notes") == before


def test_a_broken_line_costs_that_line(settings: Settings) -> None:
    with records_of(settings).open("a") as file:
        file.write('{"text": "断\n{"text": "血糖应在空腹时测。"}\n')
    materialise(settings, selection=NORMALIZED)
    facts = current(Lake(settings.lake), "normalized", "notes").manifest.facts
    assert (facts["published"], facts["kept"], facts["rejected"]) == (4, 3, 1)
    assert facts["rejected_by_reason"] == {"broken_json": 1}


def test_a_file_of_another_encoding_costs_nothing_or_is_named(settings: Settings) -> None:
    records_of(settings).write_bytes('{"text": "高血压患者应少盐。"}\n'.encode("gb18030"))
    materialise(settings, selection=NORMALIZED)
    assert current(Lake(settings.lake), "normalized", "notes").manifest.facts["kept"] == 1
    records_of(settings).write_bytes('{"text": "高血压"}\n'.encode("utf-16"))
    accepted = {"ops": {"raw__notes": {"config": {"accept": True}}}}
    with pytest.raises(RunFailedError, match="revision_accepted"):
        materialise(settings, selection=NORMALIZED)
    assert current(Lake(settings.lake), "normalized", "notes").manifest.facts["kept"] == 1
    with pytest.raises(RunFailedError, match="UTF-16"):
        materialise(settings, selection=NORMALIZED, run_config=accepted)


def test_a_flipped_byte_is_repaired_with_force(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    materialise(settings, selection=NORMALIZED)
    dataset = current(Lake(settings.lake), "normalized", "notes")
    (part,) = dataset.files("part-*.parquet")
    whole = part.read_bytes()
    part.write_bytes(whole[:50] + bytes([whole[50] ^ 1]) + whole[51:])
    monkeypatch.setenv("MEDPIPE_HOME", str(settings.home))
    monkeypatch.setenv("MEDPIPE_SOURCES", str(settings.sources))
    result = CliRunner().invoke(app, ["run", NORMALIZED])
    assert result.exit_code == 0 and part.read_bytes() != whole
    result = CliRunner().invoke(app, ["run", NORMALIZED, "--force", "--json"])
    assert result.exit_code == 0, result.output
    assert json.loads(result.stdout)["reused"] == []
    assert sha256_file(part) == {file.path: file.sha256 for file in dataset.manifest.files}[part.name]


def test_what_cannot_be_forced_is_named(settings: Settings) -> None:
    with pytest.raises(SelectionError, match=r"can be forced \(snapshot\)"):
        materialise(settings, selection="key:snapshot", force=True)


def test_a_selection_that_names_nothing_lists_what_there_is(settings: Settings) -> None:
    with pytest.raises(SelectionError, match="raw/notes"):
        materialise(settings, selection='key:"raw/typo"')


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of one megabyte."""
    folder = tmp_path / "disk"
    folder.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", str(folder)], capture_output=True, text=True
    )
    if mounted.returncode != 0:
        pytest.skip(f"mounting needs root: {mounted.stderr.strip()}")
    yield folder
    subprocess.run(["umount", "-l", str(folder)], check=True)


def test_a_full_disk_is_named_and_the_last_records_stay(settings: Settings, small_disk: Path) -> None:
    settings = settings.model_copy(update={"lake_root": small_disk / "lake"})
    settings.__dict__.pop("lake", None)
    materialise(settings, selection=NORMALIZED)
    before = current(Lake(settings.lake), "normalized", "notes")
    with records_of(settings).open("a") as file:
        for number in range(20_000):
            file.write(f'{{"text": "第{number}条：{os.urandom(24).hex()}"}}\n')
    with pytest.raises(RunFailedError, match=r"no space left .*MEDPIPE_LAKE"):
        materialise(settings, selection=NORMALIZED)
    after = current(Lake(settings.lake), "normalized", "notes")
    assert after == before
    assert all((after.path / file.path).is_file() for file in after.manifest.files)
    assert not [path for path in small_disk.rglob("*.tmp") if path.is_dir()]


def invoke(*arguments: str, **environment: str) -> tuple[int, str]:
    result = CliRunner().invoke(app, list(arguments), env=environment)
    return result.exit_code, result.output


def test_the_command_line_answers_with_one_line_and_a_status(tmp_path: Path) -> None:
    home = {"MEDPIPE_HOME": str(tmp_path)}
    (tmp_path / "bad.yaml").write_text(CATALOG.replace("language", "langauge"))
    status, output = invoke("sources", "check", str(tmp_path / "bad.yaml"), **home)
    assert status == 1 and "did you mean 'language'?" in output and "Traceback" not in output
    status, output = invoke("sources", "show", "nothing", **home)
    assert status == 1 and output.startswith("medpipe: no source 'nothing'")
    status, output = invoke("sources", MEDPIPE_HUB=str(tmp_path / "nowhere"), **home)
    assert status == 1 and "MEDPIPE_HUB names" in output
    assert invoke("no-such-command")[0] == 2


def test_an_unknown_field_of_a_plan_is_named(tmp_path: Path) -> None:
    from medpipe.pretrain.plan import builtin_plans

    plan = tmp_path / "plan.yaml"
    plan.write_text(builtin_plans()["demo"].read_text().replace("sequence_length:", "sequence_lenght:"))
    status, output = invoke("plan", "check", str(plan), MEDPIPE_HOME=str(tmp_path))
    assert status == 1 and "did you mean 'sequence_length'?" in output and str(plan) in output


def test_sources_are_enabled_and_listed(tmp_path: Path) -> None:
    home = {"MEDPIPE_HOME": str(tmp_path)}

    def state(source: str) -> bool:
        status, output = invoke("sources", "--json", **home)
        assert status == 0
        return bool({entry["id"]: entry["enabled"] for entry in json.loads(output)}[source])

    assert state("epfl_guidelines")
    assert invoke("sources", "disable", "epfl_guidelines", **home)[0] == 0
    assert not state("epfl_guidelines")
    assert invoke("sources", "enable", "epfl_guidelines", **home) == (0, "epfl_guidelines is enabled\n")
    assert state("epfl_guidelines")
    status, output = invoke("sources", "show", "epfl_guidelines", "--json", **home)
    assert status == 0 and json.loads(output)["repository"] == "epfl-llm/guidelines"
    status, output = invoke("sources", COLUMNS="80", **home)
    assert "wikipedia_cn_20230720_filtered" in output and "shibing624_medical_finetune" in output


def test_errors_of_the_system_name_the_file(tmp_path: Path) -> None:
    status, output = invoke("sources", "check", str(tmp_path / "nowhere.yaml"))
    assert status == 1 and "nowhere.yaml" in output and "is not there" in output
    (tmp_path / "sources.json").write_text("{bad")
    status, output = invoke("sources", MEDPIPE_HOME=str(tmp_path))
    assert status == 1 and "sources.json cannot be read" in output


@pytest.mark.parametrize("entry", ['{"file_name": 5}', '{"file_name": "a", "columns": ["a"]}', "3"])
def test_a_malformed_dataset_info_is_named(entry: str, tmp_path: Path) -> None:
    (tmp_path / "dataset_info.json").write_text(f'{{"mine": {entry}}}')
    status, output = invoke("sources", "check", str(tmp_path))
    assert status == 1 and "dataset_info.json" in output and "Traceback" not in output
