"""Collecting days from a CoinGecko on a real socket: what is asked, what is kept, what fails."""

from collections.abc import Callable, Iterator
from datetime import date, datetime, timedelta, timezone

import pytest

from market_pipeline.budget.shared import SharedBudget
from market_pipeline.coingecko.client import CoinGeckoClient
from market_pipeline.coingecko.errors import Banned, RateLimited, RequestRefused, ServerFailed, SourceDown
from market_pipeline.coingecko.request_budget import Grant
from market_pipeline.core.clock import DAY, start_of_day
from market_pipeline.core.symbols import Catalogue, parse_catalogue
from market_pipeline.pipeline.collect import fetch_days
from market_pipeline.prices.collection import Collected
from market_pipeline.prices.quotes import Reason, Source
from market_pipeline.simulator.faults import KINDS, LISTING_ONLY, Fault
from market_pipeline.simulator.market import MarketModel
from market_pipeline.simulator.server import Simulator

NOW = datetime(2026, 11, 23, 15, 20, 7, tzinfo=timezone.utc)
TODAY = NOW.date()
YESTERDAY = TODAY - DAY
# What is asked for around the days, to see on both sides of their midnights.
SURROUNDINGS = timedelta(hours=6)
Ask = Callable[..., Collected]


class _Clock:
    def __init__(self) -> None:
        self.now = NOW

    def __call__(self) -> datetime:
        return self.now


@pytest.fixture
def clock() -> _Clock:
    return _Clock()


@pytest.fixture
def catalogue() -> Catalogue:
    return parse_catalogue("BTC,ETH,SOL,ADA,DOT")


@pytest.fixture
def simulator(clock: _Clock) -> Iterator[Simulator]:
    with Simulator(MarketModel(seed=1), clock=clock) as running:
        yield running


@pytest.fixture
def ask(simulator: Simulator, catalogue: Catalogue, clock: _Clock, budget: SharedBudget) -> Iterator[Ask]:
    """`ask((day, symbol), ...)`: what `collect` makes of these days, without sleeping."""
    with CoinGeckoClient(
        simulator.base_url, "keyless", None, budget, sleep=lambda _: None, clock=clock
    ) as client:
        yield lambda *days: fetch_days(client, catalogue, days, clock.now)


def ticks(*symbols: str) -> list[tuple[date, str]]:
    return [(TODAY, symbol) for symbol in symbols]


def paths(simulator: Simulator) -> list[str]:
    return [sent.path for sent in simulator.requests]


def test_today_of_all_symbols_costs_one_request(simulator: Simulator, ask: Ask, catalogue: Catalogue) -> None:
    collected = ask(*ticks(*catalogue.symbols))
    assert paths(simulator) == ["/simple/price"]
    assert collected.requests == 1
    assert [quote.symbol for quote in collected.quotes] == ["ADA", "BTC", "DOT", "ETH", "SOL"]
    for quote in collected.quotes:
        assert quote.source is Source.LIVE and quote.ingested_at == NOW
        assert NOW - timedelta(minutes=2) < quote.timestamp <= NOW
    assert (collected.refusals, collected.unasked, collected.failures) == ((), (), {})


def test_a_year_of_one_symbol_costs_five_requests_and_has_every_hour(
    catalogue: Catalogue, clock: _Clock, budget: SharedBudget
) -> None:
    """With a paid plan: the others do not reach back to the midnight 365 days ago."""
    wanted = {TODAY - n * DAY for n in range(1, 366)}
    with (
        Simulator(MarketModel(seed=1), clock=clock, plan="pro") as simulator,
        CoinGeckoClient(simulator.base_url, "pro", "CG-x", budget, clock=clock) as client,
    ):
        collected = fetch_days(client, catalogue, [(day, "BTC") for day in wanted], NOW)
        assert collected.requests == len(simulator.requests) == 5
    assert collected.failures == {}
    assert wanted <= {quote.timestamp.date() for quote in collected.quotes}
    assert 8_700 < len(collected.quotes) < 8_800
    keys = [(quote.symbol, quote.timestamp) for quote in collected.quotes]
    assert keys == sorted(set(keys))


