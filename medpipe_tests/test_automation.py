"""The jobs' forms: what they show, what they become, and what they refuse before anything starts."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import dagster as dg
import pytest
from dagster._core.snap import JobSnap
from dagster_graphql.schema.run_config import default_values_yaml_from_type_snap
from dagster_shared.yaml_utils import load_run_config_yaml
from yaml import safe_load

from medpipe.automation import FULL, PRETRAIN, REFRESH, VERIFY
from medpipe.graph import build_definitions
from medpipe.lake.digest import digest_value
from medpipe.lake.files import write_json_atomically
from medpipe.lake.layout import Lake, open_lake
from medpipe.pretrain.configured import chosen_settings
from medpipe.run_form import RunForm
from medpipe.settings import Settings
from medpipe.tokens.snapshot import CorpusSnapshot
from medpipe.tokens.snapshot_names import name_snapshot

JOBS = (REFRESH, PRETRAIN, FULL, VERIFY)


@pytest.fixture(scope="module")
def definitions(tmp_path_factory: pytest.TempPathFactory) -> dg.Definitions:
    return build_definitions(Settings(home=tmp_path_factory.mktemp("home")))


def root_type(definitions: dg.Definitions, job: str) -> tuple[Any, Any]:
    snap = JobSnap.from_job_def(definitions.resolve_job_def(job))
    return snap.config_schema_snapshot, snap.config_schema_snapshot.get_config_snap(
        snap.mode_def_snaps[0].root_config_key or ""
    )


@pytest.mark.parametrize(
    ("job", "shown"),
    [
        (REFRESH, {"sources": ["all"], "purpose": "research", "plan": "demo"}),
        (PRETRAIN, {"plan": "demo", "token_budget": 0}),
        (FULL, {"sources": [], "purpose": "research", "plan": "demo", "token_budget": 0}),
        (VERIFY, {"plan": "demo", "prove_resume": False, "until": "converge"}),
    ],
)
def test_the_launchpad_opens_with_a_short_form(
    definitions: dg.Definitions, job: str, shown: dict[str, Any]
) -> None:
    schema, root = root_type(definitions, job)
    assert safe_load(default_values_yaml_from_type_snap(schema, root)) == shown


@pytest.mark.parametrize("job", JOBS)
def test_every_field_says_what_it_is(definitions: dg.Definitions, job: str) -> None:
    _, root = root_type(definitions, job)
    for field in root.fields:
        assert field.description and len(field.description) > 25, field.name
    assert definitions.resolve_job_def(job).description


def mapped(definitions: dg.Definitions, job: str, **chosen: Any) -> dict[str, Any]:
    mapping = definitions.resolve_job_def(job).config_mapping
    assert mapping is not None
    run_config: dict[str, Any] = mapping.resolve_from_unvalidated_config(chosen)
    return run_config


def test_the_form_reaches_the_steps_as_one_resource(definitions: dg.Definitions) -> None:
    run_config = mapped(
        definitions,
        FULL,
        sources=["huatuo_encyclopedia_qa"],
        purpose="commercial",
        plan="tiny",
        token_budget=200_000,
        ops={"corpus__documents": {"config": {"validation_share": 0.2}}},
    )
    assert run_config == {
        "resources": {
            "form": {
                "config": {
                    "sources": ["huatuo_encyclopedia_qa"],
                    "purpose": "commercial",
                    "plan": "tiny",
                    "token_budget": 200_000,
                    "start_from": None,
                }
            }
        },
        "loggers": {"console": {}},
        "ops": {"corpus__documents": {"config": {"validation_share": 0.2}}},
    }


def test_the_defaults_leave_each_step_its_own_settings(definitions: dg.Definitions) -> None:
    form = mapped(definitions, FULL)["resources"]["form"]["config"]
    assert form == {"sources": [], "plan": "demo", "start_from": None}
    assert mapped(definitions, REFRESH)["resources"]["form"]["config"]["sources"] == ["all"]
    proof = mapped(definitions, VERIFY)["ops"]["resume_is_exact"]["config"]
    assert proof == {"until": "converge", "seed": None, "asked_for": False}
    assert mapped(definitions, VERIFY, prove_resume=True)["ops"]["resume_is_exact"]["config"]["asked_for"]


@pytest.mark.parametrize(
    ("job", "chosen", "said"),
    [
        (PRETRAIN, {"plan": "/etc/passwd"}, "not in enum type Plan"),
        (PRETRAIN, {"plan": "../demo"}, "not in enum type Plan"),
        (FULL, {"purpose": "Commercial"}, "not in enum type Purpose"),
        (REFRESH, {"sources": ["nobody"]}, "not in enum type EnabledSource"),
        (VERIFY, {"until": "noon"}, "not in enum type Stage"),
        (PRETRAIN, {"budget": 3}, 'Received unexpected config entry "budget"'),
    ],
)
def test_a_wrong_choice_is_refused_in_the_form(
    definitions: dg.Definitions, job: str, chosen: dict[str, Any], said: str
) -> None:
    assert any(said in error for error in _errors(definitions, job, chosen)), _errors(
        definitions, job, chosen
    )


def _errors(definitions: dg.Definitions, job: str, chosen: dict[str, Any]) -> list[str]:
    try:
        definitions.resolve_job_def(job)
        mapped(definitions, job, **chosen)
    except dg.DagsterInvalidConfigError as error:
        return [each.message for each in error.errors]
    return []


def test_a_budget_that_cannot_be_is_refused_before_anything_starts(definitions: dg.Definitions) -> None:
    with pytest.raises(ValueError, match="give at least"):
        mapped(definitions, FULL, token_budget=10)


def test_a_snapshot_is_offered_and_an_unknown_one_refused_before_anything_starts(tmp_path: Path) -> None:
    settings = Settings(home=tmp_path)
    lake = open_lake(settings)
    stored = make_snapshot(lake)
    name_snapshot(lake, "f" * 32, now=datetime(2026, 11, 22, tzinfo=UTC))
    for _ in range(2):
        assert name_snapshot(lake, stored, now=datetime(2026, 11, 23, tzinfo=UTC)) == "2026-11-23"
    definitions = build_definitions(settings)
    _, root = root_type(definitions, PRETRAIN)
    (field,) = [each for each in root.fields if each.name == "snapshot"]
    assert "loaded: 2026-11-23, 2026-11-22." in str(field.description)
    for name in ("2026-11-23", stored[:8], "current"):
        form = mapped(definitions, PRETRAIN, snapshot=name)["resources"]["form"]["config"]
        assert form["snapshot"] == name
        assert chosen_settings(RunForm(**form), settings).snapshot == name
    for wrong in ("1999-01-01", "../current", "*", ""):
        with pytest.raises(ValueError, match=r"no snapshot|cannot name a folder"):
            mapped(definitions, PRETRAIN, snapshot=wrong)
    with pytest.raises(ValueError, match=r"no snapshot '1999.*newest are 2026-11-23, 2026-11-22;"):
        mapped(definitions, PRETRAIN, snapshot="1999-01-01")
    older = build_definitions(settings.model_copy(update={"snapshot": "2026-11-22"}))
    schema, root = root_type(older, PRETRAIN)
    shown = default_values_yaml_from_type_snap(schema, root)
    assert load_run_config_yaml(shown)["snapshot"] == "2026-11-22", "a text, no date"


def make_snapshot(lake: Lake) -> str:
    content = {
        "tokenizer": {"name": "small", "digest": "a" * 32},
        "shards": [],
        "documents": "b" * 32,
        "revisions": {},
    }
    snapshot = CorpusSnapshot.model_validate({"name": digest_value(content), **content})
    lake.snapshots.mkdir(parents=True)
    for name, stored in (
        (snapshot.name, snapshot.model_dump(mode="json")),
        ("current", {"name": snapshot.name}),
    ):
        write_json_atomically(lake.snapshots / f"{name}.json", stored)
    return snapshot.name


def test_a_plan_in_the_home_s_folder_is_offered(tmp_path: Path) -> None:
    (tmp_path / "plans").mkdir()
    (tmp_path / "plans" / "ward.yaml").write_text("name: ward")
    definitions = build_definitions(Settings(home=tmp_path))
    with pytest.raises(ValueError, match=r"ward\.yaml: .*problems"):
        mapped(definitions, PRETRAIN, plan="ward")
