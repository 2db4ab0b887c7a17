from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from mlflow import MlflowClient

from medpipe.settings import Settings
from medpipe.tracking import links
from medpipe.tracking.facts import DagsterLink, DatasetFacts, flatten
from medpipe.tracking.runs import begin_stage, find_curriculum, finish_stage, log_pictures
from medpipe.tracking.store import TrackingError
from medpipe_tests.tracking.conftest import PLAN, curriculum, stage

LINK = DagsterLink(run_id="run-1", asset_key="pretrain/fast")


def test_a_stage_is_a_nested_run_that_says_what_it_is_made_of(
    settings: Settings, mlflow: MlflowClient
) -> None:
    runs = begin_stage(settings, curriculum=curriculum(), stage=stage(), dagster=LINK)
    parent, child = mlflow.get_run(runs.parent_run_id), mlflow.get_run(runs.stage_run_id)
    assert (parent.info.run_name, child.info.run_name) == ("tiny", "fast")
    assert child.data.tags["mlflow.parentRunId"] == runs.parent_run_id
    assert parent.data.params["model.hidden_size"] == "64"
    assert parent.data.params["stages.fast.tokens"] == "1000"
    assert parent.data.params["revision/wiki_cn"] == "main-abc"
    assert child.data.params["mixture.general"] == "0.5"
    for run in (parent, child):
        assert run.data.params["tokenizer_digest"] == "t" * 32
        assert run.data.params["corpus_snapshot"] == "s" * 32
        assert run.data.tags["dagster/run_id"] == "run-1"
        assert run.data.tags["dagster/asset_key"] == "pretrain/fast"
        assert run.data.tags["dagster/url"] == "http://127.0.0.1:3000/runs/run-1"
        assert run.info.status == "RUNNING"
        (read,) = run.inputs.dataset_inputs
        assert (read.dataset.name, read.dataset.digest) == ("shards/general/wiki_cn", "d" * 36)
        assert {tag.key: tag.value for tag in read.tags}["digest"] == "d" * 64
    assert Path(mlflow.download_artifacts(runs.parent_run_id, "plan.yaml")).read_text() == PLAN


def test_beginning_again_finds_the_same_runs_and_names_the_new_attempt(
    settings: Settings, mlflow: MlflowClient
) -> None:
    first = begin_stage(settings, curriculum=curriculum(), stage=stage(), dagster=LINK)
    finish_stage(settings, first, status="FAILED")
    assert mlflow.get_run(first.parent_run_id).info.status == "FAILED"
    retry = DagsterLink(run_id="run-2", root_run_id="run-1", asset_key="pretrain/fast")
    again = begin_stage(settings, curriculum=curriculum(), stage=stage(), dagster=retry)
    assert again == first
    assert len(mlflow.search_runs([first.experiment_id])) == 2
    for run_id in (first.parent_run_id, first.stage_run_id):
        run = mlflow.get_run(run_id)
        assert run.info.status == "RUNNING"
        assert run.data.tags["dagster/run_id"] == "run-2"
        assert run.data.tags["dagster/root_run_id"] == "run-1"
        assert len(run.inputs.dataset_inputs) == 1


def test_a_begin_that_was_cut_short_is_completed(settings: Settings, mlflow: MlflowClient) -> None:
    first = begin_stage(settings, curriculum=curriculum(), stage=stage())
    mlflow.delete_tag(first.parent_run_id, "medpipe.described")
    more = replace(curriculum(), revisions={"wiki_cn": "main-abc", "late": "r2"})
    assert begin_stage(settings, curriculum=more, stage=stage()) == first
    assert mlflow.get_run(first.parent_run_id).data.params["revision/late"] == "r2"


def test_later_stages_share_the_parent_and_add_their_data_sets(
    settings: Settings, mlflow: MlflowClient
) -> None:
    fast = begin_stage(settings, curriculum=curriculum(), stage=stage())
    finish_stage(settings, fast)
    assert mlflow.get_run(fast.stage_run_id).info.status == "FINISHED"
    assert mlflow.get_run(fast.parent_run_id).info.status == "RUNNING"
    other = replace(
        stage("converge", last=True), datasets=(DatasetFacts(name="b", digest="e" * 32, uri="/b"),)
    )
    converge = begin_stage(settings, curriculum=curriculum(), stage=other)
    assert converge.parent_run_id == fast.parent_run_id
    assert converge.stage_run_id != fast.stage_run_id
    parent = mlflow.get_run(fast.parent_run_id)
    assert sorted(i.dataset.name for i in parent.inputs.dataset_inputs) == ["b", "shards/general/wiki_cn"]
    finish_stage(settings, converge, end_time=1_900_000_000.5)
    parent = mlflow.get_run(fast.parent_run_id)
    assert (parent.info.status, parent.info.end_time) == ("FINISHED", 1_900_000_000_500)