def test_today_and_past_days_are_collected_together(simulator: Simulator, ask: Ask) -> None:
    collected = ask((TODAY, "BTC"), (YESTERDAY, "BTC"), (YESTERDAY, "ETH"))
    assert paths(simulator) == [
        "/simple/price", "/coins/bitcoin/market_chart/range", "/coins/ethereum/market_chart/range"
    ]
    assert dict(simulator.requests[0].query)["ids"] == "bitcoin"
    assert {quote.source for quote in collected.quotes} == {Source.LIVE, Source.HISTORY}
    assert dict(simulator.requests[1].query) == {
        "vs_currency": "usd", "precision": "full",
        "from": str(int((start_of_day(YESTERDAY) - SURROUNDINGS).timestamp())),
        "to": str(int((start_of_day(TODAY) + SURROUNDINGS).timestamp())),
    }


def test_collecting_a_past_day_twice_brings_the_same_quotes(ask: Ask) -> None:
    first, second = ask((YESTERDAY, "BTC")), ask((YESTERDAY, "BTC"))
    assert len(first.quotes) >= 23
    assert first.quotes == second.quotes


def test_a_live_price_from_before_midnight_belongs_to_its_own_day(ask: Ask, clock: _Clock) -> None:
    clock.now = start_of_day(TODAY) + timedelta(milliseconds=5)
    collected = ask(*ticks("BTC", "ETH"))
    assert {quote.timestamp.date() for quote in collected.quotes} == {YESTERDAY}
    assert collected.refusals == ()


def test_no_days_are_no_request(simulator: Simulator, ask: Ask) -> None:
    assert ask() == Collected((), (), (), 0, {})
    assert simulator.requests == []


@pytest.mark.parametrize(
    ("day", "words"), [((TODAY + DAY, "BTC"), "has not begun"), ((TODAY, "XRP"), "Unsupported symbol: 'XRP'")]
)
def test_what_cannot_be_asked_is_refused_before_any_request(
    simulator: Simulator, ask: Ask, day: tuple[date, str], words: str
) -> None:
    with pytest.raises(ValueError, match=words):
        ask((TODAY, "BTC"), day)
    assert simulator.requests == []


LIVE_FAULTS = {
    "null_price": Reason.MISSING_PRICE,
    "missing_price": Reason.MISSING_PRICE,
    "missing_coin": Reason.MISSING_PRICE,
    "wrong_id": Reason.MISSING_PRICE,
    "negative_price": Reason.NEGATIVE_PRICE,
    "zero_price": Reason.ZERO_PRICE,
    "nan_price": Reason.NOT_A_NUMBER,
    "infinite_price": Reason.NOT_A_NUMBER,
    "text_price": Reason.NOT_A_NUMBER,
    "future_timestamp": Reason.FUTURE_TIMESTAMP,
    "missing_timestamp": Reason.MISSING_TIMESTAMP,
}


@pytest.mark.parametrize(("kind", "reason"), LIVE_FAULTS.items())
def test_a_bad_live_price_is_refused_and_the_others_are_kept(
    simulator: Simulator, ask: Ask, kind: str, reason: Reason
) -> None:
    simulator.add_fault(Fault(kind=kind, coin="solana", keyed_as="dogecoin"))
    collected = ask(*ticks("BTC", "SOL"))
    assert [quote.symbol for quote in collected.quotes] == ["BTC"]
    assert [(refusal.symbol, refusal.reason, refusal.day, refusal.source)
            for refusal in collected.refusals] == [("SOL", reason, TODAY, Source.LIVE)]
    assert collected.failures == {}
    assert collected.unasked == (("dogecoin",) if kind == "wrong_id" else ())


def test_a_stale_live_price_is_accepted_under_its_own_day(simulator: Simulator, ask: Ask) -> None:
    simulator.add_fault(Fault(kind="stale_timestamp", coin="solana", seconds=5 * 86_400))
    collected = ask(*ticks("BTC", "SOL"))
    assert {quote.symbol: quote.timestamp.date() for quote in collected.quotes} == {
        "BTC": TODAY, "SOL": TODAY - 5 * DAY
    }


HISTORY_FAULTS = {
    "null_price": Reason.MISSING_PRICE,
    "negative_price": Reason.NEGATIVE_PRICE,
    "zero_price": Reason.ZERO_PRICE,
    "nan_price": Reason.NOT_A_NUMBER,
    "infinite_price": Reason.NOT_A_NUMBER,
    "text_price": Reason.NOT_A_NUMBER,
    "future_timestamp": Reason.FUTURE_TIMESTAMP,
    "missing_timestamp": Reason.MISSING_TIMESTAMP,
    "points_outside_window": Reason.OUTSIDE_WINDOW,
}


