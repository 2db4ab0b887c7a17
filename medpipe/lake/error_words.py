"""Errors of the system and of libraries in words that name the thing and the fix."""

from __future__ import annotations

import polars as pl

HANDLED = (ValueError, OSError, pl.exceptions.PolarsError)
"""What a person can do something about; anything else is a mistake of medpipe and shown as it is."""


def in_words(error: BaseException) -> str:
    """What went wrong and what to do.

    Medpipe's own errors say both themselves. An error of the operating system gets the file it is about, one
    of the table library the way to a damaged file.
    """
    if isinstance(error, pl.exceptions.PolarsError):
        reason = (str(error).strip().splitlines() or [type(error).__name__])[0]
        return (
            f"a table cannot be read or made: {reason}; if a file was damaged, `medpipe tokens verify` or "
            "the job `verify` names it, and the asset that made it makes it again with `force`"
        )
    if not isinstance(error, OSError) or error.strerror is None:
        return str(error)
    if error.filename is None:
        return error.strerror
    fix = "check the path, its permissions, and MEDPIPE_HOME or MEDPIPE_LAKE where it lies under them"
    return f"{error.filename}: {error.strerror}; {fix}"
