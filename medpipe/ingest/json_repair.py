"""Finding the end of JSON that is broken, so that it costs itself and not all that follows it."""

from __future__ import annotations

import re

from medpipe.ingest.text_window import MAX_RECORD_CHARACTERS, TextWindow

_TOKEN = re.compile(r'"[^"\\\n]*+(?:\\.[^"\\\n]*+)*+"(?=\s*+[,:\]}]|\s++")|\\.|[\[\]{},"]', re.DOTALL)
"""A whole string, an escape outside of one, a bracket, a comma, or a quote that is part of no string.

What ends on another line, or before anything else than a comma, a colon, a closing bracket or (where a comma
is missing) another string, is no string: the quote that should have ended it is missing, or one within it is
not escaped.
"""
_OPENING = {"]": "[", "}": "{"}
_LOOK_AHEAD = 1 << 20
"""A quote whose partner is not within so many characters is no string's."""
_MAX_DEPTH = 1_000_000
_SEEN_AFTER = 64


def skip_broken(window: TextWindow, closing: str, *, whole_file: bool) -> bool:
    """Moves behind the comma after a broken element, or to the bracket that closes its container.

    Brackets outside of strings are counted. Those that cannot be right tell of missing ones: `]` closes the
    objects that are open within its list, and an object cannot follow a comma within an object.

    Args:
        window: at the element or within it.
        closing: the bracket that closes the container; empty if elements stand in the file by themselves.
            Then the end of its outermost bracket is an element's end, and so is the start of the next one.
        whole_file: whether nothing but white space may follow the closing bracket.

    Returns:
        Whether there is such an end; if not, the window is somewhere behind.
    """
    start = window.place
    limit = start + MAX_RECORD_CHARACTERS
    stack: list[str] = []
    still_open = {"[": 0, "{": 0}
    before = ""
    while window.place < limit and len(stack) < _MAX_DEPTH:
        match = _TOKEN.search(window.text, window.position)
        if match is None or match[0] == '"':
            is_decided = match is not None and len(window.text) - match.start() > _LOOK_AHEAD
            window.move(match.start() if match else len(window.text))
            if not is_decided and window.refill():
                continue
            if match is None:
                return False
            window.position += 1
            continue
        found = match[0]
        if found in ("[", "{"):
            if not closing and not stack and window.place + match.start() - window.position > start:
                window.move(match.start())
                return True
            if before == "," and stack and stack[-1] == "{" and closing != "}":
                while stack and stack[-1] == "{":
                    still_open[stack.pop()] -= 1
                if not stack:
                    window.move(match.start())
                    return True
            stack.append(found)
            still_open[found] += 1
        elif found in _OPENING and still_open[_OPENING[found]]:
            while (last := stack.pop()) != _OPENING[found]:
                still_open[last] -= 1
            still_open[last] -= 1
            if not stack and not closing:
                window.move(match.end())
                return True
        elif found == closing and not (whole_file and _more_follows(window, match.end())):
            window.move(match.start())
            return True
        elif not stack and (found == "," or not closing):
            window.move(match.end())
            return True
        window.move(match.end())
        before = found
    return False


def _more_follows(window: TextWindow, place: int) -> bool:
    return window.text[place : place + _SEEN_AFTER].strip() != ""
