from __future__ import annotations

import polars as pl
import pytest

from medpipe.catalog.source import Template
from medpipe.normalize.templates import render_conversations
from medpipe.records.kinds import TURN

ONE = [("user", "头痛怎么办？"), ("assistant", "多休息。")]
TWO = [*ONE, ("user", "要吃药吗？"), ("assistant", "遵医嘱。")]
OPEN = [*ONE, ("user", "谢谢")]
ONE_AS_A = "[QUESTION] 头痛怎么办？ [ANSWER] 多休息。"
ONE_AS_B = "Instruction: 头痛怎么办？\nOutput: 多休息。"
ONE_AS_C = "[User] 头痛怎么办？\n[Assistant] 多休息。"
TWO_AS_C = f"{ONE_AS_C}\n[User] 要吃药吗？\n[Assistant] 遵医嘱。"


@pytest.mark.parametrize(
    ("template", "one"),
    [(None, ONE_AS_A), (Template.A, ONE_AS_A), (Template.B, ONE_AS_B), (Template.C, ONE_AS_C)],
)
def test_one_round_follows_the_setting_and_more_are_always_c(template: Template | None, one: str) -> None:
    turns = [[{"role": role, "content": content} for role, content in talk] for talk in (ONE, TWO, OPEN)]
    frame = pl.LazyFrame(
        {"system": ["你是医生", None, None], "turns": turns},
        schema={"system": pl.String, "turns": pl.List(TURN)},
    )
    rendered = render_conversations(frame, template).collect()
    assert rendered["text"].to_list() == [one, TWO_AS_C, f"{ONE_AS_C}\n[User] 谢谢"]
    assert rendered.columns == ["system", "turns", "text"]


@pytest.mark.parametrize("template", [None, *Template])
def test_calls_of_tools_have_names_of_their_own(template: Template | None) -> None:
    roles = ["user", "function", "observation", "assistant"]
    turns = [{"role": role, "content": f"第{i}句"} for i, role in enumerate(roles, start=1)]
    frame = pl.LazyFrame({"turns": [turns]}, schema={"turns": pl.List(TURN)})
    assert render_conversations(frame, template).collect()["text"].to_list() == [
        "[User] 第1句\n[Function] 第2句\n[Observation] 第3句\n[Assistant] 第4句"
    ]


def test_no_conversations_give_no_text() -> None:
    frame = pl.LazyFrame({"turns": []}, schema={"turns": pl.List(TURN)})
    assert render_conversations(frame, None).collect().schema["text"] == pl.String
