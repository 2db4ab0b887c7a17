from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from medpipe.evaluate.matrix import MatrixError, measures_of
from medpipe.evaluate.measured import comparable_points, measured_points
from medpipe.evaluate.report import PICTURES, build_report, read_report
from medpipe.pretrain.checkpoint import list_checkpoints
from medpipe.pretrain.curriculum import pinned_stages
from medpipe.pretrain.plan import STAGES
from medpipe.pretrain.result import CHECKPOINTS, SPOOL, read_result
from medpipe_tests.evaluate.conftest import Trained, tiny
from medpipe_tests.evaluate.points import checkpoint, point


def test_a_curriculum_that_has_only_begun_has_a_report(begun: Trained, tmp_path: Path) -> None:
    world = begun.copied_to(tmp_path / "lake")
    built = build_report(world.compiled, lake=world.lake)
    report = read_report(built.dataset)
    assert not built.reused and report.left_out == []
    assert report.matrix["checkpoint"].to_list() == ["fast-00000008", "fast-00000016", "fast"]
    assert report.matrix["stage_end"].to_list() == [False, False, True]
    [fast, *_] = pinned_stages(world.compiled, world.lake)
    there = {int(path.name) for path in list_checkpoints(fast.run_folder / CHECKPOINTS)}
    assert 20 in there
    assert report.matrix["on_disk"].to_list() == [step in there for step in (8, 16, 20)]
    assert build_report(world.compiled, lake=world.lake).reused
    # More was trained: the report is made anew.
    world.train("stable")
    assert not build_report(world.compiled, lake=world.lake).reused


def test_all_points_of_a_finished_curriculum(trained: Trained) -> None:
    report = read_report(build_report(trained.compiled, lake=trained.lake).dataset)
    matrix = report.matrix
    assert matrix["step"].to_list() == [8, 16, 20, 24, 32, 40, 48, 56, 60, 64, 72, 80]
    assert matrix.filter("stage_end")["checkpoint"].to_list() == list(STAGES)
    assert matrix.filter("stage_end")["on_disk"].all()
    assert measures_of(matrix) == ["all", "disease", "general", "general/en", "general/zh"]
    assert matrix.select(measures_of(matrix)).null_count().row(0) == (0,) * 5
    assert matrix["tokens"].is_sorted() and matrix["tokens"].n_unique() == matrix.height
    for stage in pinned_stages(trained.compiled, trained.lake):
        result = read_result(stage.run_folder)
        assert result is not None
        [row] = matrix.filter(matrix["checkpoint"] == stage.name).to_dicts()
        assert row["all"] == result.bits_per_byte["all"]
        assert row["general/en"] == result.bits_per_byte_by_language["general"]["en"]
        assert (trained.lake.root / row["path"] / "model.safetensors").is_file()
    assert all(report.pictures[name].startswith(b"\x89PNG") for name in PICTURES)


def test_what_was_measured_on_other_text_is_measured_again(trained: Trained) -> None:
    before = read_report(build_report(trained.compiled, lake=trained.lake).dataset).matrix
    compiled = trained.compile(tiny(validation_tokens=150))
    news: list[str] = []
    report = read_report(build_report(compiled, lake=trained.lake, say=news.append).dataset)
    there = before.filter("on_disk")
    assert report.matrix["checkpoint"].to_list() == there["checkpoint"].to_list()
    assert set(report.left_out) == set(before["checkpoint"]) - set(there["checkpoint"])
    assert len(news) == there.height and "held-out text" in news[0]
    assert set(report.matrix["measured_on"]) == {compiled.validation_digest}
    assert report.matrix["all"][-1] != there["all"][-1]
    # On the same text as before the measure gives what the trainer noted.
    spool = pinned_stages(trained.compiled, trained.lake)[0].run_folder / "metrics.jsonl"
    spool.write_text(spool.read_text().replace(trained.compiled.validation_digest, "0" * 32))
    result = spool.with_name("result.json")
    result.write_text(result.read_text().replace(trained.compiled.validation_digest, "0" * 32))
    again = read_report(build_report(trained.compiled, lake=trained.lake).dataset).matrix
    ours = again.join(before, on="checkpoint", suffix="_before")
    assert ours["all"].to_list() == pytest.approx(ours["all_before"].to_list(), rel=2e-3)


def test_the_stages_of_the_earlier_run_that_a_plan_starts_from(trained: Trained) -> None:
    """A refresh from the stable checkpoint: the first stages lie in the earlier run's folders."""
    plan = tiny(name="refreshed", start_from={"run": "measured", "stage": "stable"})
    world = Trained(trained.corpus, plan)
    report = read_report(build_report(world.compiled, lake=world.lake).dataset)
    assert report.matrix.filter("stage_end")["checkpoint"].to_list() == ["fast", "stable"]
    world.train("anneal")
    report = read_report(build_report(world.compiled, lake=world.lake).dataset)
    assert report.matrix["step"].to_list() == [8, 16, 20, 24, 32, 40, 48, 56, 60]
    assert "runs/measured/" in report.matrix.filter("on_disk")["path"][0]
    assert "runs/refreshed/" in report.matrix["path"][-1]


def test_what_an_earlier_run_trained_beyond_the_start_is_another_branch(trained: Trained) -> None:
    [_, stable, *_] = pinned_stages(trained.compiled, trained.lake)
    [first, *_] = list_checkpoints(stable.run_folder / CHECKPOINTS)
    limit = int(first.name)
    assert limit < 40, "a checkpoint on the way was kept"
    start = {"checkpoint": str(first), "at": "anneal"}
    compiled = trained.compile(tiny(name="branched", start_from=start))
    stages = pinned_stages(compiled, trained.lake)
    assert stages[1].result is None and stages[1].last_step == limit
    assert max(each.step for each in measured_points(stages)) <= limit


def test_before_the_first_measure_the_asset_to_run_is_named(begun: Trained, tmp_path: Path) -> None:
    world = begun.copied_to(tmp_path / "lake")
    shutil.rmtree(world.lake.runs("measured"))
    with pytest.raises(MatrixError, match="materialise the pretrain assets first"):
        build_report(world.compiled, lake=world.lake)


def test_points_of_other_text_whose_checkpoint_is_gone_are_left_out(tmp_path: Path) -> None:
    there = checkpoint(tmp_path / "c")
    points = [
        point("fast", 1, {"all": 9.0}, measured_on="old"),
        point("fast", 2, {"all": 8.0}, measured_on=None, checkpoint=there),
        point("fast", 3, {"all": 7.0}, measured_on="new"),
    ]
    kept, gone = comparable_points(points, "new", lambda path: ({"all": float(path == there)}, "new"))
    assert gone == ["fast"]
    assert [(each.step, each.bits_per_byte["all"], each.measured_on) for each in kept] == [
        (2, 1.0, "new"),
        (3, 7.0, "new"),
    ]


@pytest.mark.parametrize("with_checkpoints", [True, False])
def test_without_a_spool_tokens_count_from_the_beginning(trained: Trained, with_checkpoints: bool) -> None:
    stages = pinned_stages(trained.compiled, trained.lake)
    before = [(point.name, point.tokens) for point in measured_points(stages) if point.is_stage_end]
    for stage in stages:
        (stage.run_folder / SPOOL).unlink()
        if not with_checkpoints:
            shutil.rmtree(stage.run_folder / CHECKPOINTS)
    assert [(point.name, point.tokens) for point in measured_points(stages)] == before
