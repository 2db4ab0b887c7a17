"""The whole way on a tiny plan: arms trained, measured, told; the second call trains nothing."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import orjson
import pytest
import yaml

from medpipe.evaluate import arm_training
from medpipe.evaluate.arm_choice import choose_arms
from medpipe.evaluate.arm_names import ArmName
from medpipe.evaluate.arm_training import ArmError
from medpipe.evaluate.verdict_run import FACTS, MARKDOWN, PAGE, Settled, run_verdict
from medpipe.pretrain.compile import compile_plan
from medpipe.pretrain.plan import STAGES, Plan, PlanError, load_plan
from medpipe.pretrain.run_folder import STAGE
from medpipe.pretrain.worker import main as worker
from medpipe.settings import Settings
from medpipe_tests.pretrain.corpus import Corpus
from medpipe_tests.pretrain.test_verify_resume import short

ARMS = (ArmName.CONTROL, ArmName.COSINE)


@pytest.fixture
def started(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Trainers run in this process, which saves each one's start; what each was started for is noted."""
    noted: list[str] = []

    def run_trainer(command: list[str], say: arm_training.News) -> int:
        options = command[command.index("medpipe.pretrain.worker") + 1 :]
        values = dict(zip(options[::2], options[1::2], strict=True))
        noted.append(f"{load_plan(values['--plan']).name} {values['--stage']}")
        return worker(options)

    monkeypatch.setattr(arm_training, "run_trainer", run_trainer)
    return noted


@pytest.fixture
def plan_file(own_corpus: Corpus, plan: Plan) -> Path:
    path = own_corpus.lake.root / "plan.yaml"
    path.write_text(yaml.safe_dump(short(plan).model_dump(mode="json", exclude_unset=True)))
    return path


def settle(corpus: Corpus, plan_file: Path, *, arms: tuple[ArmName, ...] = ARMS, seeds: int = 2) -> Settled:
    return run_verdict(
        plan_file,
        corpus.snapshot,
        settings=Settings(home=corpus.lake.root / "home"),
        lake=corpus.lake,
        arms=arms,
        seeds=seeds,
        replicates=300,
        is_tracked=False,
    )


def test_a_verdict_and_a_second_one_that_trains_nothing(
    own_corpus: Corpus, plan_file: Path, started: list[str]
) -> None:
    first = settle(own_corpus, plan_file)
    decay = [f"tiny-verdict-{arm} {stage}" for arm in ("curriculum", "control") for stage in STAGES[2:]]
    whole = [f"tiny-verdict-cosine {stage}" for stage in STAGES]
    assert started == ["tiny fast", "tiny stable", *decay, *whole, *decay, *whole]
    assert first.trained == len(started)

    lake, verdict = own_corpus.lake, first.verdict
    assert [(arm.arm, arm.seed) for arm in verdict.arms] == [
        (arm, seed) for seed in (7, 8) for arm in ("curriculum", "control", "cosine")
    ]
    assert len({arm.checkpoint for arm in verdict.arms}) == 6
    assert [row["arm"] for row in verdict.matrix] == ["stable", "curriculum", "control", "cosine"]
    control = verdict.arms[1]
    assert (control.steps, control.tokens, list(control.read)) == (8, 8 * 16 * 64, ["general", "disease"])
    assert (verdict.arms[2].steps, verdict.arms[2].stages) == (16, list(STAGES))
    facts = orjson.loads((lake.root / control.run_folder / STAGE).read_bytes())
    assert facts["stage"] == "converge"
    anneals = lake.runs("tiny-verdict-control").glob(f"*/{STAGE}")
    begun = [orjson.loads(path.read_bytes()).get("start_from") for path in anneals]
    assert [each["content"] for each in begun if each] == [verdict.start] * 2
    # What lies beside the runs is a plan that a person can run.
    assert load_plan(lake.root / control.plan).name == "tiny-verdict-control"

    files = {path.name for path in first.dataset.path.iterdir()}
    assert files >= {FACTS, MARKDOWN, PAGE, *first.pictures}
    kept = orjson.loads((first.dataset.path / FACTS).read_bytes())
    assert kept["comparisons"] == verdict.comparisons
    assert len(verdict.comparisons) == 2 * len(("all", "medical", "general", "disease"))
    assert all(each["low"] <= each["gain"] <= each["high"] for each in verdict.comparisons)

    started.clear()
    second = settle(own_corpus, plan_file)
    assert started == [] and second.trained == 0
    assert second.verdict == verdict
    assert second.dataset.digest == first.dataset.digest


