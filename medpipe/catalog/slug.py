"""Source ids from published names."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Container


def slug(name: str, *, taken: Container[str] = ()) -> str:
    """A source id for a published name: lower-case ASCII words, with a short hash if anything was lost.

    Args:
        name: the published name.
        taken: ids of other names; one of them gets the hash, too.
    """
    words = re.sub(r"[^a-z0-9]+", "_", name.lower()).strip("_")
    if name.isascii() and words and words not in taken:
        return words
    return "_".join(filter(None, [words, hashlib.sha256(name.encode()).hexdigest()[:8]]))
