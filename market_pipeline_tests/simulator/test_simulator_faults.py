"""Every fault, met over a real socket."""

import threading
import time
from collections.abc import Callable
from contextlib import nullcontext, suppress
from datetime import timedelta
from typing import Any

import pytest
import requests

from market_pipeline.core.clock import DAY
from market_pipeline.simulator.faults import KINDS, LISTING_ONLY, Fault
from market_pipeline_tests.builders import wait_for
from market_pipeline_tests.simulator.client import Client, MovableClock

HOUR = timedelta(hours=1)
RANGE = "/coins/bitcoin/market_chart/range"
PRO = {"x-cg-pro-api-key": "CG-canary"}
# The two days before the simulator's clock.
WINDOW = {"vs_currency": "usd", "from": "1795262400", "to": "1795435200"}


STATUSES: list[tuple[int, int | None, str, str]] = [
    (400, 10010, "application/json", '"error_code":10010'),
    (400, 10011, "application/json", '"error_code":10011'),
    (400, 10012, "application/json", "allowed limit (10 addresses)"),
    (401, None, "application/json", '{"status":{"error_code":10002'),
    (401, 10005, "application/json", "limited to PRO API subscribers"),
    (401, 10012, "application/json", '{"error":{"status":{"timestamp":"2026-11-23T12:00:30.000+00:00"'),
    (403, None, "application/json", "descriptive User-Agent"),
    (403, 1020, "text/html", "Access denied"),
    (404, None, "application/json", '{"error":"coin not found"}'),
    (408, None, "application/json", '{"error":"Request Timeout"}'),
    (429, None, "application/json", "exceeded the Rate Limit"),
    (429, 1015, "text/plain", "error code: 1015"),
    (500, None, "application/json", '{"status":500,"error":"Internal Server Error"}'),
    (502, None, "text/html", "502: Bad Gateway"),
    (503, None, "text/html", "503: Service Unavailable"),
    (504, None, "text/html", "504: Gateway Timeout"),
    (520, None, "text/html", "520"),
    (599, None, "application/json", "Unknown Error"),
]


def test_a_status_comes_with_its_real_body(client: Client) -> None:
    for status, code, content_type, excerpt in STATUSES:
        client.simulator.add_fault(Fault(kind="status", status=status, code=code))
        answer = client.get("/simple/price", ids="bitcoin", vs_currencies="usd")
        assert answer.status_code == status
        assert answer.headers["Content-Type"].startswith(content_type)
        assert excerpt in answer.text
    assert client.get("/ping").ok


def test_429_comes_with_and_without_retry_after(client: Client) -> None:
    client.simulator.add_fault(Fault(kind="status", status=429))
    client.simulator.add_fault(Fault(kind="status", status=429, retry_after=7))
    client.simulator.add_fault(Fault(kind="status", status=429, retry_after="soon"))
    client.simulator.add_fault(Fault(kind="status", status=429, reset_after=45))
    answers = [client.get("/ping") for _ in range(4)]
    assert [answer.headers.get("Retry-After") for answer in answers] == [None, "7", "soon", None]
    assert answers[3].headers["x-ratelimit-reset"] == "2026-11-23 12:02:00 +0000"
    assert answers[3].headers["x-ratelimit-limit"] == "5"


def test_a_hanging_answer_comes_late_and_whole(client: Client) -> None:
    client.simulator.add_fault(Fault(kind="hang", seconds=0.3))
    started = time.monotonic()
    assert client.get("/ping").json() == {"gecko_says": "(V3) To the Moon!"}
    assert time.monotonic() - started >= 0.3


def test_a_client_that_waits_less_than_the_hang_times_out(client: Client) -> None:
    client.simulator.add_fault(Fault(kind="hang"))
    with pytest.raises(requests.ReadTimeout):
        client.session.get(client.simulator.base_url + "/ping", timeout=0.2)
    assert [entry.status for entry in client.simulator.requests] == [200]


def test_stopping_does_not_wait_for_a_hang(serve: Callable[..., Client]) -> None:
    client = serve()
    client.simulator.add_fault(Fault(kind="hang", seconds=600))
    done = threading.Event()

    def ask() -> None:
        try:
            client.get("/ping")
        except requests.ConnectionError:
            pass  # whether the answer or the end of the connection comes first does not matter
        done.set()

    threading.Thread(target=ask, daemon=True).start()
    wait_for(lambda: client.simulator.requests, 60, "the request")
    client.simulator.__exit__(None, None, None)
    assert done.wait(10)


