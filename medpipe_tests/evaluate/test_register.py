"""The best checkpoint in a real MLflow store: registered once, refused where something speaks against it."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import dagster as dg
import polars as pl
import pytest
from mlflow import MlflowClient

from medpipe.evaluate import register as registering
from medpipe.evaluate.acceptance import CHECKS, CURRENT, NOT_WORSE
from medpipe.evaluate.assets import REGISTERED_MODEL_KEY, build_evaluation_assets
from medpipe.evaluate.register import BITS_TAG, FLOOR_TAG, MEASURED_ON_TAG, judge_best, register_best
from medpipe.evaluate.report import Report, read_report
from medpipe.lake.dataset import Dataset
from medpipe.pretrain.checkpoint import CheckpointError, verify_checkpoint
from medpipe.pretrain.curriculum import curriculum_digest
from medpipe.run_form import RunForm
from medpipe.settings import Settings
from medpipe.tracking.checkpoints import CHECKPOINT_TAG
from medpipe.tracking.facts import CurriculumFacts
from medpipe.tracking.registry import (
    BEST,
    MODEL_TAG,
    CheckpointFacts,
    RegisteredVersion,
    download,
    find_best,
    register,
)
from medpipe.tracking.runs import begin_stage
from medpipe.tracking.store import TrackingError, client
from medpipe_tests.evaluate.conftest import Trained, tiny
from medpipe_tests.tracking.conftest import stage, write_checkpoint
from medpipe_tests.tracking.test_server import free_port, serving

NAME = "medpipe-measured"


def begin(settings: Settings, trained: Trained) -> None:
    """The curriculum's run, as training leaves it."""
    digest = curriculum_digest(trained.compiled)
    facts = CurriculumFacts(name="measured", digest=digest, plan_yaml="", tokenizer="t", snapshot="s")
    begin_stage(settings, curriculum=facts, stage=stage())


def rival(settings: Settings, trained: Trained, folder: Path, **tags: str) -> RegisteredVersion:
    """Another checkpoint of the same plan that bears the alias."""
    facts = CheckpointFacts(
        folder=folder,
        name="rival",
        stage="converge",
        step=80,
        tokens=1000,
        stage_digest="x",
        curriculum_digest=curriculum_digest(trained.compiled),
        tags={"path": str(folder), **tags},
    )
    return register(settings, NAME, facts)[0]


def judge(settings: Settings, trained: Trained, **changes: Any) -> Any:
    return judge_best(
        changes.pop("compiled", trained.compiled),
        settings=settings,
        lake=trained.lake,
        **{"tolerance": 0.005, **changes},
    )


def versions(settings: Settings) -> list[str]:
    return sorted(str(each.version) for each in client(settings).search_model_versions(f"name='{NAME}'"))


def materialise(settings: Settings, trained: Trained, **config: float) -> dg.ExecuteInProcessResult:
    assets = build_evaluation_assets(trained.plan, settings=settings, lake=trained.lake)
    return dg.materialize(
        assets,
        resources={"form": RunForm()},
        selection=[REGISTERED_MODEL_KEY],
        raise_on_error=False,
        run_config={
            "loggers": {"console": {"config": {"log_level": "CRITICAL"}}},
            "ops": {"evaluation__registered_model": {"config": config}},
        },
    )


def failure(result: dg.ExecuteInProcessResult) -> str:
    [step] = [event for event in result.all_events if event.is_step_failure]
    error = step.step_failure_data.error
    text = "" if error is None else error.to_string()
    return f"{step.step_failure_data.user_failure_data} {text}"


