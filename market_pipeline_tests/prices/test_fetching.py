"""Fetching days from a CoinGecko on a real socket: what is requested, what is a quote, what fails."""

from datetime import date, timedelta

import pytest

from market_pipeline.coingecko.errors import Banned, CoinGeckoError, RateLimited, ServerFailed, SourceDown
from market_pipeline.core.clock import DAY, start_of_day
from market_pipeline.prices.collection import Collection
from market_pipeline.prices.quotes import Reason
from market_pipeline.prices.quotes import Source as Endpoint
from market_pipeline.simulator.faults import KINDS, LISTING_ONLY, Fault
from market_pipeline_tests.prices.source import MANY, NOW, TODAY, Source, days_ago

YESTERDAY = TODAY - DAY
BITCOIN, ETHEREUM = "/coins/bitcoin/market_chart/range", "/coins/ethereum/market_chart/range"


def today(*symbols: str) -> list[tuple[date, str]]:
    return [(TODAY, symbol) for symbol in symbols]


def symbols_of(collected: Collection) -> set[str]:
    return {quote.symbol for quote in collected.quotes}


def test_today_of_all_symbols_costs_one_request(source: Source) -> None:
    collected = source.fetch(*today("BTC", "ETH", "SOL", "ADA", "DOT"))
    assert source.paths == ["/simple/price"] and collected.requests == 1
    assert [quote.symbol for quote in collected.quotes] == ["ADA", "BTC", "DOT", "ETH", "SOL"]
    for quote in collected.quotes:
        assert quote.source is Endpoint.LIVE and quote.ingested_at == NOW
        assert NOW - timedelta(minutes=2) < quote.timestamp <= NOW
    assert (collected.refusals, collected.unasked, collected.failures) == ((), (), {})


def test_a_hundred_days_cost_two_requests_have_every_hour_once_and_are_the_same_again(source: Source) -> None:
    collected = source.fetch(*days_ago(100, 1))
    assert source.paths == [BITCOIN] * 2 and collected.requests == 2 and collected.failures == {}
    keys = [(quote.symbol, quote.timestamp) for quote in collected.quotes]
    assert keys == sorted(set(keys)) and 2_390 < len(keys) <= 2_401
    assert {day for day, _ in days_ago(100, 1)} <= {time.date() for _, time in keys}
    assert source.fetch(*days_ago(100, 1)).quotes == collected.quotes


def test_today_and_past_days_are_fetched_together(source: Source) -> None:
    collected = source.fetch((TODAY, "BTC"), (YESTERDAY, "BTC"), (YESTERDAY, "ETH"))
    assert source.paths == ["/simple/price", BITCOIN, ETHEREUM]
    live, history, _ = (dict(sent.query) for sent in source.simulator.requests)
    assert live["ids"] == "bitcoin"
    assert {quote.source for quote in collected.quotes} == {Endpoint.LIVE, Endpoint.HISTORY}
    around = timedelta(hours=6)
    assert history == {
        "vs_currency": "usd", "precision": "full",
        "from": str(int((start_of_day(YESTERDAY) - around).timestamp())),
        "to": str(int((start_of_day(TODAY) + around).timestamp())),
    }


def test_a_current_price_from_before_midnight_belongs_to_its_own_day(source: Source) -> None:
    source.now = start_of_day(TODAY) + timedelta(milliseconds=5)
    source.simulator.add_fault(Fault(kind="stale_timestamp", coin="solana", seconds=5 * 86_400))
    collected = source.fetch(*today("BTC", "SOL"))
    assert {quote.symbol: quote.timestamp.date() for quote in collected.quotes} == {
        "BTC": YESTERDAY, "SOL": TODAY - 5 * DAY
    }
    assert collected.refusals == ()


def test_no_days_are_no_request(source: Source) -> None:
    collected = source.fetch()
    assert (collected.quotes, collected.requests, source.paths) == ((), 0, [])


@pytest.mark.parametrize(
    ("day", "words"), [((TODAY + DAY, "BTC"), "has not begun"), ((TODAY, "XRP"), "Unsupported symbol: 'XRP'")]
)
def test_a_day_that_cannot_be_fetched_is_an_error_before_any_request(
    source: Source, day: tuple[date, str], words: str
) -> None:
    with pytest.raises(ValueError, match=words):
        source.fetch((TODAY, "BTC"), day)
    assert source.paths == []


