"""Bars of past days from stored prices: the rows of `daily_bars`."""

from collections.abc import Iterable, Mapping, Sequence
from datetime import date, datetime
from typing import Any

import numpy as np

from market_pipeline.anomalies.series import rows_by_symbol
from market_pipeline.core.clock import DAY
from market_pipeline.core.columns import Columns
from market_pipeline.core.slices import DayOfSymbol, merge_days
from market_pipeline.prices.bars import bars_of
from market_pipeline.storage.engine import Database
from market_pipeline.storage.queries.bad_ticks import good_quotes
from market_pipeline.storage.rows.read import read_columns
from market_pipeline.storage.rows.records import columns_of
from market_pipeline.storage.schema.tables import daily_bars

Row = Mapping[str, Any]


def bar_rows(
    database: Database, prices: Columns, days: Iterable[DayOfSymbol], now: datetime, thinned_before: date | None
) -> Columns:
    """Return the bars of those of `days` that are over at `now` and have prices, without bad ticks.

    `prices` are those of `days`, ordered by time within each symbol. Of days before `thinned_before`, whose prices may
    have been thinned since, a stored bar of more quotes is kept.
    """
    over = {(day, symbol) for day, symbol in days if day < now.date()}
    made: dict[DayOfSymbol, Row] = {}
    with database.reading() as connection:
        for symbol, rows in rows_by_symbol(prices["symbol"]).items():
            times, values = prices["timestamp"][rows], prices["price"][rows]
            good = good_quotes(connection, database, symbol, times.astype("datetime64[us]").view(np.int64), values)
            for bar in _records(bars_of(times[good], values[good])):
                made[bar["day"], symbol] = {"symbol": symbol, "coin_id": database.coin_id(symbol), **bar}
    bars = {one: bar for one, bar in made.items() if one in over}
    thinned = [one for one in over if thinned_before and one[0] < thinned_before]
    for bar in _records(read_columns(database, daily_bars, merge_days(thinned))) if thinned else []:
        one = bar["day"], bar["symbol"]
        if bar["coin_id"] == database.coin_id(bar["symbol"]) and bar["quotes"] > bars.get(one, {"quotes": 0})["quotes"]:
            bars[one] = bar
    return columns_of(daily_bars, [bars[one] for one in sorted(bars)])


def thinning_limit(keep_days: int | None, now: datetime) -> date | None:
    """Return the first day whose prices are not thinned at `now`; None if none are."""
    return None if keep_days is None else now.date() - keep_days * DAY


def bar_facts(bars: Columns, days: Iterable[DayOfSymbol]) -> dict[DayOfSymbol, dict[str, Any]]:
    """Return the figures of each of `days`; of one without a bar, that it has no row."""
    facts: dict[DayOfSymbol, dict[str, Any]] = {one: {"rows": 0} for one in days}
    for bar in _records(bars):
        known = {name: value for name, value in bar.items() if value == value}
        one = known.pop("day"), known.pop("symbol")
        facts[one] = {"rows": 1, **{name: value for name, value in known.items() if name != "coin_id"}}
    return facts


def _records(bars: Columns) -> Sequence[dict[str, Any]]:
    columns = (array.tolist() for array in bars.arrays.values())
    return [dict(zip(bars.arrays, values, strict=True)) for values in zip(*columns, strict=True)]
