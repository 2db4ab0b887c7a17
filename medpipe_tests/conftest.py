"""Settings of all tests."""

from __future__ import annotations

from hypothesis import settings

# A loop is compiled on its first call, and a busy machine stalls anything: time is no sign of a defect.
settings.register_profile("untimed", deadline=None)
settings.load_profile("untimed")
