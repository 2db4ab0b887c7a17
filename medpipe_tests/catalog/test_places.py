"""Lines of things in YAML and JSON files, keys that stand twice, and files that cannot be parsed."""

from __future__ import annotations

import json
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from medpipe.catalog.places import Location, SyntaxMistake, read_json, read_yaml

YAML = """# a comment
sources:
  - id: one
    files: [{path: a, domain: disease}]
  - id: two
    files:
      - path: b
        domain: general
    text: |
      several
      lines
    uses: [pretraining]
"""


@pytest.mark.parametrize(
    ("location", "line"),
    [
        ((), 2),
        (("sources",), 2),
        (("sources", 0), 3),
        (("sources", 0, "files", 0, "domain"), 4),
        (("sources", 1), 5),
        (("sources", 1, "files", 0, "domain"), 8),
        (("sources", 1, "uses", 0), 12),
        (("sources", 1, "missing"), 5),
        (("sources", 1, "files", 7), 6),
        (("sources", 1, "files", "a tag", 0, "path"), 7),
    ],
)
def test_lines_of_a_yaml_file(location: Location, line: int) -> None:
    assert read_yaml(YAML).line(location) == line


def test_lines_of_a_json_file_with_everything_that_yaml_cannot_hold() -> None:
    text = (
        '{\n\t"a tab\\t, \\ud83d\\ude00 and \\u0000": 1,\n'
        + '"'
        + "long" * 1000
        + '": {},\n\t"slash\\/": {"b":[1,\n{"c": "\\ud800"}]}}'
    )
    document = read_json(text)
    assert document.value["slash/"]["b"][1] == {"c": "\ud800"}
    assert document.line(("slash/",)) == 4
    assert document.line(("slash/", "b", 1, "c")) == 5


texts = st.text("ab疾é😀\t\n\"'\\/:#,{}[]- ", max_size=6)
values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | texts,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(texts, inner, max_size=3),
    max_leaves=10,
)


def keys(value: Any, location: Location = ()) -> list[Location]:
    """Locations of all keys, in the order in which they are written."""
    if isinstance(value, dict):
        return [
            place
            for key, inner in value.items()
            for place in [(*location, key), *keys(inner, (*location, key))]
        ]
    if isinstance(value, list):
        return [place for index, inner in enumerate(value) for place in keys(inner, (*location, index))]
    return []


@given(value=values, ensure_ascii=st.booleans())
def test_every_key_of_a_json_file_has_the_line_it_is_written_on(value: Any, ensure_ascii: bool) -> None:
    text = json.dumps(value, indent="\t", ensure_ascii=ensure_ascii)
    document = read_json(text)
    assert document.value == value
    assert not document.repeated_keys
    written = text.split("\n")
    lines = [document.line(location) for location in keys(value)]
    assert lines == sorted(set(lines))
    for location, line in zip(keys(value), lines, strict=True):
        assert written[line - 1].strip().startswith(json.dumps(location[-1], ensure_ascii=ensure_ascii))


@given(names=st.lists(st.text('ab疾\t"\\é😀', min_size=1, max_size=5), unique=True, max_size=6))
def test_keys_a_line_each_are_found_in_their_order(names: list[str]) -> None:
    text = "{\n" + ",\n".join(f"\t{json.dumps(name)}: 1" for name in names) + "\n}"
    document = read_json(text)
    for number, name in enumerate(names):
        assert document.line((name,)) == number + 2


@pytest.mark.parametrize("read", [read_yaml, read_json])
def test_a_key_that_stands_twice_is_found_with_both_lines(read: Any) -> None:
    document = read('{"a": 1,\n "b": [{"c": 1,\n\n "c": 2}],\n "a": 3}')
    found = {(key.location, key.first_line, key.line) for key in document.repeated_keys}
    assert found == {(("a",), 1, 5), (("b", 0, "c"), 2, 4)}


def test_an_anchor_that_is_used_again_repeats_nothing() -> None:
    document = read_yaml("base: &base {a: 1}\nother: *base\nmerged: {<<: *base, <<: *base, b: 1}\n")
    assert document.value["merged"] == {"a": 1, "b": 1}
    assert document.repeated_keys == ()


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("a: 1\nb: {", 3),
        ("a: 1\n\tb: 2", 2),
        ("a: 1\nb: !!python/object:os.system x", 2),
        ("a: 2020-13-45", None),
        ("a: \x01", None),
        ("[" * 3000, None),
    ],
)
def test_what_is_no_yaml_is_told_with_its_line(text: str, line: int | None) -> None:
    with pytest.raises(SyntaxMistake, match="no YAML") as caught:
        read_yaml(text)
    if line is not None:
        assert caught.value.line == line


@pytest.mark.parametrize(("text", "line"), [('{"a": 1,\n}', 2), ('{\n"a": "x\ty"}', 2), ("", 1)])
def test_what_is_no_json_is_told_with_its_line(text: str, line: int) -> None:
    with pytest.raises(SyntaxMistake, match="no JSON") as caught:
        read_json(text)
    assert caught.value.line == line


def test_yaml_is_read_as_the_library_reads_it() -> None:
    assert read_yaml(YAML).value == yaml.safe_load(YAML)
    assert read_yaml("").value is None