@pytest.mark.parametrize(("kind", "reason"), HISTORY_FAULTS.items())
def test_a_bad_point_of_a_past_day_is_refused_and_the_others_are_kept(
    simulator: Simulator, ask: Ask, kind: str, reason: Reason
) -> None:
    good = ask((YESTERDAY, "BTC"))
    simulator.add_fault(Fault(kind=kind))
    collected = ask((YESTERDAY, "BTC"))
    assert [(refusal.reason, refusal.day) for refusal in collected.refusals] == [(reason, YESTERDAY)]
    assert set(collected.quotes) <= set(good.quotes)
    assert len(good.quotes) - len(collected.quotes) == (0 if kind == "points_outside_window" else 1)


@pytest.mark.parametrize("kind", ["duplicated_points", "out_of_order_points"])
def test_doubled_and_unordered_points_change_nothing(simulator: Simulator, ask: Ask, kind: str) -> None:
    good = ask((YESTERDAY, "BTC"))
    simulator.add_fault(Fault(kind=kind))
    assert ask((YESTERDAY, "BTC")).quotes == good.quotes


def test_a_past_day_without_any_price_is_empty_and_no_failure(simulator: Simulator, ask: Ask) -> None:
    """A coin may be younger than the day; whether that matters the coverage checks say."""
    simulator.add_fault(Fault(kind="no_points"))
    collected = ask((YESTERDAY, "BTC"))
    assert (collected.quotes, collected.refusals, collected.failures) == ((), (), {})


WHOLE_FAULTS = ["cut", "cut_middle", "truncated_json", "html"]


@pytest.mark.parametrize("kind", WHOLE_FAULTS)
def test_a_failed_live_request_fails_its_symbols_and_the_past_is_still_collected(
    simulator: Simulator, ask: Ask, kind: str
) -> None:
    simulator.add_fault(Fault(kind=kind, times=None, path="/simple"))
    collected = ask(*ticks("BTC", "ETH"), (YESTERDAY, "SOL"))
    assert set(collected.failures) == {"BTC", "ETH"}
    assert {quote.symbol for quote in collected.quotes} == {"SOL"}
    assert collected.requests == len(simulator.requests)


@pytest.mark.parametrize("kind", [*WHOLE_FAULTS, "empty_object"])
def test_a_failed_history_fails_its_symbol_only(simulator: Simulator, ask: Ask, kind: str) -> None:
    simulator.add_fault(Fault(kind=kind, times=None, path="/coins/bitcoin"))
    collected = ask((TODAY, "BTC"), (YESTERDAY, "BTC"), (YESTERDAY, "ETH"))
    assert set(collected.failures) == {"BTC"}
    assert {(quote.symbol, quote.source) for quote in collected.quotes} == {
        ("BTC", Source.LIVE), ("ETH", Source.HISTORY)
    }


def test_every_fault_that_the_simulator_knows_is_tried_here() -> None:
    tried = {*LIVE_FAULTS, *HISTORY_FAULTS, *WHOLE_FAULTS}
    elsewhere = {"status", "error_body", "hang", "empty_object", "stale_timestamp", "no_points", "throttled",
                 "redirect", "echo", "duplicated_points", "out_of_order_points"} | LISTING_ONLY
    assert tried | elsewhere == KINDS


@pytest.mark.parametrize(
    ("fault", "kind"),
    [
        (Fault(kind="status", status=403, code=1020, times=None), Banned),
        (Fault(kind="status", status=401, code=10002, times=None), RequestRefused),
        (Fault(kind="status", status=400, code=10011, times=None), RequestRefused),
        (Fault(kind="status", status=429, retry_after=3_600, times=None), RateLimited),
        (Fault(kind="error_body", retry_after=3_600, times=None), RateLimited),
    ],
)
def test_an_error_that_meets_everyone_stops_at_once_and_is_everyones(
    simulator: Simulator, ask: Ask, fault: Fault, kind: type[Exception]
) -> None:
    simulator.add_fault(fault)
    collected = ask((TODAY, "ADA"), (YESTERDAY, "BTC"), (YESTERDAY, "ETH"))
    assert len(simulator.requests) == collected.requests == 1
    assert set(collected.failures) == {"ADA", "BTC", "ETH"}
    assert {type(error) for error in collected.failures.values()} == {kind}


