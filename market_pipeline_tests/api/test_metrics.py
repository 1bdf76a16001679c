"""/metrics, read with Prometheus's own parser and compared with the tables."""

import math
import re
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from datetime import timedelta
from typing import Any

import dagster as dg
import pytest
from prometheus_client import Metric
from prometheus_client.openmetrics.parser import text_string_to_metric_families as parse_openmetrics
from prometheus_client.parser import text_string_to_metric_families as parse
from sqlalchemy import Connection, Engine, event
from starlette.testclient import TestClient

from market_pipeline import __version__
from market_pipeline.api.service import Service
from market_pipeline.budget import ledger
from market_pipeline.budget.plan_limits import account_of
from market_pipeline.core.clock import DAY, utc_now
from market_pipeline.defs.assets import market_overview
from market_pipeline.defs.assets.market_overview import Picture
from market_pipeline.simulator.faults import Fault
from market_pipeline.simulator.server import Simulator
from market_pipeline.storage.engine import Database
from market_pipeline.storage.schema import tables
from market_pipeline.storage.schema.operations_tables import request_ledger
from market_pipeline_tests.api.serving import SYMBOLS, both_databases, store_anomaly, store_day, store_quotes
from market_pipeline_tests.builders import stored_rows
from market_pipeline_tests.canaries import KEY
from market_pipeline_tests.dagster_records import beat

WITH_KEY = {"coingecko_plan": "demo", "coingecko_api_key": KEY, "coingecko_requests_per_minute": 30}
PREFIX = "market_pipeline_"

Samples = dict[str, dict[tuple[str, ...], float]]


def scrape(client: TestClient) -> Samples:
    """The samples of each family: a number for each set of labels."""
    answer = client.get("/metrics")
    assert answer.status_code == 200 and answer.headers["cache-control"] == "no-store"
    return samples(parse(answer.text))


def samples(families: Iterable[Metric]) -> Samples:
    found: Samples = {}
    for family in families:
        assert family.name.startswith(PREFIX) and family.documentation.endswith(".")
        for sample in family.samples:
            name = sample.name.removeprefix(PREFIX)
            found.setdefault(name, {})[tuple(sample.labels[key] for key in sorted(sample.labels))] = sample.value
    return found


@both_databases
def test_quotes_and_anomalies_are_those_of_the_tables(database: Database, client: TestClient) -> None:
    empty = scrape(client)
    assert empty["newest_quote_age_seconds"] == {(symbol,): math.inf for symbol in SYMBOLS}
    assert empty["recent_quotes"] == {(symbol,): 0 for symbol in SYMBOLS}
    newest = store_day(database, "BTC", 10.0)
    event = store_anomaly(database, "BTC", newest - timedelta(hours=1), "market_move", severity="critical")
    for hours in (1, 2, 30):
        store_anomaly(database, "BTC", newest - timedelta(hours=hours))
    store_anomaly(database, "BTC", newest - timedelta(hours=3), event_id=event)
    since, found = utc_now() - DAY, scrape(client)
    recent = [row for row in stored_rows(database, tables.raw_prices) if row["timestamp"] >= since]
    assert found["recent_quotes"] == Counter((row["symbol"],) for row in recent) + Counter() | {
        (symbol,): 0 for symbol in SYMBOLS[1:]
    } and found["recent_quotes"]["BTC",] >= 287
    assert {labels: count for labels, count in found["recent_anomalies"].items() if count} == {
        ("critical", "BTC"): 1, ("alert", "BTC"): 2,
    }
    assert len(found["recent_anomalies"]) == 3 * len(SYMBOLS)
    assert 120 <= found["newest_quote_age_seconds"]["BTC",] < 600
    assert 480 <= found["fresh_within_seconds"][()] <= 780


