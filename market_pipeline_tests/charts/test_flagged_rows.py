"""Which flagged rows get a mark or a dot, and which are market events."""

import pytest

from market_pipeline.anomalies.anomaly import alarm_mask
from market_pipeline.charts.headline import headline_of, signed_percent
from market_pipeline.charts.marks import event_shades, marks_and_dots
from market_pipeline.charts.track import track_of
from market_pipeline_tests.charts.conftest import END, START, event, flagged, rows_of, scores_of


def test_members_of_an_event_are_no_alarms_but_the_event_is():
    rows = rows_of(event(10, 20, id="e", event_id="e"), flagged("BTC", 10, event_id="e"), flagged("BTC", 30))
    assert alarm_mask(rows).tolist() == [True, False, True]


def test_an_episode_has_one_mark_at_its_most_severe_row_and_dots_elsewhere():
    rows = rows_of(
        flagged("BTC", 0, episode_id="a", score=9.0),
        flagged("BTC", 5, episode_id="a", severity="critical", score=7.0),
        flagged("BTC", 10, episode_id="a", score=8.0),
        flagged("BTC", 10, "large_move", episode_id="b", score=50.0),
        flagged("BTC", 300, "large_move", event_id="e"),
        event(300, 310, members="BTC,ETH"),
    )
    marks, dots = marks_and_dots(rows)
    assert marks["id"].tolist() == ["BTC 5 jump", "BTC 10 large_move"], "the most severe first"
    assert dots["id"].tolist() == ["BTC 0 jump", "BTC 10 jump", "BTC 300 large_move"]


def test_no_rows_are_no_marks():
    marks, dots = marks_and_dots(rows_of())
    assert len(marks) == len(dots) == 0
    assert event_shades(rows_of()) == []


def test_an_event_that_goes_on_after_midnight_is_one():
    """The rows of one episode shade its whole time, and the most severe one names it."""
    rows = rows_of(
        event(1400, 1439, members="BTC,ETH,SOL", episode_id="a", severity="watch"),
        event(1440, 1500, members="SOL,ADA", episode_id="a", severity="critical", direction="up"),
        event(100, 130, members="DOT,ADA,ETH"),
    )
    early, late = event_shades(rows)
    assert early.name == "Market fall, 3 coins, alert"
    assert late.name == "Market rise, 4 coins, critical"
    assert (late.first, late.last) == pytest.approx((early.first + 1300 / 60, early.first + 1400 / 60))


def headline(*rows, prices=(100.0, 110.0), symbol="BTC"):
    table = rows_of(*rows)
    track = track_of(scores_of(symbol, [0, 1380][: len(prices)], prices), symbol, START, END)
    return headline_of(track, table.where(table["symbol"] == symbol), event_shades(table))


def test_the_headline_tells_price_change_volatility_and_alarms():
    found = headline()
    assert (found.price, found.change) == ("$110.00", "+10.0 % in 23 h")
    assert found.volatility == "volatility 60 % a year"
    assert found.alarms == ()
    assert headline(flagged("BTC", 5)).alarms == ("1 alarm",)
    three = [flagged("BTC", 5 * number, episode_id="a") for number in range(3)]
    assert headline(*three, flagged("BTC", 900)).alarms == ("4 alarms in 2 episodes",)


def test_a_market_event_is_told_of_every_member_and_of_nobody_else():
    rows = [event(0, 30, members="ETH,BTC"), flagged("BTC", 5, event_id="ETH 0 market_move")]
    assert headline(*rows).alarms == ("1 market event",)
    assert headline(*rows, symbol="ETH").alarms == ("1 market event",)
    assert headline(*rows, symbol="SOL").alarms == ()
    assert headline(*rows, flagged("BTC", 900)).alarms == ("1 alarm", "1 market event")


def test_a_headline_without_quotes_or_with_one_says_what_it_knows():
    assert headline(prices=()).price == ""
    one = headline(prices=(100.0,))
    assert (one.price, one.change) == ("$100.00", "")


@pytest.mark.parametrize(
    ("fraction", "text"),
    [(0.0512, "+5.12 %"), (-0.152, "−15.2 %"), (12.5, "+1,250 %"), (0.0, "+0.00 %"), (-1e-6, "0.00 %")],
)
def test_a_change_has_its_sign(fraction, text):
    assert signed_percent(fraction).removeprefix("−" if fraction == -1e-6 else "") == text
