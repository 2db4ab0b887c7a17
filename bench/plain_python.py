"""The work of normalising disease records as one would write it with `datasets.map`: plain Python by record.

The rules are medpipe's: the table of labels and the patterns come from there, the loops over records, fields
and characters are written here, as fast as regular expressions and string methods allow. What Python's
regular expressions do slowly is avoided: character classes hold no code points beyond U+FFFF (with them
every look at a character costs a search), and a cheap look comes before an expensive one.

Texts and keys are the same as medpipe's, save for characters that one of Python's and Polars' Unicode tables
does not know yet, and for values that these records do not hold (objects, numbers).
"""

from __future__ import annotations

import hashlib
import re
import sys
import unicodedata
from collections.abc import Iterable
from functools import lru_cache
from typing import Any

from medpipe.normalize import clean as rules
from medpipe.normalize import tidy as field_rules
from medpipe.normalize.labels import FIELDS, find_field, label, wording
from medpipe.normalize.markup import CANDIDATE, without_markup
from medpipe.records.kinds import Language

LAST_PLAIN = 0xFFFF


def _ranges(codes: Iterable[int]) -> str:
    """The inside of a character class."""
    spans: list[list[int]] = []
    for code in codes:
        if spans and spans[-1][1] == code - 1:
            spans[-1][1] = code
        else:
            spans.append([code, code])
    return "".join(f"{re.escape(chr(first))}-{re.escape(chr(last))}" for first, last in spans)


@lru_cache(maxsize=16)
def _category(letter: str, last: int = LAST_PLAIN) -> str:
    plain = (code for code in range(last + 1) if not 0xD800 <= code < 0xE000)
    return _ranges(code for code in plain if unicodedata.category(chr(code))[0] == letter)


def _python(pattern: str) -> str:
    """A Rust regular expression for Python, without code points beyond U+FFFF."""
    plain = re.sub(r"(?:\\x\{[0-9A-F]{5,}\}-?)+", "", pattern)
    plain = re.sub(r"\\x\{([0-9A-F]+)\}", lambda code: f"\\u{int(code[1], 16):04x}", plain)
    return plain.replace(r"\p{M}", _category("M")).replace(r"\p{N}", f"[{_category('N')}]")


_DIRTY = re.compile(_python(rules._DIRTY))
_MARKUP = re.compile(CANDIDATE)
_STEPS = [(re.compile(_python(pattern)), text.replace("${1}", r"\g<1>")) for pattern, text in rules.STEPS]
_HIDE = str.maketrans(dict(zip(rules.UNIT_SIGNS, rules.STAND_INS, strict=True)))
_SHOW = str.maketrans(dict(zip(rules.STAND_INS, rules.UNIT_SIGNS, strict=True)))
_BEYOND = re.compile("[\U00010000-\U0010ffff]")


def _is_clean(text: str) -> bool:
    return not (
        _DIRTY.search(text)
        or _MARKUP.search(text)
        or "\n\n\n" in text
        or " \n" in text
        or "\t\n" in text
        or text[:1].isspace()
        or text[-1:].isspace()
        or _BEYOND.search(text)
    )


def clean(text: str) -> str:
    """What `medpipe.normalize.clean` does to one text."""
    if _is_clean(text):
        return text
    while True:
        before = text
        if _MARKUP.search(text):
            text = without_markup(text)
        for pattern, replacement in _STEPS:
            text = pattern.sub(replacement, text)
        text = text.strip()
        text = unicodedata.normalize("NFC", text.translate(_HIDE)).translate(_SHOW)
        if text == before:
            return text


_MISSING = re.compile(field_rules._MISSING)
_MARKS = tuple("！？!?")
_CLOSING = tuple('”’」』"）)')
_NOTHING = frozenset(field_rules.SAYS_NOTHING)
_WORDS = wording(Language.ZH)
_ENDS_BY_ITSELF = re.compile(r"[。！？!?…][”’」』\"）)]+\Z")
_POSITIONS = {field.name: position for position, field in enumerate(FIELDS)}


def tidy(text: str) -> str | None:
    """What `medpipe.normalize.tidy` does to one string."""
    text = clean(text)
    if _MISSING.search(text):
        text = field_rules._EMPTY_PART.sub("", text)
    if "。" in text:
        text = field_rules._DOUBLED_STOP.sub("。", text)
        if text.endswith(_MARKS):
            text = field_rules._STOP_BEFORE_MARK.sub(r"\1", text)
    text = field_rules.without_leading_colons(text).lstrip(field_rules.STRAY_AT_START)
    if not text.endswith("..."):
        text = text.rstrip(field_rules.STRAY_AT_END)
    return None if text in _NOTHING else text


def _rendered(value: Any, *, in_paragraphs: bool) -> str | None:
    if isinstance(value, str):
        return tidy(value)
    if not value:
        return None
    if in_paragraphs:
        return tidy("\n".join(item.strip() for item in value if item.strip() not in _NOTHING))
    return _WORDS.item.join(text for item in value if (text := tidy(item)) is not None) or None