def test_prices_and_changes_are_missing_where_there_are_none(database: Database, client: TestClient) -> None:
    store_day(database, "BTC", 105.0, first=100.0)
    store_quotes(database, "ETH", [utc_now() - timedelta(hours=25)], 7.0)
    found = scrape(client)
    assert found["last_price_usd"] == {("BTC",): 105.0, ("ETH",): 7.0}
    assert found["price_change_24h_ratio"] == {("BTC",): pytest.approx(0.05)}


def test_all_faces_give_the_same_change(
    database: Database, client: TestClient, service_of: Callable[..., Service], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of hourly history with a jump, and quotes each 5 minutes: the nearest to 24 hours ago is after the jump."""
    newest = utc_now() - timedelta(minutes=20)
    times = [newest - DAY - timedelta(minutes=minutes) for minutes in (112, 52, -8)]
    store_quotes(database, "BTC", [*times[:2]], 100.0)
    store_quotes(database, "BTC", [times[2], *(newest - timedelta(minutes=5 * n) for n in (2, 1, 0))], 121.0, 110.0)
    charted: list[Any] = []

    def picture(*given: Any) -> Picture:
        charted.append(given[3]["BTC"])
        return Picture("", newest, "", 0)

    monkeypatch.setattr(market_overview, "current_picture", picture)
    overview = market_overview.overview_metadata(database, service_of().settings, utc_now(), {})
    shown = [
        scrape(client)["price_change_24h_ratio"]["BTC",],
        client.get("/symbols").json()["symbols"][0]["change_24h"],
        client.get("/symbols/BTC/chart.json").json()["change_24h"],
        *charted,
        overview["BTC/change_24h_percent"] / 100,
    ]
    assert shown == [pytest.approx(0.1)] * 5


def test_the_cost_of_a_scrape_does_not_follow_what_is_stored(
    database: Database, api: Callable[..., TestClient]
) -> None:
    """As many statements for a hundred symbols as for one, and no statement that scans prices or anomalies."""
    executed: list[tuple[Connection, str, Any]] = []

    def record(connection: Connection, cursor: Any, statement: str, parameters: Any, *_: Any) -> None:
        executed.append((connection, statement, parameters))

    def scraped(symbols: Sequence[str]) -> list[tuple[Connection, str, Any]]:
        client = api(market_symbols=",".join(f"{symbol}=coin-{symbol.lower()}" for symbol in symbols))
        for symbol in symbols:
            store_quotes(database, symbol, [utc_now() - timedelta(days=1, minutes=9), utc_now()], 7.0, first=5.0)
        executed.clear()
        assert len(scrape(client)["price_change_24h_ratio"]) == len(symbols)
        return list(executed)

    event.listen(Engine, "before_cursor_execute", record)
    try:
        few, many = scraped(["AAA"]), scraped([f"X{number:03}" for number in range(100)])
    finally:
        event.remove(Engine, "before_cursor_execute", record)
    assert len(many) == len(few)
    with database.reading() as connection:
        plans = {
            detail: statement
            for source, statement, parameters in many
            if source.engine.url == database.url and statement.startswith(("SELECT", "WITH"))
            for *_, detail in connection.exec_driver_sql(f"EXPLAIN QUERY PLAN {statement}", parameters)
        }
    assert any("SEARCH raw_prices USING PRIMARY KEY" in plan for plan in plans)
    assert [plan for plan in plans if re.match("SCAN (raw_prices|price_anomalies|rejected_prices)", plan)] == []


@both_databases
def test_requests_and_refusals_are_those_of_the_tables(
    database: Database, api: Callable[..., TestClient], simulator: Simulator
) -> None:
    """And every worker reports the same: only the ages differ, by the time between the scrapes."""
    client = api(**WITH_KEY)
    simulator.add_fault(Fault(kind="negative_price", coin="bitcoin"))
    simulator.add_fault(Fault(kind="status", status=404, coin="ethereum"))
    simulator.add_fault(Fault(kind="zero_price", coin="solana"))
    assert [client.post(f"/collect-once/{symbol}").status_code for symbol in SYMBOLS] == [422, 503, 422, 200, 200]
    found = scrape(client)
    assert found["coingecko_requests_total"] == {("/simple/price", "200"): 4, ("/simple/price", "404"): 1}
    assert found["coingecko_requests_total"] == {
        (row["endpoint"], row["outcome"]): row["requests"] for row in stored_rows(database, request_ledger)
    }
    refused = Counter((row["reason"],) for row in stored_rows(database, tables.rejected_prices))
    assert {reason: count for reason, count in found["recent_refusals"].items() if count} == refused
    assert set(refused) == {("negative_price",), ("zero_price",)}
    assert found["coingecko_requests_left"] == {(): 25} and found["coingecko_requests_waiting"] == {(): 0}
    assert found["coingecko_credits_left"] == {(): 10_000 - 4} and found["coingecko_credits_reserved"][()] > 0
    assert found["coingecko_cool_down_seconds"] == {(): 0}
    other = scrape(api(**WITH_KEY))
    still = {name for name in found if not name.endswith("_seconds")}
    assert {name: found[name] for name in still} == {name: other[name] for name in still}
    assert found.keys() == other.keys()


def test_a_request_in_progress_is_not_counted_yet(
    api: Callable[..., TestClient], service_of: Callable[..., Service], database: Database
) -> None:
    """Its outcome is not known, and a counter must not go back."""
    client = api(**WITH_KEY)
    account = account_of(service_of(**WITH_KEY).settings)
    with database.writing() as connection:
        ledger.record_sent(connection, account, "/simple/price", utc_now(), reserved=1)
    assert "coingecko_requests_total" not in scrape(client)
    then = utc_now() - timedelta(days=32)
    with database.writing() as connection:
        ledger.record_sent(connection, account, "/ping", then, reserved=1)
        ledger.record_outcome(connection, account, "/ping", then, "200", reserved=1, charged=1)
    assert "coingecko_requests_total" not in scrape(client), "that was another month"


def test_a_cool_down_is_reported_and_credits_only_with_a_cap(client: TestClient, simulator: Simulator) -> None:
    simulator.add_fault(Fault(kind="status", status=429, retry_after=300))
    client.post("/collect-once/BTC")
    found = scrape(client)
    assert 280 < found["coingecko_cool_down_seconds"][()] <= 300 and "coingecko_credits_left" not in found


def test_heartbeats_and_collections_are_those_of_dagster(
    client: TestClient, instance: dg.DagsterInstance, database: Database
) -> None:
    before = scrape(client)
    assert before["dagster_readable"] == {(): 1} and before["collection_age_seconds"] == {(): math.inf}
    assert before["daemon_heartbeat_age_seconds"]["SCHEDULER",] == math.inf
    beat(instance, timedelta(seconds=100))
    assert client.post("/collect-once/BTC").status_code == 200
    found = scrape(client)
    assert 100 <= found["daemon_heartbeat_age_seconds"]["SCHEDULER",] < 200
    assert 0 <= found["collection_age_seconds"][()] < 60
    assert found["build_info"] == {(database.dialect, "keyless", __version__): 1}


@pytest.mark.parametrize(("accept", "media_type", "parsed"), [
    *((accept, "application/openmetrics-text; version=1.0.0; charset=utf-8", parse_openmetrics) for accept in (
        "application/openmetrics-text;version=1.0.0,*/*;q=0.1", "text/plain, Application/OpenMetrics-Text",
        'application/openmetrics-text;version=99.0.0"<script>',
    )),
    *((accept, "text/plain; version=0.0.4; charset=utf-8", parse) for accept in (
        "", "image/png", "text/plain;version=banana", "application/openmetrics",
    )),
])
def test_the_format_is_openmetrics_only_on_request(
    client: TestClient, accept: str, media_type: str, parsed: Callable[[str], Any]
) -> None:
    answer = client.get("/metrics", headers={"Accept": accept})
    assert answer.headers["content-type"] == media_type
    assert samples(parsed(answer.text)).keys() == scrape(client).keys()
