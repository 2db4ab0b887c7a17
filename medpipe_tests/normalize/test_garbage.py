from __future__ import annotations

import gc

import pytest

from medpipe.normalize.garbage import rare_collections


def test_the_collector_is_as_before_afterwards() -> None:
    before = gc.get_threshold()
    with rare_collections():
        assert gc.isenabled() and gc.get_threshold()[0] > 100 * before[0]
    assert gc.get_threshold() == before
    with pytest.raises(OSError), rare_collections():
        raise OSError
    assert gc.get_threshold() == before
