"""Source ids from published names."""

from __future__ import annotations

import hashlib
import re


def slug(name: str) -> str:
    """A source id for a published name: lower-case ASCII words, with a short hash if anything was lost."""
    words = re.sub(r"[^a-z0-9]+", "_", name.lower()).strip("_")
    if name.isascii() and words:
        return words
    return "_".join(filter(None, [words, hashlib.sha256(name.encode()).hexdigest()[:8]]))
