from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from time import sleep

import pytest

from medpipe.curate.near_duplicates.ahead import map_ahead


def test_results_come_in_order_and_few_items_are_taken_beforehand() -> None:
    taken = []

    def items() -> Iterator[int]:
        for number in range(20):
            taken.append(number)
            yield number

    def slow_at_first(number: int) -> int:
        sleep(0.02 if number == 0 else 0)
        return number * number

    with ThreadPoolExecutor(4) as pool:
        for number, result in enumerate(map_ahead(pool, slow_at_first, items(), ahead=3)):
            assert result == number * number
            assert len(taken) <= number + 4
    assert taken == list(range(20))


def test_an_error_comes_where_its_result_would_have_come() -> None:
    with ThreadPoolExecutor(2) as pool:
        results = map_ahead(pool, lambda number: 1 // number, [1, 0, 1])
        assert next(results) == 1
        with pytest.raises(ZeroDivisionError):
            next(results)
