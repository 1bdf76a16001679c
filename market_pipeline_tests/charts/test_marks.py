"""Flagged rows on a panel: marks and dots, event shades and their names, headlines; nothing covers another."""

import itertools
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pytest

from market_pipeline.anomalies.anomaly import alarm_mask
from market_pipeline.charts.axes import NAME_HEIGHT, named_events, names_height
from market_pipeline.charts.headline import Headline, change_drawn, headline_of
from market_pipeline.charts.marks import EventShade, Spot, event_shades, marks_and_dots, spread
from market_pipeline.charts.track import track_of
from market_pipeline_tests.builders import START, anomalies_of, anomaly_row
from market_pipeline_tests.charts.pictures import END, event, scores_of


def test_members_of_an_event_are_no_alarms_but_the_event_is() -> None:
    shade = event(10, 20)
    rows = [shade, anomaly_row("BTC", 10, event_id=shade["id"]), anomaly_row("BTC", 30)]
    assert alarm_mask(anomalies_of(*rows)).tolist() == [True, False, True]


def test_an_episode_has_one_mark_at_its_most_severe_row_and_dots_elsewhere() -> None:
    rows = [
        anomaly_row("BTC", 0, episode_id="a", score=9.0),
        anomaly_row("BTC", 5, episode_id="a", severity="critical", score=7.0),
        anomaly_row("BTC", 10, episode_id="a", score=8.0),
        anomaly_row("BTC", 10, "large_move", episode_id="b", score=50.0),
        anomaly_row("BTC", 300, "large_move", event_id="e"),
        event(300, 310, members="BTC,ETH"),
    ]
    marks, dots = marks_and_dots(anomalies_of(*rows))
    ids = [row["id"] for row in rows]
    assert marks["id"].tolist() == [ids[1], ids[3]], "the most severe first"
    assert dots["id"].tolist() == [ids[0], ids[2], ids[4]]
    assert [len(none) for none in marks_and_dots(anomalies_of())] == [0, 0]


def test_an_event_that_goes_on_after_midnight_is_one() -> None:
    """The rows of one episode shade its whole time, and the most severe one names it."""
    rows = [
        event(1400, 1439, members="BTC,ETH,SOL", episode_id="a", severity="watch"),
        event(1440, 1500, members="SOL,ADA", episode_id="a", severity="critical", market_move=0.063),
        event(100, 130, members="DOT,ADA,ETH"),
    ]
    early, late = event_shades(anomalies_of(*rows))
    assert early.name == "Market fall, 3 coins, alert"
    assert late.name == "Market +6.3%, 4 coins, critical"
    assert (late.first, late.last) == pytest.approx((early.first + 1300 / 1440, early.first + 1400 / 1440))
    assert event_shades(anomalies_of(*rows), (late.last - 1e-3, late.last + 1)) == [late]
    assert event_shades(anomalies_of()) == []


def headline(*rows: Mapping[str, Any], prices: Sequence[float] = (100.0, 110.0), symbol: str = "BTC") -> Headline:
    table = anomalies_of(*rows)
    track = track_of(scores_of(symbol, [0, 1380][: len(prices)], prices), symbol, START, END)
    return headline_of(track, table.where(table["symbol"] == symbol), event_shades(table), change_drawn(track))


def test_the_headline_has_price_change_volatility_and_alarms() -> None:
    assert headline() == Headline("$110.00", "+10% in 23 h", "volatility 60% a year", ())
    assert headline(anomaly_row("BTC", 5)).alarms == ("1 alarm",)
    three = [anomaly_row("BTC", 5 * number, episode_id="a") for number in range(3)]
    assert headline(*three, anomaly_row("BTC", 900)).alarms == ("4 alarms in 2 episodes",)
    assert headline(prices=()) == Headline("", "", "", ())
    assert headline(prices=(100.0,)) == Headline("$100.00", "", "volatility 60% a year", ())


def test_a_market_event_counts_for_every_member_and_for_no_other_coin() -> None:
    shade = event(0, 30, members="ETH,BTC")
    rows = [shade, anomaly_row("BTC", 5, event_id=shade["id"])]
    assert headline(*rows).alarms == headline(*rows, symbol="ETH").alarms == ("1 market event",)
    assert headline(*rows, symbol="SOL").alarms == ()
    assert headline(*rows, anomaly_row("BTC", 900)).alarms == ("1 alarm", "1 market event")


def test_marks_on_one_quote_are_stacked_away_from_the_line() -> None:
    up = spread([Spot(50, 40, 11)] * 3, [True] * 3, 142)
    down = spread([Spot(50, 80, 11)] * 3, [False] * 3, 142)
    assert [spot.y for spot in up] == sorted(spot.y for spot in up)
    assert [spot.y for spot in down] == sorted((spot.y for spot in down), reverse=True)
    assert up[0] == Spot(50, 40, 11) and down[0] == Spot(50, 80, 11)
    assert len(spread([Spot(50, 40, 11)] * 50, [True] * 50, 142)) == 50, "drawn also without room"


def test_marks_never_touch_or_leave_the_panel_while_there_is_room() -> None:
    rng = np.random.default_rng(5)
    for _ in range(50):
        numbers = rng.uniform([[0], [-20], [9]], [[900], [170], [16]], (3, 40))
        wanted = [Spot(*each) for each in numbers.T.tolist()]
        placed = spread(wanted, (rng.random(40) < 0.5).tolist(), 142)
        assert not any(one.meets(other) for one, other in itertools.combinations(placed, 2))
        assert all(spot.size / 2 - 1e-9 <= spot.y <= 142 - spot.size / 2 + 1e-9 for spot in placed)
        assert [spot.x for spot in placed] == [spot.x for spot in wanted]


def events_at(*minutes: float) -> list[EventShade]:
    return event_shades(anomalies_of(*(event(minute, minute + 30, id=str(minute)) for minute in minutes)))


def span_of(events: list[EventShade]) -> tuple[float, float]:
    return events[0].first - 1 / 24, events[0].first + 23 / 24


def test_names_of_events_use_a_second_row_before_one_is_left_out() -> None:
    events = events_at(0, 60, 120, 900)
    span = span_of(events)
    assert [row for _, (row, _) in named_events(events, 900, span)] == [0, 1, 0]
    heights = [names_height(some, 900, span) for some in (events, events[:1], [])]
    assert heights == [2 * NAME_HEIGHT, NAME_HEIGHT, 0]


def test_the_most_severe_event_is_named_first_and_names_at_the_edge_stay_in_the_picture() -> None:
    rows = [event(0, 30), event(30, 60, members="ETH,BTC,SOL"), event(60, 90, "ADA,BTC,SOL", severity="critical")]
    events = event_shades(anomalies_of(*rows))
    named = named_events(events, 900, span_of(events))
    assert named[0][0].severity == "critical" and len(named) == 2
    edges = events_at(0, 1320)
    for found, (_, left) in named_events(edges, 900, span_of(edges)):
        assert 0 <= left <= 900 - 6 * len(found.name)
