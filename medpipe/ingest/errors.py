"""Errors of this room; each message names the thing and the fix."""

from __future__ import annotations


class IngestError(ValueError):
    """A source's files cannot be read as the catalog says."""


class FetchError(IngestError):
    """A source's files cannot be brought into the lake; the snapshot before it is unchanged."""
