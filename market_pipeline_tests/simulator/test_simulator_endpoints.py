"""The endpoints over a real socket: what CoinGecko answers to good and to wrong questions.

The fixture `client` (see conftest) asks a keyless simulator whose clock stands at 12:00:30.
"""

from collections.abc import Callable
from datetime import timedelta

import pytest

from market_pipeline.core.clock import DAY, start_of_day
from market_pipeline.simulator.market_model import MarketModel
from market_pipeline_tests.simulator.client import Client, MovableClock

HOUR = timedelta(hours=1)
RANGE = "/coins/bitcoin/market_chart/range"
QUOTE = {"ids": "bitcoin", "vs_currencies": "usd"}


def test_ping_says_so(client: Client) -> None:
    assert client.get("/ping").json() == {"gecko_says": "(V3) To the Moon!"}


def test_simple_price_answers_all_coins_in_one_request(
    client: Client, clock: MovableClock, market: MarketModel
) -> None:
    prices = client.prices("bitcoin", "solana", "cardano")
    assert set(prices) == {"bitcoin", "solana", "cardano"}
    for coin_id, entry in prices.items():
        price, updated = market.quote(coin_id, clock.now) or pytest.fail("no quote")
        assert entry == {"usd": price, "last_updated_at": int(updated.timestamp())}


def test_a_quote_is_at_most_a_minute_old_and_stays_until_it_is_renewed(client: Client, clock: MovableClock) -> None:
    first = client.prices("bitcoin")
    assert 0 <= clock.now.timestamp() - first["bitcoin"]["last_updated_at"] < 60
    assert client.prices("bitcoin") == first
    clock.advance(minutes=2)
    renewed = client.prices("bitcoin")
    assert renewed["bitcoin"]["last_updated_at"] > first["bitcoin"]["last_updated_at"]
    assert renewed["bitcoin"]["usd"] != first["bitcoin"]["usd"]


def test_unknown_coins_and_currencies_are_left_out(client: Client) -> None:
    assert set(client.prices("bitcoin", "no-such-coin")) == {"bitcoin"}
    assert client.prices("no-such-coin") == {}
    assert client.get("/simple/price", ids="bitcoin", vs_currencies="xyz").json() == {"bitcoin": {}}


def test_a_space_after_the_comma_makes_a_coin_unknown(client: Client) -> None:
    assert set(client.prices("bitcoin", " ethereum")) == {"bitcoin"}


@pytest.mark.parametrize(
    ("precision", "coin_id", "decimals"),
    [(None, "bitcoin", 0), (None, "solana", 2), (None, "cardano", 4), ("0", "solana", 0), ("3", "solana", 3)],
)
def test_precision_decides_the_decimals(
    client: Client, precision: str | None, coin_id: str, decimals: int
) -> None:
    """Without it CoinGecko rounds: whole dollars, cents, four significant digits."""
    price = client.prices(coin_id, precision=precision)[coin_id]["usd"]
    exact = client.prices(coin_id)[coin_id]["usd"]
    assert price == pytest.approx(exact, abs=0.51 * 10**-decimals) and price != exact
    assert isinstance(price, int) == (decimals == 0)


WRONG: list[tuple[str, dict[str, str], int, str]] = [
    ("/simple/price", {}, 422, "Missing parameter ids"),
    ("/simple/price", {"ids": "bitcoin"}, 422, "Missing parameter vs_currencies"),
    ("/simple/price", {**QUOTE, "precision": "19"}, 422, "invalid precision"),
    (RANGE, {}, 422, "Missing parameter vs_currency"),
    (RANGE, {"vs_currency": "usd", "to": "1"}, 422, "Missing parameter from"),
    (RANGE, {"vs_currency": "usd", "from": "1"}, 422, "Missing parameter to"),
    (RANGE, {"vs_currency": "usd", "from": "1795435230000", "to": "1795435230000"}, 400, "invalid date"),
    (RANGE, {"vs_currency": "usd", "from": "2026-11-22", "to": "2026-11-23"}, 400, "invalid date"),
    (RANGE, {"vs_currency": "usd", "from": "nan", "to": "2"}, 400, "invalid date"),
    (RANGE, {"vs_currency": "xyz", "from": "1", "to": "2"}, 400, "invalid vs_currency"),
    ("/coins/nothing/market_chart/range", {"vs_currency": "usd"}, 404, "coin not found"),
    ("/no/such/path", {}, 404, "Incorrect path. Please check https://www.coingecko.com/api/"),
]


def test_a_wrong_request_gets_the_error_of_the_real_api(client: Client) -> None:
    for path, query, status, error in WRONG:
        answer = client.get(path, **query)
        assert (answer.status_code, answer.json()) == (status, {"error": error})


