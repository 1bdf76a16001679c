"""What Prometheus is told, read with its own parser and held against the tables."""

import math
import time
from collections import Counter
from datetime import timedelta

import dagster as dg
import pytest
from dagster._daemon.types import DaemonHeartbeat
from prometheus_client.openmetrics.parser import text_string_to_metric_families as parse_openmetrics
from prometheus_client.parser import text_string_to_metric_families as parse
from sqlalchemy import select

from market_pipeline import __version__
from market_pipeline.budget import ledger
from market_pipeline.budget.plan_limits import account_of
from market_pipeline.core.clock import DAY, utc_now
from market_pipeline.simulator.faults import Fault
from market_pipeline.storage.schema import tables
from market_pipeline.storage.schema.operations_tables import request_ledger
from market_pipeline_tests.canaries import KEY

SYMBOLS = ("BTC", "ETH", "SOL", "ADA", "DOT")
WITH_KEY = {"coingecko_plan": "demo", "coingecko_api_key": KEY, "coingecko_requests_per_minute": 30}
PREFIX = "market_pipeline_"


def scrape(asking):
    """The samples of each family: a number for each set of labels."""
    answer = asking.get("/metrics")
    assert answer.status_code == 200 and answer.headers["cache-control"] == "no-store"
    return samples(parse(answer.text))


def samples(families):
    found = {}
    for family in families:
        assert family.name.startswith(PREFIX) and family.documentation.endswith(".")
        for sample in family.samples:
            name = sample.name.removeprefix(PREFIX)
            found.setdefault(name, {})[tuple(sample.labels[key] for key in sorted(sample.labels))] = sample.value
    return found


def rows(database, table):
    with database.reading() as connection:
        return connection.execute(select(table)).all()


def test_quotes_and_anomalies_are_those_of_the_tables(client, database, some_history):
    since = utc_now() - DAY
    told = scrape(client)
    quotes = Counter((row.symbol,) for row in rows(database, tables.raw_prices) if row.timestamp >= since)
    assert told["recent_quotes"] == quotes and set(quotes.values()) == {288}
    alarms = Counter(
        (row.severity, row.symbol)
        for row in rows(database, tables.price_anomalies)
        if row.timestamp >= since and row.event_id in (None, row.id)
    )
    assert alarms and {labels: count for labels, count in told["recent_anomalies"].items() if count} == alarms
    assert len(told["recent_anomalies"]) == 3 * len(SYMBOLS)
    assert set(told["newest_quote_age_seconds"]) == {(symbol,) for symbol in SYMBOLS}
    assert all(0 <= age < 600 for age in told["newest_quote_age_seconds"].values())


def test_a_symbol_without_prices_is_infinitely_old(client):
    told = scrape(client)
    assert told["newest_quote_age_seconds"] == {(symbol,): math.inf for symbol in SYMBOLS}
    assert told["recent_quotes"] == {(symbol,): 0 for symbol in SYMBOLS}


def test_requests_and_refusals_are_those_of_the_tables(api, simulator, database):
    asking = api(**WITH_KEY)
    simulator.add_fault(Fault(kind="negative_price", coin="bitcoin"))
    simulator.add_fault(Fault(kind="status", status=404, coin="ethereum"))
    simulator.add_fault(Fault(kind="zero_price", coin="solana"))
    assert [asking.post(f"/collect-once/{symbol}").status_code for symbol in SYMBOLS] == [422, 503, 422, 200, 200]
    told = scrape(asking)
    assert told["coingecko_requests_total"] == {("/simple/price", "200"): 4, ("/simple/price", "404"): 1}
    assert told["coingecko_requests_total"] == {
        (row.endpoint, row.outcome): row.requests for row in rows(database, request_ledger)
    }
    refused = Counter((row.reason,) for row in rows(database, tables.rejected_prices))
    assert {reason: count for reason, count in told["recent_refusals"].items() if count} == refused
    assert set(refused) == {("negative_price",), ("zero_price",)}
    assert told["coingecko_requests_left"] == {(): 25} and told["coingecko_requests_waiting"] == {(): 0}
    assert told["coingecko_credits_left"] == {(): 10_000 - 4} and told["coingecko_credits_reserved"][()] > 0
    assert told["coingecko_cool_down_seconds"] == {(): 0}


