"""Which encoding a text file has, and decoding that gives the place of an illegal byte.

Public Chinese corpora are UTF-8 or GB18030 (which contains GBK and GB2312), English tables now and then
Windows-1252. A file with a few illegal bytes keeps its encoding: they cost the records that they stand in,
not the source.
"""

from __future__ import annotations

import codecs
import re
from pathlib import Path

from medpipe.ingest.errors import IngestError

UTF8 = "utf-8"
GB18030 = "gb18030"
WINDOWS_1252 = "cp1252"

MARK = "\ufdd0"
"""Stands where an illegal byte was; a Unicode noncharacter, so no text has it."""

_CHUNK_BYTES = 1 << 20
_ILLEGAL_IN_UTF8 = 0.3
"""Share of illegal sequences among non-ASCII characters above which a file is no damaged UTF-8.

Chinese text in GB18030 read as UTF-8 has well above half, UTF-8 with damage a few in a thousand.
"""
_ENOUGH_EVIDENCE = 100_000
"""Illegal sequences after which the rest of a file is not asked."""
_ENOUGH_TEXT = 2_000_000
"""Non-ASCII characters, hardly any of them illegal, after which the rest of a file is not asked either."""
_HARDLY_ANY = 0.001
_NOT_ASCII = bytes(range(0x80, 0x100))
_RUN = re.compile(rb"[\x80-\xff]+")
_ALONE_IN_WESTERN = 0.5
"""Share of non-ASCII bytes that stand alone among ASCII above which a text is no Chinese.

In an English text nearly all do (`caf\xe9`, `don\x92t`), in GB18030 only those of rare characters; `don\x92t`
would read as `don抰` there.
"""
_NOT_WESTERN = re.compile(rb"[\x81\x8d\x8f\x90\x9d\xff]")
"""Bytes that Windows-1252 does not have, and the `ÿ` that only damage writes."""
_INCOMPLETE = ("unexpected end of data", "incomplete multibyte sequence")
_UTF16_MARKS = (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)


class IllegalByteError(ValueError):
    """A record has a byte that its encoding does not know."""


class _Tally:
    """Counts illegal sequences and other non-ASCII characters, chunk by chunk."""

    def __init__(self, encoding: str) -> None:
        self._decoder = codecs.getincrementaldecoder(encoding)(errors="replace")
        self._published_replacement = "\ufffd".encode(encoding)
        self.illegal = 0
        self.legal = 0

    def add(self, chunk: bytes, *, final: bool = False) -> None:
        text = self._decoder.decode(chunk, final)
        if text.isascii():
            return
        illegal = max(0, text.count("\ufffd") - chunk.count(self._published_replacement))
        self.illegal += illegal
        self.legal += max(0, len(text) - len(chunk.translate(None, _NOT_ASCII)) - illegal)

    @property
    def illegal_share(self) -> float:
        return self.illegal / max(1, self.illegal + self.legal)

    @property
    def is_confirmed(self) -> bool:
        return self.legal > _ENOUGH_TEXT and self.illegal_share <= _HARDLY_ANY

    @property
    def is_refuted(self) -> bool:
        return self.illegal > _ENOUGH_EVIDENCE and self.illegal_share >= _ILLEGAL_IN_UTF8


class _WesternTally:
    """Counts non-ASCII bytes and those that stand alone, chunk by chunk."""

    def __init__(self) -> None:
        self._bytes = 0
        self._alone = 0
        self._possible = True

    def add(self, chunk: bytes) -> None:
        lengths = [len(run) for run in _RUN.findall(chunk)]
        self._bytes += sum(lengths)
        self._alone += lengths.count(1)
        self._possible = self._possible and _NOT_WESTERN.search(chunk) is None

    @property
    def is_likely(self) -> bool:
        return self._possible and self._alone > _ALONE_IN_WESTERN * self._bytes


def detect_encoding(path: Path) -> str:
    """Decides how a text file is encoded by reading it once in chunks, as far as it leaves doubt.

    Returns:
        `utf-8` (a byte order mark may stand before it), `gb18030` or `cp1252`.

    Raises:
        IngestError: the file starts with a UTF-16 byte order mark.
    """
    utf8, gb18030 = _Tally(UTF8), _Tally(GB18030)
    with path.open("rb") as file:
        if file.read(2) in _UTF16_MARKS:
            raise IngestError(
                f"{path} is UTF-16; convert it first: iconv -f UTF-16 -t UTF-8 {path.name} > new-{path.name}"
            )
        file.seek(0)
        while (chunk := file.read(_CHUNK_BYTES)) and not (utf8.is_refuted or utf8.is_confirmed):
            utf8.add(chunk)
        utf8.add(b"", final=not chunk)
        if utf8.illegal_share < _ILLEGAL_IN_UTF8:
            return UTF8
        judged = file.tell()
        file.seek(0)
        western = _WesternTally()
        while file.tell() < judged and (chunk := file.read(_CHUNK_BYTES)):
            gb18030.add(chunk)
            western.add(chunk)
    if western.is_likely:
        return WINDOWS_1252
    return GB18030 if gb18030.illegal < utf8.illegal else UTF8


def decode(data: bytes, encoding: str, *, offset: int) -> str:
    """Decodes one record.

    Args:
        data: its bytes.
        encoding: of the file.
        offset: of the first byte within the file.

    Raises:
        IllegalByteError: a byte is illegal; the message names its value and offset in the file.
    """
    try:
        return data.decode(encoding)
    except UnicodeDecodeError as error:
        raise IllegalByteError(describe_illegal(data[error.start], offset + error.start, encoding)) from None


def describe_illegal(byte: int, offset: int, encoding: str) -> str:
    """What is said of an illegal byte."""
    return f"byte 0x{byte:02x} at offset {offset} is illegal in {encoding}"


def decode_marking(
    data: bytes, encoding: str, *, offset: int, final: bool
) -> tuple[str, list[tuple[int, int]], bytes]:
    """Decodes a piece of a stream, with `MARK` in place of each illegal sequence.

    Args:
        data: the piece, with the undecoded rest of the piece before it in front.
        encoding: of the file.
        offset: of the first byte within the file.
        final: whether nothing follows, so that an unfinished character is illegal.

    Returns:
        The text, (byte, offset in the file) of each illegal sequence in order, and the undecoded rest.
    """
    pieces: list[str] = []
    illegal: list[tuple[int, int]] = []
    start = 0
    while True:
        try:
            pieces.append(data[start:].decode(encoding))
            return "".join(pieces), illegal, b""
        except UnicodeDecodeError as error:
            pieces.append(data[start : start + error.start].decode(encoding))
            place = start + error.start
            if error.reason in _INCOMPLETE and start + error.end == len(data) and not final:
                return "".join(pieces), illegal, data[place:]
            illegal.append((data[place], offset + place))
            pieces.append(MARK)
            start += error.end
