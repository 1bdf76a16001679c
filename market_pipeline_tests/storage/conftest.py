"""Rows for the tests of the storage, and what a table holds afterwards."""

from datetime import datetime, timedelta, timezone

import pytest
from sqlalchemy import select

from market_pipeline.storage.rows import write
from market_pipeline.storage.rows.records import columns_of
from market_pipeline.storage.schema import tables
from market_pipeline_tests.coins import coin_id


class Make:
    """Small builders; times count in minutes from `START`."""

    START = datetime(2024, 3, 1, tzinfo=timezone.utc)

    def at(self, minutes):
        return self.START + timedelta(minutes=minutes)

    def price(self, symbol="BTC", minutes=0, price=100.0, **changes):
        return {
            "symbol": symbol,
            "coin_id": coin_id(symbol),
            "timestamp": self.at(minutes),
            "price": price,
            "source": "simple_price",
            "ingested_at": self.at(minutes + 1),
            **changes,
        }

    def refusal(self, number, symbol="BTC", **changes):
        return {
            "id": f"{number:032d}",
            "symbol": symbol,
            "coin_id": coin_id(symbol),
            "day": self.START.date(),
            "reason": "negative_price",
            "detail": "-1",
            "timestamp": self.at(number),
            "payload": "{}",
            "source": "simple_price",
            "run_id": "r1",
            "refused_at": self.at(number),
            **changes,
        }

    def anomaly(self, symbol="BTC", minutes=0, kind="jump", **changes):
        when, number = self.at(minutes), f"{symbol} {minutes} {kind}"
        unknown = [column.name for column in tables.price_anomalies.columns if column.nullable]
        return {
            "symbol": symbol,
            "coin_id": coin_id(symbol),
            "timestamp": when,
            "kind": kind,
            "id": number,
            "episode_id": number,
            "scope": "idiosyncratic",
            "severity": "alert",
            "direction": "up",
            "detected_at": when,
            "price_before": 100.0,
            "timestamp_before": self.at(minutes - 5),
            "price_after": 106.0,
            "move": 0.06,
            "elapsed_seconds": 300.0,
            "horizon_minutes": 5.0,
            "score": 6.0,
            "threshold": 5.0,
            "hour_factor": 1.0,
            "quotes_used": 2000,
            "stale_minutes": 0.0,
            "calibration": "gpd",
            "quality_flags": "",
            **{name: when for name in ("episode_first", "episode_peak", "episode_last")},
            "detector_version": "3",
            "explanation": "BTC rose.",
            **dict.fromkeys(unknown),
            "expected_move": 0.01,
            "calibrated_at": self.START,
            "peers_moved": 2,
            **changes,
        }

    def prices(self, *rows):
        return columns_of(tables.raw_prices, rows)

    def refusals(self, *rows):
        return columns_of(tables.rejected_prices, rows)

    def anomalies(self, *rows):
        return columns_of(tables.price_anomalies, rows)


@pytest.fixture
def make():
    return Make()


@pytest.fixture
def stored():
    """All rows of a table as mappings, ordered by its key."""

    def rows(database, table):
        with database.reading() as connection:
            found = connection.execute(select(table).order_by(*table.primary_key.columns))
            return [dict(row._mapping) for row in found]

    return rows


@pytest.fixture(params=["small", "bulk"])
def path(request, monkeypatch):
    """The test runs twice: with every write on the path of small writes, and on that of large ones."""
    monkeypatch.setattr(write, "BULK_FROM", 0 if request.param == "bulk" else 1_000_000)
    return request.param


@pytest.fixture(params=["columns", "frame"])
def given(request):
    """The test runs twice: the rows are given as `Columns`, and as a DataFrame."""
    return (lambda columns: columns.to_frame()) if request.param == "frame" else (lambda columns: columns)
