"""Candles: what the quotes of each interval say, the newest first to be read, whatever is missing between them."""

import random
from collections.abc import Sequence
from datetime import datetime, timedelta, timezone
from itertools import groupby
from pathlib import Path
from typing import Any

import pytest

from market_pipeline.prices.candles import CANDLE_COLUMNS, INTERVALS, opening
from market_pipeline.storage.engine import POOL, Database
from market_pipeline.storage.queries.candles import read_candles
from market_pipeline.storage.schema.tables import price_anomalies, raw_prices
from market_pipeline_tests.builders import START, anomaly_row, at, price_row, store
from market_pipeline_tests.storage.plans import plans

HOUR = INTERVALS["1h"]
DAY = INTERVALS["1d"]
LATER = START + 30 * DAY


def candles(
    database: Database, interval: timedelta = HOUR, start: datetime | None = START, end: datetime = LATER,
    limit: int = 10_000, now: datetime = LATER,
) -> list[tuple[Any, ...]]:
    found = read_candles(database, "BTC", interval, start, end, limit, now)
    assert tuple(found.arrays) == CANDLE_COLUMNS
    rest = (found[name].tolist() for name in CANDLE_COLUMNS[1:])
    return list(zip(found.datetimes("opened_at"), *rest, strict=True))


def counted(database: Database, interval: timedelta, rows: Sequence[tuple[float, float]]) -> list[tuple[Any, ...]]:
    """The same from (minute, price), one by one."""
    expected = []
    for opened_at, quotes in groupby(sorted(rows), lambda row: opening(at(row[0]), interval)):
        prices = [price for _, price in quotes]
        expected.append((opened_at, prices[0], max(prices), min(prices), prices[-1], len(prices)))
    return expected


def test_each_interval_with_a_quote_has_its_candle(database: Database) -> None:
    """Prices and times come back exactly, quotes of another coin do not count, and every limit gives the newest."""
    chance = random.Random(7)
    minutes = [0, 59.99999, 60, *(chance.uniform(0, 400) for _ in range(60)), *(20_000 + 90 * n for n in range(20))]
    rows = [(round(minute, 6), chance.lognormvariate(0, 5)) for minute in minutes]
    store(database, raw_prices, *(price_row(minutes=minute, price=price) for minute, price in rows))
    store(database, raw_prices, price_row("ETH", 5), price_row(minutes=5, coin_id="another"))
    for interval in INTERVALS.values():
        expected = counted(database, interval, rows)
        assert candles(database, interval) == candles(database, interval, start=None) == expected
        for limit in (1, 7, len(expected)):
            assert candles(database, interval, start=None, limit=limit) == expected[-limit:]


def test_long_times_are_read_without_a_folder_for_the_exchange_file_too(
    sqlite_database: Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rows = [(minute, 1.0 + minute) for minute in (0, 90 * 24 * 60)]
    store(sqlite_database, raw_prices, *(price_row(minutes=minute, price=price) for minute, price in rows))
    later = START + 91 * DAY
    for setting, value in (("pool_size", 1), ("pool_timeout", 0.0)):
        monkeypatch.setitem(POOL, setting, value)
    database = Database(sqlite_database.url)
    for folder in (tmp_path, tmp_path / "absent"):
        monkeypatch.setattr("tempfile.tempdir", str(folder))
        assert candles(database, end=later, now=later) == counted(database, HOUR, rows), "by one connection"


def test_a_candle_opens_from_the_start_on_and_before_the_end(sqlite_database: Database) -> None:
    """It is whole all the same: neither begins with the first quote asked for."""
    rows = [(minute, 100.0 + minute) for minute in range(0, 240, 10)]
    store(sqlite_database, raw_prices, *(price_row(minutes=minute, price=price) for minute, price in rows))
    every = counted(sqlite_database, HOUR, rows)
    second = every[1:2]
    for start, end, expected in ((0, 240, every), (1, 61, second), (60, 120, second), (30, 50, []), (99, 9, [])):
        assert candles(sqlite_database, start=at(start), end=at(end)) == expected
    last = datetime.max.replace(tzinfo=timezone.utc)
    assert candles(sqlite_database, start=last) == [] and candles(sqlite_database, end=last) == every
    assert candles(sqlite_database, now=at(94))[-1] == (at(60), 160.0, 190.0, 160.0, 190.0, 4), "none of the future"


def test_a_bad_tick_is_in_no_candle(sqlite_database: Database) -> None:
    """Whose only quote it is, that interval has none."""
    store(sqlite_database, raw_prices, *(
        price_row(minutes=minute, price=price) for minute, price in ((0, 100.0), (30, 900.0), (45, 101.0), (60, 901.0))
    ))
    store(sqlite_database, price_anomalies, *(
        anomaly_row(minutes=minute, kind="bad_tick", price_after=price, detected_at=at(minute + 10))
        for minute, price in ((30, 900.0), (60, 901.0))
    ))
    assert candles(sqlite_database) == [(START, 100.0, 101.0, 100.0, 101.0, 2)]


@pytest.mark.parametrize("start", [None, START])
def test_the_cost_follows_the_candles_returned(sqlite_database: Database, start: datetime | None) -> None:
    store(sqlite_database, raw_prices, *(price_row(minutes=minute) for minute in (5, 60, 65)))
    with plans(sqlite_database) as found:
        candles(sqlite_database, start=start, limit=1)
    assert len(found) == 3
    assert all(step.startswith("SEARCH") and "timestamp" in step for plan in found for step in plan), found
