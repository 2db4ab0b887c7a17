"""Errors of this room; each message names the thing and the fix."""

from __future__ import annotations


class NormalizeError(ValueError):
    """A source cannot be normalised at all; the message names it and the fix."""
