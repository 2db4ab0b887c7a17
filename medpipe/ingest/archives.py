"""`.zip` and `.gz` around published files: unpacked one file at a time into a folder that vanishes.

An archive comes from a stranger. Its member names never become paths, so nothing can be written outside the
scratch folder, and the bytes that come out are counted as they come.
"""

from __future__ import annotations

import gzip
import tempfile
import zipfile
import zlib
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from lzma import LZMAError
from pathlib import Path, PurePosixPath
from typing import Protocol

from medpipe.catalog.source import FileFormat
from medpipe.ingest.errors import IngestError
from medpipe.ingest.formats import ARCHIVE_SUFFIXES, has_known_suffix
from medpipe.ingest.patterns import is_safe, path_matches
from medpipe.lake.files import DiskFullError, naming_a_full_disk

FREE_BYTES = 1 << 30
"""So much may come out of any archive."""
MAX_RATIO = 100
"""More than `FREE_BYTES` may come out only up to this many times the archive's own size; text in Chinese or
English shrinks to a third or a tenth, very repetitive JSON to a fiftieth."""

_CHUNK_BYTES = 1 << 20
_SHOWN_MEMBERS = 20
_NAME_CHARACTERS = 60
"""A member's own name is kept up to this length, so that no file system refuses it."""
_ABOUT = ("readme", "license", "licence", "copying", "notice", "changelog", "citation")
"""Names, whatever their suffix, of members that tell about the data."""
_UTF8_FLAG, _ENCRYPTED_FLAG = 0x800, 0x1
_DAMAGE = (EOFError, OSError, zlib.error, LZMAError, zipfile.BadZipFile)


class _Readable(Protocol):
    def read(self, size: int, /) -> bytes: ...


@dataclass(frozen=True)
class UnpackedFile:
    """A file to read."""

    name: str
    """Path within a zip archive, with `/`; empty where the published path says it all."""
    path: Path
    """Where its bytes are."""


@contextmanager
def unpacked(
    path: Path, *, member: str | None, file_format: FileFormat = FileFormat.AUTO
) -> Iterator[Iterator[UnpackedFile]]:
    """The files that a published file holds: itself, or what is packed in it.

    A zip archive yields its members by name; folders, `__MACOSX` and dot files are left out, and a member
    that is packed with gzip itself is unpacked too. Where neither a member nor a format is set, members that
    are no data (`README.md`, `LICENSE`, a `.pdf`: known by name, or with a suffix that no format is known
    for) are left out if there is any other. An unpacked file exists until the next one is asked for.

    Args:
        path: the published file; `.zip` and `.gz` are unpacked, whatever else is yielded as it is.
        member: glob pattern of the members of a zip archive that are wanted; all of them if None.
        file_format: of the files, as the catalog says.

    Raises:
        IngestError: it is damaged, encrypted or packed in an unknown way, it holds no such member, another
            archive or two members of one name, or so much comes out of it that it must be a trap.
        DiskFullError: the disk with temporary files filled.
    """
    suffix = path.suffix.lower()
    if suffix not in (".zip", ".gz"):
        yield iter([UnpackedFile("", path)])
        return
    if not path.is_file():
        raise IngestError(f"{path} is missing; materialise the source's raw asset again")
    with tempfile.TemporaryDirectory(prefix="medpipe-unpacked-", ignore_cleanup_errors=True) as scratch:
        room = _Room(path, Path(scratch))
        yield (
            room.gunzipped()
            if suffix == ".gz"
            else room.unzipped(member, is_auto=file_format is FileFormat.AUTO)
        )


