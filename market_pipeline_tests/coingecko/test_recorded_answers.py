"""Answers that CoinGecko really gave become the right points or the right error.

The recordings lie beside the checkout and are not part of the project.
"""

import json
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import pytest
from requests.structures import CaseInsensitiveDict

from market_pipeline.coingecko.answers import Answer, read_answer
from market_pipeline.coingecko.errors import Banned, CoinGeckoError, RateLimited, RequestRefused, ServerFailed
from market_pipeline.coingecko.models import chart_points, price_points
from market_pipeline.prices.quotes import Reason, Source
from market_pipeline.prices.validate import examine

RECORDED = Path(__file__).parents[3] / "shared" / "coingecko" / "recorded"

pytestmark = pytest.mark.skipif(not RECORDED.is_dir(), reason="the recorded answers are not there")

NOW = datetime(2025, 7, 25, 14, 53, 30, tzinfo=timezone.utc)


def recorded(number: str) -> Answer:
    response = json.loads(next(RECORDED.glob(f"{number}-*.json")).read_text())["response"]
    headers = CaseInsensitiveDict(response["headers"] or {})
    return Answer("/recorded", 1, response["status"], headers, response["body_text"].encode(), NOW)


def history(number: str) -> Any:
    points = chart_points(read_answer(recorded(number))["prices"], "bitcoin")
    return points, examine(points, symbol="BTC", days=[NOW.date()], now=NOW, source=Source.HISTORY)


@pytest.mark.parametrize(
    ("number", "kind", "status", "code", "wait"),
    [
        ("04", RequestRefused, 422, None, None),
        ("14", ServerFailed, 500, None, None),
        ("34", RateLimited, 429, 429, 60),
        ("36", RateLimited, 429, 429, 30),
        ("38", RequestRefused, 401, 10012, None),
        ("39", RequestRefused, 400, 10011, None),
        ("43", RequestRefused, 403, 403, None),
        ("48", Banned, 403, None, None),
        ("50", ServerFailed, 500, None, None),
    ],
)
def test_recorded_errors_are_classified(
    number: str, kind: type[CoinGeckoError], status: int, code: int | None, wait: float | None
) -> None:
    with pytest.raises(kind) as caught:
        read_answer(recorded(number))
    assert (caught.value.status, caught.value.error_code) == (status, code)
    assert getattr(caught.value, "retry_after", None) == wait


def test_a_coin_that_was_silently_dropped_is_a_refusal_and_not_a_crash() -> None:
    answer = price_points(read_answer(recorded("03")), ("bitcoin", "ethereum", "litecoin"))
    assert [point.price is None for point in answer.points] == [False, True, True]
    assert answer.unasked == ()


def test_a_price_in_scientific_notation_is_a_number() -> None:
    document = read_answer(recorded("19"))
    assert sorted(entry["eur"] for entry in document.values())[0] == 7.682e-05


def test_points_that_come_out_of_order_are_sorted_and_none_is_lost() -> None:
    points, examined = history("08")
    times = [point.timestamp for point in points]
    assert times != sorted(times)
    assert len(examined.quotes) == len(points) == 288
    accepted = [quote.timestamp for quote in examined.quotes]
    assert accepted == sorted(accepted)


def test_a_month_of_hourly_points_is_accepted_whole() -> None:
    points, examined = history("09")
    assert (len(examined.quotes), examined.refusals, examined.merged) == (722, (), 0)
    assert examined.quotes[-1].timestamp.year == 2021


def test_an_empty_history_is_no_point_and_no_error() -> None:
    assert history("51")[0] == ()


def test_a_price_without_its_time_is_refused() -> None:
    """The recorded request did not ask for the time, so its answer is that of a server that forgets it."""
    answer = price_points(read_answer(recorded("01")), ("bitcoin",))
    examined = examine(answer.points, symbol="BTC", days=[NOW.date()], now=NOW, source=Source.LIVE)
    assert [refusal.reason for refusal in examined.refusals] == [Reason.MISSING_TIMESTAMP]
