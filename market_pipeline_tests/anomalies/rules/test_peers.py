"""Moves of all coins between two times, in the same standard deviations as the scores."""

import numpy as np
import pytest

from market_pipeline.anomalies.rules.peers import moves_between, present_volatility
from market_pipeline.anomalies.rules.score_table import group
from market_pipeline.anomalies.scores.scoring import score_columns
from market_pipeline_tests.anomalies.quotes import as_columns, walk


@pytest.mark.parametrize("spacing", [10, 300])
def test_a_move_is_as_many_deviations_as_its_score_says(spacing: int) -> None:
    """Also where quotes come faster than the shortest time that the scores know."""
    table = group(score_columns(as_columns(walk(np.arange(500) * spacing))))
    last = next(at for at in range(499, 0, -1) if table["large_move_before"][at] == at - 1)
    moves = moves_between(table, int(table.moments[last - 1]), int(table.moments[last]), present_volatility)
    assert abs(moves.standard[0]) == pytest.approx(abs(table.number("z", last)))
