"""The asset `market_overview`: what a person opens first. Numbers per symbol that the UI plots over
time, a table of the last day's anomalies, and now and then a picture."""

from collections.abc import Collection, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any

import dagster as dg

from market_pipeline.anomalies.anomaly import Kind, Severity, alarm_mask
from market_pipeline.core.clock import iso, utc_now
from market_pipeline.core.columns import Columns
from market_pipeline.core.symbols import Catalogue
from market_pipeline.defs.assets.overview_chart import SPAN, chart_metadata
from market_pipeline.defs.assets.price_anomalies import PRICE_ANOMALIES
from market_pipeline.defs.assets.raw_prices import RAW_PRICES
from market_pipeline.defs.assets.table_metadata import GROUP, OWNERS, records_table
from market_pipeline.defs.logging.log_fields import logged_step
from market_pipeline.storage.engine import Database
from market_pipeline.storage.queries import latest as overview
from market_pipeline.storage.queries.latest import StoredQuote, coin_names
from market_pipeline.storage.schema.migrate import check_schema

MARKET_OVERVIEW = "market_overview"


def build_market_overview(catalogue: Catalogue) -> dg.AssetsDefinition:
    """The unpartitioned overview of all coins in `catalogue`."""

    @dg.asset(
        name=MARKET_OVERVIEW,
        description="The market at a glance: latest price, change over 24 hours and anomalies per symbol as numbers "
        "that the UI plots over time, the last 24 hours' anomalies as a table, and a picture, drawn at most once an "
        "hour or when an anomaly is new.",
        deps=[RAW_PRICES, PRICE_ANOMALIES],
        group_name=GROUP,
        owners=OWNERS,
        kinds={"python"},
    )
    @logged_step
    def market_overview(
        context: dg.AssetExecutionContext, database: dg.ResourceParam[Database]
    ) -> dg.MaterializeResult[None]:
        check_schema(database)
        previous = context.instance.get_latest_materialization_event(dg.AssetKey(MARKET_OVERVIEW))
        last = previous.asset_materialization.metadata if previous and previous.asset_materialization else {}
        metadata = overview_metadata(database, catalogue, utc_now(), last)
        return dg.MaterializeResult(metadata=metadata)

    return market_overview


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
    alarms = anomalies.where(alarm_mask(anomalies))
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