def test_what_a_killed_call_left_is_gone_on_from(
    own_corpus: Corpus, plan_file: Path, started: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    trainer = arm_training.run_trainer

    def killed_at_the_fourth(command: list[str], say: arm_training.News) -> int:
        if len(started) == 3:
            raise KeyboardInterrupt
        return trainer(command, say)

    monkeypatch.setattr(arm_training, "run_trainer", killed_at_the_fourth)
    with pytest.raises(KeyboardInterrupt):
        settle(own_corpus, plan_file, arms=(ArmName.CONTROL,), seeds=1)
    monkeypatch.setattr(arm_training, "run_trainer", trainer)
    done = list(started)
    started.clear()
    settled = settle(own_corpus, plan_file, arms=(ArmName.CONTROL,), seeds=1)
    assert done == ["tiny fast", "tiny stable", "tiny-verdict-curriculum anneal"]
    assert started == [
        "tiny-verdict-curriculum converge",
        "tiny-verdict-control anneal",
        "tiny-verdict-control converge",
    ]
    assert {each["answer"] for each in settled.verdict.comparisons} == {"undecided"}


def test_a_trainer_that_fails_is_told_in_its_own_words(
    own_corpus: Corpus, plan_file: Path, started: list[str]
) -> None:
    for shard in own_corpus.lake.room("shards").rglob("*.bin"):
        shard.write_bytes(shard.read_bytes()[:-2])
    with pytest.raises(ArmError, match=r"the trainer of fast did not come to its end: .*bin"):
        settle(own_corpus, plan_file)


def with_mixture(plan: Plan, stage: int, mixture: list[dict[str, object]], **fields: object) -> Plan:
    values = short(plan).model_dump(mode="json", exclude_unset=True) | fields
    values["stages"][stage]["mixture"] = mixture
    return Plan.model_validate(values)


def test_too_little_data_for_the_control_is_refused_before_anything_is_trained(
    corpus: Corpus, plan: Plan
) -> None:
    narrow = [{"domain": "general", "tier": "refined", "weight": 1}]
    compiled = compile_plan(with_mixture(plan, 1, narrow, maximum_epochs=2.0), corpus.snapshot, corpus.lake)
    with pytest.raises(PlanError, match=r"arm 'control' .*\n.*general.*--maximum-epochs") as error:
        choose_arms(compiled, ARMS, snapshot=corpus.snapshot, lake=corpus.lake)
    needed = float(str(error.value).rsplit(" ", 1)[-1])
    choice = choose_arms(compiled, ARMS, snapshot=corpus.snapshot, lake=corpus.lake, maximum_epochs=needed)
    assert list(choice.names) == [ArmName.CURRICULUM, *ARMS]
    assert 2 < choice.epochs[ArmName.CONTROL] <= needed < choice.epochs[ArmName.CONTROL] + 0.1


def test_an_arm_that_cannot_be_had_is_left_out_and_named(corpus: Corpus, plan: Plan) -> None:
    only_general = with_mixture(plan, 2, [{"domain": "general", "weight": 1}])
    compiled = compile_plan(only_general, corpus.snapshot, corpus.lake)
    choice = choose_arms(
        compiled, [ArmName.CONTROL, ArmName.NO_REPLAY], snapshot=corpus.snapshot, lake=corpus.lake
    )
    assert choice.left_out == {ArmName.NO_REPLAY: "stage anneal reads nothing but replay"}
    assert choice.names == (ArmName.CURRICULUM, ArmName.CONTROL)


def test_nothing_to_compare_is_refused_before_anything_is_trained(corpus: Corpus, plan: Plan) -> None:
    compiled = compile_plan(short(plan), corpus.snapshot, corpus.lake)
    with pytest.raises(PlanError, match="only the curriculum itself was asked for"):
        choose_arms(compiled, [ArmName.CURRICULUM], snapshot=corpus.snapshot, lake=corpus.lake)
    only_general = with_mixture(plan, 2, [{"domain": "general", "weight": 1}])
    compiled = compile_plan(only_general, corpus.snapshot, corpus.lake)
    with pytest.raises(PlanError, match="no-replay: stage anneal reads nothing but replay"):
        choose_arms(compiled, [ArmName.NO_REPLAY], snapshot=corpus.snapshot, lake=corpus.lake)


def test_an_arm_with_the_curriculums_own_data_is_no_comparison(corpus: Corpus, plan: Plan) -> None:
    values = short(plan).model_dump(mode="json", exclude_unset=True)
    for stage in values["stages"][2:]:
        # Other weights of the same proportion are the same data.
        stage["mixture"] = [
            entry | {"weight": 3 * entry["weight"]} for entry in values["stages"][1]["mixture"]
        ]
    compiled = compile_plan(Plan.model_validate(values), corpus.snapshot, corpus.lake)
    choice = choose_arms(
        compiled,
        [ArmName.CONTROL, ArmName.SHUFFLED, ArmName.COSINE],
        snapshot=corpus.snapshot,
        lake=corpus.lake,
    )
    same = "it reads the same data as the curriculum: nothing to compare"
    assert choice.left_out == {ArmName.CONTROL: same, ArmName.SHUFFLED: same}
    assert choice.names == (ArmName.CURRICULUM, ArmName.COSINE)


@pytest.mark.slow
def test_ctrl_c_stops_the_trainer_with_a_checkpoint_and_a_second_call_goes_on(
    own_corpus: Corpus, plan_file: Path
) -> None:
    values = yaml.safe_load(plan_file.read_text())
    values["stages"][0]["tokens"] = 400 * 16 * 64
    plan_file.write_text(yaml.safe_dump(values | {"checkpoint_every_steps": 1000}))
    command = [sys.executable, "-m", "medpipe.cli", "verdict", str(plan_file)]
    command += ["--seeds", "1", "--against", "control", "--no-track"]
    process = subprocess.Popen(
        command,
        env=os.environ | {"MEDPIPE_LAKE": str(own_corpus.lake.root)},
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    assert process.stderr is not None
    heard = []
    for line in process.stderr:
        heard.append(line)
        if "step 1/400" in line:
            process.send_signal(signal.SIGINT)
    assert process.wait() == 130, heard
    assert any("stopped by SIGINT after step" in line for line in heard), heard
    assert heard[-1] == "stopped; the same command goes on from here\n"
    (saved,) = own_corpus.lake.runs("tiny").glob("*/checkpoints/*/manifest.json")
    assert int(saved.parent.name) < 400
    again = subprocess.Popen(
        command,
        env=os.environ | {"MEDPIPE_LAKE": str(own_corpus.lake.root)},
        stderr=subprocess.PIPE,
        text=True,
    )
    assert again.stderr is not None
    for line in again.stderr:
        if "resuming after step" in line:
            break
    else:
        pytest.fail("it did not go on from the checkpoint")
    again.send_signal(signal.SIGINT)
    again.stderr.read()
    assert again.wait() == 130
