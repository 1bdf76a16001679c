"""The checks of `python -m faults` find what they look for: a promise that cannot be missed proves nothing."""

from datetime import timedelta

from faults import invariants
from market_pipeline.storage.engine import Database
from market_pipeline.storage.schema import tables
from market_pipeline_tests.builders import START, anomaly_row, price_row, store


def test_a_collection_without_some_of_its_symbols_is_half_written(sqlite_database: Database) -> None:
    store(sqlite_database, tables.raw_prices, price_row("BTC"), price_row("ETH"))
    (found,) = invariants.prices(sqlite_database, START, START + timedelta(hours=1))
    assert found.startswith("half-written prices")


def test_an_anomaly_that_no_state_of_the_prices_has_is_found(sqlite_database: Database) -> None:
    day = START.date()
    assert list(invariants.anomalies(sqlite_database, day, None)) == []
    store(sqlite_database, tables.price_anomalies, anomaly_row("BTC"))
    (found,) = invariants.anomalies(sqlite_database, day, None, START)
    assert "(1 rows) are those of no state of the prices" in found


def test_a_request_that_arrived_and_is_not_in_the_ledger_is_found(sqlite_database: Database) -> None:
    assert list(invariants.requests(sqlite_database, arrived=0, killed=0)) == []
    (found,) = invariants.requests(sqlite_database, arrived=1, killed=5)
    assert found.startswith("0 requests in the ledger, 1 arrived")