class _Room:
    """The scratch folder of one archive, and how much may still come out of it."""

    def __init__(self, archive: Path, scratch: Path) -> None:
        self._archive = archive
        self._scratch = scratch
        self._limit = max(FREE_BYTES, MAX_RATIO * archive.stat().st_size)
        self._left = self._limit

    def gunzipped(self) -> Iterator[UnpackedFile]:
        """The one file in a gzip file."""
        yield UnpackedFile("", self._gunzip(self._archive, self._archive.name))

    def unzipped(self, pattern: str | None, *, is_auto: bool) -> Iterator[UnpackedFile]:
        """The wanted members of a zip archive, by name."""
        try:
            archive = zipfile.ZipFile(self._archive)
        except (*_DAMAGE, NotImplementedError) as error:
            raise self._damaged(error) from None
        with archive:
            wanted = self._wanted(archive, pattern, is_auto=is_auto)
            if sum(info.file_size for info in wanted.values()) > self._limit:
                raise self._too_large()
            for name, info in sorted(wanted.items()):
                target = self._unzip(archive, name, info)
                if name.lower().endswith(".gz"):
                    packed, target = target, self._gunzip(target, name)
                    packed.unlink()
                yield UnpackedFile(name, target)
                target.unlink(missing_ok=True)

    def _wanted(
        self, archive: zipfile.ZipFile, pattern: str | None, *, is_auto: bool
    ) -> dict[str, zipfile.ZipInfo]:
        members = [(_name(info), info) for info in archive.infolist()]
        there = dict(members)
        # A name that climbs out of the archive (`../x`) or is absolute counts as hidden.
        there = {name: info for name, info in there.items() if is_safe(name) and "__MACOSX" not in name}
        wanted = {
            name: info for name, info in there.items() if pattern is None or path_matches(name, pattern)
        }
        if not wanted:
            shown = ", ".join(sorted(there)[:_SHOWN_MEMBERS]) or "no file"
            asked = "has no files" if pattern is None else f"has no file that matches '{pattern}'"
            raise IngestError(
                f"{self._archive} {asked}; correct 'member' in the catalog entry. It holds: {shown}"
            )
        counts = Counter(name for name, _ in members)
        if twice := sorted(name for name in wanted if counts[name] > 1):
            raise IngestError(
                f"{self._archive} holds more than one member named {twice[0]}; unpack it yourself, under "
                "different names, and name the unpacked files in the catalog"
            )
        if archives := sorted(filter(_is_archive, wanted)):
            raise IngestError(
                f"{archives[0]} in {self._archive} is an archive within the archive, which is not opened; "
                "unpack it yourself and name the unpacked files in the catalog, or let 'member' match other "
                "members only"
            )
        if pattern is None and is_auto:
            return {name: info for name, info in wanted.items() if _may_be_data(name)} or wanted
        return wanted

    def _unzip(self, archive: zipfile.ZipFile, name: str, info: zipfile.ZipInfo) -> Path:
        if info.flag_bits & _ENCRYPTED_FLAG:
            raise IngestError(
                f"{name} in {self._archive} is encrypted; unpack it with its password and name the unpacked "
                "files in the catalog"
            )
        try:
            with archive.open(info) as packed:
                return self._copy(packed, name)
        except DiskFullError:
            raise
        except (*_DAMAGE, NotImplementedError) as error:
            raise self._damaged(error, name) from None

    def _gunzip(self, path: Path, name: str) -> Path:
        try:
            if path.stat().st_size == 0:
                raise EOFError("it is empty")
            with gzip.open(path) as packed:
                return self._copy(packed, name[: -len(".gz")])
        except DiskFullError:
            raise
        except _DAMAGE as error:
            raise self._damaged(error, "" if path == self._archive else name) from None

    def _copy(self, packed: _Readable, name: str) -> Path:
        target = self._scratch / PurePosixPath(name).name[-_NAME_CHARACTERS:]
        with naming_a_full_disk(self._scratch), target.open("wb") as out:
            while chunk := packed.read(_CHUNK_BYTES):
                self._left -= len(chunk)
                if self._left < 0:
                    raise self._too_large()
                out.write(chunk)
        return target

    def _damaged(self, error: Exception, name: str = "") -> IngestError:
        what = f"{name} in {self._archive}" if name else str(self._archive)
        if isinstance(error, NotImplementedError):
            return IngestError(f"{what} is packed in an unknown way ({error}); pack it again with deflate")
        return IngestError(
            f"{what} cannot be unpacked, it is damaged or cut ({error}); fetch it again: materialise the raw "
            "asset with 'force'"
        )

    def _too_large(self) -> IngestError:
        return IngestError(
            f"more than {self._limit:,} bytes come out of {self._archive}, which has "
            f"{self._archive.stat().st_size:,}; if that is meant, unpack it yourself and name the unpacked "
            "files in the catalog"
        )


def _without_gz(name: str) -> str:
    return name[: -len(".gz")] if name.lower().endswith(".gz") else name


def _is_archive(name: str) -> bool:
    """Whether a member is packed in another way than by gzip around one file."""
    return PurePosixPath(_without_gz(name)).suffix.lower() in ARCHIVE_SUFFIXES


def _may_be_data(name: str) -> bool:
    path = PurePosixPath(_without_gz(name))
    return has_known_suffix(path.name) and path.name.split(".")[0].lower() not in _ABOUT


def _name(info: zipfile.ZipInfo) -> str:
    """A member's path; names without the UTF-8 flag are UTF-8 (macOS) or GBK (Windows in China) in truth."""
    name = info.filename
    if not info.flag_bits & _UTF8_FLAG:
        for encoding in ("utf-8", "gb18030"):
            with suppress(UnicodeError):
                name = name.encode("cp437").decode(encoding)
                break
    return name.replace("\\", "/").removeprefix("./")
