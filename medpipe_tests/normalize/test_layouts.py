"""What all layouts have in common."""

from __future__ import annotations

from typing import Any

import orjson
import pytest

from medpipe.catalog.layouts import (
    KINDS,
    ArticleLayout,
    FieldsLayout,
    Layout,
    MultipleChoiceLayout,
    PreferenceLayout,
    QuestionAnswerLayout,
    Task,
    TaskLayout,
    TextLayout,
    TranscriptLayout,
    TriplesLayout,
    TurnsLayout,
)
from medpipe.normalize.extracted import RAW_CHARACTERS, Batch
from medpipe.normalize.layouts import read_layout
from medpipe.records.kinds import Kind, Language
from medpipe_tests.normalize.reading import read

LAYOUTS: list[Layout] = [
    TextLayout(),
    ArticleLayout(),
    FieldsLayout(),
    TriplesLayout(),
    QuestionAnswerLayout(),
    TurnsLayout(),
    TranscriptLayout(),
    PreferenceLayout(),
    MultipleChoiceLayout(),
    *[TaskLayout(task=task) for task in Task],
]
EVERY_LAYOUT = pytest.mark.parametrize(
    ("layout", "kind"),
    [
        pytest.param(layout, kind, id=f"{layout.layout} as {kind}")
        for layout in LAYOUTS
        for kind in KINDS[type(layout)]
    ],
)


def test_every_layout_is_here() -> None:
    assert {type(layout) for layout in LAYOUTS} == set(KINDS)


@EVERY_LAYOUT
def test_nothing_in_gives_nothing_out_with_the_same_columns(layout: Layout, kind: Kind) -> None:
    junk: list[Any] = [1, None, True, {"x": 1}, {}, [], [[1]], {"x": {"y": [None]}}]
    empty, _ = read(layout, kind=kind)
    nothing, reasons = read(layout, *junk, kind=kind)
    assert empty.height == nothing.height == 0
    assert empty.schema == nothing.schema
    assert len(reasons) == len(junk)


@EVERY_LAYOUT
@pytest.mark.parametrize("depth", [200, 1_000])
def test_lists_within_lists_cost_their_row_alone(layout: Layout, kind: Kind, depth: int) -> None:
    deep = orjson.loads("[" * depth + '"x"' + "]" * depth)
    settings = layout.model_dump(mode="json").values()
    fields = [name for value in settings for name in (value if type(value) is list else [value])]
    row = {name: deep for name in [*fields, "symptom"] if type(name) is str}
    read(layout, row, deep, {"conversations": [row], "text": "x"}, kind=kind)


def test_a_rejected_row_is_kept_as_published_up_to_a_limit() -> None:
    batch = Batch(rows=[0, 1, 2], values=[{"note": "长" * 5_000}, 3, {"note": 2**70}])
    read_layout(batch, TextLayout(), Language.ZH, Kind.DOCUMENT)
    raws = [rejection.raw for rejection in batch.rejections.values()]
    assert raws[0] is not None
    assert raws[0].startswith('{"note":"长长')
    assert len(raws[0]) == RAW_CHARACTERS
    assert raws[1] == "3"
    assert raws[2] == "{'note': 1180591620717411303424}"
