"""What the overview says: the numbers, the sentence, the table, and when it is due the picture."""

from collections.abc import Collection, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any

import dagster as dg

from market_pipeline.anomalies.anomaly import Kind, Severity
from market_pipeline.charts.flagged import is_alarm
from market_pipeline.clock import iso
from market_pipeline.defs.metadata import records_table
from market_pipeline.defs.overview_chart import SPAN, chart_metadata
from market_pipeline.storage import overview
from market_pipeline.storage.coin_names import coin_names
from market_pipeline.storage.columns import Columns
from market_pipeline.storage.engine import Database
from market_pipeline.storage.overview import StoredQuote
from market_pipeline.symbols import Catalogue

# History has a point an hour, some a little late.
_ABOUT = timedelta(hours=2)
_TABLE_ROWS = 50
_TABLE_COLUMNS = ("symbol", "kind", "severity", "scope", "move", "explanation")


def overview_metadata(
    store: Database, coins: Catalogue, now: datetime, last: Mapping[str, dg.MetadataValue[Any]]
) -> dict[str, Any]:
    """The metadata of one materialization at `now`; `last` is that of the one before."""
    symbols = coins.symbols
    anomalies = overview.anomalies_since(store, symbols, now - SPAN)
    alarms = anomalies.where(is_alarm(anomalies))
    latest = overview.latest_quotes(store, symbols, now)
    return {
        "summary": _sentence(alarms, latest, symbols, now),
        **chart_metadata(store, symbols, anomalies, now, last),
        "coins": records_table(_coins(coins, coin_names(store))),
        "anomalies_last_24_hours": records_table(_records(alarms)),
        **_numbers(symbols, latest, _day_before(store, symbols, now), alarms),
    }


def _coins(coins: Catalogue, names: Mapping[str, str]) -> list[dict[str, str]]:
    """Which coin each symbol stands for: a wrong id shows in CoinGecko's name."""
    return [
        {"symbol": coin.symbol, "name": names.get(coin.symbol, "not asked yet"), "coin_id": coin.coin_id}
        for coin in coins
    ]


def _day_before(store: Database, symbols: Sequence[str], now: datetime) -> dict[str, StoredQuote]:
    """The quote of 24 hours ago, where there is one from about then: after an outage there is none."""
    found = overview.quotes_at(store, symbols, now - SPAN)
    return {symbol: quote for symbol, quote in found.items() if quote.timestamp >= now - SPAN - _ABOUT}


def _numbers(
    symbols: Sequence[str],
    latest: Mapping[str, StoredQuote],
    before: Mapping[str, StoredQuote],
    alarms: Columns,
) -> dict[str, Any]:
    """price_BTC, change_24h_percent_BTC, anomalies_24h_BTC, ...; a market event counts as one anomaly, of the
    coin that moved most."""
    numbers: dict[str, Any] = {"market_events_24h": int((alarms["kind"] == Kind.MARKET_MOVE.value).sum())}
    for symbol in symbols:
        if symbol in latest:
            numbers[f"price_{symbol}"] = latest[symbol].price
        if symbol in latest and symbol in before:
            numbers[f"change_24h_percent_{symbol}"] = 100 * (latest[symbol].price / before[symbol].price - 1)
        numbers[f"anomalies_24h_{symbol}"] = int((alarms["symbol"] == symbol).sum())
    return numbers


def _sentence(alarms: Columns, latest: Collection[str], symbols: Sequence[str], now: datetime) -> str:
    silent = [symbol for symbol in symbols if symbol not in latest]
    grave = int((alarms["severity"] == Severity.CRITICAL.value).sum())
    when = iso(now.replace(microsecond=0))
    text = f"{len(alarms)} anomalies, {grave} of them critical, in the 24 hours before {when}."
    return f"{text} No quotes yet: {', '.join(silent)}." if silent else text


def _records(alarms: Columns) -> list[dict[str, Any]]:
    """The newest alarms for a person: the minute (UTC), the move in percent, a market event by its members."""
    times = [f"{moment:%Y-%m-%d %H:%M}" for moment in alarms.datetimes("timestamp")[:_TABLE_ROWS]]
    members, *columns = (alarms[name][:_TABLE_ROWS].tolist() for name in ("members", *_TABLE_COLUMNS))
    rows = [dict(zip(_TABLE_COLUMNS, row)) for row in zip(*columns)]
    return [
        {"time_utc": time, **row, "symbol": among or row["symbol"], "move": f"{row['move']:+.2%}"}
        for time, among, row in zip(times, members, rows)
    ]
