"""Plans that start from the checkpoint of an earlier run."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
import yaml

from medpipe.evaluate.measured import measured_points
from medpipe.lake.manifest import MANIFEST
from medpipe.pretrain.check import plan_facts
from medpipe.pretrain.checkpoint import WEIGHTS, CheckpointError, read_state
from medpipe.pretrain.compile import compile_plan
from medpipe.pretrain.curriculum import compile_pinned, finished_stages, pinned_stages
from medpipe.pretrain.plan import STAGES, PlanError, builtin_plans, parse_plan
from medpipe.pretrain.plan_plot import draw_plan
from medpipe.pretrain.result import SPOOL, is_current, stage_run_folder
from medpipe.pretrain.tracked import track_compiled
from medpipe.settings import Settings
from medpipe.tokens.snapshot import read_snapshot, write_snapshot
from medpipe.tracking.spool import read_events
from medpipe.tracking.store import client
from medpipe_tests.pretrain.conftest import stage_run
from medpipe_tests.pretrain.corpus import Corpus
from medpipe_tests.pretrain.starts import (
    FP32,
    REFRESH,
    compiled_from,
    plan_from,
    problems_of,
)


@pytest.fixture(scope="module")
def trained(corpus: Corpus, tmp_path_factory: pytest.TempPathFactory) -> Corpus:
    """A lake in which the tiny curriculum has been trained as far as its stable stage."""
    root = tmp_path_factory.mktemp("trained")
    shutil.copytree(corpus.lake.root, root / "lake")
    lake = type(corpus.lake)(root / "lake")
    copy = Corpus(lake, corpus.snapshot, corpus.tokenizer, corpus.eos_id, corpus.texts)
    plan = parse_plan(yaml.safe_load(builtin_plans()["tiny"].read_text()), origin="test")
    compile_pinned(plan, lake, stage="fast")
    for stage in ("fast", "stable"):
        stage_run(copy, plan, stage).run()
    return copy


@pytest.fixture
def run_before(trained: Corpus, tmp_path: Path) -> Corpus:
    shutil.copytree(trained.lake.root, tmp_path / "lake")
    lake = type(trained.lake)(tmp_path / "lake")
    return Corpus(lake, trained.snapshot, trained.tokenizer, trained.eos_id, trained.texts)


def test_a_refresh_anneals_again_from_the_stable_checkpoint(run_before: Corpus) -> None:
    base = compile_plan(
        parse_plan(yaml.safe_load(builtin_plans()["tiny"].read_text()), origin="test"),
        run_before.snapshot,
        run_before.lake,
    )
    plan = plan_from(REFRESH, name="refreshed")
    compiled = compile_plan(plan, run_before.snapshot, run_before.lake)
    assert compiled.start is not None and compiled.start.at == "anneal" and compiled.start.step == 40
    assert [stage.taken_from is not None for stage in compiled.stages] == [True, True, False, False]
    assert [s.digest for s in compiled.stages[:2]] == [s.digest for s in base.stages[:2]]
    assert compiled.stage("anneal").parent == base.stage("stable").digest
    assert compiled.stage("anneal").digest != base.stage("anneal").digest  # it names its checkpoint
    assert compiled.stage("anneal").first_step == 40

    taken = stage_run(run_before, plan, "stable")

    def written() -> dict[Path, int]:
        return {p: p.stat().st_mtime_ns for p in taken.folder.rglob("*") if p.name != "lock"}

    before = written()
    assert taken.run().reused and is_current(taken.folder, taken.compiled)
    assert written() == before
    run = stage_run(run_before, plan, "anneal")
    result = run.run().result
    assert result.first_step == 40 and result.tokens == sum(result.tokens_by_source.values())
    facts = json.loads((run.folder / "stage.json").read_text())
    assert facts["parent"] == base.stage("stable").digest
    assert facts["parent_run"] == f"tiny/{base.stage('stable').digest}-7"
    assert facts["start_from"]["step"] == 40
    stage_run(run_before, plan, "converge").run()
    compile_pinned(plan, run_before.lake, stage="anneal")
    assert [done.result.stage for done in finished_stages(plan, run_before.lake)] == list(STAGES)


def test_a_refresh_on_equal_data_is_the_same_training(run_before: Corpus) -> None:
    """Going on from the checkpoint by `start_from` gives the bytes that the uninterrupted plan gives."""
    straight = parse_plan(yaml.safe_load(builtin_plans()["tiny"].read_text()), origin="test")
    refreshed = plan_from(REFRESH, name="refreshed")
    runs = [stage_run(run_before, plan, "anneal") for plan in (straight, refreshed)]
    steps = [run.compiled.stage("anneal") for run in runs]
    assert steps[0].first_step == steps[1].first_step
    from medpipe.pretrain.dataset import StageData
    from medpipe.pretrain.training import Training

    start = runs[1].compiled.start
    assert start is not None
    trained = []
    for run in runs:
        data = StageData(
            steps[0],  # the stream is keyed by the stage's digest: here both read the same
            [shard.tokens for shard in run._open(run.stage.shards, "train")],
            seed=7,
            eos_id=0,
        )
        training = Training.begin(run.compiled, run.stage, data=data, compute=FP32)
        training.restore(start.folder)
        trained.append([training.train_step() for _ in range(3)])
        assert set(training.tokens_by_source) == {"fast", "stable", "anneal"}
    assert trained[0] == trained[1]


def test_stable_can_be_trained_again_on_new_data(run_before: Corpus) -> None:
    plan = plan_from(REFRESH | {"at": "stable"}, name="tiny")
    run = stage_run(run_before, plan, "stable")
    assert run.stage.first_step == 40 and run.compiled.stages[0].taken_from is not None
    result = run.run().result
    assert result.steps == 20 and result.tokens == sum(result.tokens_by_source.values())
    state = read_state(run.folder / result.checkpoint)
    assert state.step == 60 and state.tokens > result.tokens
    # Its own run does not make the plan ambiguous.
    assert stage_run(run_before, plan, "stable").run().reused


def test_a_checkpoint_before_the_end_of_a_stage(run_before: Corpus) -> None:
    folder = next(p for p in (run_before.lake.root / "runs" / "tiny").glob("*/checkpoints/00000036"))
    compiled = compiled_from(run_before, {"checkpoint": str(folder)}, name="branch")
    assert compiled.start is not None and compiled.start.step == 36
    assert compiled.stage("anneal").first_step == 36
    assert stage_run(run_before, plan_from({"checkpoint": str(folder)}, name="branch"), "anneal").run()


def test_mlflow_has_the_losses_of_the_branch_and_not_of_what_it_left(
    run_before: Corpus, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    folder = next(p for p in (run_before.lake.root / "runs" / "tiny").glob("*/checkpoints/00000036"))
    plan = plan_from({"checkpoint": str(folder), "at": "anneal"}, name="branch")
    run = stage_run(run_before, plan, "anneal")
    run.run()
    plan_file = tmp_path / "plan.yaml"
    plan_file.write_text(yaml.safe_dump(plan.model_dump(mode="json")))
    settings = Settings(home=tmp_path / "home")
    for name in ("fast", "stable", "anneal"):
        tracked = track_compiled(
            run.compiled, name, plan_file=plan_file, settings=settings, lake=run_before.lake
        )
        assert tracked.replay.poll(), tracked.replay.last_error
    runs = tracked.replay.runs
    assert runs is not None
    logged = client(settings).get_metric_history(runs.parent_run_id, "train/loss")
    expected = {
        event.step: event.values["train/loss"]
        for path, last in ((folder.parents[1] / SPOOL, 36), (run.folder / SPOOL, 1000))
        for event in read_events(path)
        if event.kind == "metrics" and event.step <= last
    }
    assert max(expected) > 40
    assert {point.step: point.value for point in logged if point.step > 20} == expected


def test_stable_behind_stable_is_told_from_the_one_before(
    run_before: Corpus, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two stages bear one name: each is found in its own folder, and MLflow misses the loss of neither."""
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    again = plan_from(REFRESH | {"at": "stable"}, name="again")
    compile_pinned(again, run_before.lake, stage="stable")
    second = stage_run(run_before, again, "stable")
    second.run()
    plan = plan_from({"run": f"again/{second.folder.name}"}, name="third")
    compiled = compile_pinned(plan, run_before.lake, stage="anneal")
    wanted = ["fast", "stable 1", "stable", "anneal", "converge"]
    assert [stage.label for stage in compiled.stages] == wanted
    assert stage_run_folder(run_before.lake, compiled, "stable") == second.folder
    assert stage_run_folder(run_before.lake, compiled, "stable 1") == folder_of(run_before, "stable")
    run = stage_run(run_before, plan, "anneal")
    assert run.run().result.first_step == 60
    pinned = pinned_stages(compiled, run_before.lake)
    assert [(each.name, each.last_step) for each in pinned[:3]] == [
        ("fast", 20),
        ("stable 1", 40),
        ("stable", 60),
    ]
    assert [p.name for p in measured_points(pinned) if p.is_stage_end] == wanted[:4]
    facts = plan_facts(compiled, is_bf16=False, is_cpu=True)
    assert [stage["stage"] for stage in facts["stages"]] == wanted
    assert draw_plan(compiled).startswith(b"\x89PNG")

    plan_file, settings = tmp_path / "plan.yaml", Settings(home=tmp_path / "home")
    plan_file.write_text(yaml.safe_dump(plan.model_dump(mode="json")))
    for name in STAGES[:3]:
        tracked = track_compiled(compiled, name, plan_file=plan_file, settings=settings, lake=run_before.lake)
        with tracked.following():
            pass
        assert tracked.replay.last_error is None
    runs = tracked.replay.runs
    assert runs is not None
    folders = [stage_run_folder(run_before.lake, compiled, label) for label in wanted[:4]]
    expected = {
        event.step: event.values["train/loss"]
        for folder in folders
        for event in read_events(folder / SPOOL)
        if event.kind == "metrics"
    }
    logged = client(settings).get_metric_history(runs.parent_run_id, "train/loss")
    assert {point.step: point.value for point in logged} == expected
    assert {1, 40, 41, 60, 61} <= set(expected)
    nested = client(settings).search_runs([runs.experiment_id], "tags.`medpipe.stage_digest` != ''")
    assert sorted(each.info.run_name for each in nested) == sorted(wanted[:4])
    datasets = [len(each.inputs.dataset_inputs) for each in nested]
    assert all(datasets)  # those of the stages that were taken over, too


