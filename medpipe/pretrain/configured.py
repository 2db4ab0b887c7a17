"""The plan that an installation trains: the file that its settings name, from where they let it start.

`start_from` in the settings stands for what the plan's own names: the same file serves the first run and each
refresh. Where the plan goes on from a run, too, its `stage` and `at` hold for the run of the settings. A
`token_budget` in the settings scales all stages of the plan.

A run may choose another plan for itself. Its choices come from whoever reaches the web server: a plan is
named, never a path, and what is named must lie where plans may lie.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, Protocol

import yaml

from medpipe.lake.digest import digest_value
from medpipe.lake.files import write_bytes_atomically
from medpipe.lake.layout import Lake
from medpipe.pretrain.budget import with_budget
from medpipe.pretrain.plan import (
    Plan,
    PlanError,
    builtin_plans,
    find_plan,
    load_plan,
    parse_plan,
    plan_values,
)
from medpipe.settings import Settings

PLANS_FOLDER = "plans"
"""Folder below the home whose files a run may name as its plan."""
_SUFFIXES = (".yaml", ".yml")


class Choices(Protocol):
    """What one run may choose; None leaves it as the settings say."""

    @property
    def plan(self) -> str | None:
        """Name of a permitted plan."""

    @property
    def token_budget(self) -> int | None:
        """Tokens of the whole curriculum."""

    @property
    def start_from(self) -> str | None:
        """Earlier run to go on from."""

    @property
    def snapshot(self) -> str | None:
        """Corpus snapshot to train on."""


def chosen_settings(choices: Choices, settings: Settings) -> Settings:
    """The settings with what a run chooses in their place.

    Raises:
        PlanError: the plan is none that a run may name.
    """
    chosen = {
        "plan": None if choices.plan is None else permitted_plan(choices.plan, settings),
        "token_budget": choices.token_budget,
        "start_from": choices.start_from,
        "snapshot": choices.snapshot,
    }
    return settings.model_copy(update={name: value for name, value in chosen.items() if value is not None})


def chosen_plan(plan: Plan, choices: Choices, settings: Settings) -> Plan:
    """The plan of a run: the installation's own, unless the run chooses another or changes it.

    Raises:
        PlanError: it may not be chosen, or has mistakes.
    """
    chosen = chosen_settings(choices, settings)
    return plan if chosen == settings else configured_plan(chosen)


def permitted_plans(settings: Settings) -> dict[str, str]:
    """What a run may name as its plan, with what it stands for: a built-in name or a path.

    Those are the built-in plans, the files of `<home>/plans`, and the plan of the installation itself. A file
    never takes the place of a built-in plan of the same name; a link to a file outside the folder is none.
    """
    folder = settings.home / PLANS_FOLDER
    inside = folder.resolve()
    files = sorted(folder.iterdir()) if folder.is_dir() else []
    own = {
        path.stem: str(path)
        for path in files
        if path.suffix in _SUFFIXES and path.resolve().is_relative_to(inside)
    }
    return {settings.plan: settings.plan, **own, **{name: name for name in builtin_plans()}}


def permitted_plan(name: str, settings: Settings) -> str:
    """The built-in plan or the path that a name stands for.

    Raises:
        PlanError: there is no such plan; a path outside the folder is refused in the same words.
    """
    plans = permitted_plans(settings)
    stem = name.removesuffix(Path(name).suffix) if name.endswith(_SUFFIXES) else name
    known = plans.get(name) or plans.get(stem)
    if known is None:
        raise PlanError(
            f"plan {name!r}",
            [
                f"a run may name a built-in plan or, by its name alone, a file in "
                f"{settings.home / PLANS_FOLDER}; there are {', '.join(plans)}"
            ],
        )
    return known


def configured_plan(settings: Settings) -> Plan:
    """The plan that the settings name.

    Raises:
        PlanError: it has mistakes, or the setting `start_from` is no name of a run, or the token budget does
            not fit; all are listed.
    """
    if _is_as_written(settings):
        return load_plan(settings.plan)
    return parse_plan(_values(settings), origin=_origin(settings))


def configured_plan_file(settings: Settings, lake: Lake) -> Path:
    """The same plan as a file, for a process of its own; written below `runs/<plan>` where need be.

    Raises:
        PlanError: as above.
    """
    if _is_as_written(settings):
        return find_plan(settings.plan)
    plan, values = configured_plan(settings), _values(settings)
    path = lake.runs(plan.name) / f"plan-{digest_value(values)[:12]}.yaml"
    text = yaml.safe_dump(values, allow_unicode=True, sort_keys=False).encode()
    if not path.exists() or path.read_bytes() != text:
        path.parent.mkdir(parents=True, exist_ok=True)
        write_bytes_atomically(path, text)
    return path


def _is_as_written(settings: Settings) -> bool:
    """Whether the settings take the plan as its file holds it."""
    return settings.start_from is None and settings.token_budget is None


def _origin(settings: Settings) -> str:
    """Names the plan and what the settings change of it."""
    changed = [
        f"with {name} {value}"
        for name, value in (
            ("MEDPIPE_START_FROM (--start-from)", settings.start_from),
            ("MEDPIPE_TOKEN_BUDGET", settings.token_budget),
        )
        if value is not None
    ]
    return " ".join([str(find_plan(settings.plan)), *changed])


def _values(settings: Settings) -> dict[str, Any]:
    values = plan_values(settings.plan)
    if not isinstance(values, dict):
        return values  # type: ignore[no-any-return] # refused with the fix when it is parsed
    if settings.start_from is not None:
        own = values.get("start_from")
        kept = own if isinstance(own, dict) and "model" not in own else {}
        kept = {key: value for key, value in kept.items() if key not in ("run", "checkpoint")}
        values = {**values, "start_from": {**kept, "run": settings.start_from}}
    if settings.token_budget is not None:
        origin = _origin(settings)
        plan = parse_plan(values, origin=origin)
        return with_budget(values, plan, settings.token_budget, origin=origin)
    return values
