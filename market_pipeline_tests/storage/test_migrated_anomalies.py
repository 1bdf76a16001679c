"""Anomalies of the first detectors survive the migration to the richer rows, and the way back."""

import re
from datetime import timedelta

import pytest
from alembic import command
from sqlalchemy import column, insert, select, table

from market_pipeline.storage.schema.migrate import alembic_config, check_schema, migrate
from market_pipeline.storage.schema.tables import price_anomalies
from market_pipeline.storage.schema.types import UtcTimestamp
from market_pipeline_tests.builders import anomaly_row, at, stored_rows

_TIMES = ("timestamp", "timestamp_before")
_COLUMNS = (
    *_TIMES, "symbol", "detector", "score", "threshold", "direction", "price_before", "price_after",
    "move", "expected_move", "elapsed_seconds", "explanation",
)
OLD = table(
    "price_anomalies", *(column(name, UtcTimestamp() if name in _TIMES else None) for name in _COLUMNS)
)


def old_row(symbol, minutes, detector, **changes):
    return {
        "symbol": symbol,
        "timestamp": at(minutes) + timedelta(microseconds=123_456),
        "timestamp_before": at(minutes - 5),
        "detector": detector,
        "score": 6.0,
        "threshold": 5.0,
        "direction": "down",
        "price_before": 100.0,
        "price_after": 94.0,
        "move": -0.06,
        "expected_move": 0.01,
        "elapsed_seconds": 300.0,
        "explanation": f"{symbol} fell.",
        **changes,
    }


@pytest.fixture
def earlier(database):
    """A database as the version before left it."""
    with database.writing() as connection:
        command.downgrade(alembic_config(connection), "0002")
    return database


def everything():
    """More rows than are moved at once."""
    minutes = range(0, 700 * 5, 5)
    rows = [old_row("BTC", n, "two_point", expected_move=None) for n in minutes]
    rows += [old_row("BTC", n, "ewma") for n in minutes]
    return [*rows, old_row("ETH", 5, "ewma")]


def by_key(rows):
    return sorted(rows, key=lambda row: (row["symbol"], row["timestamp"], row["detector"]))


def test_no_row_of_the_first_detectors_is_lost(earlier):
    rows = everything()
    with earlier.writing() as connection:
        connection.execute(insert(OLD), rows)
    migrate(earlier)
    check_schema(earlier)
    found = stored_rows(earlier, price_anomalies)
    kinds = {"user_threshold": "two_point", "jump": "ewma"}
    kept = [
        {name: row[name] for name in _COLUMNS if name != "detector"} | {"detector": kinds[row["kind"]]}
        for row in found
    ]
    assert by_key(kept) == by_key(rows)
    assert len({row["id"] for row in found}) == len(rows)
    for row in found:
        assert re.fullmatch("[0-9a-f]{32}", row["id"]) and row["episode_id"] == row["id"]
        assert (row["severity"], row["scope"], row["calibration"]) == ("watch", "unknown", "prior")
        assert (row["detector_version"], row["quality_flags"]) == ("1", "old_rules")
        assert row["detected_at"] == row["episode_first"] == row["episode_last"] == row["timestamp"]
        assert row["horizon_minutes"] == 5.0
        assert row["event_id"] is row["p_calibrated"] is row["confirmation"] is None


def test_the_way_back_keeps_what_the_first_detectors_had_words_for(earlier):
    rows = everything()
    with earlier.writing() as connection:
        connection.execute(insert(OLD), rows)
    migrate(earlier)
    silent = anomaly_row("ADA", 0, kind="stale_feed", direction="none")
    with earlier.writing() as connection:
        connection.execute(insert(price_anomalies), [silent, anomaly_row("ADA", 5, kind="large_move")])
        command.downgrade(alembic_config(connection), "0002")
    with earlier.reading() as connection:
        found = [dict(row._mapping) for row in connection.execute(select(OLD))]
    assert by_key(row for row in found if row["symbol"] != "ADA") == by_key(rows)
    assert [row["detector"] for row in found if row["symbol"] == "ADA"] == ["large_move"]


def test_a_database_without_anomalies_migrates_too(earlier):
    migrate(earlier)
    assert stored_rows(earlier, price_anomalies) == []
