"""The quality of a quote: first, stale, warm-up, after a gap."""

import numpy as np
import pytest

from market_pipeline.anomalies.scores.returns import QUALITIES, Returns, after_gap, quality_of, returns_of
from market_pipeline_tests.anomalies.quotes import Numbers, series

SETTLED = 40
LAST = 100 + np.sin(SETTLED - 1)


def ended(steps: Numbers, prices: Numbers | None = None, regular: int = 5) -> Returns:
    """Returns of forty quotes five minutes apart and then these steps (minutes) and prices."""
    minutes = np.concatenate([np.arange(SETTLED) * regular, np.zeros(len(steps))]).astype(float)
    minutes[SETTLED:] = minutes[SETTLED - 1] + np.cumsum(steps)
    values = 100 + np.sin(np.arange(len(minutes)))
    if prices is not None:
        values[SETTLED:] = prices
    return returns_of(series(values, minutes * 60))


def words(returns: Returns, *, is_known: bool = False) -> list[str]:
    return [QUALITIES[code] for code in quality_of(returns, is_known=is_known)]


def test_the_first_thirty_changed_quotes_warm_up() -> None:
    found = words(ended([]))
    assert found[0] == "first,warm_up"
    assert found[1:30] == ["warm_up"] * 29
    assert found[30:] == [""] * 10
    assert words(ended([]), is_known=True)[:7] == ["first,warm_up", *["warm_up"] * 4, "", ""]


def test_unchanged_quotes_are_stale_and_do_not_warm_up() -> None:
    returns = returns_of(series([100.0, 100.0, *np.arange(101.0, 140.0)], np.arange(41) * 300))
    found = words(returns)
    assert found[1] == "stale,warm_up"
    assert found[30:32] == ["warm_up", ""]


@pytest.mark.parametrize(
    ("regular", "step", "missing"),
    [(5, 15, False), (5, 15.1, True), (1, 4, False), (1, 16, True), (60, 180, False), (60, 181, True)],
)
def test_quotes_are_missing_when_an_interval_is_three_times_as_long_and_a_quarter_of_an_hour(
    regular: int, step: float, missing: bool
) -> None:
    """A coin quoted every minute may pause for fifteen, hourly history may not skip three hours."""
    assert after_gap(ended([step], regular=regular))[-1] == missing
    assert words(ended([step], regular=regular))[-1] == ("gap" if missing else "")


def test_the_quote_after_the_gap_is_like_any_other() -> None:
    assert after_gap(ended([60, 5, 5]))[-3:].tolist() == [True, False, False]


def test_the_first_move_after_a_gap_carries_it_even_if_quotes_repeat_before() -> None:
    """Its return began before the gap."""
    returns = ended([60, 5, 5, 5], [LAST, LAST, 120, 121])
    assert words(returns)[-4:] == ["stale,gap", "stale,gap", "gap", ""]


def test_hourly_history_is_no_gap_in_itself_but_its_first_quote_after_live_ones_is() -> None:
    assert after_gap(ended([60] * 6))[SETTLED:].tolist() == [True, False, False, False, False, False]
    assert not after_gap(ended([], regular=60)).any()


def test_one_long_step_among_the_last_three_is_enough_to_expect_another() -> None:
    assert not after_gap(ended([40, 5, 5, 40]))[-1]
    assert after_gap(ended([40, 5, 5, 5, 40]))[-1]


@pytest.mark.parametrize("size", range(6))
def test_with_few_quotes_no_gap_is_known(size: int) -> None:
    returns = returns_of(series(np.arange(1.0, size + 1), np.cumsum([0, 60, 60, 60, 36_000, 60][:size])))
    assert after_gap(returns).tolist() == [False] * min(size, 4) + [True, False][: max(size - 4, 0)]