@lru_cache(maxsize=1024)
def _position(key: str) -> int | None:
    field = find_field(key)
    return None if field is None else _POSITIONS[field.name]


def text_of(record: dict[str, Any], expand: frozenset[str] = frozenset()) -> str | None:
    """A disease record as labelled clauses; None where it says nothing."""
    rendered: list[list[str]] = [[] for _ in FIELDS]
    members = list(record.items())
    while members:
        key, value = members.pop(0)
        if key in expand and isinstance(value, dict):
            members[:0] = value.items()
        elif value and (position := _position(key)) is not None:
            text = _rendered(value, in_paragraphs=FIELDS[position].paragraphs)
            if text is not None and text not in rendered[position]:
                rendered[position].append(text)
    clauses = []
    for field, texts in zip(FIELDS, rendered, strict=True):
        for text in texts:
            ends = text.endswith(_MARKS) or (text.endswith(_CLOSING) and _ENDS_BY_ITSELF.search(text))
            end = _WORDS.after_mark if ends else _WORDS.stop
            clauses.append(f"{label(field, Language.ZH)}{_WORDS.colon}{text}{end}")
    return "".join(clauses).removesuffix(_WORDS.stop).rstrip() or None


_NARROW = {chr(code): chr(code - 0xFEE0).lower() for code in range(0xFF01, 0xFF5F)}
_NARROW |= {chr(code): chr(code).lower() for code in range(ord("A"), ord("Z") + 1)}
_WIDE_OR_UPPER = re.compile("[A-Z\uff01-\uff5e]")
_COMMON_WIDE = "，；：（）！？"
_ROLES = (
    "问题|回答|提问|问|答|医生|患者|病人|用户|助手"
    "|question|answer|user|assistant|human|instruction|output|response"
)
_ROLE_MARKER = re.compile(rf"(?:^|(?<=[\s.。?!;…]))(?:{_ROLES})\s*:|\[(?:{_ROLES})\]")
_MAY_BE_ROLE = re.compile(r"[题答问生者人户手nrte]\s*[:\]]")
_SENTENCE_END = re.compile(r"[?!。;…]\s*")


_PART_OF_VALUE = "%‰"


def _kept(last: int) -> re.Pattern[str]:
    mark, number, other = (_category(letter, last) for letter in "PNC")
    mark = _ranges(
        code
        for code in range(last + 1)
        if re.match(f"[{mark}]", chr(code)) and chr(code) not in _PART_OF_VALUE
    )
    return re.compile(
        rf"(?:[^\s{mark}{other}{number}])+|[{mark}]?[{number}]+(?:[{mark}]? ?[{mark}]?[{number}]+)*[{mark}]?"
    )


_KEPT_OF_PLAIN = _kept(LAST_PLAIN)
_ANY_NUMBER = re.compile(f"[{_category('N')}]")
_NUMBERS_APART = re.compile(f"[{_category('N')}][{_category('P')} ]{{2,}}[{_category('N')}]")


@lru_cache(maxsize=1)
def _kept_of_any() -> re.Pattern[str]:
    return _kept(sys.maxunicode)


def fold(text: str) -> str:
    """What `medpipe.records.fold_kernel` makes of one text."""
    for wide in _COMMON_WIDE:
        text = text.replace(wide, _NARROW[wide])
    text = _WIDE_OR_UPPER.sub(lambda match: _NARROW[match[0]], text)
    if _MAY_BE_ROLE.search(text):
        text = _ROLE_MARKER.sub(" ", text)
    text = _SENTENCE_END.sub("。", text)
    text = " ".join(text.split())
    parts = (_kept_of_any() if _BEYOND.search(text) else _KEPT_OF_PLAIN).findall(text)
    if _NUMBERS_APART.search(text):
        parts = [f" {part}" if number and before else part for part, number, before in _beside(parts)]
    return "".join(parts)


def _beside(parts: list[str]) -> Iterable[tuple[str, bool, bool]]:
    """Each part, whether it is a number, and whether the part before is one."""
    numbers = [_ANY_NUMBER.search(part) is not None for part in parts]
    return zip(parts, numbers, [False, *numbers[:-1]], strict=True)


def content_key(text: str) -> str:
    """The content key of one text."""
    return hashlib.sha256(fold(text).encode("utf-16-le")).hexdigest()[:32]


def normalize(batch: dict[str, list[Any]], expand: frozenset[str]) -> dict[str, list[str]]:
    """A batch of records, column by column as `datasets` hands it over, as texts and keys."""
    names, columns = list(batch), list(batch.values())
    texts = [text_of(dict(zip(names, row, strict=True)), expand) for row in zip(*columns, strict=True)]
    kept = [text for text in texts if text is not None]
    return {"text": kept, "content_key": [content_key(text) for text in kept]}
