"""What a model allows at a location, found by walking its annotations."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from enum import Enum
from typing import Any, Literal, get_args, get_origin

from pydantic import BaseModel
from pydantic.fields import FieldInfo

from medpipe.catalog.places import Location


@dataclass(frozen=True)
class Spot:
    """A location of a validation error, as the model sees it."""

    location: Location
    """Without the tags that the validator puts in to say which model of a union it means."""
    holder: type[BaseModel] | None
    """The model that the last named part belongs to; None below plain values."""
    field: FieldInfo | None
    """That part's field; None where the model has no such field."""


def find_spot(model: type[BaseModel], location: Location) -> Spot:
    """Follows a validation error's location through a model and the models it nests."""
    plain: list[str | int] = []
    choices: list[type[BaseModel]] = [model]
    holder: type[BaseModel] | None = None
    field: FieldInfo | None = None
    for part in location:
        tagged = [choice for choice in choices if len(choices) > 1 and tag_of(choice) == part]
        if tagged:
            choices = tagged
            continue
        plain.append(part)
        if isinstance(part, str):
            holder = next((choice for choice in choices if part in choice.model_fields), None)
            field = holder.model_fields[part] if holder else None
            holder = holder or (choices[0] if len(choices) == 1 else None)
            choices = nested_models(field.annotation) if field else []
    return Spot(tuple(plain), holder, field)


def nested_models(annotation: Any) -> list[type[BaseModel]]:
    """The models inside an annotation such as `tuple[Model, ...]` or `Model | None`."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return [annotation]
    return [model for part in get_args(annotation) for model in nested_models(part)]


def tag_of(model: type[BaseModel]) -> str | None:
    """The literal by which a union tells the model from the others."""
    for field in model.model_fields.values():
        if get_origin(field.annotation) is Literal and field.default in get_args(field.annotation):
            return str(field.default)
    return None


def allowed_values(annotation: Any) -> list[str]:
    """The words of an enumeration or a literal inside an annotation."""
    if isinstance(annotation, type) and issubclass(annotation, Enum):
        return [str(member.value) for member in annotation]
    if get_origin(annotation) is Literal:
        return [str(value) for value in get_args(annotation)]
    return [value for part in get_args(annotation) for value in allowed_values(part)]


def fields_below(model: type[BaseModel], place: str = "") -> Iterator[tuple[str, str]]:
    """Every field of the models that a model nests, as (place of the nested model, field)."""
    for name, field in model.model_fields.items():
        below = f"{place}.{name}".strip(".")
        for nested in nested_models(field.annotation):
            yield from ((below, field_name) for field_name in nested.model_fields)
            yield from fields_below(nested, below)


def stand_in(field: FieldInfo | None) -> Any:
    """A plain value that the field takes; None if that is not easily said."""
    if field is None:
        return None
    if words := allowed_values(field.annotation):
        return words[0]
    if field.annotation is str or str in get_args(field.annotation):
        return "x"
    return {} if nested_models(field.annotation) == [field.annotation] else None
