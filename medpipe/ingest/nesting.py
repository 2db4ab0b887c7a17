"""How deep the values of some JSON are nested, found without parsing it."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from medpipe.records.utf8 import compiled

_QUOTE, _BACKSLASH = ord('"'), ord("\\")
_OPEN, _CLOSE = (ord("["), ord("{")), (ord("]"), ord("}"))


@compiled
def deepest_nesting(data: NDArray[np.uint8]) -> int:
    """The most arrays and objects within each other; in no way wrong for broken JSON, which has no depth.

    Args:
        data: UTF-8 bytes of JSON values, one after the other; brackets within strings do not count.
    """
    depth = deepest = 0
    in_string = False
    at, end = np.uintp(0), np.uintp(len(data))
    while at < end:
        byte = data[at]
        if in_string:
            if byte == _BACKSLASH:
                at += np.uintp(1)
            elif byte == _QUOTE:
                in_string = False
        elif byte == _QUOTE:
            in_string = True
        elif byte == _OPEN[0] or byte == _OPEN[1]:
            depth += 1
            deepest = max(deepest, depth)
        elif byte == _CLOSE[0] or byte == _CLOSE[1]:
            depth -= 1
        at += np.uintp(1)
    return deepest
