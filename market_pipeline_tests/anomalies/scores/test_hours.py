"""Hour factors: recovered from returns, from past days only, and averaged over any interval."""

import numpy as np
import pytest

from market_pipeline.anomalies.parameters import PARAMETERS
from market_pipeline.anomalies.scores import hours
from market_pipeline.anomalies.scores.returns import returns_of
from market_pipeline.anomalies.series import Floats, PriceSeries
from market_pipeline_tests.anomalies.quotes import series, walk

DAY = 86_400
FACTORS = np.exp(0.35 * np.sin(2 * np.pi * (np.arange(24) - 8) / 24))
FACTORS /= np.sqrt((FACTORS**2).mean())


def seasonal(days: int, minutes: int = 5, seed: int = 1, swings: float = 0.5) -> PriceSeries:
    """A random walk whose volatility follows FACTORS, quoted every so many minutes from midnight on.

    Its level swings from day to day, which must not matter.
    """
    rng = np.random.default_rng(seed)
    seconds = np.arange(0, days * DAY + 1, minutes * 60)
    middle = (seconds[1:] - minutes * 30) % DAY // 3600
    level = np.repeat(np.exp(swings * rng.standard_normal(days)), DAY // (minutes * 60))
    steps = rng.standard_normal(len(seconds) - 1) * 3e-4 * np.sqrt(minutes) * FACTORS[middle] * level
    return series(100 * np.exp(np.concatenate([[0], np.cumsum(steps)])), seconds)


def running(quotes: PriceSeries) -> Floats:
    return hours.running_factors(hours.hour_sums(returns_of(quotes)))


@pytest.mark.parametrize(("minutes", "error", "least"), [(5, 0.05, 0.99), (60, 0.16, 0.85)])
def test_known_factors_are_recovered(minutes: int, error: float, least: float) -> None:
    """Hourly quotes are twelve times fewer, and what they say is shrunk more."""
    found = running(seasonal(91, minutes))[90]
    assert np.sqrt(((found / FACTORS - 1) ** 2).mean()) < error
    assert np.corrcoef(found, FACTORS)[0, 1] > least


def test_over_many_worlds_factors_differ_from_the_true_ones_by_the_shrinkage_only() -> None:
    logs = np.mean([np.log(running(seasonal(91, 10, seed))[90]) for seed in range(10)], axis=0)
    true = np.log(FACTORS)
    slope, _ = np.polyfit(true, logs, 1)
    # The variance of a mean of 540 log sizes, and of the 90 days, against the one between hours.
    noise = np.pi**2 / 8 / 540 + 0.10 / 90
    assert slope == pytest.approx(0.04 / (0.04 + noise), abs=0.03)
    assert logs - logs.mean() == pytest.approx(slope * (true - true.mean()), abs=0.05)


def test_the_mean_square_of_factors_is_one() -> None:
    found = running(seasonal(12))
    assert (found**2).mean(axis=1) == pytest.approx(np.ones(len(found)))


def test_a_flat_day_gives_flat_factors() -> None:
    found = running(walk(np.arange(0, 91 * DAY, 600)))[90]
    assert found == pytest.approx(np.ones(24), abs=0.12)


def test_nothing_is_known_on_the_first_day_and_little_after_one() -> None:
    found = running(seasonal(30))
    assert found[0].tolist() == [1.0] * 24
    spread = np.log(found).std(axis=1)
    assert 0 < spread[1] < 0.55 * spread[29]


def test_the_factors_of_a_day_do_not_change_when_later_days_come() -> None:
    whole = seasonal(20)
    found = running(whole)
    for day in (1, 7, 19):
        until = whole.timestamps < whole.timestamps[0] + np.timedelta64(day * DAY + 3_600, "s")
        cut = type(whole)("BTC", whole.timestamps[until], whole.prices[until])
        assert np.array_equal(running(cut), found[: day + 1])


def test_the_factors_of_a_day_do_not_know_the_day_itself() -> None:
    whole = seasonal(10)
    prices = whole.prices.copy()
    today = whole.timestamps >= whole.timestamps[0] + np.timedelta64(9 * DAY, "s")
    prices[today] *= np.exp(np.random.default_rng(3).standard_normal(today.sum()))
    changed = type(whole)("BTC", whole.timestamps, prices)
    assert np.array_equal(running(changed)[9], running(whole)[9])


def test_days_longer_ago_than_ninety_are_forgotten() -> None:
    """Ninety flat days after ninety seasonal ones leave nothing of the season."""
    first, second = seasonal(90, 30), walk(np.arange(0, 92 * DAY, 1800))
    later = second.timestamps[1:] + np.timedelta64(90 * DAY, "s")
    prices = np.concatenate([first.prices, second.prices[1:] * first.prices[-1] / 100])
    found = running(type(first)("BTC", np.concatenate([first.timestamps, later]), prices))
    assert PARAMETERS.hour_days == 90
    assert np.corrcoef(found[90], FACTORS)[0, 1] > 0.9
    flat = running(second)
    assert found[181] == pytest.approx(flat[91], rel=1e-9)


def test_a_jump_hardly_moves_a_factor() -> None:
    whole = seasonal(30)
    jumped = whole.prices.copy()
    jumped[12 * 24 * 10 + 12 * 4 :] *= 1.3
    one, other = running(whole), running(type(whole)("BTC", whole.timestamps, jumped))
    # As a square it would make its hour ten times as loud.
    assert other[29] == pytest.approx(one[29], rel=0.03)


def test_hours_with_fewer_quotes_are_neither_louder_nor_calmer() -> None:
    """Every ten minutes by night, every two by day: the returns differ, the volatility does not."""
    day = np.concatenate([np.arange(0, 720, 10), np.arange(720, 1_440, 2)]) * 60
    seconds = np.concatenate([day + DAY * number for number in range(91)])
    steps = np.random.default_rng(4).standard_normal(len(seconds) - 1) * 4e-5 * np.sqrt(np.diff(seconds))
    found = running(series(100 * np.exp(np.concatenate([[0], np.cumsum(steps)])), seconds))[90]
    assert found[:12].mean() / found[12:].mean() == pytest.approx(1, abs=0.05)


def by_minutes(table: Floats, first_day: int, start: float, end: float) -> float:
    """The mean squared factor from `start` to `end` (minutes), by adding up thin slices."""
    slices = np.linspace(start, end, 20_001)
    middle = (slices[1:] + slices[:-1]) / 2
    row = 0 if len(table) == 1 else int(end // 1_440) - first_day
    return float((table[row][(middle % 1_440 // 60).astype(int)] ** 2).mean())


@pytest.mark.parametrize("gap", [16, 60, 61, 250, 1_440, 4_000, 40_000])
def test_the_mean_square_over_an_interval_is_that_of_its_minutes(gap: float) -> None:
    returns = returns_of(series([1.0, 2.0, 3.0, 4.0], [0, 3_900, 3_900 + gap * 60, 4_200 + gap * 60]))
    table = FACTORS[None, :]
    found = hours.mean_squares(returns, table, 0)
    for row in (1, 2):
        end = returns.minutes[row]
        assert found[row] == pytest.approx(by_minutes(table, 0, end - returns.elapsed[row], end), rel=1e-3)


def test_a_short_interval_has_the_factor_of_its_middle() -> None:
    returns = returns_of(series([1.0, 2.0, 3.0, 4.0], [0, 3_480, 3_780, 3_900]))
    found = hours.mean_squares(returns, FACTORS[None, :], 0)
    # 00:58 to 01:03 lies mostly in the second hour, 01:03 to 01:05 wholly.
    assert found[2] == found[3] == FACTORS[1] ** 2
    assert found[0] == FACTORS[23] ** 2


def test_an_interval_over_midnight_has_the_factors_of_the_day_it_ends_in() -> None:
    returns = returns_of(series([1.0, 2.0, 3.0], [0, DAY - 1_200, DAY + 3_600]))
    table = np.array([np.full(24, 7.0), np.arange(1.0, 25.0)])
    found = hours.mean_squares(returns, table, int(returns.minutes[0] // 1_440))
    assert found[2] == pytest.approx((20 * 24**2 + 60 * 1) / 80)


def test_every_day_has_its_own_row() -> None:
    returns = returns_of(series(np.arange(1.0, 5.0), [300, DAY + 600, DAY + 900, 2 * DAY + 900]))
    table = np.array([np.full(24, day) for day in (1.0, 2.0, 3.0)])
    found = hours.mean_squares(returns, table, int(returns.minutes[0] // 1_440))
    assert found.tolist() == pytest.approx([1, 4, 4, 9])
