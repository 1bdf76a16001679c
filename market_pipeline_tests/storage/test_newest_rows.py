"""Pages of prices and anomalies cost what they give: each statement follows a key and leaves it."""

from contextlib import contextmanager

import pytest
from sqlalchemy import event

from market_pipeline.core.clock import to_microseconds
from market_pipeline.storage.queries import anomaly_pages
from market_pipeline.storage.queries.anomaly_pages import AnomalyFilter, Cursor, anomalies_page, anomaly, event_members
from market_pipeline.storage.queries.price_pages import PriceQuery, newest_points, newest_table
from market_pipeline.storage.rows.write import upsert
from market_pipeline.storage.schema.tables import price_anomalies, raw_prices
from market_pipeline_tests.builders import anomalies_of, anomaly_row, at, price_row, prices_of

SYMBOLS = ["ADA", "BTC", "ETH"]


@contextmanager
def plans(database):
    """Collects how SQLite goes about each SELECT of the block."""
    asked, found = [], []
    event.listen(database._readers, "before_cursor_execute", lambda *told: asked.append(told[2:4]))
    yield found
    with database.reading() as connection:
        for statement, parameters in [one for one in asked if one[0].startswith("SELECT")]:
            plan = connection.exec_driver_sql(f"EXPLAIN QUERY PLAN {statement}", parameters).all()
            found.append([row.detail for row in plan])


@pytest.mark.parametrize(("start", "end", "where"), [
    (None, None, ""), (0, None, " AND timestamp>?"), (None, 9, " AND timestamp<?"),
    (0, 9, " AND timestamp>? AND timestamp<?"),
])
def test_prices_are_found_by_their_key_and_not_sorted(sqlite_database, start, end, where):
    upsert(sqlite_database, raw_prices, prices_of(price_row(minutes=5)))
    limits = [None if minute is None else at(minute) for minute in (start, end)]
    with plans(sqlite_database) as found:
        newest_points(sqlite_database, PriceQuery("BTC", *limits, 10), at(9))
    assert found == [
        [f"SEARCH raw_prices USING PRIMARY KEY (symbol=? AND coin_id=?{where})"],
        ["SEARCH price_anomalies USING PRIMARY KEY (symbol=? AND timestamp>? AND timestamp<?)"],
    ]


@pytest.mark.parametrize("after", [None, Cursor])
@pytest.mark.parametrize("chosen", [{}, {"kind": "jump"}, {"alarms_only": True}, {"since": 0}])
def test_anomalies_are_found_by_their_key(sqlite_database, after, chosen):
    """Only rows of the same moment are sorted, by kind."""
    if "since" in chosen:
        chosen = {"since": at(0)}
    place = None if after is None else Cursor(at(5), "BTC", "jump")
    rows = [anomaly_row("BTC", minute) for minute in range(9)]
    upsert(sqlite_database, price_anomalies, anomalies_of(*rows))
    with plans(sqlite_database) as found:
        anomalies_page(sqlite_database, SYMBOLS, AnomalyFilter(**chosen), place, 3)
    assert len(found) == len(SYMBOLS) * (1 if set(chosen) <= {"since"} else 2)
    for plan in found:
        assert plan[0].startswith("SEARCH price_anomalies USING PRIMARY KEY (symbol=?")
        # Releases of SQLite say differently that time is in order already.
        assert all(step.endswith(("LAST TERM OF ORDER BY", "RIGHT PART OF ORDER BY")) for step in plan[1:])
        if after is not None:
            assert "timestamp<?" in plan[0]


def test_one_anomaly_and_its_members_are_found_by_their_indexes(sqlite_database):
    with plans(sqlite_database) as found:
        assert anomaly(sqlite_database, "0" * 32) is None
        assert event_members(sqlite_database, "0" * 32) == []
    assert found == [
        ["SEARCH price_anomalies USING INDEX price_anomalies_id (id=?)"],
        ["SEARCH price_anomalies USING INDEX price_anomalies_event (event_id=?)"],
    ]


def test_the_share_of_each_symbol_in_a_search_is_bounded(sqlite_database, monkeypatch):
    """The page ends where the first of them has been looked through so far."""
    monkeypatch.setattr(anomaly_pages, "MOST_SCANNED", 6)
    rows = [anomaly_row(symbol, minute) for symbol, count in (("BTC", 10), ("ETH", 2)) for minute in range(count)]
    upsert(sqlite_database, price_anomalies, anomalies_of(*rows))
    page = anomalies_page(sqlite_database, SYMBOLS, AnomalyFilter(kind="bad_tick"), None, 5)
    assert page.rows == []
    assert page.end == Cursor(at(7), "BTC", "jump")
    # Three rows of each symbol were looked through; ETH has but two.
    last = anomalies_page(sqlite_database, ["ETH"], AnomalyFilter(kind="bad_tick"), None, 5)
    assert last.end is None


def test_a_table_holds_the_same_rows_as_the_points(database):
    """Both mark the bad tick, and leave out what lies further than a minute in the future."""
    rows = [price_row(minutes=minute, price=4000.0 if minute in (3, 4) else 0.1 + minute) for minute in range(9)]
    upsert(database, raw_prices, prices_of(*rows, price_row(minutes=9.1), price_row(minutes=98)))
    upsert(database, raw_prices, prices_of(price_row("ETH")))
    bad = {"kind": "bad_tick", "detected_at": at(5), "price_before": 2.1, "price_after": 4000.0}
    upsert(database, price_anomalies, anomalies_of(anomaly_row(minutes=3, **bad), anomaly_row(minutes=7)))
    now = at(8)
    for asked in (
        PriceQuery("BTC", None, None, 100), PriceQuery("BTC", None, None, 4), PriceQuery("BTC", at(2), at(6), 3),
        PriceQuery("XRP", None, None, 5),
    ):
        points = newest_points(database, asked, now)
        told = [tuple(row.values()) for row in newest_table(database, asked, now).to_pylist()]
        assert [
            (to_microseconds(timestamp), price, source, to_microseconds(ingested_at), quality)
            for timestamp, price, source, ingested_at, quality in told
        ] == points
    points = newest_points(database, PriceQuery("BTC", at(2), at(6), 3), now)
    assert [(point[0], point[-1]) for point in points] == [
        (to_microseconds(at(minute)), quality) for minute, quality in ((5, "ok"), (4, "bad_tick"), (3, "bad_tick"))
    ]
    everything = newest_points(database, PriceQuery("BTC", None, None, 100), now)
    assert [point[0] for point in everything] == [to_microseconds(at(minute)) for minute in reversed(range(9))]