def test_a_day_back_from_now_is_five_minutely_with_the_present_quote_twice_and_out_of_order(
    client: Client, clock: MovableClock
) -> None:
    points = client.chart("bitcoin", clock.now - DAY, clock.now)
    times = [at for at, _ in points]
    assert 286 <= len(points) <= 291
    assert times[-1] < times[-2] and points[-1][1] == points[-2][1]
    assert times[:-1] == sorted(times[:-1])
    assert all(start <= at <= end for at in times for start, end in [(clock.now - DAY, clock.now)])


def test_points_are_not_on_round_minutes(client: Client, clock: MovableClock) -> None:
    times = [at for at, _ in client.chart("bitcoin", clock.now - 6 * HOUR, clock.now)]
    assert sum(at.second == 0 and at.microsecond == 0 for at in times) < len(times) / 4


def test_a_past_day_is_hourly(client: Client, clock: MovableClock) -> None:
    yesterday = start_of_day(clock.now.date()) - DAY
    times = [at for at, _ in client.chart("bitcoin", yesterday, yesterday + DAY)]
    assert [at.hour for at in times] == list(range(24))
    assert all(at.date() == yesterday.date() for at in times)
    assert {at.minute for at in times} != {0}


def test_today_up_to_a_midnight_to_come_ends_now(client: Client, clock: MovableClock) -> None:
    midnight = start_of_day(clock.now.date())
    points = client.chart("bitcoin", midnight, midnight + DAY)
    assert len(points) > 140
    assert max(at for at, _ in points) <= clock.now


@pytest.mark.parametrize(("days", "expected"), [(1, 288), (2, 48), (90, 2160), (91, 91), (365, 365)])
def test_the_window_decides_the_granularity(client: Client, clock: MovableClock, days: int, expected: int) -> None:
    """5 minutes for one day, hours to 90 days, days beyond; besides, one or two points of now."""
    assert expected - 1 <= len(client.chart("bitcoin", clock.now - days * DAY, clock.now)) <= expected + 3


def test_a_new_day_appears_in_daily_history_35_minutes_late(client: Client, clock: MovableClock) -> None:
    clock.now = start_of_day(clock.now.date()) + timedelta(minutes=30)
    times = [at for at, _ in client.chart("bitcoin", clock.now - 91 * DAY, clock.now)]
    assert times[-2] == start_of_day(clock.now.date() - DAY) and times[-1] <= clock.now



def test_the_three_arrays_have_the_same_times(client: Client) -> None:
    answer = client.get(RANGE, vs_currency="usd", from_="1795262400", to="1795435200").json()
    assert len(answer["prices"]) > 40
    times = [[at for at, _ in answer[name]] for name in ("prices", "market_caps", "total_volumes")]
    assert times[0] == times[1] == times[2]


def test_an_empty_window_is_answered_with_empty_arrays(client: Client, clock: MovableClock) -> None:
    now = int(clock.now.timestamp())
    answer = client.get(RANGE, vs_currency="usd", from_=now - 600, to=now - 600)
    assert answer.json() == {"prices": [], "market_caps": [], "total_volumes": []}


def test_history_older_than_365_days_is_refused_as_401_and_that_is_no_matter_of_keys(
    client: Client, clock: MovableClock
) -> None:
    now = int(clock.now.timestamp())
    answer = client.get(RANGE, vs_currency="usd", from_=now - 365 * 86_400 - 1, to=now - 360 * 86_400)
    assert answer.status_code == 401
    assert answer.json()["error"]["status"]["error_code"] == 10012


def test_the_pro_plan_has_all_history_and_its_usage(serve: Callable[..., Client]) -> None:
    client, key = serve(plan="pro"), {"x-cg-pro-api-key": "CG-x"}
    window = {"vs_currency": "usd", "from": "1577836800", "to": "1578009600"}
    assert 48 <= len(client.get(RANGE, headers=key, **window).json()["prices"]) <= 49
    assert client.get("/key", headers=key).json()["rate_limit_request_per_minute"] == 500


def test_usage_is_for_the_pro_plan_only(client: Client) -> None:
    answer = client.get("/key")
    assert (answer.status_code, answer.json()["status"]["error_code"]) == (401, 10005)


def test_the_list_names_every_coin_that_is_served(client: Client, market: MarketModel) -> None:
    listed = client.get("/coins/list").json()
    assert {coin["id"] for coin in listed} == set(market.coin_ids)
    assert {"id": "bitcoin", "symbol": "btc", "name": "Bitcoin"} in listed


def test_small_prices_come_with_an_exponent(serve: Callable[..., Client]) -> None:
    """Readers that expect plain decimals must meet what the real API sends."""
    client = serve(feed=MarketModel(["pepe"], start_prices={"pepe": 7e-6}))
    assert "e-0" in client.get("/simple/price", ids="pepe", vs_currencies="usd").text