def test_a_request_that_is_under_way_is_not_counted_yet(api, service_of, database):
    """Its outcome is not known, and a counter must not be taken back."""
    asking = api(**WITH_KEY)
    account = account_of(service_of(**WITH_KEY).settings)
    with database.writing() as connection:
        ledger.record_sent(connection, account, "/simple/price", utc_now(), 1)
    assert "coingecko_requests_total" not in scrape(asking)
    with database.writing() as connection:
        ledger.record_sent(connection, account, "/ping", utc_now() - timedelta(days=32), 1)
        then = utc_now() - timedelta(days=32)
        ledger.record_outcome(connection, account, "/ping", then, "200", reserved=1, charged=1)
    assert "coingecko_requests_total" not in scrape(asking), "that was another month"


def test_a_plan_without_a_cap_has_no_credits(client):
    assert "coingecko_credits_left" not in scrape(client)


def test_a_cool_down_is_told(client, simulator):
    simulator.add_fault(Fault(kind="status", status=429, retry_after=300))
    client.post("/collect-once/BTC")
    assert 280 < scrape(client)["coingecko_cool_down_seconds"][()] <= 300


def test_heartbeats_and_collections_are_those_of_dagster(client, dagster_home):
    before = scrape(client)
    assert before["dagster_readable"] == {(): 1} and before["collection_age_seconds"] == {(): math.inf}
    assert before["daemon_heartbeat_age_seconds"][("SCHEDULER",)] == math.inf
    with dg.DagsterInstance.from_config(str(dagster_home)) as instance:
        instance.add_daemon_heartbeat(DaemonHeartbeat(time.time() - 100, "SCHEDULER", "id", []))
    assert client.post("/collect-once/BTC").status_code == 200
    told = scrape(client)
    assert 100 <= told["daemon_heartbeat_age_seconds"][("SCHEDULER",)] < 200
    assert 0 <= told["collection_age_seconds"][()] < 60


def test_without_dagster_the_rest_is_told(client, dagster_home):
    (dagster_home / "history" / "runs.db").write_bytes(b"no database at all " * 100)
    told = scrape(client)
    assert told["dagster_readable"] == {(): 0} and "daemon_heartbeat_age_seconds" not in told
    assert "recent_quotes" in told


def test_every_worker_tells_the_same(api, some_history):
    """Nothing is kept in a process: only the ages differ, by the time between the scrapes."""
    workers = [api(**WITH_KEY), api(**WITH_KEY)]
    assert workers[0].post("/collect-once/BTC").status_code == 200
    first, second = (scrape(worker) for worker in workers)
    moving = {name for name in first if name.endswith("_seconds")}
    assert {name: first[name] for name in first.keys() - moving} == {
        name: second[name] for name in second.keys() - moving
    }
    for name in moving:
        assert first[name].keys() == second[name].keys()
        assert all(value - first[name][labels] < 60 for labels, value in second[name].items() if value < math.inf)


def test_what_runs_is_told(client, database):
    answer = client.get("/metrics").text
    assert f'{PREFIX}build_info{{database="{database.dialect}",plan="keyless",version="{__version__}"}} 1.0' in answer


@pytest.mark.parametrize("accept", [
    "application/openmetrics-text;version=1.0.0,*/*;q=0.1", "text/plain, Application/OpenMetrics-Text",
    'application/openmetrics-text;version=99.0.0"<script>', "application/openmetrics-text;version=x.y",
])
def test_openmetrics_is_told_to_who_asks_for_it(client, accept):
    answer = client.get("/metrics", headers={"Accept": accept})
    assert answer.headers["content-type"] == "application/openmetrics-text; version=1.0.0; charset=utf-8"
    assert answer.text.endswith("# EOF\n")
    assert samples(parse_openmetrics(answer.text)).keys() == scrape(client).keys()


@pytest.mark.parametrize("accept", ["", "image/png", "text/plain;version=banana", "application/openmetrics"])
def test_whatever_else_is_asked_for_plain_text_is_told(client, accept):
    answer = client.get("/metrics", headers={"Accept": accept})
    assert answer.headers["content-type"] == "text/plain; version=0.0.4; charset=utf-8"
    assert samples(parse(answer.text))
