"""The asset `market_overview`: what a person opens first. Numbers per symbol that the UI plots over
time, a table of the last day's anomalies, and now and then a picture."""

from datetime import datetime
from typing import Any

import dagster as dg

from market_pipeline.clock import iso, utc_now
from market_pipeline.defs.metadata import GROUP, OWNERS, records_table
from market_pipeline.defs.overview_chart import SPAN, chart_metadata
from market_pipeline.defs.price_anomalies import PRICE_ANOMALIES
from market_pipeline.defs.raw_prices import RAW_PRICES
from market_pipeline.defs.resources import DatabaseResource
from market_pipeline.logs import traced
from market_pipeline.storage import overview
from market_pipeline.storage.columns import Columns
from market_pipeline.storage.engine import Database
from market_pipeline.storage.schema import check_schema
from market_pipeline.symbols import Catalogue

MARKET_OVERVIEW = "market_overview"

_TABLE_ROWS = 50
_TABLE_COLUMNS = ("timestamp", "symbol", "detector", "direction", "move", "explanation")


def build_market_overview(catalogue: Catalogue) -> dg.AssetsDefinition:
    """The unpartitioned overview of all coins in `catalogue`."""

    @dg.asset(
        name=MARKET_OVERVIEW,
        description="The market at a glance: latest price, change over 24 hours and anomalies per symbol as numbers "
        "that the UI plots over time, the last 24 hours' anomalies as a table, and a picture, drawn at most once an "
        "hour or when an anomaly is new.",
        deps=[RAW_PRICES, PRICE_ANOMALIES],
        group_name=GROUP, owners=OWNERS, kinds={"python"},
    )
    def market_overview(
        context: dg.AssetExecutionContext, database: DatabaseResource
    ) -> dg.MaterializeResult[None]:
        store, now = database.database(), utc_now()
        check_schema(store)
        with traced(context.run.run_id):
            anomalies = overview.anomalies_since(store, catalogue.symbols, now - SPAN)
            metadata = _numbers(store, catalogue.symbols, anomalies, now)
            metadata["anomalies_last_24_hours"] = records_table(_records(anomalies))
            previous = context.instance.get_latest_materialization_event(dg.AssetKey(MARKET_OVERVIEW))
            last = previous.asset_materialization.metadata if previous and previous.asset_materialization else {}
            metadata.update(chart_metadata(store, catalogue.symbols, anomalies, now, last))
        return dg.MaterializeResult(metadata=metadata)

    return market_overview


def _numbers(store: Database, symbols: tuple[str, ...], anomalies: Columns, now: datetime) -> dict[str, Any]:
    """price_BTC, change_24h_percent_BTC, anomalies_24h_BTC, ... and one sentence."""
    latest = overview.latest_quotes(store, symbols)
    before = overview.quotes_at(store, symbols, now - SPAN)
    metadata: dict[str, Any] = {"summary": _sentence(len(anomalies), latest.keys(), symbols, now)}
    for symbol in symbols:
        if symbol in latest:
            metadata[f"price_{symbol}"] = latest[symbol].price
        if symbol in latest and symbol in before:
            metadata[f"change_24h_percent_{symbol}"] = 100 * (latest[symbol].price / before[symbol].price - 1)
        metadata[f"anomalies_24h_{symbol}"] = int((anomalies["symbol"] == symbol).sum())
    return metadata


def _sentence(anomalies: int, quoted: Any, symbols: tuple[str, ...], now: datetime) -> str:
    silent = [symbol for symbol in symbols if symbol not in quoted]
    text = f"{anomalies} anomalies in the 24 hours before {iso(now.replace(microsecond=0))}."
    return f"{text} No quotes yet: {', '.join(silent)}." if silent else text


def _records(anomalies: Columns) -> list[dict[str, Any]]:
    rows = zip(*(anomalies[name][:_TABLE_ROWS].tolist() for name in _TABLE_COLUMNS))
    return [dict(zip(_TABLE_COLUMNS, row)) for row in rows]
