"""One file from the hub, gone on with where a killed download stopped.

The hub library begins each file anew in another process, so its HTTP session is used on a file of our own
that outlives the process. Plain HTTP is asked for also where the hub has a faster way (Xet): only it can
go on at a byte, and only it works through mirrors.
"""

from __future__ import annotations

import hashlib
import time
from dataclasses import dataclass
from pathlib import Path

from medpipe.ingest.hub_errors import DamagedDownloadError, Progress, Retries, with_retries
from medpipe.lake.files import naming_a_full_disk

_REPORT_SECONDS = 5.0
_TIMEOUT_SECONDS = 30.0
_CHUNK_BYTES = 1 << 20
_SHA1_CHARACTERS, _SHA256_CHARACTERS = 40, 64
_PARTIAL_CONTENT, _RANGE_NOT_SATISFIABLE = 206, 416


@dataclass(frozen=True, kw_only=True)
class HubFile:
    """What the hub says of a file."""

    path: str
    size: int | None = None
    """Bytes."""
    hash: str | None = None
    """SHA-256 of a large file, git's SHA-1 of a small one."""


def download_file(
    file: HubFile,
    *,
    url: str,
    credential: str | bool,
    into: Path,
    retries: Retries,
    progress: Progress,
) -> Path:
    """Downloads a file and checks its bytes; does nothing where it lies there whole.

    Args:
        file: path, size and hash.
        url: where its bytes are at a fixed commit.
        credential: token, or False for none.
        into: folder with `whole/` and `part/`; it must serve one commit only.
        retries: how often a failure is tried again.
        progress: told of the start, every few seconds, and of further tries.

    Returns:
        The file below `whole/`.

    Raises:
        DamagedDownloadError: the bytes do not match, however often they were fetched.
        Exception: what the hub library raised last.
    """
    whole, part = into / "whole" / file.path, into / "part" / file.path
    if whole.is_file() and (file.size is None or whole.stat().st_size == file.size):
        return whole
    for path in (whole, part):
        path.parent.mkdir(parents=True, exist_ok=True)
    arrived = 0

    def more_arrived() -> bool:
        nonlocal arrived
        before, arrived = arrived, max(arrived, _size(part))
        return arrived > before

    with_retries(
        lambda: _go_on(file, part, url=url, credential=credential, progress=progress),
        retries=retries,
        what=file.path,
        progress=progress,
        starts_anew=more_arrived,
    )
    part.replace(whole)
    return whole


def _go_on(file: HubFile, part: Path, *, url: str, credential: str | bool, progress: Progress) -> None:
    """Fetches what is missing of a file and checks the whole."""
    if file.size is None or _size(part) > file.size:
        part.unlink(missing_ok=True)
    if _size(part) != file.size:
        with naming_a_full_disk(part):
            _append(file, part, url=url, credential=credential, progress=progress)
    if file.size is not None and _size(part) < file.size:
        raise DamagedDownloadError("the answer ended before the file did")
    if (file.size is not None and _size(part) > file.size) or not _matches(part, file.hash):
        part.unlink()
        raise DamagedDownloadError("bytes differ from the hub's hash")


def _append(file: HubFile, part: Path, *, url: str, credential: str | bool, progress: Progress) -> None:
    """Asks for the bytes that follow those in `part` and writes them there as they arrive."""
    from huggingface_hub import get_session
    from huggingface_hub.utils import (  # type: ignore[attr-defined]
        build_hf_headers,
        hf_raise_for_status,
    )

    there = _size(part)
    of_all = "" if file.size is None else f" of {file.size:,}"
    progress(f"{file.path}: from byte {there:,}{of_all}")
    # A compressed answer could not be gone on with at a byte.
    headers = build_hf_headers(token=credential) | {"Accept-Encoding": "identity"}
    if there:
        headers["Range"] = f"bytes={there}-"
    with get_session().stream("GET", url, headers=headers, timeout=_TIMEOUT_SECONDS) as response:
        if response.status_code == _RANGE_NOT_SATISFIABLE:
            part.unlink()
            raise DamagedDownloadError("the hub has fewer bytes than arrived before")
        hf_raise_for_status(response)
        # A server that does not know ranges sends the file from its start.
        goes_on = response.status_code == _PARTIAL_CONTENT
        arrived, reported = there if goes_on else 0, time.monotonic()
        with part.open("ab" if goes_on else "wb") as out:
            for chunk in response.iter_bytes():
                out.write(chunk)
                arrived += len(chunk)
                if time.monotonic() - reported >= _REPORT_SECONDS:
                    reported = time.monotonic()
                    progress(f"{file.path}: {arrived:,}{of_all} bytes")


def _size(path: Path) -> int:
    return path.stat().st_size if path.is_file() else 0


def _matches(path: Path, expected: str | None) -> bool:
    """Whether a file has the SHA-256, or git's SHA-1, that the hub names; any other kind proves nothing."""
    length = len(expected or "")
    if length == _SHA256_CHARACTERS:
        digest = hashlib.sha256()
    elif length == _SHA1_CHARACTERS:
        digest = hashlib.sha1(b"blob %d\0" % path.stat().st_size, usedforsecurity=False)
    else:
        return True
    with path.open("rb") as file:
        while chunk := file.read(_CHUNK_BYTES):
            digest.update(chunk)
    return digest.hexdigest() == expected