def test_a_connection_cut_before_the_answer_is_a_connection_error(client: Client) -> None:
    client.simulator.add_fault(Fault(kind="cut"))
    with pytest.raises(requests.ConnectionError):
        client.get("/ping")
    assert [entry.status for entry in client.simulator.requests] == [None]
    assert client.get("/ping").ok


def test_a_connection_cut_in_the_middle_is_an_incomplete_answer(client: Client) -> None:
    client.simulator.add_fault(Fault(kind="cut_middle"))
    with pytest.raises((requests.ConnectionError, requests.exceptions.ChunkedEncodingError)):
        client.get("/ping")
    assert client.get("/ping").ok


def test_truncated_json_comes_as_a_complete_answer(client: Client) -> None:
    client.simulator.add_fault(Fault(kind="truncated_json"))
    answer = client.get("/simple/price", ids="bitcoin", vs_currencies="usd")
    assert answer.status_code == 200 and answer.text.startswith('{"bitcoin"')
    with pytest.raises(requests.exceptions.JSONDecodeError):
        answer.json()


def test_html_and_an_error_body_and_nothing_come_under_200(client: Client) -> None:
    for kind in ("html", "error_body", "empty_object"):
        client.simulator.add_fault(Fault(kind=kind))
    page, error, nothing = (client.get("/simple/price", ids="bitcoin", vs_currencies="usd") for _ in range(3))
    assert page.status_code == error.status_code == nothing.status_code == 200
    assert page.headers["Content-Type"].startswith("text/html") and "<html" in page.text
    assert error.json()["status"]["error_code"] == 429
    assert nothing.json() == {}


def test_a_bad_price_comes_for_the_coin_named_and_for_no_other(client: Client) -> None:
    good = client.prices("ethereum")
    query = {"ids": "bitcoin,ethereum", "vs_currencies": "usd", "precision": "full", "include_last_updated_at": "true"}
    for kind, excerpt in {
        "null_price": '"usd":null', "negative_price": '"usd":-1.0', "zero_price": '"usd":0,', "nan_price": '"usd":NaN',
        "infinite_price": '"usd":Infinity', "text_price": '"usd":"unavailable"',
        "missing_price": '"bitcoin":{"last_updated_at"',
    }.items():
        client.simulator.add_fault(Fault(kind=kind, coin="bitcoin"))
        answer = client.get("/simple/price", **query)
        assert excerpt in answer.text
        assert answer.json()["ethereum"] == good["ethereum"]


def test_without_a_coin_every_coin_is_corrupted_and_what_is_absent_is_not(client: Client, clock: MovableClock) -> None:
    client.simulator.add_fault(Fault(kind="null_price"))
    assert {entry["usd"] for entry in client.prices("bitcoin", "ethereum").values()} == {None}
    client.simulator.add_fault(Fault(kind="null_price", coin="nothing"))
    assert client.prices("nothing", "bitcoin")["bitcoin"]["usd"] > 0
    client.simulator.add_fault(Fault(kind="null_price"))
    assert client.chart("bitcoin", clock.now, clock.now) == []


def test_a_missing_coin_is_not_in_the_answer(client: Client) -> None:
    client.simulator.add_fault(Fault(kind="missing_coin", coin="bitcoin"))
    assert set(client.prices("bitcoin", "ethereum")) == {"ethereum"}
    client.simulator.add_fault(Fault(kind="missing_coin"))
    assert client.prices("bitcoin", "ethereum") == {}


def test_timestamps_are_future_stale_or_missing(client: Client, clock: MovableClock) -> None:
    now = int(clock.now.timestamp())
    for fault, expected in (
        (Fault(kind="future_timestamp"), now + 3600),
        (Fault(kind="future_timestamp", seconds=61), now + 61),
        (Fault(kind="stale_timestamp"), now - 172_800),
        (Fault(kind="missing_timestamp"), None),
    ):
        client.simulator.add_fault(fault)
        assert client.prices("bitcoin")["bitcoin"].get("last_updated_at") == expected


