"""Where marks, names and ticks go: nothing covers another, and everything stays inside."""

import itertools

import numpy as np
import pytest

from market_pipeline.charts.axes import NAME_HEIGHT, named_events, names_height, tick_names, ticks
from market_pipeline.charts.marks import Spot, event_shades, spread
from market_pipeline_tests.charts.conftest import event, rows_of

DAY = 24.0 * 19_000


def test_marks_on_one_quote_are_stacked_away_from_the_line():
    up = spread([Spot(50, 40, 11)] * 3, [True] * 3, 142)
    down = spread([Spot(50, 80, 11)] * 3, [False] * 3, 142)
    assert [spot.y for spot in up] == sorted(spot.y for spot in up)
    assert [spot.y for spot in down] == sorted((spot.y for spot in down), reverse=True)
    assert up[0] == Spot(50, 40, 11) and down[0] == Spot(50, 80, 11)


def test_marks_never_touch_or_leave_the_panel_while_there_is_room():
    rng = np.random.default_rng(5)
    for _ in range(50):
        lowest, highest = [[0], [-20], [9]], [[900], [170], [16]]
        wanted = [Spot(*numbers) for numbers in zip(*rng.uniform(lowest, highest, (3, 40)))]
        placed = spread(wanted, rng.random(40) < 0.5, 142)
        assert not any(one.meets(other) for one, other in itertools.combinations(placed, 2))
        assert all(spot.size / 2 - 1e-9 <= spot.y <= 142 - spot.size / 2 + 1e-9 for spot in placed)
        assert [spot.x for spot in placed] == [spot.x for spot in wanted]


def test_more_marks_than_there_is_room_for_are_drawn_nevertheless():
    assert len(spread([Spot(50, 40, 11)] * 50, [True] * 50, 142)) == 50


def events_at(*minutes, **values):
    rows = [event(minute, minute + 30, id=str(minute), **values) for minute in minutes]
    return event_shades(rows_of(*rows))


def span_of(events):
    return events[0].first - 1, events[0].first + 23


def test_names_of_events_use_a_second_row_before_one_is_left_out():
    events = events_at(0, 60, 120, 900)
    named = named_events(events, 900, span_of(events))
    assert [row for _, (row, _) in named] == [0, 1, 0]
    assert names_height(events, 900, span_of(events)) == 2 * NAME_HEIGHT
    assert names_height(events_at(0), 900, span_of(events)) == NAME_HEIGHT
    assert names_height([], 900, span_of(events)) == 0


def test_the_most_severe_event_is_named_first():
    rows = [event(0, 30), event(30, 60, members="ETH,BTC,SOL"), event(60, 90, members="ADA,BTC,SOL")]
    events = event_shades(rows_of(*rows[:2], {**rows[2], "severity": "critical"}))
    named = named_events(events, 900, span_of(events))
    assert named[0][0].severity == "critical" and len(named) == 2


def test_a_name_at_the_edge_stays_in_the_picture():
    events = events_at(0, 1320)
    for found, (_, left) in named_events(events, 900, span_of(events)):
        assert 0 <= left <= 900 - 6 * len(found.name)


@pytest.mark.parametrize("hours", [0.2, 1, 5, 24, 48, 24 * 7, 24 * 30, 24 * 365, 24 * 365 * 9])
def test_ticks_are_few_round_and_named_apart(hours):
    places, names = ticks(DAY + 0.123, DAY + 0.123 + hours)
    assert 2 <= len(places) <= 10
    assert len(set(names)) == len(names) or hours == 48
    assert all(DAY + 0.123 <= place <= DAY + 0.123 + hours for place in places)


def test_midnight_is_named_by_its_date_and_other_times_by_the_clock():
    places, names = ticks(19_358 * 24 + 18, 19_359 * 24 + 6)
    assert dict(zip(names, places))["2 Jan"] == 19_359 * 24
    assert "22:00" in names or "21:00" in names


@pytest.mark.parametrize(
    ("values", "names"),
    [
        ([0.38, 0.4, 0.42], ["0.38", "0.40", "0.42"]),
        ([16_000.0, 17_000.0], ["16,000", "17,000"]),
        ([1_000_000.0, 1_250_000.0], ["1,000,000", "1,250,000"]),
        ([1e-9, 2e-9], ["1e-09", "2e-09"]),
        ([1e12, 2e12], ["1e+12", "2e+12"]),
        ([], []),
    ],
)
def test_prices_of_the_axis_have_the_same_decimals(values, names):
    assert tick_names(values) == names