def test_another_curriculum_has_runs_of_its_own(settings: Settings) -> None:
    one = begin_stage(settings, curriculum=curriculum(), stage=stage())
    two = begin_stage(settings, curriculum=curriculum("f" * 32), stage=stage())
    assert {one.parent_run_id, one.stage_run_id}.isdisjoint({two.parent_run_id, two.stage_run_id})


def test_a_stage_that_was_complete_before_stays_finished(settings: Settings, mlflow: MlflowClient) -> None:
    runs = begin_stage(settings, curriculum=curriculum(), stage=stage(last=True))
    finish_stage(settings, runs, end_time=1000.0)
    begin_stage(settings, curriculum=curriculum(), stage=stage(last=True, complete=True))
    finish_stage(settings, runs)
    for run_id in (runs.parent_run_id, runs.stage_run_id):
        info = mlflow.get_run(run_id).info
        assert (info.status, info.end_time) == ("FINISHED", 1_000_000)


def test_a_run_deleted_in_the_ui_is_replaced(settings: Settings, mlflow: MlflowClient) -> None:
    first = begin_stage(settings, curriculum=curriculum(), stage=stage())
    mlflow.delete_run(first.parent_run_id)
    assert begin_stage(settings, curriculum=curriculum(), stage=stage()).parent_run_id != first.parent_run_id


def test_a_curriculum_is_found_once_a_stage_has_begun_and_takes_pictures(
    settings: Settings, mlflow: MlflowClient
) -> None:
    assert find_curriculum(settings, "c" * 32) is None
    with pytest.raises(TrackingError, match=r"no run of the curriculum c+; materialise a pretrain stage"):
        log_pictures(settings, "c" * 32, {"loss.png": b"old"})
    runs = begin_stage(settings, curriculum=curriculum(), stage=stage())
    found = find_curriculum(settings, "c" * 32)
    assert found is not None
    assert (found.experiment_id, found.parent_run_id) == (runs.experiment_id, runs.parent_run_id)
    assert find_curriculum(settings, "d" * 32) is None
    for content in (b"old", b"new"):
        log_pictures(settings, "c" * 32, {"loss.png": content, "heat.png": content})
    path = Path(mlflow.download_artifacts(runs.parent_run_id, "pictures"))
    assert {file.name: file.read_bytes() for file in path.iterdir()} == {
        "loss.png": b"new",
        "heat.png": b"new",
    }


def test_many_and_long_params_fit(settings: Settings, mlflow: MlflowClient) -> None:
    facts = replace(curriculum(), params={"x" * 3 + str(i): "v" * 7000 for i in range(130)})
    runs = begin_stage(settings, curriculum=facts, stage=stage())
    params = mlflow.get_run(runs.parent_run_id).data.params
    assert len([key for key in params if key.startswith("xxx")]) == 130
    assert params["xxx0"] == "v" * 6000


def test_the_commit_is_none_outside_a_checkout(monkeypatch: pytest.MonkeyPatch) -> None:
    links.git_commit.cache_clear()
    monkeypatch.setenv("PATH", "/nonexistent")
    assert links.git_commit() is None
    links.git_commit.cache_clear()


@pytest.mark.parametrize(
    ("values", "flat"),
    [
        ({"a": {"b": 1, "c": {"d": 2.5}}}, {"a.b": "1", "a.c.d": "2.5"}),
        ({"stages": [{"name": "fast", "tokens": 1}]}, {"stages.fast.tokens": "1"}),
        ({"stages": [{"tokens": 1}, {"tokens": 2}]}, {"stages.0.tokens": "1", "stages.1.tokens": "2"}),
        ({"same": [{"name": "a", "x": 1}, {"name": "a", "x": 2}]},
         {"same.0.name": "a", "same.0.x": "1", "same.1.name": "a", "same.1.x": "2"}),
        ({"betas": (0.9, 0.95), "none": None, "empty": []}, {"betas": "[0.9,0.95]", "empty": "[]"}),
        ({"tags": {"b", "a"}}, {"tags": '["a","b"]'}),
    ],
)  # fmt: skip
def test_nested_fields_become_dotted_names(values: dict[str, object], flat: dict[str, str]) -> None:
    assert dict(flatten(values)) == flat