def test_an_answer_can_come_under_an_id_that_nobody_asked_for(client: Client) -> None:
    good = client.prices("solana")["solana"]
    client.simulator.add_fault(Fault(kind="wrong_id", coin="solana", keyed_as="wrapped-solana"))
    assert client.prices("solana") == {"wrapped-solana": good}


def test_several_faults_of_values_meet_in_one_answer(client: Client) -> None:
    client.simulator.add_fault(Fault(kind="null_price", coin="bitcoin"))
    client.simulator.add_fault(Fault(kind="negative_price", coin="ethereum"))
    prices = client.prices("bitcoin", "ethereum")
    assert (prices["bitcoin"]["usd"], prices["ethereum"]["usd"]) == (None, -1.0)


def test_one_point_of_a_history_has_a_bad_price(client: Client, clock: MovableClock) -> None:
    good = client.chart("bitcoin", clock.now - DAY, clock.now)
    client.simulator.add_fault(Fault(kind="text_price", coin="bitcoin"))
    bad = client.chart("bitcoin", clock.now - DAY, clock.now)
    assert [after for before, after in zip(good, bad, strict=True) if before != after] == [
        (good[len(good) // 2][0], "unavailable")
    ]


def test_a_history_can_be_rearranged(client: Client, clock: MovableClock) -> None:
    start, end = clock.now - 3 * DAY, clock.now - 2 * DAY
    good = client.chart("bitcoin", start, end)
    client.simulator.add_fault(Fault(kind="out_of_order_points"))
    assert client.chart("bitcoin", start, end) == good[::-1]
    client.simulator.add_fault(Fault(kind="duplicated_points"))
    assert sorted(client.chart("bitcoin", start, end)) == sorted([*good, good[len(good) // 2]])
    client.simulator.add_fault(Fault(kind="points_outside_window"))
    outside, *rest = client.chart("bitcoin", start, end)
    assert outside[0] < start - DAY and rest == good
    client.simulator.add_fault(Fault(kind="future_timestamp"))
    assert max(client.chart("bitcoin", start, end))[0] == clock.now + HOUR
    client.simulator.add_fault(Fault(kind="no_points"))
    assert client.chart("bitcoin", start, end) == []


def test_a_point_of_a_history_can_lack_its_time(client: Client, clock: MovableClock) -> None:
    client.simulator.add_fault(Fault(kind="missing_timestamp"))
    answer = client.get(RANGE, **WINDOW).json()
    assert [point[0] for point in answer["prices"]].count(None) == 1


def test_a_fault_is_met_as_often_as_it_says(client: Client) -> None:
    client.simulator.add_fault(Fault(kind="status", times=2))
    assert [client.get("/ping").status_code for _ in range(3)] == [503, 503, 200]


def test_a_fault_without_end_lasts_until_it_is_cleared(client: Client) -> None:
    client.simulator.add_fault(Fault(kind="status", times=None))
    assert [client.get("/ping").status_code for _ in range(5)] == [503] * 5
    client.simulator.clear_faults()
    assert client.get("/ping").ok


def test_a_fault_waits_for_a_request_on_its_path_and_for_its_coin(client: Client, clock: MovableClock) -> None:
    client.simulator.add_fault(Fault(kind="status", path="/coins", coin="solana"))
    assert client.get("/ping").ok
    assert client.prices("solana")
    assert client.chart("bitcoin", clock.now - HOUR, clock.now)
    answer = client.get(RANGE.replace("bitcoin", "solana"), **WINDOW)
    assert answer.status_code == 503


def test_a_fault_of_quotes_is_not_used_up_by_a_history(client: Client, clock: MovableClock) -> None:
    client.simulator.add_fault(Fault(kind="stale_timestamp", coin="bitcoin"))
    client.simulator.add_fault(Fault(kind="out_of_order_points"))
    client.chart("bitcoin", clock.now - HOUR, clock.now)
    assert clock.now.timestamp() - client.prices("bitcoin")["bitcoin"]["last_updated_at"] > 86_400


def test_a_fault_of_values_is_not_used_up_by_an_error(client: Client) -> None:
    client.simulator.add_fault(Fault(kind="null_price"))
    assert client.get("/simple/price", ids="bitcoin").status_code == 422
    assert client.prices("bitcoin")["bitcoin"]["usd"] is None


def test_concurrent_requests_share_a_fault_out_exactly(client: Client) -> None:
    client.simulator.add_fault(Fault(kind="status", times=10))
    statuses: list[int] = []

    def ask() -> None:
        statuses.extend(
            requests.get(client.simulator.base_url + "/ping", timeout=30).status_code for _ in range(5)
        )

    threads = [threading.Thread(target=ask) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(statuses) == [200] * 30 + [503] * 10


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"kind": "cut", "times": 0}, "times 0 is not at least 1"),
        ({"kind": "cut", "path": "ping"}, "does not start with /"),
        ({"kind": "hang", "seconds": -1}, "seconds -1 is not between"),
        ({"kind": "status", "reset_after": -1}, "reset_after -1 is not between"),
        ({"kind": "wrong_id"}, "wrong_id needs the coin"),
        ({"kind": "renamed_coin"}, "renamed_coin needs the coin"),
    ],
)
def test_a_fault_that_makes_no_sense_is_refused(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Fault(**settings)


def test_no_fault_breaks_the_simulator_itself(client: Client, caplog: pytest.LogCaptureFixture) -> None:
    """Whatever the answer is like, the server logs no failure of its own and serves the next one."""
    prices = {"ids": "bitcoin,ethereum", "vs_currencies": "usd"}
    requested: list[tuple[str, dict[str, str]]] = [("/simple/price", prices), (RANGE, WINDOW), ("/coins/list", {})]
    for kind in sorted(KINDS - {"hang"}):
        for path, query in requested:
            about_a_coin = kind == "wrong_id" or kind in LISTING_ONLY
            client.simulator.add_fault(Fault(kind=kind, coin="bitcoin" if about_a_coin else None))
            ends_badly = kind.startswith("cut") or kind == "redirect"
            with suppress(requests.RequestException) if ends_badly else nullcontext():
                client.get(path, **query)
            client.simulator.clear_faults()
        assert client.prices("bitcoin")["bitcoin"]["usd"] > 0
    assert [record.getMessage() for record in caplog.records if record.levelname == "ERROR"] == []


@pytest.mark.parametrize(
    ("fault", "listed"),
    [
        (Fault(kind="unlisted_coin", coin="solana"), {}),
        (Fault(kind="renamed_coin", coin="solana", keyed_as="solana-2"), {"solana-2": "sol"}),
        (Fault(kind="renamed_coin", coin="solana", keyed_as="ethereum"), {}),
        (Fault(kind="new_ticker", coin="solana", keyed_as="slx"), {"solana": "slx"}),
    ],
)
def test_a_coin_can_vanish_be_renamed_be_merged_or_change_its_ticker(
    client: Client, fault: Fault, listed: dict[str, str]
) -> None:
    others = {"bitcoin": "btc", "ethereum": "eth", "cardano": "ada", "polkadot": "dot"}
    client.simulator.add_fault(fault)
    answer = {coin["id"]: coin["symbol"] for coin in client.get("/coins/list").json()}
    assert answer == {**others, **listed}
    assert {coin["id"] for coin in client.get("/coins/list").json()} == {*others, "solana"}


def test_such_faults_can_be_there_from_the_start_and_wait_for_the_list(serve: Callable[..., Client]) -> None:
    client = serve(faults=[Fault(kind="unlisted_coin", coin="bitcoin", times=None)])
    assert client.prices("bitcoin")["bitcoin"]["usd"] > 0
    for _ in range(2):
        assert "bitcoin" not in {coin["id"] for coin in client.get("/coins/list").json()}


def test_the_edge_can_say_one_word(client: Client) -> None:
    client.simulator.add_fault(Fault(kind="throttled"))
    answer = client.get("/ping")
    assert (answer.status_code, answer.text) == (429, "Throttled")


def test_a_careless_server_repeats_the_key(serve: Callable[..., Client]) -> None:
    """So that a test can see whether a client passes it on."""
    client = serve(plan="pro")
    client.simulator.add_fault(Fault(kind="echo"))
    echo = client.get("/ping", headers=PRO)
    assert echo.status_code == 401 and "CG-canary" in echo.text and echo.headers["X-Key"] == "CG-canary"
    client.simulator.add_fault(Fault(kind="redirect"))
    url = client.simulator.base_url + "/ping"
    moved = requests.get(url, headers=PRO, allow_redirects=False, timeout=30)
    assert moved.status_code == 302 and "CG-canary" in moved.headers["Location"]
