"""The parts of the alarm benchmark on which its figures rest."""

import numpy as np
import pytest

from benchmarks.anomalies import alarm_measures, replay
from benchmarks.anomalies.cadences import market
from benchmarks.anomalies.prices import Bars

DAY = 1440.0


def file_of(start: float, days: float, seed: int) -> list[Bars]:
    bars = market(start + np.arange(5.0, days * DAY + 1, 5.0), seed)
    return [Bars(f"file {seed}", one.symbol, one.minutes, one.prices) for one in bars]


def test_a_past_ends_where_the_file_begins_and_nothing_jumps_at_the_seam() -> None:
    past, file = file_of(27_000 * 1440.0, 3, 1), file_of(27_900 * 1440.0, 2, 2)
    [before, joined] = replay.chained([past, file])
    assert before.past_days == 0
    assert joined.past_days == pytest.approx(3, abs=0.01)
    for own, whole in zip(sorted(file, key=lambda bars: bars.symbol), joined.bars, strict=True):
        seam = len(whole.minutes) - len(own.minutes)
        assert whole.minutes[seam] - whole.minutes[seam - 1] == 5
        assert whole.prices[seam] == pytest.approx(whole.prices[seam - 1])
        np.testing.assert_array_equal(whole.prices[seam:], own.prices)


def test_a_coin_whose_quotes_stop_early_is_no_past() -> None:
    past, file = file_of(27_000 * 1440.0, 3, 1), file_of(27_900 * 1440.0, 2, 2)
    past[0] = Bars(past[0].file, past[0].symbol, past[0].minutes[:100], past[0].prices[:100])
    [_, joined] = replay.chained([past, file])
    lengths = {bars.symbol: len(bars.minutes) for bars in joined.bars}
    assert lengths[past[0].symbol] == len(file[0].minutes)
    assert lengths[past[1].symbol] == len(past[1].minutes) + len(file[1].minutes)


def test_the_error_of_a_ratio_takes_alarms_of_one_day_as_one() -> None:
    together = alarm_measures.ratio_of(np.array([0.0, 10.0, 20.0, 5_000.0]), 2.0)
    assert together.ratio == 2
    assert together.error == pytest.approx((9 + 1) ** 0.5 / 2)
    assert together.poisson == 1


def test_alarms_an_hour_apart_are_one_episode() -> None:
    assert alarm_measures.starts([0.0, 60.0, 120.0, 181.0]).tolist() == [0, 181]
