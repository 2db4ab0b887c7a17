"""One module a record layout, and the function that picks one; none of them knows a publisher."""

from __future__ import annotations

import polars as pl

from medpipe.catalog.layouts import (
    FieldsLayout,
    Layout,
    PreferenceLayout,
    QuestionAnswerLayout,
    TextLayout,
    TurnsLayout,
)
from medpipe.normalize.extracted import Batch
from medpipe.normalize.layouts.fields import read_fields
from medpipe.normalize.layouts.preference import read_preference
from medpipe.normalize.layouts.question_answer import read_question_answer
from medpipe.normalize.layouts.text import read_text
from medpipe.normalize.layouts.turns import read_turns
from medpipe.records.kinds import Language


def read_layout(batch: Batch, layout: Layout, language: Language) -> pl.DataFrame:
    """Records of a batch: `row`, `part` and the content columns of the layout's kind, cleaned.

    Rows that give no record are in `batch.rejections` afterwards.
    """
    match layout:
        case TextLayout():
            return read_text(batch, layout)
        case FieldsLayout():
            return read_fields(batch, layout, language)
        case QuestionAnswerLayout():
            return read_question_answer(batch, layout, language)
        case TurnsLayout():
            return read_turns(batch, layout)
        case PreferenceLayout():
            return read_preference(batch, layout, language)
