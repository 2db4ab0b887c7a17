"""Reads a stage plan from YAML; every mistake is reported at once, each with the name it should have."""

from __future__ import annotations

import copy
import difflib
from collections.abc import Callable
from importlib import resources
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml
from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from medpipe.pretrain.plan_model import Plan, PlanError, StagePlan
from medpipe.pretrain.plan_parts import (
    STAGES,
    MixtureEntry,
    ModelShape,
    OptimizerSettings,
    Precision,
    RateSegment,
    Shape,
    StageName,
    StartFrom,
    WholeRunRate,
)

__all__ = [
    "STAGES",
    "MixtureEntry",
    "ModelShape",
    "OptimizerSettings",
    "Plan",
    "PlanError",
    "Precision",
    "RateSegment",
    "Shape",
    "StageName",
    "StagePlan",
    "StartFrom",
    "WholeRunRate",
    "builtin_plans",
    "find_plan",
    "load_plan",
    "parse_plan",
    "plan_values",
]

_MAX_REPAIRS = 20
_MEND = "mend that line or the one before it"


def builtin_plans() -> dict[str, Path]:
    """Path of each plan that ships with the package, by name."""
    folder = Path(str(resources.files("medpipe.pretrain"))) / "plans"
    return {path.stem: path for path in sorted(folder.glob("*.yaml"))}


def find_plan(name_or_path: str | Path) -> Path:
    """File of a plan: a built-in name, or the path of a YAML file.

    Raises:
        PlanError: there is neither.
    """
    known = builtin_plans()
    if str(name_or_path) in known:
        return known[str(name_or_path)]
    path = Path(name_or_path)
    if path.is_file():
        return path
    if path.is_dir():
        plans = ", ".join(str(plan) for pattern in ("*.yaml", "*.yml") for plan in sorted(path.glob(pattern)))
        found = f"name one of its plans: {plans}" if plans else "name a YAML file; it holds none"
        raise PlanError(str(name_or_path), [f"this is a folder; {found}"])
    raise PlanError(
        str(name_or_path), [f"no such file and no built-in plan; the built-in ones are {', '.join(known)}"]
    )


def load_plan(name_or_path: str | Path) -> Plan:
    """Reads and checks a plan.

    Args:
        name_or_path: name of a built-in plan, or path of a YAML file.

    Raises:
        PlanError: the file is missing, is no YAML, or has mistakes; all of them are listed.
    """
    path = find_plan(name_or_path)

    def line(location: tuple[int | str, ...]) -> int:
        # Imported and read again here: only a mistake needs it.
        from medpipe.catalog.places import read_yaml

        return read_yaml(path.read_text(encoding="utf-8")).line(location)

    return parse_plan(plan_values(path), origin=str(path), line=line)


def plan_values(name_or_path: str | Path) -> Any:
    """A plan as the plain values that its file holds, unchecked.

    Raises:
        PlanError: the file is missing or is no YAML.
    """
    path = find_plan(name_or_path)
    try:
        return yaml.load(path.read_text(encoding="utf-8"), Loader=_StrictLoader)  # noqa: S506 - safe subclass
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        place = f"line {mark.line + 1}: " if mark else ""
        raise PlanError(str(path), [f"{place}no readable YAML: {error.problem}; {_MEND}"]) from None
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise PlanError(str(path), [f"no readable YAML: {' '.join(str(error).split())}"]) from None


def parse_plan(
    values: Any, *, origin: str, line: Callable[[tuple[int | str, ...]], int] | None = None
) -> Plan:
    """Checks a plan given as plain values.

    A misspelt field is reported, then read under the name it most likely means, so that the mistakes
    behind it come to light in the same pass.

    Args:
        values: the fields.
        origin: named in the error.
        line: tells the line of a field in the file that the values are from; no lines are named if unset.

    Raises:
        PlanError: there are mistakes; all of them are listed.
    """
    if not isinstance(values, dict):
        raise PlanError(origin, ["a plan is a mapping of fields; see medpipe/pretrain/plans/demo.yaml"])
    problems: list[str] = []
    values = copy.deepcopy(values)
    for _ in range(_MAX_REPAIRS):
        try:
            plan = Plan.model_validate(values)
        except ValidationError as error:
            details = error.errors(include_url=False)
        else:
            if problems:
                break
            return plan
        unknown = [detail for detail in details if detail["type"] == "extra_forbidden"]
        if not unknown:
            problems += [_placed(_describe(detail), detail, line) for detail in details]
            break
        problems += [_placed(_rename(values, detail), detail, line) for detail in unknown]
    raise PlanError(origin, problems)


def _placed(problem: str, detail: ErrorDetails, line: Callable[[tuple[int | str, ...]], int] | None) -> str:
    return problem if line is None else f"line {line(detail['loc'])}: {problem}"


def _describe(detail: ErrorDetails) -> str:
    place = ".".join(str(part) for part in detail["loc"])
    message = detail["msg"].removeprefix("Value error, ")
    return f"{place}: {message}" if place else message


def _rename(values: Any, detail: ErrorDetails) -> str:
    """Describes an unknown field; renames it in `values` where a name is near and free, else drops it."""
    *parents, name = detail["loc"]
    holder: Any = values
    for part in parents:
        holder = holder[part]
    known = _fields_at(tuple(parents))
    near = difflib.get_close_matches(str(name), known, n=1, cutoff=0.5)
    value = holder.pop(name)
    if near and near[0] not in holder:
        holder[near[0]] = value
    place = ".".join(str(part) for part in detail["loc"])
    hint = f"did you mean '{near[0]}'?" if near else f"allowed are {', '.join(known)}"
    return f"{place}: unknown field '{name}'; {hint}"


def _fields_at(location: tuple[int | str, ...]) -> list[str]:
    """Names of the fields a section allows."""
    model: Any = Plan
    for part in location:
        if isinstance(part, str):
            model = _section_in(model.model_fields[part].annotation)
    return list(model.model_fields)


def _section_in(annotation: Any) -> Any:
    """The section class inside an annotation such as `tuple[MixtureEntry, ...]`."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation
    for argument in getattr(annotation, "__args__", ()):
        found = _section_in(argument)
        if found is not None:
            return found
    return None


if TYPE_CHECKING:
    _Loader = yaml.SafeLoader
else:
    _Loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


class _StrictLoader(_Loader):
    """Safe loader that refuses a key given twice, which YAML would silently overwrite."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        """Builds a mapping.

        Raises:
            yaml.constructor.ConstructorError: a key stands twice.
        """
        seen: set[Any] = set()
        for key_node, _ in node.value:
            key = self.construct_object(key_node, deep=True)
            if key in seen:
                raise yaml.constructor.ConstructorError(
                    None, None, f"the field '{key}' stands twice", key_node.start_mark
                )
            seen.add(key)
        return super().construct_mapping(node, deep=deep)
