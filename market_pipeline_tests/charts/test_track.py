"""The track of a symbol: where its line breaks, what its band is, what is left when it is thinned."""

from collections.abc import Iterable, Sequence
from datetime import datetime

import numpy as np
import pytest

from market_pipeline.charts.track import Track, track_of
from market_pipeline_tests.builders import START, at
from market_pipeline_tests.charts.pictures import END, noisy, scores_of


def track(minutes: Iterable[float], prices: Sequence[float] | None = None, end: datetime = END) -> Track:
    times = list(minutes)
    return track_of(scores_of("BTC", times, prices or [100.0] * len(times)), "BTC", START, end)


def silences(found: Track) -> list[tuple[int, ...]]:
    """In minutes after the start."""
    first = track([0]).days[0]
    return [tuple(round(1440 * (edge - first)) for edge in pair) for pair in found.silences]


@pytest.mark.parametrize(
    ("missing", "expected"),
    [
        (range(0), []),
        (range(100, 110), []),
        (range(100, 115), [(95, 115)]),
        (range(100, 400), [(95, 400)]),
        (range(0, 200), [(0, 200)]),
        (range(1200, 1441), [(1195, 1440)]),
    ],
    ids=["none", "two quotes", "three quotes", "hours", "the beginning", "the end"],
)
def test_more_than_three_usual_intervals_without_a_quote_are_a_silence(
    missing: range, expected: list[tuple[int, int]]
) -> None:
    found = track(minute for minute in range(0, 1441, 5) if minute not in missing)
    assert silences(found) == expected


def test_hourly_history_that_meets_live_quotes_has_no_silence_but_its_own() -> None:
    hourly, live = list(range(0, 721, 60)), list(range(725, 1441, 5))
    assert silences(track([*hourly, *live])) == []
    assert silences(track([*live, *range(1500, 2881, 60)], end=at(2880)))[1:] == []
    without = [minute for minute in hourly if not 180 < minute < 480]
    assert silences(track([*without, *live])) == [(180, 480)]


def test_a_line_is_broken_at_a_silence_and_nowhere_else() -> None:
    found = track(minute for minute in range(0, 1441, 5) if not 480 < minute < 960)
    broken = found.broken(found.prices)
    assert np.isnan(broken).sum() == 1
    assert np.isnan(broken[480 // 5 + 1])
    assert np.isnan(found.broken(found.days)[480 // 5 + 1])


def test_the_band_is_the_price_before_and_so_many_expected_moves() -> None:
    found = track([0, 5, 10], [100.0, 102.0, 101.0])
    lower, upper = found.band(3)
    assert np.isnan(lower[0]) and np.isnan(upper[0])
    assert lower[1:].tolist() == pytest.approx([99.4, 101.388])
    assert upper[1:].tolist() == pytest.approx([100.6, 102.612])


def test_the_first_quote_after_a_silence_has_no_band() -> None:
    found = track(minute for minute in range(0, 1441, 5) if not 480 < minute < 960)
    assert np.flatnonzero(np.isnan(found.band(1)[0])).tolist() == [0, 97]


@pytest.mark.parametrize("count", [0, 1, 2])
def test_few_quotes_are_a_track_too(count: int) -> None:
    found = track(range(700, 700 + 5 * count, 5))
    assert len(found) == count
    assert len(found.broken(found.prices)) == count
    assert silences(found) == ([(0, 1440)] if count == 0 else [(0, 700), (695 + 5 * count, 1440)])


def test_thinned_it_keeps_the_extremes_and_the_edges_of_silences() -> None:
    scores = noisy("BTC", 3, count=20_000)
    quoted = np.ones(20_000, dtype=bool)
    quoted[9_000:9_100] = False
    full = track_of(scores.where(quoted), "BTC", START, at(100_000))
    thin = full.thinned(1000)
    assert 500 < len(thin) <= 1010
    assert (thin.prices.min(), thin.prices.max()) == (full.prices.min(), full.prices.max())
    assert (np.diff(thin.days) > 0).all()
    (before, after) = full.silences[0]
    assert before in thin.days and after in thin.days
    assert len(np.unique(thin.stretch)) == 2
    assert full.thinned(20_000) is full
