"""One module a record layout, and the function that picks one; none of them knows a publisher."""

from __future__ import annotations

import polars as pl

from medpipe.catalog.layouts import (
    ArticleLayout,
    FieldsLayout,
    Layout,
    MultipleChoiceLayout,
    PreferenceLayout,
    QuestionAnswerLayout,
    TaskLayout,
    TextLayout,
    TranscriptLayout,
    TriplesLayout,
    TurnsLayout,
)
from medpipe.normalize.extracted import Batch
from medpipe.normalize.layouts.article import read_article
from medpipe.normalize.layouts.fields import read_fields
from medpipe.normalize.layouts.multiple_choice import read_multiple_choice
from medpipe.normalize.layouts.preference import read_preference
from medpipe.normalize.layouts.question_answer import read_question_answer
from medpipe.normalize.layouts.task import read_task
from medpipe.normalize.layouts.text import read_text
from medpipe.normalize.layouts.transcript import read_transcript
from medpipe.normalize.layouts.triples import read_triples
from medpipe.normalize.layouts.turns import read_turns
from medpipe.records.kinds import Kind, Language


def read_layout(batch: Batch, layout: Layout, language: Language, kind: Kind) -> pl.DataFrame:
    """Records of a batch: `row`, `part` and the content columns of the kind, cleaned.

    Rows that give no record are in `batch.rejections` afterwards.

    Args:
        batch: rows as published.
        layout: where their parts lie.
        language: of joiners, labels and instructions that are added.
        kind: what the records become, one of `medpipe.catalog.layouts.KINDS` for the layout.
    """
    match layout:
        case TextLayout():
            return read_text(batch, layout)
        case ArticleLayout():
            return read_article(batch, layout)
        case FieldsLayout():
            return read_fields(batch, layout, language)
        case TriplesLayout():
            return read_triples(batch, layout, language)
        case QuestionAnswerLayout():
            return read_question_answer(batch, layout, language)
        case TurnsLayout():
            return read_turns(batch, layout, language)
        case TranscriptLayout():
            return read_transcript(batch, layout)
        case PreferenceLayout():
            return read_preference(batch, layout, language)
        case MultipleChoiceLayout():
            return read_multiple_choice(batch, layout, kind, language)
        case TaskLayout():
            return read_task(batch, layout, language)
