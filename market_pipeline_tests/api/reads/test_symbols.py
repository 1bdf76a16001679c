"""Symbols and how complete their history is."""

from collections.abc import Callable, Collection
from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy import Engine, event
from starlette.testclient import TestClient

from market_pipeline.coingecko.identity import Identity
from market_pipeline.core.clock import iso
from market_pipeline.core.symbols import Coin, parse_catalogue
from market_pipeline.pipeline.coin_ids import save_identities
from market_pipeline.pipeline.missing_days import incomplete_days
from market_pipeline.prices.absences import Absence
from market_pipeline.prices.gaps import Interval
from market_pipeline.storage.engine import Database
from market_pipeline.storage.queries.source_gaps import record_absences
from market_pipeline_tests.api.reads.rows import store_prices, utc, walk
from market_pipeline_tests.api.serving import both_databases
from market_pipeline_tests.builders import at, price_row

HOURS = 60
DAY = 24 * HOURS
# On the fourth day after START at noon.
NOW = at(3 * DAY + 12 * HOURS)


def store_hours(
    database: Database, symbol: str = "BTC", first: int = 0, last: int = 3 * DAY, without: Collection[int] = ()
) -> None:
    """A price an hour in these minutes after START, but for the hours `without`."""
    minutes = [one for one in range(first, last, HOURS) if one // HOURS not in without]
    store_prices(database, *(price_row(symbol, minute) for minute in minutes))


@pytest.fixture
def client(client_over: Callable[..., TestClient], database: Database) -> TestClient:
    return client_over(database, lambda: NOW, market_symbols="BTC,ETH")


@both_databases
def test_symbols_have_their_first_and_last_price_and_past_days(client: TestClient, database: Database) -> None:
    store_hours(database, without=range(30, 35))
    save_identities(database, [Identity("BTC", "bitcoin", True, "BTC", "Bitcoin", None, None)], NOW)
    save_identities(database, [Identity("ETH", "etherium", True, "ETH", "Wrong", None, None)], NOW)
    answer = client.get("/symbols").json()
    assert answer == {"symbols": [
        {
            "symbol": "BTC", "coin_id": "bitcoin", "name": "Bitcoin",
            "first": "2024-03-01T00:00:00Z", "last": "2024-03-03T23:00:00Z", "change_24h": 0.0,
            "last_30_days": {"days": 3, "complete_days": 2, "largest_gap_seconds": 6 * 3600.0},
        },
        {
            "symbol": "ETH", "coin_id": "ethereum", "name": None, "first": None, "last": None,
            "change_24h": None,
            "last_30_days": {"days": 0, "complete_days": 0, "largest_gap_seconds": None},
        },
    ]}


def test_symbols_with_unusual_characters_work_in_paths(
    client_over: Callable[..., TestClient], database: Database
) -> None:
    client = client_over(database, market_symbols="FIGR_HELOC=figure-heloc,USDC.E=bridged-usdc")
    for path in ("/prices/figr_heloc", "/coverage/FIGR_HELOC", "/anomalies/usdc.e", "/prices/USDC.E"):
        assert client.get(path).status_code == 200


def test_past_days_are_measured_once_a_minute_and_the_newest_price_each_time(
    client_over: Callable[..., TestClient], database: Database
) -> None:
    now = [NOW]
    client = client_over(database, lambda: now[0], market_symbols="BTC")
    store_hours(database, last=2 * DAY)

    def current() -> tuple[str, int]:
        (symbol,) = client.get("/symbols").json()["symbols"]
        return symbol["last"], symbol["last_30_days"]["complete_days"]

    assert current() == ("2024-03-02T23:00:00Z", 2)
    store_hours(database, first=2 * DAY)
    assert current() == ("2024-03-03T23:00:00Z", 2)
    now[0] += timedelta(minutes=1)
    assert current() == ("2024-03-03T23:00:00Z", 3)
    now[0] -= timedelta(hours=24)  # A clock that is set back does not keep what was measured for ever.
    assert current() == ("2024-03-03T12:00:00Z", 2), "the rest of the day lies in the future"


def test_the_work_of_the_database_does_not_grow_with_what_is_stored(
    client_over: Callable[..., TestClient], sqlite_database: Database
) -> None:
    """Statements alike, and none that walks through a table."""
    statements: list[tuple[str, Any]] = []

    def record(connection: Any, cursor: Any, statement: str, parameters: Any, *more: Any) -> None:
        statements.append((statement, parameters))

    def measured(minutes: int) -> int:
        client, before = client_over(sqlite_database, lambda: NOW + timedelta(minutes=minutes)), len(statements)
        event.listen(Engine, "before_cursor_execute", record)
        client.get("/symbols")
        event.remove(Engine, "before_cursor_execute", record)
        return len(statements) - before

    store_hours(sqlite_database)
    first = measured(0)
    store_hours(sqlite_database, first=-80 * DAY, last=0)
    assert measured(2) == first > 0
    with sqlite_database.reading() as connection:
        for statement, parameters in [one for one in statements[first:] if one[0].startswith("SELECT")]:
            plan = connection.exec_driver_sql(f"EXPLAIN QUERY PLAN {statement}", parameters).all()
            assert not [row.detail for row in plan if row.detail.startswith("SCAN raw_prices")]


@both_databases
def test_coverage_lists_each_day_the_newest_first(client: TestClient, database: Database) -> None:
    store_hours(database, last=3 * DAY + 6 * HOURS, without=range(30, 35))
    answer = client.get("/coverage/btc?from=2024-03-01").json()
    complete = {"points": 24, "expected": 24, "largest_gap_seconds": 3600.0, "complete": True}
    assert answer == {
        "symbol": "BTC", "from": "2024-03-01", "to": "2024-03-04", "source_gaps": [], "next_to": None,
        "incomplete_days": ["2024-03-02"],
        "days": [
            # Not over yet: nobody can say.
            {"day": "2024-03-04", **complete, "points": 6, "largest_gap_seconds": 19 * 3600.0, "complete": None},
            {"day": "2024-03-03", **complete},
            {"day": "2024-03-02", **complete, "points": 19, "largest_gap_seconds": 21600.0, "complete": False},
            {"day": "2024-03-01", **complete},
        ],
    }


@pytest.mark.parametrize("proven", [True, False])
def test_absences_at_the_source_are_listed_and_only_proof_makes_the_day_complete(
    client: TestClient, database: Database, proven: bool
) -> None:
    store_hours(database, without=range(30, 35))
    span, asked = Interval(at(29 * HOURS), at(35 * HOURS)), at(3 * DAY + 10 * HOURS)
    absence = Absence("BTC", "bitcoin", span, "The answer had no price in it.", asked, proven)
    record_absences(database, [(Coin("BTC", "bitcoin"), span)], [absence], [])
    answer = client.get("/coverage/BTC?from=2024-03-01&to=2024-03-03").json()
    assert [day["complete"] for day in answer["days"]] == [True, proven, True]
    assert answer["incomplete_days"] == ([] if proven else ["2024-03-02"])
    assert answer["source_gaps"] == [{
        "start": iso(span.start), "end": iso(span.end), "evidence": "The answer had no price in it.",
        "found_at": iso(asked), "first_found_at": iso(asked), "proven": proven,
        "ask_again_at": iso(asked + timedelta(hours=3)),
    }]
    assert client.get("/coverage/BTC?from=2024-03-03&to=2024-03-03").json()["source_gaps"] == []


def test_incomplete_days_are_those_that_the_pipeline_repairs(client: TestClient, database: Database) -> None:
    store_hours(database, without=[2, 3, 4, *range(50, 54)])
    catalogue = parse_catalogue("BTC,ETH")
    first = (NOW - timedelta(days=29)).date()
    expected = incomplete_days(database, catalogue, first, NOW.date(), NOW)
    for symbol in ("BTC", "ETH"):
        document = client.get(f"/coverage/{symbol}").json()
        assert document["incomplete_days"] == [
            day.isoformat() for day, of in sorted(expected, reverse=True) if of == symbol
        ]
        assert (len(document["days"]), document["from"], document["to"]) == (30, first.isoformat(), "2024-03-04")


def test_more_days_than_one_answer_has_are_in_several(client: TestClient, database: Database) -> None:
    store_hours(database)
    pages = walk(client, "/coverage/BTC?from=2022-01-01")
    days = [day["day"] for page in pages for day in page.json()["days"]]
    count = (NOW - utc(2022, 1, 1)).days + 1
    expected = [(NOW - timedelta(days=back)).date().isoformat() for back in range(count)]
    assert days == expected
    assert [len(page.json()["days"]) for page in pages] == [366, 366, len(expected) - 732]
    assert pages[0].json()["next_to"] == pages[1].json()["to"]


@pytest.mark.parametrize(("query", "days"), [
    ("from=2024-03-05", 0), ("to=9999-12-31", 30), ("from=0001-01-01&to=0001-01-01", 1), ("to=0001-01-01", 1),
    ("from=9999-12-31", 0), ("from=2024-03-04&to=2024-03-04", 1), ("to=0001-03-01", 30),
])
def test_days_at_the_ends_of_the_calendar_are_listed_too(client: TestClient, query: str, days: int) -> None:
    answer = client.get(f"/coverage/BTC?{query}")
    assert answer.status_code == 200, answer.text
    assert len(answer.json()["days"]) == days
