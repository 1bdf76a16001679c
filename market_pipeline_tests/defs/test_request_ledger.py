"""What requests cost, as the UI shows it."""

from datetime import datetime, timedelta, timezone

import dagster as dg

from market_pipeline.budget.ledger import LedgerRow
from market_pipeline.core.clock import start_of_hour, utc_now
from market_pipeline.defs.assets.coingecko import LIVE_PRICES, answered
from market_pipeline.defs.assets.request_ledger import hour_numbers
from market_pipeline.storage.schema.operations_tables import request_ledger
from market_pipeline_tests.defs.world import World

HOUR = timedelta(hours=1)
TEN = datetime(2026, 5, 1, 10, tzinfo=timezone.utc)


def row(
    hour: datetime, endpoint: str = "/simple/price", outcome: str = "200", requests: int = 1, credits: int = 1,
    plan: str = "demo",
) -> LedgerRow:
    return LedgerRow(hour, f"{plan}@host", endpoint, outcome, plan, requests, credits)


def test_the_numbers_are_those_of_the_last_full_hour() -> None:
    rows = [
        row(TEN - HOUR, requests=99),
        row(TEN, requests=12, credits=12),
        row(TEN, "/coins/{id}/market_chart/range", "200", 5, 5),
        row(TEN, "/coins/{id}/market_chart/range", "429", 2, 2),
        row(TEN, "/coins/list", "no answer", 1, 0, plan="keyless"),
        row(TEN + HOUR, requests=77),
    ]
    assert hour_numbers(rows, TEN) == {
        "requests_last_hour": 20, "credits_last_hour": 19,
        "requests_simple_price": 12, "requests_market_chart_range": 7, "requests_coins_list": 1,
        "credits_simple_price": 12, "credits_market_chart_range": 7,
        "requests_outcome_200": 17, "requests_outcome_429": 2, "requests_outcome_no_answer": 1,
        "credits_outcome_200": 17, "credits_outcome_429": 2,
        "requests_plan_demo": 19, "credits_plan_demo": 19,
        "requests_plan_keyless": 1,
    }


def test_only_endpoints_that_answered_are_reported_and_no_price_is_outdated_by_that() -> None:
    """The tag is read for what an event changes; one without it would be a new version."""
    events = list(answered([row(TEN), row(TEN, outcome="429", requests=5), row(TEN, "/coins/list", "no answer")]))
    assert [(event.asset_key, event.metadata["answers_24h"].value) for event in events] == [(LIVE_PRICES, 1)]
    assert [event.tags for event in events] == [{"dagster/data_version": "INITIAL"}]


def test_what_ended_is_plotted_as_zero() -> None:
    """A key that is missing would leave its line hanging at the last value."""
    numbers = hour_numbers([row(TEN - 3 * HOUR, "/key", "503")], TEN)
    ended = ("requests_key", "requests_outcome_503", "requests_plan_demo")
    always = ("requests_simple_price", "requests_last_hour", "requests_outcome_200")
    assert [numbers[name] for name in (*ended, *always)] == [0] * 6


def test_the_asset_shows_an_empty_ledger_then_the_request_of_a_tick_without_sending_one(pair: World) -> None:
    empty = pair.materialize("request_ledger")
    assert (empty["requests_last_hour"], empty["last_24_hours"]) == (0, "none")
    pair.tick()
    sent = len(pair.simulator.requests)
    assert pair.execute("account_requests").success
    metadata = pair.latest_metadata("request_ledger")
    assert pair.latest_metadata("coingecko/simple_price") == {"answers_24h": 1}
    assert len(pair.simulator.requests) == sent
    assert [record.data["endpoint"] for record in metadata["last_24_hours"].records] == ["/simple/price"]
    assert (metadata["requests_left_this_minute"], metadata["credits_left"]) == (9_999, 9_999_999)
    assert 0 < metadata["credits_reserved"] < 10_000
    tick = pair.defs.resolve_job_def("tick")
    assert dg.AssetKey("request_ledger") not in tick.asset_layer.executable_asset_keys


def test_the_asset_shows_the_last_hour_and_the_last_day(pair: World) -> None:
    this_hour = start_of_hour(utc_now())
    with pair.database.writing() as connection:
        for ago, outcome, requests in ((1, "200", 12), (2, "429", 3), (30, "200", 1000)):
            values = vars(row(this_hour - ago * HOUR, outcome=outcome, requests=requests))
            connection.execute(request_ledger.insert().values(**values))
    metadata = pair.materialize("request_ledger")
    # At the turn of the hour the last full one is another.
    if start_of_hour(utc_now()) == this_hour:
        names = ("requests_last_hour", "requests_simple_price", "requests_outcome_200", "requests_outcome_429")
        assert [metadata[name] for name in names] == [12, 12, 12, 0]
    outcomes = [record.data["outcome"] for record in metadata["last_24_hours"].records]
    assert outcomes == ["200", "429"], "newest first, nothing of the day before"
