"""The rules of Gopher, C4 and FineWeb under their known names.

English has the published limits; where these reject medicine that is only short (a question and its answer),
they decide about the tier alone. The limits of Chinese were set on real records, see docs/filters.md.
"""

from __future__ import annotations

from collections.abc import Iterable
from types import MappingProxyType

from medpipe.curate.filters.rules import FEW_LINES, FEW_UNITS, Limit, Rule, all_languages, limits
from medpipe.records.kinds import Language

_GOPHER = "Rae et al. 2021 (Gopher), appendix A"
_C4 = "Raffel et al. 2020 (C4)"
_FINEWEB = "Penedo et al. 2024 (FineWeb)"


def _n_grams() -> Iterable[Rule]:
    for length, published in zip((2, 3, 4), (0.20, 0.18, 0.16), strict=True):
        yield Rule(
            name=f"gopher_repetition_v1/top_{length}_gram",
            group="repetition",
            measure=f"top_{length}_gram",
            what=f"share of characters in the {length}-gram that occurs most often, and twice at least",
            limits=limits((0.45, 0.20), (round(1.5 * published, 2), published)),
            minimum_units=FEW_UNITS,
            source=_GOPHER,
        )
    for place, length in enumerate(range(5, 11)):
        published = round(0.15 - 0.01 * place, 2)
        yield Rule(
            name=f"gopher_repetition_v1/duplicate_{length}_gram",
            group="repetition",
            measure=f"duplicate_{length}_gram",
            what=f"share of characters in {length}-grams that stood before",
            limits=limits(
                (round(0.50 - 0.02 * place, 2), round(0.35 - 0.02 * place, 2)),
                (round(2 * published, 2), published),
            ),
            minimum_units=FEW_UNITS,
            source=_GOPHER,
        )