def test_starts_that_do_not_fit(run_before: Corpus, tmp_path: Path) -> None:
    assert "no finished stage stable in" in problems_of(run_before, {"run": "nobody"})
    assert "set `at` to one of fast, stable, anneal" in problems_of(run_before, REFRESH | {"at": "converge"})
    optimizer = {"peak_learning_rate": 1e-3}
    text = problems_of(run_before, REFRESH, optimizer=optimizer)
    assert "the learning rate jumps from 0.004, which the earlier run had reached, to 0.001" in text
    elsewhere = problems_of(run_before, {"checkpoint": str(tmp_path / "a" / "b" / "c")})
    assert "lies in no run folder" in elsewhere
    values = yaml.safe_load(builtin_plans()["tiny"].read_text())["model"]
    assert "model differs from the checkpoint in layers 4 (there 2)" in problems_of(
        run_before, REFRESH, model=values | {"layers": 4}
    )


def test_what_the_earlier_run_read_counts_for_the_repetition_cap(run_before: Corpus) -> None:
    compiled = compiled_from(run_before, REFRESH)
    assert compiled.start is not None
    here = sum(part.epochs for s in compiled.stages for part in s.components if part.label == "disease")
    [before] = {sum(e.values()) for key, e in compiled.start.read.items() if key.startswith("disease")}
    assert before > 1
    compiled_from(run_before, REFRESH, maximum_epochs=here + before + 0.01)
    text = problems_of(run_before, REFRESH, maximum_epochs=here + before - 0.01)
    assert "disease/disease_source (raw) has too few tokens" in text
    assert "fast of the earlier run" in text and "stable of the earlier run" in text


