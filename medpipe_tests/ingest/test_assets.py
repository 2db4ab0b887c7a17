"""What the graph shows of a source before a byte of it is fetched."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import dagster as dg
import pytest

from medpipe.catalog.principles import use_warnings
from medpipe.catalog.source import Source
from medpipe.ingest.assets import build_raw_asset, raw_key
from medpipe.lake.layout import Lake
from medpipe.run_form import RunForm
from medpipe_tests.ingest.sources import REPOSITORY, make_settings, make_source


def metadata_of(source: Source, folder: Path, **settings: Any) -> dict[str, Any]:
    made = build_raw_asset(source, settings=make_settings(folder, **settings), lake=Lake(folder / "lake"))
    (spec,) = made.specs
    assert spec.kinds and spec.tags["kind"] == source.record_kind.value
    return {name: getattr(value, "value", value) for name, value in spec.metadata.items()}


@pytest.mark.parametrize(
    ("fields", "endpoint", "page"),
    [
        ({}, None, f"https://huggingface.co/datasets/{REPOSITORY}"),
        ({}, "https://mirror.example:8443/", f"https://mirror.example:8443/datasets/{REPOSITORY}"),
        ({}, "https://me:hf_secret@mirror.example", f"https://mirror.example/datasets/{REPOSITORY}"),
        ({"page": "https://example.org/notes"}, "https://mirror.example", "https://example.org/notes"),
        ({"folder": "/notes"}, "https://mirror.example", None),
    ],
    ids=["hub", "mirror", "mirror with a credential", "its own page", "folder"],
)
def test_the_page_where_a_person_reads(
    tmp_path: Path, fields: dict[str, Any], endpoint: str | None, page: str | None
) -> None:
    metadata = metadata_of(make_source("*.jsonl", **fields), tmp_path, hf_endpoint=endpoint)
    assert metadata.get("page") == page
    assert "hf_secret" not in str(metadata)


def test_what_a_person_should_know_before_using_it(tmp_path: Path) -> None:
    source = make_source(
        "a.jsonl",
        {"path": "b.zip", "member": "*.json", "split": "test", "note": "two rows are cut"},
        genre="exam",
        published_rows=1_200,
        status_note="the third file is gone",
        derived_from=["another set"],
    )
    metadata = metadata_of(source, tmp_path)
    assert metadata["genre"] == "exam"
    assert metadata["status"] == "available"
    assert metadata["status note"] == "the third file is gone"
    assert metadata["published rows"] == 1_200
    assert metadata["derived from"] == "another set"
    assert metadata["use warnings"].splitlines() == list(use_warnings(source)) != []
    assert [record.data for record in metadata["files"].records] == [
        {
            "files": "a.jsonl",
            "format": "auto",
            "domain": "disease",
            "split": "train",
            "member": None,
            "note": None,
        },
        {
            "files": "b.zip",
            "member": "*.json",
            "format": "auto",
            "domain": "disease",
            "split": "test",
            "note": "two rows are cut",
        },
    ]


def test_what_nobody_knows_is_not_shown(tmp_path: Path) -> None:
    metadata = metadata_of(make_source("a.jsonl"), tmp_path)
    assert not {"genre", "published rows", "status note", "use warnings", "derived from"} & set(metadata)


def test_a_subset_names_itself(tmp_path: Path) -> None:
    metadata = metadata_of(make_source({"subset": "zh", "published_split": "dev"}), tmp_path)
    (record,) = metadata["files"].records
    assert (record.data["subset"], record.data["published split"]) == ("zh", "dev")


def test_a_refused_fetch_fails_the_step_with_the_reason(tmp_path: Path) -> None:
    source = make_source("*.jsonl", gated=True)
    raw = build_raw_asset(source, settings=make_settings(tmp_path), lake=Lake(tmp_path / "lake"))
    with pytest.raises(dg.Failure, match="clinic_notes is gated: accept"):
        dg.materialize([raw], resources={"form": RunForm()}, instance=dg.DagsterInstance.ephemeral())
    assert raw_key(source) in raw.keys


@pytest.mark.parametrize(
    ("config", "sources", "asked"),
    [
        (False, [], False),
        (True, [], True),
        (False, ["clinic_notes"], True),
        (False, ["all"], True),
        (False, ["another"], False),
    ],
)
def test_the_newest_revision_is_asked_for_by_its_own_setting_or_the_run_s_form(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, config: bool, sources: list[str], asked: bool
) -> None:
    def fetch(source: Source, *, refresh: bool, **_: Any) -> None:
        raise ValueError(f"{source.id}: refresh is {refresh}")

    monkeypatch.setattr("medpipe.ingest.snapshot.fetch", fetch)
    source = make_source("*.jsonl")
    raw = build_raw_asset(source, settings=make_settings(tmp_path), lake=Lake(tmp_path / "lake"))
    done = dg.materialize(
        [raw],
        resources={"form": RunForm(sources=sources)},
        run_config={"ops": {f"raw__{source.id}": {"config": {"refresh": config}}}},
        raise_on_error=False,
    )
    failure = done.failure_data_for_node(f"raw__{source.id}")
    assert failure is not None and failure.user_failure_data is not None
    assert failure.user_failure_data.description == f"{source.id}: refresh is {asked}"
    assert "Re-execute from failure" in str(failure.user_failure_data.metadata["what to do"].value)