REPETITION = (
    *(
        Rule(
            name=f"gopher_repetition_v1/{measure}",
            group="repetition",
            measure=measure,
            what=what,
            limits=limits(zh, (en, en)),
            minimum_units=FEW_UNITS,
            source=_GOPHER,
        )
        for measure, what, zh, en in (
            ("duplicate_lines", "share of lines that stood before", (0.50, 0.30), 0.30),
            ("duplicate_paragraphs", "share of paragraphs that stood before", (0.50, 0.30), 0.30),
            ("duplicate_line_characters", "share of their characters", (0.40, 0.20), 0.20),
            ("duplicate_paragraph_characters", "share of their characters", (0.40, 0.20), 0.20),
        )
    ),
    *_n_grams(),
    Rule(
        name="repetition_v1/same_character",
        group="repetition",
        measure="same_character",
        what="share of the text in its longest run of one character",
        limits=all_languages(0.5, 0.3),
        minimum_units=20,
    ),
    Rule(
        name="repetition_v1/answer",
        group="repetition",
        measure="answer_duplicate_10_gram",
        what="share of the answer's characters in 10-grams that stood before in it (lists in short lines: 0)",
        limits=limits((0.38, 0.25), None),
        minimum_units=FEW_UNITS,
    ),
)
GOPHER_QUALITY = (
    Rule(
        name="gopher_quality_v1/words",
        group="gopher_quality",
        measure="words",
        what="words; Chinese characters in Chinese",
        limits=limits((None, 30), (None, 50)),
        least=True,
        conversations=False,
        source=_GOPHER,
    ),
    Rule(
        name="gopher_quality_v1/too_many_words",
        group="gopher_quality",
        measure="words",
        what="words; Chinese characters in Chinese",
        limits=limits((None, 300_000), (None, 100_000)),
        source=_GOPHER,
    ),
    Rule(
        name="gopher_quality_v1/mean_word_length_least",
        group="gopher_quality",
        measure="mean_word_length",
        what="mean characters of a word",
        limits=MappingProxyType({Language.EN: Limit(drop=3, refine=3)}),
        least=True,
        source=_GOPHER,
    ),
    Rule(
        name="gopher_quality_v1/mean_word_length",
        group="gopher_quality",
        measure="mean_word_length",
        what="mean characters of a word",
        limits=MappingProxyType({Language.EN: Limit(drop=10, refine=10)}),
        source=_GOPHER,
    ),
    Rule(
        name="gopher_quality_v1/hashes",
        group="gopher_quality",
        measure="hashes",
        what="number signs a word",
        limits=all_languages(0.1, 0.1),
        source=_GOPHER,
    ),
    Rule(
        name="gopher_quality_v1/ellipses",
        group="gopher_quality",
        measure="ellipses",
        what="ellipses a word",
        limits=all_languages(0.1, 0.1),
        source=_GOPHER,
    ),
    Rule(
        name="gopher_quality_v1/bullet_lines",
        group="gopher_quality",
        measure="bullet_lines",
        minimum_lines=FEW_LINES,
        what="share of lines that start with a bullet",
        limits=all_languages(None, 0.9),
        source=_GOPHER,
    ),
    Rule(
        name="gopher_quality_v1/ellipsis_lines",
        group="gopher_quality",
        measure="ellipsis_lines",
        minimum_lines=FEW_LINES,
        what="share of lines that end with an ellipsis",
        limits=limits((0.9, 0.3), (0.9, 0.3)),
        source=_GOPHER,
    ),
    Rule(
        name="gopher_quality_v1/alphabetic_words",
        group="gopher_quality",
        measure="alphabetic_words",
        minimum_units=FEW_UNITS,
        what="share of words with a letter",
        limits=limits((0.3, 0.6), (0.5, 0.8)),
        least=True,
        source=_GOPHER,
    ),
    Rule(
        name="gopher_quality_v1/stop_words",
        group="gopher_quality",
        measure="stop_words",
        what="how often `the be to of and that have with` stand in the text",
        limits=MappingProxyType({Language.EN: Limit(refine=2)}),
        least=True,
        source=_GOPHER,
    ),
    Rule(
        name="gopher_quality_v1/function_characters",
        group="gopher_quality",
        measure="function_characters",
        what="share of `的了是在有和不为…` in the Chinese characters, in the place of stop words",
        limits=limits((None, 0.01), None),
        least=True,
        minimum_units=FEW_UNITS,
    ),
)
C4_RULES = (
    Rule(
        name="c4_v1/terminal_marks",
        group="c4",
        measure="ended_lines",
        minimum_lines=FEW_LINES,
        what="share of lines that end with a mark",
        limits=limits(None, (None, 0)),
        least=True,
        inclusive=True,
        conversations=False,
        source=_C4,
    ),
    Rule(
        name="c4_v1/sentences",
        group="c4",
        measure="sentences",
        what="end marks",
        limits=limits((None, 1), (None, 5)),
        least=True,
        conversations=False,
        source=_C4,
    ),
    Rule(
        name="c4_v1/lorem_ipsum",
        group="c4",
        measure="lorem_ipsum",
        what="`lorem ipsum` stands in the text",
        limits=all_languages(0, 0),
        source=_C4,
    ),
    *(
        Rule(
            name=f"c4_v1/{measure}",
            group="c4",
            measure=measure,
            what=what,
            limits=all_languages(None, 0),
            source=_C4,
        )
        for measure, what in (
            ("curly_brackets", "opening curly brackets"),
            ("javascript", "`javascript` stands in the text"),
            ("policy", "words of a page's own policies stand in the text"),
        )
    ),
)
FINEWEB_RULES = (
    Rule(
        name="fineweb_v1/line_punct",
        group="fineweb",
        measure="ended_lines",
        minimum_lines=FEW_LINES,
        what="share of lines that end with a mark",
        limits=limits(None, (None, 0.12)),
        least=True,
        inclusive=True,
        conversations=False,
        source=_FINEWEB,
    ),
    Rule(
        name="fineweb_v1/short_line",
        group="fineweb",
        measure="short_lines",
        minimum_lines=FEW_LINES,
        what="share of lines of 30 characters and less",
        limits=limits(None, (None, 0.67)),
        inclusive=True,
        minimum_units=FEW_UNITS,
        conversations=False,
        source=_FINEWEB,
    ),
    Rule(
        name="fineweb_v1/char_dup",
        group="fineweb",
        measure="duplicate_line_characters",
        what="share of characters in lines that stood before",
        limits=limits((None, 0.1), (None, 0.01)),
        inclusive=True,
        conversations=False,
        source=_FINEWEB,
    ),
    Rule(
        name="fineweb_v1/list_ratio",
        group="fineweb",
        measure="newlines",
        what="line ends a word",
        limits=limits((None, 0.25), (None, 0.3)),
        source=_FINEWEB,
    ),
)