BAD_VALUES = {
    "null_price": Reason.MISSING_PRICE,
    "negative_price": Reason.NEGATIVE_PRICE,
    "zero_price": Reason.ZERO_PRICE,
    "nan_price": Reason.NOT_A_NUMBER,
    "infinite_price": Reason.NOT_A_NUMBER,
    "text_price": Reason.NOT_A_NUMBER,
    "future_timestamp": Reason.FUTURE_TIMESTAMP,
    "missing_timestamp": Reason.MISSING_TIMESTAMP,
}
BAD_QUOTES = dict.fromkeys(("missing_price", "missing_coin", "wrong_id"), Reason.MISSING_PRICE)
BAD_POINTS = {"points_outside_window": Reason.OUTSIDE_WINDOW}
WHOLE_ANSWERS = ("cut", "cut_middle", "truncated_json", "html")


def test_every_bad_current_price_is_refused_with_its_reason_and_the_others_are_quotes(source: Source) -> None:
    expected = dict(zip(MANY, (BAD_VALUES | BAD_QUOTES).items(), strict=False))
    for symbol, (kind, _) in expected.items():
        source.simulator.add_fault(Fault(kind=kind, coin=f"coin-{symbol.lower()}", keyed_as="dogecoin"))
    collected = source.fetch(*today(*MANY))
    assert {refusal.symbol: refusal.reason for refusal in collected.refusals} == {
        symbol: reason for symbol, (_, reason) in expected.items()
    }
    assert {(refusal.day, refusal.source) for refusal in collected.refusals} == {(TODAY, Endpoint.LIVE)}
    assert symbols_of(collected) == {*MANY} - {*expected}
    assert (collected.unasked, collected.failures) == (("dogecoin",), {})


def test_every_bad_point_of_a_past_day_is_refused_with_its_reason_and_the_others_are_quotes(source: Source) -> None:
    good = source.fetch((YESTERDAY, "BTC")).quotes
    for kind, reason in (BAD_VALUES | BAD_POINTS).items():
        source.simulator.add_fault(Fault(kind=kind))
        collected = source.fetch((YESTERDAY, "BTC"))
        assert [(refusal.reason, refusal.day) for refusal in collected.refusals] == [(reason, YESTERDAY)]
        assert set(collected.quotes) <= set(good)
        assert len(good) - len(collected.quotes) == (0 if kind in BAD_POINTS else 1)
    for kind in ("duplicated_points", "out_of_order_points"):
        source.simulator.add_fault(Fault(kind=kind))
        assert source.fetch((YESTERDAY, "BTC")).quotes == good


@pytest.mark.parametrize("kind", WHOLE_ANSWERS)
def test_a_failed_current_request_fails_its_symbols_and_the_past_is_still_fetched(source: Source, kind: str) -> None:
    source.simulator.add_fault(Fault(kind=kind, times=None, path="/simple"))
    collected = source.fetch(*today("BTC", "ETH"), (YESTERDAY, "SOL"))
    assert set(collected.failures) == {"BTC", "ETH"} and symbols_of(collected) == {"SOL"}
    assert collected.requests == len(source.paths)


def test_a_failed_history_fails_its_symbol_only(source: Source) -> None:
    source.simulator.add_fault(Fault(kind="empty_object", times=None, path="/coins/bitcoin"))
    collected = source.fetch((TODAY, "BTC"), (YESTERDAY, "BTC"), (YESTERDAY, "ETH"))
    assert set(collected.failures) == {"BTC"}
    assert {(quote.symbol, quote.source) for quote in collected.quotes} == {
        ("BTC", Endpoint.LIVE), ("ETH", Endpoint.HISTORY)
    }


def test_every_fault_that_the_simulator_knows_is_tried() -> None:
    tried = {*BAD_VALUES, *BAD_QUOTES, *BAD_POINTS, *WHOLE_ANSWERS, "empty_object", "stale_timestamp", "status",
             "error_body", "no_points", "duplicated_points", "out_of_order_points"}
    by_tests_of_the_client = {"hang", "throttled", "redirect", "echo"}
    assert tried | by_tests_of_the_client | LISTING_ONLY == KINDS