def test_a_run_that_is_not_the_only_one_must_be_named(run_before: Corpus) -> None:
    compiled = compiled_from(run_before, REFRESH)
    assert compiled.start is not None and compiled.start.run is not None
    runs = run_before.lake.root / "runs"
    twin = compiled.start.run.rpartition("-")[0] + "-8"
    shutil.copytree(runs / compiled.start.run, runs / twin)
    text = problems_of(run_before, REFRESH)
    assert "more than once; set run to one of" in text and twin in text
    named = compiled_from(run_before, {"run": compiled.start.run})
    assert named.start == compiled.start


def test_a_corpus_with_another_tokenizer_cannot_refresh(run_before: Corpus, tmp_path: Path) -> None:
    from medpipe_tests.pretrain.corpus import build_corpus

    other = build_corpus(tmp_path / "other", vocabulary_size=380)
    shutil.copytree(run_before.lake.root / "runs", other.lake.root / "runs")
    assert "a refresh keeps the tokenizer" in problems_of(other, REFRESH)


def test_a_checkpoint_that_changed_after_compiling_is_not_used(run_before: Corpus) -> None:
    run = stage_run(run_before, plan_from(REFRESH, name="refreshed"), "anneal")
    assert run.compiled.start is not None
    path = run.compiled.start.folder / WEIGHTS
    path.write_bytes(path.read_bytes()[:-4] + b"\0\0\0\1")
    with pytest.raises(CheckpointError, match="does not have the bytes"):
        run.run()