def test_the_best_checkpoint_is_registered_once_and_loads(
    trained: Trained, settings: Settings, mlflow_client: MlflowClient, tmp_path: Path
) -> None:
    begin(settings, trained)
    result = materialise(settings, trained)
    assert result.success
    checks = result.get_asset_check_evaluations()
    assert {check.check_name for check in checks} == set(CHECKS) and all(check.passed for check in checks)
    best = find_best(settings, NAME)
    assert best is not None and best.is_best and best.version == "1"
    judged = judge(settings, trained)
    assert judged.incumbent.how == "the same checkpoint" and judged.may_be_registered
    assert best.checkpoint == judged.candidate.digest
    assert best.tags[MEASURED_ON_TAG] == trained.compiled.validation_digest
    assert float(best.tags[BITS_TAG]) == judged.candidate.bits_per_byte["all"]
    assert best.tags["dagster/run_id"] == result.dagster_run.run_id
    # The same again makes no other version, and keeps what is said about its making.
    again = materialise(settings, trained)
    assert again.success and versions(settings) == ["1"]
    [made] = again.asset_materializations_for_node("evaluation__registered_model")
    assert made.metadata["reused"].value is True
    assert find_best(settings, NAME) == best
    # What is registered can be used without medpipe.
    from transformers import AutoModelForCausalLM, AutoTokenizer

    folder = download(settings, best, tmp_path / "fetched")
    assert verify_files(folder) == "optimizer.safetensors"
    model = AutoModelForCausalLM.from_pretrained(folder)
    tokens = AutoTokenizer.from_pretrained(folder)("感冒常见的表现是", return_tensors="pt")
    assert model(tokens["input_ids"]).logits.shape[-1] == model.config.vocab_size
    assert mlflow_client.get_logged_model(best.tags[MODEL_TAG]).tags[CHECKPOINT_TAG] == best.checkpoint


def verify_files(folder: Path) -> str:
    """What a fetched checkpoint lacks: the optimizer alone, which only resuming needs."""
    with pytest.raises(CheckpointError) as caught:
        verify_checkpoint(folder)
    return str(caught.value).rpartition("lacks ")[2]


@pytest.fixture
def mlflow_client(settings: Settings) -> MlflowClient:
    return client(settings)


def test_a_worse_checkpoint_leaves_the_alias_where_it_is(
    trained: Trained, settings: Settings, tmp_path: Path
) -> None:
    begin(settings, trained)
    ours = judge(settings, trained).candidate.bits_per_byte["all"]
    tags = {MEASURED_ON_TAG: trained.compiled.validation_digest, BITS_TAG: repr(ours - 0.01)}
    before = rival(settings, trained, write_checkpoint(tmp_path / "rival"), **tags)
    result = materialise(settings, trained)
    assert not result.success
    failed = [check.check_name for check in result.get_asset_check_evaluations() if not check.passed]
    assert failed == [NOT_WORSE]
    assert "is not registered" in failure(result) and "alias stays at version 1" in failure(result)
    assert not result.asset_materializations_for_node("evaluation__registered_model")
    assert versions(settings) == ["1"] and find_best(settings, NAME) == before
    with pytest.raises(ValueError, match="alias stays at version 1"):
        register_best(
            trained.compiled,
            judge(settings, trained),
            settings=settings,
            lake=trained.lake,
            dagster=None,
        )
    # A larger tolerance lets it pass; the alias moves, the other version stays.
    assert materialise(settings, trained, tolerance=0.02).success
    best = find_best(settings, NAME)
    assert best is not None and best.version == "2" and versions(settings) == ["1", "2"]
    # What was lost is not forgotten: the next one is compared with the lowest, and so is this one again.
    assert float(best.tags[FLOOR_TAG]) == ours - 0.01
    assert materialise(settings, trained).success
    assert find_best(settings, NAME) == best
    assert judge(settings, trained).incumbent.floor == ours - 0.01


def test_a_version_measured_on_other_text_is_measured_again(
    trained: Trained, settings: Settings, tmp_path: Path
) -> None:
    begin(settings, trained)
    judged = judge(settings, trained)
    version, is_new = register_best(
        trained.compiled, judged, settings=settings, lake=trained.lake, dagster=None
    )
    assert is_new
    other = trained.compile(tiny(validation_tokens=150))
    # The best of the other matrix may be the same checkpoint: take it away, so that MLflow's copy is asked.
    folder = trained.lake.root / judged.candidate.path
    stored = tmp_path / "stored"
    shutil.move(folder, stored)
    news: list[str] = []
    again = judge(settings, trained, compiled=other, tolerance=9.0, say=news.append)
    assert again.candidate.digest != version.checkpoint
    assert again.incumbent.how == "measured again from MLflow's copy"
    assert again.incumbent.bits_per_byte < again.candidate.bits_per_byte["all"] + 1.0
    assert any("other held-out text" in line for line in news)
    # Neither place has it: the version stays, and the fix is named.
    model = client(settings).get_model_version(NAME, version.version)
    shutil.rmtree(model.source.removeprefix("file://"))
    lost = judge(settings, trained, compiled=other, tolerance=9.0)
    assert lost.incumbent.bits_per_byte is None and not lost.may_be_registered
    assert "delete its alias" in lost.findings[NOT_WORSE].text


