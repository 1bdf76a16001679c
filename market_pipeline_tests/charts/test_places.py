"""Where marks, names and ticks go: nothing covers another, and everything stays inside."""

import itertools

import numpy as np
import pytest

from market_pipeline.anomalies.anomaly import Kind
from market_pipeline.charts.backdrop import NAME_HEIGHT, named_events, names_height
from market_pipeline.charts.flagged import market_events
from market_pipeline.charts.marks import NAMES, SHAPES, Spot, spread
from market_pipeline.charts.palette import rgb
from market_pipeline.charts.panel import tick_names
from market_pipeline.charts.theme import THEMES
from market_pipeline.charts.time_axis import ticks
from market_pipeline_tests.charts.conftest import event, rows_of

DAY = 24.0 * 19_000


def test_every_kind_but_the_shaded_one_has_a_shape_a_colour_and_a_name_of_its_own():
    kinds = {kind.value for kind in Kind} - {"market_move"}
    assert set(SHAPES) == set(NAMES) == kinds
    assert len(set(SHAPES.values())) == len(set(NAMES.values())) == len(kinds)
    for theme in THEMES.values():
        assert set(theme.kinds) == kinds
        assert len(set(theme.kinds.values())) == len(kinds)


def luminance(colour):
    """Relative luminance by WCAG 2.2."""
    shares = np.array(rgb(colour)) / 255
    linear = np.where(shares <= 0.04045, shares / 12.92, ((shares + 0.055) / 1.055) ** 2.4)
    return float(linear @ [0.2126, 0.7152, 0.0722])


def contrast(one, other):
    light, dark = sorted((luminance(one), luminance(other)), reverse=True)
    return (light + 0.05) / (dark + 0.05)


@pytest.mark.parametrize("theme", THEMES.values(), ids=THEMES)
def test_words_and_marks_stand_out_from_the_paper_and_words_from_the_shade(theme):
    """4.5 for words and 3 for marks are what WCAG 2.2 asks for (1.4.3, 1.4.11)."""
    for words in (theme.ink, theme.faint):
        assert contrast(words, theme.paper) >= 4.5
    assert contrast(theme.event_ink, theme.paper) >= 4.5 and contrast(theme.event_ink, theme.event) >= 4.5
    for ground in (theme.paper, theme.three_sigma):
        assert min(contrast(colour, ground) for colour in theme.kinds.values()) >= 3
    assert contrast(theme.line, theme.one_sigma) >= 4.5


def test_marks_on_one_quote_are_stacked_away_from_the_line():
    up = spread([Spot(50, 40, 11)] * 3, [True] * 3, 142)
    down = spread([Spot(50, 80, 11)] * 3, [False] * 3, 142)
    assert [spot.y for spot in up] == sorted(spot.y for spot in up)
    assert [spot.y for spot in down] == sorted((spot.y for spot in down), reverse=True)
    assert up[0] == Spot(50, 40, 11) and down[0] == Spot(50, 80, 11)


def test_marks_never_touch_or_leave_the_panel_while_there_is_room():
    rng = np.random.default_rng(5)
    for _ in range(50):
        wanted = [Spot(x, y, size) for x, y, size in zip(*rng.uniform([[0], [-20], [9]], [[900], [170], [16]], (3, 40)))]
        placed = spread(wanted, rng.random(40) < 0.5, 142)
        assert not any(one.meets(other) for one, other in itertools.combinations(placed, 2))
        assert all(spot.size / 2 - 1e-9 <= spot.y <= 142 - spot.size / 2 + 1e-9 for spot in placed)
        assert [spot.x for spot in placed] == [spot.x for spot in wanted]


def test_more_marks_than_there_is_room_for_are_drawn_nevertheless():
    assert len(spread([Spot(50, 40, 11)] * 50, [True] * 50, 142)) == 50


def events_at(*minutes, **values):
    return market_events(rows_of(*(event(minute, minute + 30, id=str(minute), **values) for minute in minutes)))


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
    rows = [event(0, 30), event(30, 60, members="ETH,BTC,SOL"), event(60, 90, members="ADA,BTC,SOL", severity="critical")]
    events = market_events(rows_of(*rows))
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