def test_a_refresh_pins_the_newest_snapshot_where_it_begins(run_before: Corpus, tmp_path: Path) -> None:
    from medpipe.lake.digest import digest_value
    from medpipe.tokens.snapshot import CorpusSnapshot

    content = run_before.snapshot.model_dump(mode="json", exclude={"name"}) | {"revisions": {"x": "2" * 40}}
    newer = CorpusSnapshot.model_validate({"name": digest_value(content), **content})
    write_snapshot(run_before.lake, newer)
    plan = plan_from(REFRESH)
    pinned = compile_pinned(plan, run_before.lake, stage="anneal")
    assert pinned.snapshot == newer.name != run_before.snapshot.name
    write_snapshot(run_before.lake, run_before.snapshot)
    assert compile_pinned(plan, run_before.lake, stage="converge").snapshot == newer.name
    assert read_snapshot(run_before.lake).name == run_before.snapshot.name


def test_a_later_stage_does_not_look_at_a_newer_snapshot(run_before: Corpus, tmp_path: Path) -> None:
    """A corpus that came while a refresh trains may not fit it; the refresh keeps to its own."""
    from medpipe_tests.pretrain.corpus import build_corpus

    plan = plan_from(REFRESH)
    pinned = compile_pinned(plan, run_before.lake, stage="anneal")
    other = build_corpus(tmp_path / "other", vocabulary_size=380)
    for room in ("tokenizer", "shards"):
        shutil.copytree(other.lake.root / room, run_before.lake.root / room, dirs_exist_ok=True)
    write_snapshot(run_before.lake, other.snapshot)
    for stage in ("stable", "converge"):
        assert compile_pinned(plan, run_before.lake, stage=stage).snapshot == pinned.snapshot
    with pytest.raises(PlanError, match="a refresh keeps the tokenizer"):
        compile_pinned(plan, run_before.lake, stage="anneal")


def folder_of(corpus: Corpus, stage: str) -> Path:
    paths = (corpus.lake.root / "runs" / "tiny").glob("*/stage.json")
    return next(path.parent for path in paths if json.loads(path.read_text())["stage"] == stage)


@pytest.mark.parametrize("content", [b'{"a":', b"{}", b"[]"])
@pytest.mark.parametrize("where", ["stable/result.json", "stable/stage.json", "fast/stage.json"])
def test_a_damaged_earlier_run_is_refused_with_the_fix(
    run_before: Corpus, where: str, content: bytes
) -> None:
    stage, name = where.split("/")
    path = folder_of(run_before, stage) / name
    path.write_bytes(content)
    text = problems_of(run_before, REFRESH)
    assert f"start_from: {path} cannot be read" in text
    assert "remove" in text and "again" in text and "last checkpoint" in text


