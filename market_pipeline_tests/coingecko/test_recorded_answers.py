"""Answers that CoinGecko really gave become the right points or the right error.

The recordings lie beside the checkout and are not part of the project. Each has its expectation here.
"""

import json
from collections.abc import Callable
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import pytest
from requests.structures import CaseInsensitiveDict

from market_pipeline.coingecko.answers import HttpAnswer, read_answer
from market_pipeline.coingecko.errors import Banned, CoinGeckoError, RateLimited, RequestRefused, ServerFailed
from market_pipeline.coingecko.models import ListedCoin, chart_points, listed_coins, price_points
from market_pipeline.core.symbols import Coin
from market_pipeline.prices.quotes import Reason, Source
from market_pipeline.prices.validation import Examined, examine

RECORDED = Path(__file__).parents[3] / "shared" / "coingecko" / "recorded"

pytestmark = pytest.mark.skipif(not RECORDED.is_dir(), reason="the recorded answers are not there")

NOW = datetime(2025, 7, 25, 14, 53, 30, tzinfo=timezone.utc)
FILES = sorted(file.stem for file in RECORDED.glob("*.json"))


def recorded(name: str) -> HttpAnswer:
    response = json.loads((RECORDED / f"{name}.json").read_text(encoding="utf-8"))["response"]
    headers = CaseInsensitiveDict(response["headers"] or {})
    return HttpAnswer("/recorded", 1, response["status"], headers, response["body_text"].encode(), NOW)


def error(
    kind: type[CoinGeckoError], status: int, code: int | None, wait: float | None, words: str
) -> Callable[[HttpAnswer], None]:
    def check(answer: HttpAnswer) -> None:
        with pytest.raises(kind) as caught:
            read_answer(answer)
        assert (caught.value.status, caught.value.error_code) == (status, code)
        assert getattr(caught.value, "retry_after", None) == wait
        assert words in caught.value.verdict

    return check


def history(answer: HttpAnswer) -> tuple[list[Any], Examined]:
    """The times of the points as they came, and what is made of the points."""
    points = chart_points(read_answer(answer)["prices"], "bitcoin")
    examined = examine(points, coin=Coin("BTC", "bitcoin"), days=[NOW.date()], now=NOW, source=Source.HISTORY)
    return [point.timestamp for point in points], examined


def a_price_without_its_time_is_refused(answer: HttpAnswer) -> None:
    """The recorded request did not ask for the time, so its answer is that of a server that forgets it."""
    (point,) = price_points(read_answer(answer), ("bitcoin",)).points
    assert point.price == 49013
    examined = examine([point], coin=Coin("BTC", "bitcoin"), days=[NOW.date()], now=NOW, source=Source.LIVE)
    assert [refusal.reason for refusal in examined.refusals] == [Reason.MISSING_TIMESTAMP]


def a_coin_that_was_silently_dropped_is_a_point_without_a_price(answer: HttpAnswer) -> None:
    points = price_points(read_answer(answer), ("bitcoin", "ethereum", "litecoin"))
    assert [point.price for point in points.points] == [49357, None, None]
    assert points.unasked == ()


def points_that_come_out_of_order_are_sorted_and_none_is_lost(answer: HttpAnswer) -> None:
    times, examined = history(answer)
    assert times != sorted(times)
    accepted = [quote.timestamp for quote in examined.quotes]
    assert len(accepted) == len(times) == 288
    assert accepted == sorted(accepted)
    assert examined.quotes[0].price == 50675.258073370765


def a_month_of_hourly_points_is_accepted_whole(answer: HttpAnswer) -> None:
    _, examined = history(answer)
    assert (len(examined.quotes), examined.refusals, examined.merged) == (722, (), 0)
    assert examined.quotes[-1].timestamp.year == 2021


def daily_points_end_with_one_that_is_not_at_midnight(answer: HttpAnswer) -> None:
    """Today is there twice: once at midnight, once now; both are prices, at their own times."""
    _, examined = history(answer)
    assert (len(examined.quotes), examined.refusals, examined.merged) == (91, (), 0)
    *days, now = [quote.timestamp for quote in examined.quotes]
    assert {day.time().isoformat() for day in days} == {"00:00:00"}
    assert days[-1].date() == now.date() and now.isoformat() == "2021-05-15T14:39:54+00:00"


def a_price_in_scientific_notation_is_a_number(answer: HttpAnswer) -> None:
    assert sorted(entry["eur"] for entry in read_answer(answer).values()) == [7.682e-05, 0.00832576]


def coins_of_another_endpoint_are_read_by_their_names(answer: HttpAnswer) -> None:
    """It shares id, symbol and name with the list of coins; its numbers are none of our business."""
    coins = listed_coins(read_answer(answer))
    assert len(coins) == 8
    assert coins[0] == ListedCoin("bitcoin", "btc", "Bitcoin")
    assert "02-token" in {coin.coin_id for coin in coins}


def an_empty_history_is_no_point_and_no_error(answer: HttpAnswer) -> None:
    assert history(answer) == ([], Examined((), (), 0))


EXPECTED: dict[str, Callable[[HttpAnswer], None]] = {
    "01-simple-price-one": a_price_without_its_time_is_refused,
    "03-simple-price-multi-currency": a_coin_that_was_silently_dropped_is_a_point_without_a_price,
    "04-simple-price-missing-vs-currencies-422": error(RequestRefused, 422, None, None, "parameter"),
    "08-market-chart-days1-5min": points_that_come_out_of_order_are_sorted_and_none_is_lost,
    "09-market-chart-days30-hourly": a_month_of_hourly_points_is_accepted_whole,
    "10-market-chart-days90-interval-daily": daily_points_end_with_one_that_is_not_at_midnight,
    "14-ohlc-missing-params-500": error(ServerFailed, 500, None, None, "the next run tries again"),
    "19-simple-price-scientific-notation": a_price_in_scientific_notation_is_a_number,
    "28-coins-markets-stale-and-null-2020": coins_of_another_endpoint_are_read_by_their_names,
    "34-error-429-retry-after-60": error(RateLimited, 429, 429, 60, "asks to wait 60 s"),
    "36-error-429-demo-x-ratelimit": error(RateLimited, 429, 429, 30, "asks to wait 30 s"),
    "38-error-401-10012-range": error(RequestRefused, 401, 10012, None, "The key is not the problem"),
    "39-error-400-10011-demo-key-on-pro-host": error(
        RequestRefused, 400, 10011, None, "Demo key on the Pro host"
    ),
    "43-error-403-descriptive-user-agent": error(RequestRefused, 403, 403, None, "without a User-Agent"),
    "48-error-cloudflare-access-denied-html": error(Banned, 403, None, None, "wait an hour"),
    "50-error-500-rails-html": error(ServerFailed, 500, None, None, "the next run tries again"),
    "51-market-chart-empty-arrays": an_empty_history_is_no_point_and_no_error,
}


@pytest.mark.parametrize("name", FILES)
def test_a_recorded_answer_becomes_what_is_expected_of_it(name: str) -> None:
    """A file without an expectation fails: it must be examined."""
    EXPECTED[name](recorded(name))


def test_no_expectation_is_about_a_file_that_is_gone() -> None:
    assert set(EXPECTED) == set(FILES)
