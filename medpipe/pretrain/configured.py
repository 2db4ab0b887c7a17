"""The plan that an installation trains: the file that its settings name, from where they let it start.

`start_from` in the settings stands for what the plan's own names: the same file serves the first run and each
refresh. Where the plan goes on from a run, too, its `stage` and `at` hold for the run of the settings.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml

from medpipe.lake.digest import digest_value
from medpipe.lake.files import write_bytes_atomically
from medpipe.lake.layout import Lake
from medpipe.pretrain.plan import Plan, find_plan, load_plan, parse_plan, plan_values
from medpipe.settings import Settings


def configured_plan(settings: Settings) -> Plan:
    """The plan that the settings name.

    Raises:
        PlanError: it has mistakes, or the setting `start_from` is no name of a run; all are listed.
    """
    if settings.start_from is None:
        return load_plan(settings.plan)
    origin = f"{find_plan(settings.plan)} with MEDPIPE_START_FROM (--start-from) {settings.start_from}"
    return parse_plan(_values(settings), origin=origin)


def configured_plan_file(settings: Settings, lake: Lake) -> Path:
    """The same plan as a file, for a process of its own; written below `runs/<plan>` where need be.

    Raises:
        PlanError: as above.
    """
    if settings.start_from is None:
        return find_plan(settings.plan)
    plan, values = configured_plan(settings), _values(settings)
    path = lake.runs(plan.name) / f"plan-{digest_value(values)[:12]}.yaml"
    text = yaml.safe_dump(values, allow_unicode=True, sort_keys=False).encode()
    if not path.exists() or path.read_bytes() != text:
        path.parent.mkdir(parents=True, exist_ok=True)
        write_bytes_atomically(path, text)
    return path


def _values(settings: Settings) -> dict[str, Any]:
    values = plan_values(settings.plan)
    if not isinstance(values, dict):
        return values  # type: ignore[no-any-return] # refused with the fix when it is parsed
    own = values.get("start_from")
    kept = own if isinstance(own, dict) and "model" not in own else {}
    kept = {key: value for key, value in kept.items() if key not in ("run", "checkpoint")}
    return {**values, "start_from": {**kept, "run": settings.start_from}}
