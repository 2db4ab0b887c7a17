"""The columns that the kernels fill; behind them stand those of `measure_window`."""

from __future__ import annotations

from medpipe.curate.filters.code_points import KINDS
from medpipe.curate.filters.repetition_kernel import DUPLICATE_LENGTHS, TOP_LENGTHS

# The first KINDS columns count code points by kind, whatever they are part of.
(
    LABEL_LETTERS,  # letters of role labels such as `[User]`, which are the template's and not the text's
    LABEL_CHARACTERS,  # all characters of role labels
    WORDS,  # Chinese characters and kana, and runs of other letters, marks and digits
    RUNS,  # these runs
    RUN_CHARACTERS,
    RUNS_WITH_LETTER,
    LONGEST_RUN,
    STOP_WORDS,  # the eight English ones of Gopher
    FUNCTION_CHARACTERS,
    SENTENCE_ENDS,
    HASHES,
    CURLY_BRACKETS,
    ELLIPSES,  # `…` and `...`, however many dots
    MOJIBAKE,  # characters in sequences that only a wrong decoding leaves
    LONGEST_SAME,  # the longest run of one visible character
    LINES,  # that are not blank
    LINE_CHARACTERS,  # without spaces at their ends
    LONGEST_LINE,
    BULLET_LINES,
    ELLIPSIS_LINES,
    ENDED_LINES,
    SHORT_LINES,
    DUPLICATE_LINES,
    DUPLICATE_LINE_CHARACTERS,
    PARAGRAPHS,
    DUPLICATE_PARAGRAPHS,
    DUPLICATE_PARAGRAPH_CHARACTERS,
    ANSWERS,
    ANSWER_AT,  # characters before the last answer's first; 0 without an answer
    ANSWER_CHARACTERS,  # visible ones from there on
    UNITS,  # of n-grams: as WORDS, but long runs in pieces, and each mark and symbol
    UNIT_CHARACTERS,
    REPEATED,  # the first of the columns of repeated characters
) = range(KINDS, KINDS + 33)
COLUMNS = REPEATED + len(TOP_LENGTHS) + len(DUPLICATE_LENGTHS)
