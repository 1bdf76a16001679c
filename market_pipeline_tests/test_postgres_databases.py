"""The databases that tests take: nobody finds what another test left, nor can reach what was given back."""

import pytest
from sqlalchemy import func, select, text

from market_pipeline.core.clock import utc_now
from market_pipeline.storage.db_errors import DatabaseUnavailable
from market_pipeline.storage.engine import Database
from market_pipeline.storage.schema.tables import raw_prices
from market_pipeline_tests.postgres import Databases


def write(database: Database) -> None:
    row = {"symbol": "BTC", "coin_id": "bitcoin", "timestamp": utc_now(), "price": 1.0, "source": "simple_price",
           "ingested_at": utc_now()}
    with database.writing() as connection:
        connection.execute(raw_prices.insert().values(**row))


def test_whoever_keeps_a_database_that_was_given_back_cannot_write_to_it(postgres_databases: Databases) -> None:
    url = postgres_databases.take()
    kept = Database(url)
    write(kept)
    postgres_databases.give_back(url)
    with pytest.raises(DatabaseUnavailable, match="does not exist"):
        write(kept)
    again = postgres_databases.take()
    assert again.database != url.database
    database = Database(again)
    with database.reading() as connection:
        assert connection.execute(select(func.count()).select_from(raw_prices)).scalar() == 0
    kept.dispose()
    database.dispose()
    postgres_databases.give_back(again)


@pytest.mark.parametrize("change", [
    "DROP TABLE raw_prices", "DROP TABLE market_pipeline_version", "ALTER TABLE raw_prices ADD CHECK (price > 1)",
    "UPDATE market_pipeline_version SET version_num = '0001'", "REVOKE SELECT ON raw_prices FROM CURRENT_USER",
    "ALTER TABLE raw_prices ALTER price DROP NOT NULL",
])
def test_a_database_that_was_changed_is_not_given_to_anybody_again(postgres_databases: Databases, change: str) -> None:
    url = postgres_databases.take()
    clean = len(postgres_databases._clean)
    database = Database(url)
    with database.writing() as connection:
        connection.execute(text(change))
    database.dispose()
    postgres_databases.give_back(url)
    assert len(postgres_databases._clean) == clean
