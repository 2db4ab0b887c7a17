"""A token budget: the same curriculum, shorter or longer, under a name and digests of its own."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from medpipe.pretrain.compile import compile_plan
from medpipe.pretrain.configured import (
    chosen_settings,
    configured_plan,
    configured_plan_file,
    permitted_plan,
    permitted_plans,
)
from medpipe.pretrain.plan import Plan, PlanError, builtin_plans, load_plan
from medpipe.pretrain.schedule import learning_rate, total_tokens
from medpipe.run_form import RunForm
from medpipe.settings import Settings
from medpipe_tests.pretrain.corpus import Corpus


def own_tokens(plan: Plan) -> int:
    return sum(stage.tokens for stage in plan.stages)


@given(name=st.sampled_from(["tiny", "demo", "mini", "base"]), share=st.floats(0.6, 30.0))
def test_all_stages_are_scaled_alike(name: str, share: float) -> None:
    plan = load_plan(name)
    budget = round(share * own_tokens(plan))
    scaled = configured_plan(Settings(plan=name, token_budget=budget))
    share = budget / own_tokens(plan)
    assert abs(own_tokens(scaled) - budget) <= len(plan.stages)
    for before, after in zip(plan.stages, scaled.stages, strict=True):
        assert after.tokens == pytest.approx(before.tokens * share, abs=1)
        assert after.mixture == before.mixture
    if budget != own_tokens(plan):
        assert scaled.name == f"{name}-{budget}-tokens"
    # The rate at equal shares of the run, up to the rounding to whole steps.
    step = max(plan.tokens_per_step / total_tokens(plan), scaled.tokens_per_step / total_tokens(scaled))
    for part in (0.1, 0.3, 0.6, 0.9):
        rates = [learning_rate(round(part * total_tokens(each)), each) for each in (plan, scaled)]
        nearby = [
            learning_rate(round(min(1.0, max(0.0, part + shift)) * total_tokens(plan)), plan)
            for shift in (-4 * step, 0.0, 4 * step)
        ]
        slack = 1e-9 + max(nearby) - min(nearby)
        assert min(nearby) - slack <= rates[1] <= max(nearby) + slack


def test_the_plan_s_own_budget_changes_nothing(tmp_path: Path) -> None:
    plan = load_plan("tiny")
    assert configured_plan(Settings(plan="tiny", token_budget=own_tokens(plan))) == plan


def test_another_budget_has_other_digests_and_another_run_folder(corpus: Corpus, tmp_path: Path) -> None:
    file = tmp_path / "small.yaml"
    file.write_text(yaml.safe_dump(corpus_plan()), encoding="utf-8")
    settings = Settings(home=tmp_path, lake_root=corpus.lake.root, plan=str(file))
    half = own_tokens(load_plan(file)) // 2
    plans = [load_plan(file), configured_plan(settings.model_copy(update={"token_budget": half}))]
    whole, shorter = (compile_plan(plan, corpus.snapshot, corpus.lake) for plan in plans)
    assert whole.plan.name != shorter.plan.name
    assert not {stage.digest for stage in whole.stages} & {stage.digest for stage in shorter.stages}
    assert [stage.steps for stage in shorter.stages] == [stage.steps // 2 for stage in whole.stages]
    # The trainer reads the same plan from a file.
    written = configured_plan_file(settings.model_copy(update={"token_budget": half}), corpus.lake)
    assert load_plan(written) == shorter.plan


def corpus_plan() -> dict[str, object]:
    values: dict[str, object] = yaml.safe_load(builtin_plans()["tiny"].read_text(encoding="utf-8"))
    return values


@pytest.mark.parametrize("budget", [1, -5])
def test_a_budget_without_a_step_a_stage_is_refused_with_the_least(budget: int) -> None:
    settings = Settings(plan="demo").model_copy(update={"token_budget": budget})
    with pytest.raises(PlanError, match=r"without a single optimizer step.*give at least") as refused:
        configured_plan(settings)
    least = int(str(refused.value).rsplit(" ", 1)[-1].replace(",", ""))
    configured_plan(settings.model_copy(update={"token_budget": least}))


def test_a_budget_does_not_go_with_an_earlier_run() -> None:
    with pytest.raises(PlanError, match="takes some over from an earlier run; leave the budget out"):
        configured_plan(Settings(plan="demo", start_from="demo", token_budget=1_000_000))


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    folder = tmp_path / "home" / "plans"
    folder.mkdir(parents=True)
    text = builtin_plans()["tiny"].read_text(encoding="utf-8")
    (folder / "mine.yaml").write_text(text.replace("name: tiny", "name: mine"), encoding="utf-8")
    (folder / "demo.yaml").write_text("a built-in name is not taken over", encoding="utf-8")
    (tmp_path / "secret.yaml").write_text(text, encoding="utf-8")
    (folder / "link.yaml").symlink_to(tmp_path / "secret.yaml")
    return Settings(home=tmp_path / "home")


@pytest.mark.parametrize(
    "name",
    ["../secret", "../secret.yaml", "link", "link.yaml", "plans/mine", "/etc/passwd", "", ".", "nobody"],
)
def test_a_run_names_no_plan_outside_the_folder(settings: Settings, name: str) -> None:
    for given_name in (name, str(settings.home / "plans" / name)):
        with pytest.raises(PlanError, match=r"a run may name a built-in plan or, by its name alone, a file"):
            permitted_plan(given_name, settings)


def test_a_run_names_built_in_plans_its_folder_s_and_the_installation_s(settings: Settings) -> None:
    assert permitted_plan("mine", settings) == permitted_plan("mine.yaml", settings)
    assert chosen_settings(RunForm(plan="mine"), settings).plan.endswith("/plans/mine.yaml")
    assert configured_plan(chosen_settings(RunForm(plan="mine"), settings)).name == "mine"
    assert permitted_plan("demo", settings) == "demo"
    own = settings.model_copy(update={"plan": "/somewhere/else.yaml"})
    assert permitted_plan("/somewhere/else.yaml", own) == "/somewhere/else.yaml"
    assert set(permitted_plans(settings)) == {"mine", *builtin_plans()}


@given(st.text(alphabet="./ab-_\\~%:", max_size=12))
def test_whatever_is_named_stays_inside(name: str) -> None:
    settings = Settings(home=Path("/nowhere"))
    try:
        assert permitted_plan(name, settings) in builtin_plans()
    except PlanError:
        assert name.removesuffix(".yaml").removesuffix(".yml") not in builtin_plans()
