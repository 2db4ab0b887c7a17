"""Errors of this room; each message names the thing and the fix."""

from __future__ import annotations


class IngestError(ValueError):
    """A source's files cannot be read as the catalog says."""


class FetchError(IngestError):
    """A source's files cannot be brought into the lake; the snapshot before it is unchanged."""


class BusyHubError(FetchError):
    """The hub answers too many requests; no further one should be sent for a while."""

    def __init__(self, message: str, *, seconds: float) -> None:
        """Keeps how many seconds the hub asks to wait."""
        super().__init__(message)
        self.seconds = seconds
