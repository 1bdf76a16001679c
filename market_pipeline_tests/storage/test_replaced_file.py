"""SQLite files that come and go under the same name while somebody has connections to them."""

import os

import pytest
from sqlalchemy import make_url
from sqlalchemy.exc import OperationalError

from market_pipeline.storage.engine import Database
from market_pipeline.storage.queries.latest import latest_quotes
from market_pipeline.storage.rows.write import upsert
from market_pipeline.storage.schema.migrate import migrate
from market_pipeline.storage.schema.tables import raw_prices
from market_pipeline_tests.builders import at, price_row, prices_of


@pytest.fixture
def replace(sqlite_database, tmp_path):
    """`replace()`: another file, migrated and empty, takes the name of the database's own."""

    def take_its_place():
        other = Database(make_url(f"sqlite:///{tmp_path / 'other.db'}"))
        migrate(other)
        other.dispose()
        for rest in ("-wal", "-shm"):
            (tmp_path / f"prices.db{rest}").unlink(missing_ok=True)
        os.replace(tmp_path / "other.db", tmp_path / "prices.db")

    return take_its_place


def test_a_file_that_took_the_place_of_another_is_read_and_written(sqlite_database, replace):
    """As after `rm prices.db` or a restored backup, beside an API that is running."""
    prices = prices_of(price_row())
    upsert(sqlite_database, raw_prices, prices)
    assert len(latest_quotes(sqlite_database, ["BTC"], at(0))) == 1
    replace()
    assert len(latest_quotes(sqlite_database, ["BTC"], at(0))) == 0
    assert upsert(sqlite_database, raw_prices, prices) == 1
    assert len(latest_quotes(sqlite_database, ["BTC"], at(0))) == 1


def test_a_connection_in_use_keeps_its_file(sqlite_database, replace):
    upsert(sqlite_database, raw_prices, prices_of(price_row()))
    with sqlite_database.reading() as connection:
        replace()
        assert len(connection.execute(raw_prices.select()).all()) == 1


def test_a_file_that_was_removed_is_not_read_on(sqlite_database, tmp_path):
    assert latest_quotes(sqlite_database, ["BTC"], at(0)) == {}
    for file in tmp_path.glob("prices.db*"):
        file.unlink()
    with pytest.raises(OperationalError, match="no such table"):
        latest_quotes(sqlite_database, ["BTC"], at(0))
