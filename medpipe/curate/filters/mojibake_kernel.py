"""Characters that only a wrong decoding leaves."""

from __future__ import annotations

import numpy as np

from medpipe.records.utf8 import compiled

_LEFT_BY_GBK = np.array([*map(ord, "锛銆鈥鐨")])
"""What full-width comma, full stop, quotation mark and `的` become when UTF-8 is read as GBK."""
_LOST_FIRST, _LOST_SECOND = ord("锟"), ord("斤")
"""U+FFFD twice, written as UTF-8 and read as GBK."""
_LEAD_FIRST, _LEAD_LAST = 0xC2, 0xF4
_TRAIL_FIRST, _TRAIL_LAST = 0x80, 0xBF
_WINDOWS_1252 = np.array([*map(ord, "€‚ƒ„…†‡ˆ‰Š‹ŒŽ‘’“”•–—˜™š›œžŸ")])
"""What stands for the bytes 0x80 to 0x9F there."""
_RUN = 4
"""So many letters of Latin-1 beyond ASCII in a row stand in no language."""


@compiled
def mojibake(code: np.int64, before: np.int64, latin: int) -> int:
    """How many characters up to this one turn out to be mojibake.

    Args:
        code: a code point beyond ASCII.
        before: the one before it.
        latin: how many Latin-1 code points beyond ASCII end with it.
    """
    if latin >= _RUN:
        return _RUN if latin == _RUN else 1
    if _LEAD_FIRST <= before <= _LEAD_LAST:
        if _TRAIL_FIRST <= code <= _TRAIL_LAST:
            return 2
        for sign in _WINDOWS_1252:
            if code == sign:
                return 2
    if code == _LOST_SECOND and before == _LOST_FIRST:
        return 2
    for sign in _LEFT_BY_GBK:
        if code == sign:
            return 1
    return 0
