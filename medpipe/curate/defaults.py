"""Numbers that the code location shows; it must not load the rules for them."""

from __future__ import annotations

VALIDATION_SHARE = 0.02
MINIMUM_DOCUMENTS = 20
MINIMUM_CHARACTERS = 5
PASSAGE_CHARACTERS = 20
PASSAGE_DOCUMENTS = 100
PASSAGE_SHARE = 0.001