def test_what_came_before_a_ban_is_kept(simulator: Simulator, ask: Ask) -> None:
    simulator.add_fault(Fault(kind="status", status=403, code=1020, path="/coins/ethereum", times=None))
    collected = ask((TODAY, "DOT"), (YESTERDAY, "BTC"), (YESTERDAY, "ETH"), (YESTERDAY, "SOL"))
    assert set(collected.failures) == {"ETH", "SOL"}
    assert {quote.symbol for quote in collected.quotes} == {"BTC", "DOT"}
    assert "/coins/solana/market_chart/range" not in paths(simulator)


def test_a_symbol_whose_server_fails_is_not_asked_for_its_other_windows(
    simulator: Simulator, ask: Ask
) -> None:
    """Each would cost four requests and the waits between them."""
    simulator.add_fault(Fault(kind="status", status=503, path="/coins/bitcoin", times=None))
    collected = ask(*[(TODAY - n * DAY, "BTC") for n in range(1, 200)], (YESTERDAY, "ETH"))
    bitcoin, ethereum = "/coins/bitcoin/market_chart/range", "/coins/ethereum/market_chart/range"
    assert paths(simulator) == [bitcoin] * 4 + [ethereum]
    assert isinstance(collected.failures["BTC"], ServerFailed)
    assert {quote.symbol for quote in collected.quotes} == {"ETH"}


MANY = [f"C{n}" for n in range(20)]


@pytest.fixture
def many(clock: _Clock, budget: SharedBudget) -> Iterator[tuple[Simulator, Ask]]:
    """A simulator and `ask` for twenty coins."""
    catalogue = parse_catalogue(",".join(f"{symbol}=coin-{symbol.lower()}" for symbol in MANY))
    market = MarketModel([coin.coin_id for coin in catalogue])
    with (
        Simulator(market, clock=clock) as simulator,
        CoinGeckoClient(
            simulator.base_url, "keyless", None, budget, sleep=lambda _: None, clock=clock
        ) as client,
    ):
        yield simulator, lambda *days: fetch_days(client, catalogue, days, clock.now)


@pytest.mark.parametrize("kind", ["status", "cut", "html"])
def test_a_source_that_is_down_is_asked_a_few_times_and_the_next_run_asks_again(
    many: tuple[Simulator, Ask], kind: str
) -> None:
    simulator, ask = many
    simulator.add_fault(Fault(kind=kind, status=500, times=None))
    for _ in range(2):
        simulator.clear_requests()
        collected = ask(*[(YESTERDAY, symbol) for symbol in MANY])
        assert len(simulator.requests) == (3 if kind == "html" else 12)
        assert set(collected.failures) == set(MANY)
        assert sum(isinstance(error, SourceDown) for error in collected.failures.values()) == 17


def test_a_failed_live_request_is_one_sign_of_an_outage(many: tuple[Simulator, Ask]) -> None:
    simulator, ask = many
    simulator.add_fault(Fault(kind="status", status=500, times=None))
    collected = ask(*ticks(*MANY), *[(YESTERDAY, symbol) for symbol in MANY])
    assert len(simulator.requests) == 12
    assert set(collected.failures) == set(MANY)


def test_neighbours_that_always_fail_keep_no_other_from_being_asked(many: tuple[Simulator, Ask]) -> None:
    simulator, ask = many
    for symbol in ("C0", "C1", "C10"):
        simulator.add_fault(Fault(kind="status", status=500, coin=f"coin-{symbol.lower()}", times=None))
    collected = ask(*[(YESTERDAY, symbol) for symbol in MANY])
    assert set(collected.failures) == {"C0", "C1", "C10"}
    assert {quote.symbol for quote in collected.quotes} == {*MANY} - {"C0", "C1", "C10"}


def test_a_live_price_is_judged_by_the_time_at_which_it_came(
    simulator: Simulator, catalogue: Catalogue, clock: _Clock
) -> None:
    """The request may wait minutes for its turn; its prices are then newer than the start of the run."""

    class Slow:
        def acquire(self, endpoint: str) -> Grant:
            clock.now = NOW + timedelta(minutes=4)
            return Grant(endpoint, clock.now, 240.0)

        def settle(self, *told: object) -> None:
            """Nobody asks."""

    with CoinGeckoClient(simulator.base_url, "keyless", None, Slow(), clock=clock) as client:
        collected = fetch_days(client, catalogue, ticks("BTC"), NOW)
    assert collected.refusals == ()
    assert collected.quotes[0].ingested_at == NOW + timedelta(minutes=4)