def test_facts_that_are_missing_in_an_earlier_run_are_named(run_before: Corpus) -> None:
    stable = folder_of(run_before, "stable")
    path = stable / "stage.json"
    before = path.read_bytes()
    path.write_text(json.dumps({k: v for k, v in json.loads(before).items() if k != "first_step"}))
    assert "wrong or missing: first_step" in problems_of(run_before, REFRESH)
    with pytest.raises(PlanError, match="first_step"):
        compile_pinned(plan_from(REFRESH), run_before.lake, stage="converge")
    path.write_bytes(before)
    manifest = max(stable.glob("checkpoints/*")) / MANIFEST
    manifest.write_text(json.dumps(json.loads(manifest.read_text()) | {"facts": {}}))
    assert "names no step; name another checkpoint" in problems_of(run_before, REFRESH)


def test_a_damaged_start_checkpoint_names_the_fix(run_before: Corpus) -> None:
    run = stage_run(run_before, plan_from(REFRESH, name="refreshed"), "anneal")
    assert run.compiled.start is not None
    (run.compiled.start.folder / WEIGHTS).write_bytes(b"")
    with pytest.raises(CheckpointError, match="materialise pretrain/stable of the earlier run again"):
        run.run()


def test_a_stage_whose_folder_is_gone_is_refused_in_words(
    run_before: Corpus, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    from medpipe.pretrain import worker

    shutil.rmtree(folder_of(run_before, "fast"))
    path = tmp_path / "plan.yaml"
    values = yaml.safe_load(builtin_plans()["tiny"].read_text())
    path.write_text(yaml.safe_dump(values | {"start_from": REFRESH}))
    options = {"lake": run_before.lake.root, "plan": path, "snapshot": run_before.snapshot.name}
    arguments = [f"--{name}={value}" for name, value in options.items()]
    assert worker.main([*arguments, "--stage=fast"]) == 1
    said = capsys.readouterr().err
    assert "error:" in said and "its folder is gone; bring it back, or" in said


@pytest.mark.parametrize("run", ["Tiny", "tiny/stable", "tiny/noon/" + "0" * 32 + "-7", "../tiny"])
def test_a_name_that_is_no_run_is_told_the_form(run: str) -> None:
    with pytest.raises(PlanError, match=r"names no run; write `name` .* or `name/<folder>`"):
        plan_from({"run": run})


def test_a_run_as_trace_prints_it_is_the_same_run() -> None:
    folder = "0" * 32 + "-7"
    assert plan_from({"run": f"tiny/stable/{folder}"}) == plan_from({"run": f"tiny/{folder}"})


def test_the_setting_keeps_stage_and_at_of_the_plan(tmp_path: Path) -> None:
    from medpipe.pretrain.configured import configured_plan
    from medpipe.settings import Settings

    values = yaml.safe_load(builtin_plans()["tiny"].read_text())
    path = tmp_path / "plan.yaml"
    settings = Settings(home=tmp_path, plan=str(path), start_from="newer")
    path.write_text(yaml.safe_dump(values | {"start_from": {"run": "tiny", "stage": "fast", "at": "fast"}}))
    start = configured_plan(settings).start_from
    assert start is not None and (start.run, start.stage, start.at) == ("newer", "fast", "fast")
    path.write_text(yaml.safe_dump(values | {"start_from": {"checkpoint": "a/b/c", "at": "stable"}}))
    start = configured_plan(settings).start_from
    assert start is not None and (start.run, start.checkpoint, start.at) == ("newer", None, "stable")
    del values["model"]
    path.write_text(yaml.safe_dump(values | {"start_from": {"model": "./m", "at": "fast"}}))
    start = configured_plan(settings).start_from
    assert start is not None and (start.run, start.model, start.at) == ("newer", None, None)


def test_nothing_to_compare_is_said(run_before: Corpus) -> None:
    from medpipe.pretrain.verify_resume import VerifyError, verify_resume

    with pytest.raises(VerifyError, match=r"all stages up to stable are taken over.*: anneal, converge"):
        verify_resume(plan_from(REFRESH), run_before.snapshot, run_before.lake, until="stable")
    assert issubclass(VerifyError, ValueError)  # the command line says these in one line
