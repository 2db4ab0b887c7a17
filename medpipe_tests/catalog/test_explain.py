"""Whatever stands in an entry: what is wrong with it is told, and nothing of one that is right."""

from __future__ import annotations

import copy
from typing import Any

from hypothesis import given
from hypothesis import strategies as st
from pydantic import BaseModel, ValidationError

from medpipe.catalog.dataset_info import registry_mistakes
from medpipe.catalog.dataset_info_model import DatasetInfo
from medpipe.catalog.explain import find_mistakes
from medpipe.catalog.load import builtin_sources
from medpipe.catalog.source import Source

ENTRY: dict[str, Any] = {
    "id": "mine",
    "title": "Mine",
    "description": "My own records.",
    "repository": "owner/name",
    "files": [
        {
            "path": "a.jsonl",
            "domain": "disease",
            "keep_where": {"label": ["1"]},
            "lookup": {"path": "b.csv", "key": "id", "take": ["text"]},
        }
    ],
    "layout": {"layout": "preference", "messages": {"layout": "turns", "turns": "talk"}, "chosen": "good"},
    "language": "zh",
    "licence": {"name": "mit"},
    "uses": ["reward"],
    "status": "available",
}
REGISTRY_ENTRY: dict[str, Any] = {
    "file_name": "a.json",
    "file_sha1": "0" * 40,
    "formatting": "sharegpt",
    "num_samples": 5,
    "columns": {"messages": "talk"},
    "tags": {"role_tag": "r", "content_tag": "c", "user_tag": "u", "assistant_tag": "a"},
    "medpipe": {"language": "en", "uses": ["finetuning"]},
}
words = st.sampled_from(["", "zh", "text", "domain", "layout", "path", "manual", "columns", "a.json", "x"])
values = st.recursive(
    st.none() | st.booleans() | st.integers(-2, 2) | st.floats(allow_nan=False) | words | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(words, inner, max_size=2),
    max_leaves=5,
)


def validates(model: type[BaseModel], value: Any) -> bool:
    try:
        model.model_validate(value)
    except ValidationError:
        return False
    return True


def places(value: Any) -> list[tuple[Any, Any]]:
    """Every container in a value with one of its keys or indices."""
    if isinstance(value, dict):
        return [place for key, inner in value.items() for place in [(value, key), *places(inner)]]
    if isinstance(value, list):
        return [place for index, inner in enumerate(value) for place in [(value, index), *places(inner)]]
    return []


@st.composite
def spoilt(draw: st.DrawFn, right: dict[str, Any]) -> dict[str, Any]:
    """An entry in which up to three things are replaced, renamed, removed or added."""
    entry = copy.deepcopy(right)
    for _ in range(draw(st.integers(0, 3))):
        all_places = places(entry)
        if not all_places:
            break
        holder, key = draw(st.sampled_from(all_places))
        match draw(st.sampled_from(["replace", "rename", "remove", "add"])):
            case "replace":
                holder[key] = draw(values)
            case "rename" if isinstance(holder, dict):
                holder[draw(st.sampled_from([f"{key}s", str(key)[1:], "domain", "zzz"]))] = holder.pop(key)
            case "add" if isinstance(holder, dict):
                holder[draw(words)] = draw(values)
            case _:
                holder.pop(key)
    return entry


@given(entry=spoilt(ENTRY))
def test_an_entry_has_mistakes_exactly_where_it_does_not_validate(entry: dict[str, Any]) -> None:
    before = copy.deepcopy(entry)
    findings = find_mistakes(Source, entry, related=frozenset({"files", "layout", "status", "repository"}))
    assert bool(findings) is not validates(Source, entry)
    assert entry == before
    assert len({(finding.location, finding.message) for finding in findings}) == len(findings)
    assert all(finding.message for finding in findings)


@given(entry=spoilt(REGISTRY_ENTRY))
def test_a_registry_entry_has_mistakes_where_it_does_not_validate(entry: dict[str, Any]) -> None:
    findings = registry_mistakes(entry)
    assert findings or validates(DatasetInfo, entry)


@given(entry=values)
def test_anything_else_is_a_mistake(entry: Any) -> None:
    assert find_mistakes(Source, entry)


def test_the_built_in_entries_have_none() -> None:
    for source in builtin_sources():
        assert find_mistakes(Source, source.model_dump(mode="json")) == []