def test_small_steps_do_not_lead_away_from_the_best(
    trained: Trained, settings: Settings, tmp_path: Path
) -> None:
    begin(settings, trained)
    ours = judge(settings, trained).candidate.bits_per_byte["all"]
    text = {MEASURED_ON_TAG: trained.compiled.validation_digest}
    tags = text | {BITS_TAG: repr(ours - 0.004), FLOOR_TAG: repr(ours - 0.008)}
    rival(settings, trained, write_checkpoint(tmp_path / "rival"), **tags)
    assert not judge(settings, trained).may_be_registered
    # Another text has another floor.
    tags[MEASURED_ON_TAG] = "0" * 32
    other = write_checkpoint(tmp_path / "other", weight=2.0)
    rival(settings, trained, other, **tags)
    assert judge(settings, trained).incumbent.floor is None


def test_a_row_that_was_measured_on_other_text_is_not_registered(
    trained: Trained, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    begin(settings, trained)

    def with_other_text(dataset: Dataset) -> Report:
        report = read_report(dataset)
        return replace(report, matrix=report.matrix.with_columns(measured_on=pl.lit("0" * 32)))

    monkeypatch.setattr(registering, "read_report", with_other_text)
    judged = judge(settings, trained)
    assert [name for name, found in judged.findings.items() if not found.passed] == [CURRENT]


def test_a_damaged_checkpoint_is_not_registered(trained: Trained, settings: Settings) -> None:
    begin(settings, trained)
    judged = judge(settings, trained)
    weights = trained.lake.root / judged.candidate.path / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-1] + b"x")
    result = materialise(settings, trained)
    assert not result.success and versions(settings) == []
    assert "does not have the bytes that were written" in failure(result)


def test_mlflow_down_is_said_and_the_asset_can_be_run_again(
    trained: Trained, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    down = settings.model_copy(update={"tracking_uri": f"http://127.0.0.1:{free_port()}"})
    result = materialise(down, trained)
    text = failure(result)
    assert "is not registered" in text and "materialise evaluation/registered_model again" in text
    # Up again, but the training has never reached it.
    without_run = materialise(settings, trained)
    assert not without_run.success and "no run of the curriculum" in failure(without_run)
    begin(settings, trained)
    assert materialise(settings, trained).success and versions(settings) == ["1"]


def test_an_attempt_that_was_cut_short_is_completed(
    trained: Trained, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    begin(settings, trained)
    judged = judge(settings, trained)

    def refuse(*_: object, **__: object) -> None:
        raise ConnectionError("gone")

    with monkeypatch.context() as broken, pytest.raises(TrackingError, match="gone"):
        broken.setattr(MlflowClient, "set_registered_model_alias", refuse)
        register_best(trained.compiled, judged, settings=settings, lake=trained.lake, dagster=None)
    assert versions(settings) == ["1"] and find_best(settings, NAME) is None
    version, is_new = register_best(
        trained.compiled, judged, settings=settings, lake=trained.lake, dagster=None
    )
    assert not is_new and version.is_best and versions(settings) == ["1"]
    assert BEST in client(settings).get_registered_model(NAME).aliases


@pytest.mark.slow
def test_on_a_server(trained: Trained, settings: Settings, tmp_path: Path) -> None:
    port = free_port()
    (tmp_path / "server").mkdir()
    with serving(tmp_path / "server", port):
        remote = settings.model_copy(update={"tracking_uri": f"http://127.0.0.1:{port}"})
        begin(remote, trained)
        assert materialise(remote, trained).success
        best = find_best(remote, NAME)
        assert best is not None and best.version == "1"
        folder = download(remote, best, tmp_path / "fetched")
        assert verify_files(folder) == "optimizer.safetensors"
        assert materialise(remote, trained).success and versions(remote) == ["1"]
