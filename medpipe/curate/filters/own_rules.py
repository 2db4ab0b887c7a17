"""Rules of medpipe's own: broken text, the wrong language, too little, and what medical sites write."""

from __future__ import annotations

from types import MappingProxyType

from medpipe.curate.filters.rules import FEW_UNITS, Limit, Rule, all_languages, limits
from medpipe.records.kinds import Language

_C4 = "Raffel et al. 2020 (C4)"

ENCODING = (
    Rule(
        name="encoding_v1/broken",
        group="encoding",
        measure="broken",
        what="share of U+FFFD, control, private-use and unassigned characters",
        limits=all_languages(0.02, 0.0),
    ),
    Rule(
        name="encoding_v1/mojibake",
        group="encoding",
        measure="mojibake",
        what="share of characters in sequences that only a wrong decoding leaves",
        limits=all_languages(0.05, 0.01),
    ),
)
LANGUAGE = (
    Rule(
        name="language_v1/han",
        group="language",
        measure="han",
        what="share of Chinese characters in the letters",
        limits=limits((0.05, 0.3), None),
        least=True,
    ),
    Rule(
        name="language_v1/latin",
        group="language",
        measure="latin",
        what="share of Latin letters in the letters",
        limits=MappingProxyType({Language.EN: Limit(drop=0.5, refine=0.65)}),
        least=True,
    ),
    Rule(
        name="language_v2/kana",
        group="language",
        measure="kana",
        what="share of kana in the letters: half of what Japanese prose has",
        limits=all_languages(0.25, 0.05),
    ),
    Rule(
        name="language_v1/foreign",
        group="language",
        measure="foreign",
        what="share of letters that are neither Chinese nor Latin",
        limits=MappingProxyType({Language.OTHER: Limit(drop=0.5, refine=0.3)}),
    ),
)
LENGTH = (
    Rule(
        name="length_v1/characters",
        group="length",
        measure="characters",
        what="visible characters, role labels left out",
        limits=limits((5, 30), (10, 50)),
        least=True,
    ),
    Rule(
        name="length_v1/answer",
        group="length",
        measure="answer_characters",
        what="visible characters of the last answer",
        limits=limits((1, 10), (1, 20)),
        least=True,
    ),
    Rule(
        name="length_v1/longest_word",
        group="length",
        measure="longest_word",
        what="characters of the longest run of letters and digits",
        limits=all_languages(1000, 200),
        source=_C4,
    ),
    Rule(
        name="length_v1/mean_line",
        group="length",
        measure="mean_line_length",
        what="mean characters of a line",
        limits=limits((None, 8), (None, 20)),
        least=True,
        minimum_units=FEW_UNITS,
    ),
)
MEDICAL = (
    Rule(
        name="medical_v1/link_answer",
        group="medical",
        measure="link",
        what="the answer is only an address on the web",
        limits=all_languages(0, 0),
    ),
    Rule(
        name="medical_v2/refusal",
        group="medical",
        measure="refusal",
        what="share of an answer that starts with a refusal in sentences that decline, send elsewhere, "
        "ask for more or offer help",
        limits=all_languages(0.6, 0),
    ),
    Rule(
        name="medical_v1/self_disclosure",
        group="medical",
        measure="self_disclosure",
        what="a model says that it is one",
        limits=all_languages(None, 0),
    ),
    Rule(
        name="medical_v1/dangling_label",
        group="medical",
        measure="dangling_label",
        what="the text ends with a form's label, as `医生询问：`",
        limits=all_languages(0, 0),
    ),
    Rule(
        name="medical_v1/open_end",
        group="medical",
        measure="open_end",
        what="the text ends with a colon, a comma or an opening bracket",
        limits=all_languages(None, 0),
    ),
    Rule(
        name="medical_v1/teaser",
        group="medical",
        measure="teaser",
        what="the text ends with an invitation to read on",
        limits=all_languages(None, 0),
    ),
    Rule(
        name="medical_v2/forum_boilerplate",
        group="medical",
        measure="boilerplate",
        what="share of the letters of the answer (of the text, if there is none) in phrases of courtesy",
        limits=all_languages(0.8, 0.3),
    ),
    Rule(
        name="medical_v1/advertisement",
        group="medical",
        measure="advertisement_density",
        what="calls to call, click or buy, two at least, in 100 characters",
        limits=all_languages(0.3, 0.0),
    ),
    Rule(
        name="medical_v1/graph_template",
        group="medical",
        measure="graph_template",
        what="one statement of a knowledge graph, as a sentence or a question made by template",
        limits=all_languages(None, 0),
    ),
)


SYMBOLS = (
    Rule(
        name="symbols_v1/alphanumeric",
        group="symbols",
        measure="alphanumeric",
        what="share of letters and digits",
        limits=all_languages(0.3, 0.6),
        least=True,
        source="Data-Juicer, alphanumeric_filter",
    ),
    Rule(
        name="symbols_v1/symbols",
        group="symbols",
        measure="symbols",
        what="share of symbols (Unicode category S)",
        limits=all_languages(0.3, 0.1),
    ),
    Rule(
        name="symbols_v1/digits",
        group="symbols",
        measure="digits",
        what="share of digits",
        limits=all_languages(0.6, 0.3),
        minimum_units=FEW_UNITS,
    ),
    Rule(
        name="symbols_v1/punctuation",
        group="symbols",
        measure="punctuation",
        what="share of punctuation",
        limits=all_languages(0.5, 0.3),
    ),
)
BAD_WORDS = (
    Rule(
        name="bad_words_v1/any",
        group="bad_words",
        measure="bad_words",
        what="words of the configuration's list",
        limits=all_languages(0, 0),
        source=_C4,
    ),
)

TIER = (
    Rule(
        name="tier/refined_v1",
        group="tier",
        measure="refined_v1",
        what="1 where `refined_v1` holds: 50 characters, letters, distinct lines, end marks, no contact",
        limits=all_languages(None, 1),
        least=True,
    ),
)
