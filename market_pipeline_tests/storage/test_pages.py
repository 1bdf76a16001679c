"""Pages of prices and anomalies cost what they return: each statement follows a key and stops."""

from typing import Any

import pytest

from market_pipeline.storage.engine import Database
from market_pipeline.storage.queries import anomaly_pages
from market_pipeline.storage.queries.anomaly_pages import (
    AnomalyFilter,
    Cursor,
    anomalies_page,
    anomaly,
    event_members,
)
from market_pipeline.storage.queries.price_pages import PriceQuery, newest_points, newest_table
from market_pipeline.storage.schema.tables import price_anomalies, raw_prices
from market_pipeline_tests.builders import anomaly_row, at, price_row, store
from market_pipeline_tests.storage.plans import plans

SYMBOLS = ["ADA", "BTC", "ETH"]
MARK_BY_KEY = "SEARCH anomaly_marks USING PRIMARY KEY (anomaly_id=? AND coin_id=?)"


@pytest.mark.parametrize(("start", "end", "where"), [
    (None, None, ""), (0, None, " AND timestamp>?"), (None, 9, " AND timestamp<?"),
    (0, 9, " AND timestamp>? AND timestamp<?"),
])
def test_prices_are_found_by_their_key_and_not_sorted(
    sqlite_database: Database, start: int | None, end: int | None, where: str
) -> None:
    store(sqlite_database, raw_prices, price_row(minutes=5))
    limits = [None if minute is None else at(minute) for minute in (start, end)]
    with plans(sqlite_database) as found:
        newest_points(sqlite_database, PriceQuery("BTC", limits[0], limits[1], 10), at(9))
    assert found == [
        [f"SEARCH raw_prices USING PRIMARY KEY (symbol=? AND coin_id=?{where})"],
        ["SEARCH price_anomalies USING PRIMARY KEY (symbol=? AND timestamp>? AND timestamp<?)"],
    ]


@pytest.mark.parametrize("after", [None, Cursor(at(5), "BTC", "jump")])
@pytest.mark.parametrize(("wanted", "statements"), [
    (AnomalyFilter(), 1), (AnomalyFilter(since=at(0)), 1), (AnomalyFilter(kind="jump"), 2),
    (AnomalyFilter(alarms_only=True), 2),
])
def test_anomalies_are_found_by_their_key(
    sqlite_database: Database, after: Cursor | None, wanted: AnomalyFilter, statements: int
) -> None:
    """Only rows of the same moment are sorted, by kind."""
    store(sqlite_database, price_anomalies, *(anomaly_row("BTC", minute) for minute in range(9)))
    with plans(sqlite_database) as found:
        anomalies_page(sqlite_database, SYMBOLS, wanted, after, 3)
    assert len(found) == len(SYMBOLS) * statements
    for plan in found:
        assert plan[0].startswith("SEARCH price_anomalies USING PRIMARY KEY (symbol=?")
        # Releases of SQLite say differently that time is in order already.
        sorting = [step for step in plan[1:] if not step.startswith(MARK_BY_KEY)]
        assert all(step.endswith(("LAST TERM OF ORDER BY", "RIGHT PART OF ORDER BY")) for step in sorting)
        assert after is None or "timestamp<?" in plan[0]


def test_one_anomaly_and_its_members_are_found_by_their_indexes(sqlite_database: Database) -> None:
    with plans(sqlite_database) as found:
        assert anomaly(sqlite_database, "0" * 32) is None
        assert event_members(sqlite_database, "0" * 32) == []
    assert [plan[0] for plan in found] == [
        "SEARCH price_anomalies USING INDEX price_anomalies_id (id=?)",
        "SEARCH price_anomalies USING INDEX price_anomalies_event (event_id=?)",
    ]
    assert all(plan[1].startswith(MARK_BY_KEY) and len(plan) == 2 for plan in found)


def test_the_scan_for_a_page_is_bounded(sqlite_database: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each symbol has its share; the page ends where the first of them is exhausted."""
    monkeypatch.setattr(anomaly_pages, "MOST_SCANNED", 6)
    rows = [anomaly_row(symbol, minute) for symbol, count in (("BTC", 10), ("ETH", 2)) for minute in range(count)]
    store(sqlite_database, price_anomalies, *rows)
    page = anomalies_page(sqlite_database, SYMBOLS, AnomalyFilter(kind="bad_tick"), None, 5)
    assert (page.rows, page.end) == ([], Cursor(at(7), "BTC", "jump"))
    # Three rows of each symbol are scanned; ETH has only two.
    assert anomalies_page(sqlite_database, ["ETH"], AnomalyFilter(kind="bad_tick"), None, 5).end is None


def test_a_table_holds_the_same_rows_as_the_points(database: Database) -> None:
    """Both mark the bad tick, and leave out what lies more than a minute in the future."""
    prices = [price_row(minutes=minute, price=4000.0 if minute in (3, 4) else 0.1 + minute) for minute in range(9)]
    store(database, raw_prices, *prices, price_row(minutes=9.1), price_row(minutes=98), price_row("ETH"))
    bad: dict[str, Any] = {"kind": "bad_tick", "detected_at": at(5), "price_before": 2.1, "price_after": 4000.0}
    store(database, price_anomalies, anomaly_row(minutes=3, **bad), anomaly_row(minutes=7))
    now = at(8)
    every = [(at(n), "bad_tick" if n in (3, 4) else "ok") for n in reversed(range(9))]
    for query, expected in (
        (PriceQuery("BTC", None, None, 100), every), (PriceQuery("BTC", None, None, 4), every[:4]),
        (PriceQuery("BTC", at(2), at(6), 3), every[3:6]), (PriceQuery("XRP", None, None, 5), []),
    ):
        points = newest_points(database, query, now)
        table = newest_table(database, query, now)
        rows = [(row["timestamp"], row["quality"]) for row in table.to_pylist()]
        assert rows == expected
        as_numbers = [table[name].cast("int64" if "time" in str(table[name].type) else table[name].type).to_pylist()
                      for name in table.column_names]
        assert [tuple(row) for row in zip(*as_numbers, strict=True)] == points
