"""Less work for Python's garbage collector while there is nothing for it to find."""

from __future__ import annotations

import contextlib
import gc
from collections.abc import Iterator

_NEW_CONTAINERS = 2_000_000
"""New lists and objects that make the collector look for cycles; a few batches of rows hold fewer."""


@contextlib.contextmanager
def rare_collections() -> Iterator[None]:
    """Has the garbage collector look for reference cycles only once many new objects have stayed.

    Parsed rows are trees and go by reference count; but each of their lists and objects counts as new, so
    that the collector would walk through all of them again and again, a tenth of all time.
    """
    before = gc.get_threshold()
    gc.set_threshold(max(_NEW_CONTAINERS, before[0]), *before[1:])
    try:
        yield
    finally:
        gc.set_threshold(*before)
