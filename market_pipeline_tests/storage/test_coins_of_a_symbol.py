"""A symbol whose coin id was corrected: the rows of the former coin stay, and no query returns them."""

from collections.abc import Iterator
from datetime import timedelta

import pytest

from market_pipeline.core.slices import Slice
from market_pipeline.core.symbols import parse_catalogue
from market_pipeline.pipeline.missing_days import incomplete_days
from market_pipeline.storage.engine import Database
from market_pipeline.storage.queries import counts, integrity, latest
from market_pipeline.storage.queries.anomaly_pages import AnomalyFilter, anomalies_page, anomaly, event_members
from market_pipeline.storage.queries.coverage import day_coverage, first_times
from market_pipeline.storage.queries.price_pages import PriceQuery, newest_points, newest_table
from market_pipeline.storage.queries.silences import recent_silences
from market_pipeline.storage.rows.read import read_columns, read_many_columns, rows_per_day
from market_pipeline.storage.rows.write import replace, upsert
from market_pipeline.storage.schema.operations_tables import price_revisions
from market_pipeline.storage.schema.tables import price_anomalies, raw_prices, rejected_prices
from market_pipeline_tests.builders import (
    START,
    anomalies_of,
    anomaly_row,
    at,
    price_row,
    prices_of,
    refusal_row,
    store,
    stored_rows,
)

WRONG, RIGHT = "base-protocol", "base-token"
CATALOGUE = parse_catalogue(f"BASE={RIGHT}")
HOUR = 60
DAY = [Slice("BASE", START.date(), START.date())]
SYMBOLS = ["BASE"]
FIRST_ALARM = anomaly_row("BASE", coin_id=WRONG)


@pytest.fixture
def corrected(database: Database) -> Iterator[Database]:
    """The database of an installation that stored a day of the wrong coin before its id was corrected."""
    store(database, raw_prices, *(price_row("BASE", n * HOUR, coin_id=WRONG) for n in range(24)))
    alarm = anomaly_row("BASE", 5, coin_id=WRONG, event_id=FIRST_ALARM["id"])
    store(database, price_anomalies, FIRST_ALARM, alarm)
    store(database, rejected_prices, refusal_row(1, "BASE", coin_id=WRONG))
    corrected = Database(database.url, CATALOGUE.ids)
    yield corrected
    corrected.dispose()


def test_no_query_of_prices_returns_another_coin(corrected: Database) -> None:
    now = at(48 * HOUR)
    for rows in (
        read_columns(corrected, raw_prices, DAY), read_many_columns(corrected, raw_prices, DAY),
        rows_per_day(corrected, raw_prices, DAY), rows_per_day(corrected, rejected_prices, DAY),
        newest_points(corrected, PriceQuery("BASE", None, None, 9), now),
        newest_table(corrected, PriceQuery("BASE", START, None, 9), now), first_times(corrected, SYMBOLS),
        latest.latest_quotes(corrected, SYMBOLS, now), latest.quotes_at(corrected, SYMBOLS, at(999)),
        recent_silences(corrected, SYMBOLS, START, now, timedelta(minutes=1)),
        counts.recently_refused(corrected, SYMBOLS, START),
    ):
        assert len(rows) == 0
    assert latest.newest_quote_times(corrected, SYMBOLS, now) == {"BASE": None}
    missing = integrity.symbols_without_quote(corrected, DAY, timedelta(0), now)
    assert missing == {"BASE": [START.date()]}
    assert counts.quotes_by_symbol(corrected, SYMBOLS, START, now) == {"BASE": 0}
    assert integrity.quotes_in_future(corrected, DAY, START).count == 0
    assert [covered.points for covered in day_coverage(corrected, DAY)] == [0]
    assert incomplete_days(corrected, CATALOGUE, START.date(), START.date(), now) == [(START.date(), "BASE")]


def test_no_query_of_anomalies_returns_another_coin(corrected: Database) -> None:
    assert anomalies_page(corrected, SYMBOLS, AnomalyFilter(), None, 9).rows == []
    assert anomaly(corrected, FIRST_ALARM["id"]) is None
    assert event_members(corrected, FIRST_ALARM["id"]) == []
    assert len(latest.anomalies_since(corrected, SYMBOLS, START)) == 0
    assert not counts.alarms_by_severity(corrected, SYMBOLS, START)
    former = Database(corrected.url, {"BASE": WRONG})
    assert len(event_members(former, FIRST_ALARM["id"])) == 1 and anomaly(former, FIRST_ALARM["id"]) is not None
    assert len(read_columns(former, raw_prices, DAY)) == 24, "the former id brings its rows back"
    former.dispose()


def test_prices_of_two_coins_at_one_time_are_two_rows(corrected: Database, path: str) -> None:
    assert upsert(corrected, raw_prices, prices_of(price_row("BASE", price=2.0, coin_id=RIGHT))) == 1
    assert [row["price"] for row in stored_rows(corrected, raw_prices) if row["coin_id"] == WRONG] == [100.0] * 24
    assert read_columns(corrected, raw_prices, DAY)["price"].tolist() == [2.0]
    assert stored_rows(corrected, price_revisions) == []


def test_scoring_a_day_again_replaces_the_anomalies_of_another_coin(corrected: Database, path: str) -> None:
    """They have the same ids where both coins are flagged at one time."""
    assert replace(corrected, price_anomalies, anomalies_of(anomaly_row("BASE", coin_id=RIGHT)), DAY) == 1
    assert [row["coin_id"] for row in stored_rows(corrected, price_anomalies)] == [RIGHT]
