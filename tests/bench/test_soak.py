"""An hour of typing, replayed as fast as the server answers; run by `make soak`."""

import pytest

from palimpsest_bench.server import figures


@pytest.mark.slow
def test_an_hour_of_typing_leaves_nothing_in_memory() -> None:
    figure = figures.memory_growth(1.0)
    assert figure["events"] > 1000
    assert 0.95 <= figure["ratio"] <= 1.05, figure