@pytest.mark.parametrize(
    ("fault", "kind"),
    [
        (Fault(kind="status", status=403, code=1020, times=None), Banned),
        (Fault(kind="error_body", retry_after=3_600, times=None), RateLimited),
    ],
)
def test_an_error_that_concerns_all_stops_at_once_and_fails_all(
    source: Source, fault: Fault, kind: type[CoinGeckoError]
) -> None:
    source.simulator.add_fault(fault)
    collected = source.fetch((TODAY, "ADA"), (YESTERDAY, "BTC"), (YESTERDAY, "ETH"))
    assert len(source.paths) == collected.requests == 1
    assert {symbol: type(error) for symbol, error in collected.failures.items()} == dict.fromkeys(
        ("ADA", "BTC", "ETH"), kind
    )


def test_what_arrived_before_a_ban_is_collected(source: Source) -> None:
    source.simulator.add_fault(Fault(kind="status", status=403, code=1020, path="/coins/ethereum", times=None))
    collected = source.fetch((TODAY, "DOT"), (YESTERDAY, "BTC"), (YESTERDAY, "ETH"), (YESTERDAY, "SOL"))
    assert set(collected.failures) == {"ETH", "SOL"} and symbols_of(collected) == {"BTC", "DOT"}
    assert source.paths[-1] == ETHEREUM


def test_a_symbol_whose_server_fails_is_not_requested_for_its_other_windows(source: Source) -> None:
    """Each would cost four requests and the waits between them."""
    source.simulator.add_fault(Fault(kind="status", status=503, path="/coins/bitcoin", times=None))
    collected = source.fetch(*days_ago(199, 1), (YESTERDAY, "ETH"))
    assert source.paths == [BITCOIN] * 4 + [ETHEREUM]
    assert isinstance(collected.failures["BTC"], ServerFailed) and symbols_of(collected) == {"ETH"}


@pytest.mark.parametrize(("kind", "requests"), [("status", 12), ("html", 3)])
def test_a_source_that_is_down_gets_a_few_requests_and_the_next_run_tries_again(
    source: Source, kind: str, requests: int
) -> None:
    """Three requests in a row must fail, each with its retries; a failed current one counts."""
    source.simulator.add_fault(Fault(kind=kind, status=500, times=None))
    for days, down in ((today(*MANY), 0), ([], 17)):
        source.simulator.clear_requests()
        collected = source.fetch(*days, *days_ago(1, 1, *MANY))
        assert len(source.paths) == requests
        assert set(collected.failures) == {*MANY}
        assert sum(isinstance(error, SourceDown) for error in collected.failures.values()) == down


def test_neighbours_that_always_fail_do_not_keep_others_from_being_requested(source: Source) -> None:
    failing = {"C0", "C1", "C10"}
    for symbol in failing:
        source.simulator.add_fault(Fault(kind="status", status=500, coin=f"coin-{symbol.lower()}", times=None))
    collected = source.fetch(*days_ago(1, 1, *MANY))
    assert set(collected.failures) == failing and symbols_of(collected) == {*MANY} - failing


def test_a_current_price_is_judged_by_the_time_at_which_it_arrived(source: Source) -> None:
    """The request may wait minutes for the budget; its prices are then newer than the start of the run."""
    source.wait = timedelta(minutes=4)
    collected = source.fetch(*today("BTC"))
    assert collected.refusals == ()
    assert collected.quotes[0].ingested_at == NOW + timedelta(minutes=4)


@pytest.mark.parametrize(("ahead", "accepted"), [(-3_600, False), (3_600, True), (30, True)])
def test_a_wrong_clock_of_ours_is_measured_and_only_a_slow_one_refuses_prices(
    source: Source, caplog: pytest.LogCaptureFixture, ahead: int, accepted: bool
) -> None:
    source.server_now = NOW - timedelta(seconds=ahead)
    collected = source.fetch(*today("BTC"))
    assert collected.clock_skew == pytest.approx(ahead, abs=1)
    assert bool(collected.quotes) is accepted
    assert [refusal.reason for refusal in collected.refusals] == ([] if accepted else [Reason.CLOCK_BEHIND])
    assert any("60 min" in message for message in caplog.messages) is (abs(ahead) == 3_600)
