"""JSON read value by value from a stream: no more of it is in memory than the value at hand.

Values are parsed by the standard library's decoder rather than an event parser: those (yajl, ijson) give up
all the rest of a file at the first NaN or raw control character, which published files have.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from medpipe.ingest.batches import RAW_CHARACTERS, Record, broken
from medpipe.ingest.encoding import MARK
from medpipe.ingest.json_repair import skip_broken
from medpipe.ingest.json_values import LENIENT, may_have_surrogates, without_lone_surrogates
from medpipe.ingest.text_window import TextWindow

_NEAR_END = 1_024
"""A complaint so close to the end of the window may be about a value that is only cut there."""
_NUMBER_TAIL = 2
"""Characters such as `e+` that the decoder leaves behind a number if its digits are cut off."""
_BRACKET = re.compile(r'"[^"\\]*+(?:\\.[^"\\]*+)*+"|[\[\]{}"]', re.DOTALL)
"""A whole string, a bracket, or the start of a string that is cut."""


class CutError(ValueError):
    """A value cannot be parsed; where it ends is not known."""


class JsonWindow(TextWindow):
    """A window on JSON text."""

    def value(self) -> tuple[Any, int, int]:
        """Parses the value at the position and moves behind it.

        Returns:
            The value, and where it starts and ends in `text`.

        Raises:
            CutError: it is no JSON, or has no end.
        """
        while True:
            try:
                value, end = LENIENT.raw_decode(self.text, self.position)
            except RecursionError:
                raise CutError("nested too deeply") from None
            except ValueError as error:
                if not self._may_be_cut(error) or not self.can_grow or not self.refill():
                    raise CutError(getattr(error, "msg", str(error))) from None
                continue
            # A number at the very end of the window may go on: `12` of `1234`, and of `12e+3`.
            if len(self.text) - end > _NUMBER_TAIL or not self.refill():
                start, self.position = self.position, end
                return value, start, end

    def record(self) -> Record:
        """The value at the position as a record, or a fault if it has illegal bytes.

        Raises:
            CutError: it is no JSON, or has no end.
        """
        value, start, end = self.value()
        complaint = self.take(start, end)
        if complaint is not None:
            return broken("encoding", complaint, self.text[start:end].replace(MARK, "\ufffd"))
        if may_have_surrogates(self.text, start, end):
            value = without_lone_surrogates(value)
        return Record(value, end - start)

    def name(self) -> tuple[str, str | None]:
        """The name of the member at the position, moved behind its colon.

        Returns:
            The name, and what is to be said of an illegal byte in it.

        Raises:
            CutError: there is no name with a colon.
        """
        if self.peek() != '"':
            raise CutError("expected a member's name in double quotes")
        name, start, end = self.value()
        complaint = self.take(start, end)
        if may_have_surrogates(self.text, start, end):
            name = without_lone_surrogates(name)
        if self.peek() != ":":
            raise CutError("expected ':' after a member's name")
        self.position += 1
        self.peek()
        return name.replace(MARK, "\ufffd"), complaint

    def skip(self) -> None:
        """Moves behind the value at the position without holding it, however large it is.

        Raises:
            CutError: it has no end.
        """
        if self.peek() not in ("[", "{"):
            _, start, end = self.value()
            self.take(start, end)
            return
        depth = 0
        while True:
            match = _BRACKET.search(self.text, self.position)
            if match is None or match[0] == '"':
                self.move(match.start() if match else len(self.text))
                if not self.can_grow or not self.refill():
                    raise CutError("the file ends inside a value")
                continue
            self.move(match.end())
            depth += {"[": 1, "{": 1, "]": -1, "}": -1}.get(match[0], 0)
            if depth == 0:
                return

    def cut(self, reason: str, complaint: str, count: int) -> Record:
        """The fault that stands for all that follows the position."""
        return broken(reason, *self.described(complaint, count))

    def described(self, complaint: str, count: int) -> tuple[str, str]:
        """A complaint with the position and how many elements stand before it, and what stands there."""
        raw = self.text[self.position : self.position + RAW_CHARACTERS].replace(MARK, "\ufffd")
        return f"{complaint}, after {count} elements, at character {self.place}", raw

    def _may_be_cut(self, error: ValueError) -> bool:
        message, place = getattr(error, "msg", ""), getattr(error, "pos", 0)
        return message.startswith("Unterminated string") or place >= len(self.text) - _NEAR_END


@dataclass(frozen=True)
class Container:
    """A kind of JSON value that holds records."""

    noun: str
    closing: str
    starts: str
    """Characters that a record can start with."""
    reason: str
    """Of the fault that stands for the rest of one that breaks."""
    read: Callable[[JsonWindow], Record]
    """Reads one record."""


def contained_records(window: JsonWindow, container: Container, *, whole_file: bool) -> Iterator[Record]:
    """Yields the records of a container from behind its opening bracket.

    What is broken is one fault `broken_json`, and reading goes on behind it; where its end cannot be found,
    all the rest is one fault. A comma before the closing bracket and a missing one between two records are
    no faults.

    Args:
        window: behind the opening bracket.
        container: what is to be read.
        whole_file: whether nothing may follow it.
    """
    count = 0
    while following := window.peek():
        if following == container.closing:
            window.position += 1
            if whole_file and window.peek():
                complaint = f"there is more after the end of the {container.noun}"
                yield window.cut(container.reason, complaint, count)
            return
        try:
            record = container.read(window)
            count += 1
            yield record
            following = window.peek()
            if following == ",":
                window.position += 1
            elif following not in container.starts and following != container.closing:
                raise CutError(f"expected ',' or '{container.closing}'")
        except CutError as error:
            fault, is_found = skipped(
                window, container.closing, container.reason, str(error), count, whole_file=whole_file
            )
            yield fault
            count += 1
            if not is_found:
                return
    yield window.cut(container.reason, f"the file ends inside the {container.noun}", count)


def skipped(
    window: JsonWindow, closing: str, reason: str, complaint: str, count: int, *, whole_file: bool
) -> tuple[Record, bool]:
    """Passes over what is broken at the position, as `skip_broken` does.

    Returns:
        The fault that stands for it, or for all the rest with `reason` if its end cannot be found; and
        whether the end was found.
    """
    start = window.place
    detail, raw = window.described(complaint, count)
    if not skip_broken(window, closing, whole_file=whole_file):
        return broken(reason, detail, raw), False
    return broken("broken_json", detail, raw[: window.place - start]), True
