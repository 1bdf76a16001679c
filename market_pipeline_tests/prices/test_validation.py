"""Which points are quotes, which are refused, and why."""

import math
from collections.abc import Sequence
from datetime import date, datetime, timedelta, timezone
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from market_pipeline.coingecko.models import RawPoint
from market_pipeline.core.symbols import Coin
from market_pipeline.prices.quotes import FUTURE_TOLERANCE, Quote, Reason, Refusal, Source
from market_pipeline.prices.validation import EARLIEST, MOST_OF_A_KIND, Examined, examine

NOW = datetime(2026, 11, 23, 12, tzinfo=timezone.utc)
TODAY = NOW.date()
BITCOIN = Coin("BTC", "bitcoin")
SECONDS = NOW.timestamp()
DAY = (datetime(2026, 11, 22, tzinfo=timezone.utc), datetime(2026, 11, 23, tzinfo=timezone.utc))


def point(price: object, timestamp: object = SECONDS, payload: str = "{}") -> RawPoint:
    return RawPoint("bitcoin", price, timestamp, payload)


def live(*points: RawPoint, days: Sequence[date] = (TODAY,)) -> Examined:
    return examine(points, coin=BITCOIN, days=days, now=NOW, source=Source.LIVE)


def history(*points: RawPoint) -> Examined:
    return examine(
        points, coin=BITCOIN, days=[DAY[0].date()], now=NOW, source=Source.HISTORY, window=DAY
    )


def only_refusal(examined: Examined) -> Refusal:
    assert examined.quotes == ()
    assert len(examined.refusals) == 1
    return examined.refusals[0]


def test_a_good_point_is_a_quote_at_its_own_time() -> None:
    examined = live(point(48_000.5, SECONDS - 30.25))
    moment = NOW - timedelta(seconds=30.25)
    assert examined == Examined((Quote("BTC", "bitcoin", moment, 48_000.5, Source.LIVE, NOW),), (), 0)


@pytest.mark.parametrize("price", [1, 7.682e-05, 5e-324, 2**70, 1e299])
def test_every_positive_finite_number_is_a_price(price: float) -> None:
    assert live(point(price)).quotes[0].price == float(price)


@pytest.mark.parametrize(
    ("price", "reason", "shown"),
    [
        (None, Reason.MISSING_PRICE, "no price"),
        (True, Reason.NOT_A_NUMBER, "True"),
        ("48000", Reason.NOT_A_NUMBER, "48000"),
        ([1.0], Reason.NOT_A_NUMBER, "[1.0]"),
        ({"usd": 1}, Reason.NOT_A_NUMBER, "usd"),
        (math.nan, Reason.NOT_A_NUMBER, "nan"),
        (math.inf, Reason.NOT_A_NUMBER, "inf"),
        (-math.inf, Reason.NOT_A_NUMBER, "-inf"),
        (1e300, Reason.NOT_A_NUMBER, "1e+300"),
        (10**400, Reason.NOT_A_NUMBER, "more than 300 digits"),
        (-(10**400), Reason.NOT_A_NUMBER, "more than 300 digits"),
        (-0.01, Reason.NEGATIVE_PRICE, "-0.01"),
        (0, Reason.ZERO_PRICE, "0"),
        (-0.0, Reason.ZERO_PRICE, "-0.0"),
    ],
)
def test_a_bad_price_is_refused_with_its_reason(price: object, reason: Reason, shown: str) -> None:
    refusal = only_refusal(live(point(price, payload='{"some": "json"}')))
    assert (refusal.reason, refusal.timestamp, refusal.day) == (reason, NOW, TODAY)
    assert shown in refusal.detail and refusal.detail.endswith(".")
    assert (refusal.payload, refusal.source, refusal.refused_at) == ('{"some": "json"}', Source.LIVE, NOW)


@pytest.mark.parametrize(
    ("timestamp", "reason"),
    [
        (None, Reason.MISSING_TIMESTAMP),
        (True, Reason.BAD_TIMESTAMP),
        ("2026-11-23", Reason.BAD_TIMESTAMP),
        ([SECONDS], Reason.BAD_TIMESTAMP),
        (math.nan, Reason.BAD_TIMESTAMP),
        (math.inf, Reason.BAD_TIMESTAMP),
        (10**400, Reason.BAD_TIMESTAMP),
        (1e308, Reason.BAD_TIMESTAMP),
        (SECONDS * 1000, Reason.BAD_TIMESTAMP),
        (0, Reason.BAD_TIMESTAMP),
        (-1e15, Reason.BAD_TIMESTAMP),
        (EARLIEST.timestamp() - 1, Reason.BAD_TIMESTAMP),
    ],
)
def test_a_time_that_cannot_be_read_is_refused_under_the_last_day(timestamp: object, reason: Reason) -> None:
    refusal = only_refusal(live(point(1.0, timestamp), days=(TODAY, TODAY - timedelta(days=1))))
    assert (refusal.reason, refusal.timestamp, refusal.day) == (reason, None, TODAY)


def test_a_source_may_be_a_minute_ahead_and_no_more() -> None:
    assert live(point(1.0, SECONDS + 60)).refusals == ()
    refusal = only_refusal(live(point(1.0, SECONDS + 61)))
    assert (refusal.reason, refusal.timestamp) == (Reason.FUTURE_TIMESTAMP, NOW + timedelta(seconds=61))
    assert "61 s in the future" in refusal.detail
    assert FUTURE_TOLERANCE == timedelta(seconds=60)


