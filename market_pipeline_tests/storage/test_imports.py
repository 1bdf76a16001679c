"""The scheduled path stays light: importing pandas alone would cost more than a tick's own work."""

import os
import subprocess
import sys

from market_pipeline.storage.engine import Database

HEAVY = ("pandas", "pyarrow", "adbc_driver_manager", "matplotlib", "alembic")

TICK = """
import sys
from datetime import date, datetime, timezone
from sqlalchemy.engine import make_url
import market_pipeline.definitions
from market_pipeline.core.slices import Slice
from market_pipeline.storage.queries import integrity, latest
from market_pipeline.storage.schema import tables
from market_pipeline.storage.engine import Database
from market_pipeline.storage.rows.read import read_columns, rows_per_day
from market_pipeline.storage.rows.records import columns_of
from market_pipeline.storage.schema.migrate import check_schema
from market_pipeline.storage.rows.write import replace, upsert

now = datetime(2024, 3, 1, tzinfo=timezone.utc)
days = [Slice("BTC", now.date(), now.date())]
quote = {"symbol": "BTC", "coin_id": "bitcoin", "timestamp": now, "price": 1.0,
         "source": "simple_price", "ingested_at": now}
for url in sys.argv[1:3]:
    database = Database(make_url(url))
    check_schema(database)
    assert upsert(database, tables.raw_prices, columns_of(tables.raw_prices, [quote])) == 1
    assert len(read_columns(database, tables.raw_prices, days)) == 1
    replace(database, tables.price_anomalies, columns_of(tables.price_anomalies, []), days)
    assert rows_per_day(database, tables.raw_prices, days)
    integrity.quotes_not_positive(database, days)
    integrity.quotes_in_future(database, days, now)
    latest.latest_quotes(database, ["BTC"], now)
print(*(name for name in sys.argv[3:] if name in sys.modules))
"""


def test_a_tick_imports_no_heavy_package(sqlite_database: Database, postgres_database: Database) -> None:
    urls = [one.url.render_as_string(hide_password=False) for one in (sqlite_database, postgres_database)]
    command = [sys.executable, "-c", TICK, *urls, *HEAVY]
    environment = {**os.environ, "DATABASE_URL": urls[0]}
    finished = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert finished.returncode == 0, finished.stderr
    assert finished.stdout.split() == []