@pytest.mark.parametrize(("ahead", "reason"), [
    (3600 - 90, Reason.CLOCK_BEHIND), (3660, Reason.CLOCK_BEHIND), (3661, Reason.FUTURE_TIMESTAMP),
])
def test_what_is_in_the_future_for_a_slow_clock_alone_is_refused_for_the_clock(ahead: int, reason: Reason) -> None:
    behind = timedelta(hours=1)
    examined = examine(
        [point(1.0, SECONDS + ahead)], coin=BITCOIN, days=[TODAY], now=NOW, source=Source.LIVE, behind=behind
    )
    refusal = only_refusal(examined)
    assert refusal.reason is reason
    assert ("this machine's clock, which is 60 min behind" in refusal.detail) is (reason is Reason.CLOCK_BEHIND)


def test_an_old_live_price_belongs_to_its_own_day() -> None:
    quote = live(point(1.0, SECONDS - 133 * 86_400)).quotes[0]
    assert quote.timestamp.date() == TODAY - timedelta(days=133)


@pytest.mark.parametrize(("edge", "beyond"), [(DAY[0], -0.001), (DAY[1], 0.001)])
def test_a_window_includes_its_ends_and_what_is_outside_is_refused_under_the_day_asked_for(
    edge: datetime, beyond: float
) -> None:
    assert len(history(point(1.0, edge.timestamp())).quotes) == 1
    refusal = only_refusal(history(point(1.0, edge.timestamp() + beyond)))
    assert (refusal.reason, refusal.day) == (Reason.OUTSIDE_WINDOW, DAY[0].date())
    assert "2026-11-22T00:00:00Z to 2026-11-23T00:00:00Z" in refusal.detail


def test_a_refusal_is_filed_under_the_day_it_claims_if_that_was_asked_for() -> None:
    yesterday = TODAY - timedelta(days=1)
    refusal = only_refusal(live(point(-1.0, SECONDS - 86_400), days=(yesterday, TODAY)))
    assert refusal.day == yesterday


def test_of_two_points_of_one_time_the_later_wins_and_a_difference_is_logged(
    caplog: pytest.LogCaptureFixture,
) -> None:
    examined = live(point(1.0), point(1.0), point(3.0), point(4.0))
    assert ([quote.price for quote in examined.quotes], examined.merged) == ([4.0], 3)
    (message,) = caplog.messages
    assert all(part in message for part in ("BTC", "2026-11-23T12:00:00Z", "1.0 and 3.0", "1 other"))


def test_of_refusals_of_a_kind_the_first_are_kept_and_the_rest_counted() -> None:
    points = [point(None, payload=str(number)) for number in range(5_000)]
    refusals = live(*points, point(-1.0)).refusals
    assert [refusal.reason for refusal in refusals] == [Reason.MISSING_PRICE] * 10 + [Reason.NEGATIVE_PRICE]
    assert refusals[9].detail == "CoinGecko sent no price. The answer held 4,990 more of the same kind."
    assert refusals[9].id == live(points[9]).refusals[0].id, "it is the same refusal whatever else came"


def test_an_answer_leaves_so_many_refusals_at_most() -> None:
    days = [TODAY - timedelta(days=back) for back in range(200)]
    spread = [point(-1.0, SECONDS - 86_400 * back - number) for back in range(200) for number in range(20)]
    refusals = live(*spread, days=days).refusals
    assert 1_000 <= len(refusals) < 1_200 and {refusal.day for refusal in refusals} == set(days)


def test_a_payload_is_bounded() -> None:
    assert len(only_refusal(live(point(None, payload="x" * 9_000))).payload) == 2_000


ANYTHING = st.recursive(
    st.none() | st.booleans() | st.integers() | st.integers(-(10**400), 10**400) | st.floats() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=6,
)
NEARLY = st.floats(SECONDS - 1e6, SECONDS + 1e3) | st.integers(int(SECONDS) - 100, int(SECONDS) + 100)


@settings(max_examples=60)
@given(
    st.lists(st.tuples(st.floats(0.1, 1e6) | ANYTHING, NEARLY | ANYTHING), max_size=MOST_OF_A_KIND),
    st.sampled_from([None, DAY]),
)
def test_whatever_comes_each_point_is_one_quote_or_one_refusal(
    values: list[tuple[Any, Any]], window: tuple[datetime, datetime] | None
) -> None:
    points = [point(price, timestamp) for price, timestamp in values]
    examined = examine(points, coin=BITCOIN, days=[TODAY], now=NOW, source=Source.HISTORY, window=window)
    assert len(examined.quotes) + len(examined.refusals) + examined.merged == len(points)
    times = [quote.timestamp for quote in examined.quotes]
    assert times == sorted(set(times))
    for quote in examined.quotes:
        assert 0 < quote.price < 1e300
        assert EARLIEST <= quote.timestamp <= NOW + FUTURE_TOLERANCE
        assert window is None or window[0] <= quote.timestamp <= window[1]
    for refusal in examined.refusals:
        assert refusal.detail.isascii() and len(refusal.detail) < 200 and refusal.id
