"""The asset `market_overview`, the first one to look at.

It shows numbers per symbol that the UI plots over time, the anomalies of the last day as a table, and a picture.
Dagster stores metadata with every materialization, so the picture is drawn once an hour, or earlier if it would
change. It is the light one: the UI shows an image unchanged on a light and on a dark page.
"""

import base64
from collections.abc import Collection, Mapping, Sequence
from datetime import datetime, timedelta, timezone
from hashlib import sha256
from typing import Any

import dagster as dg

from market_pipeline.anomalies.anomaly import Kind, Severity, alarm_mask, by_importance, headline_of
from market_pipeline.anomalies.words.formatting import format_signed
from market_pipeline.core.clock import iso, utc_now
from market_pipeline.core.columns import Columns, to_datetime64
from market_pipeline.core.symbols import Catalogue
from market_pipeline.core.wording import counted, some
from market_pipeline.defs.assets.price_anomalies import PRICE_ANOMALIES
from market_pipeline.defs.assets.raw_prices import RAW_PRICES
from market_pipeline.defs.assets.table_metadata import GROUP, OWNERS, SHOWN_SYMBOLS, records_table, shown_note
from market_pipeline.defs.logging.log_fields import logged_step
from market_pipeline.storage.engine import Database
from market_pipeline.storage.queries.counts import quotes_by_symbol
from market_pipeline.storage.queries.latest import (
    StoredQuote,
    anomalies_since,
    coin_names,
    latest_quotes,
    quotes_a_day_before,
)
from market_pipeline.storage.schema.migrate import check_schema

MARKET_OVERVIEW = "market_overview"

SPAN = timedelta(hours=24)
_TABLE_ROWS = 50
_NAMED = 20
_TABLE_COLUMNS = ("severity", "headline", "explanation", "symbol", "kind", "scope", "move")

DRAWN_AT = "chart_drawn_at"
ALARMS = "chart_alarms"
QUOTES = "chart_quotes"
REDRAW_AFTER = timedelta(hours=1)
# A picture of the hole after a first start or an outage is redrawn when the hole has been filled: when there are
# this many times the quotes, and this many more per symbol, which a few ticks do not bring.
_FILLED = 1.5
_MORE = 10

Metadata = dict[str, Any]
Shown = Mapping[str, dg.MetadataValue[Any]]


def build_market_overview(catalogue: Catalogue) -> dg.AssetsDefinition:
    """Define the unpartitioned overview of all coins in `catalogue`."""

    @dg.asset(
        name=MARKET_OVERVIEW,
        description="The market at a glance: latest price, change over 24 hours and anomalies per symbol as numbers "
        "that the UI plots over time, the anomalies of the last 24 hours as a table, and a picture, drawn at most once "
        "an hour or when an anomaly is new.",
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
        return dg.MaterializeResult(metadata=overview_metadata(database, catalogue, utc_now(), last))

    return market_overview


def overview_metadata(database: Database, coins: Catalogue, now: datetime, last: Shown) -> Metadata:
    """Return the metadata of one materialization at `now` (aware UTC); `last` is that of the previous one."""
    symbols, shown = coins.symbols, coins.symbols[:SHOWN_SYMBOLS]
    anomalies = anomalies_since(database, symbols, now - SPAN)
    alarms = by_importance(anomalies.where(alarm_mask(anomalies)))
    latest = latest_quotes(database, symbols, now)
    names = coin_names(database)
    return {
        "summary": overview_sentence(alarms, latest, symbols, now),
        **chart_metadata(database, symbols, anomalies, now, last),
        # A wrong coin id shows in CoinGecko's name.
        "coins": records_table(
            [
                {"symbol": coin.symbol, "name": names.get(coin.symbol, "unknown yet"), "coin_id": coin.coin_id}
                for coin in list(coins)[:SHOWN_SYMBOLS]
            ]
        ),
        "anomalies_last_24_hours": records_table(alarm_records(alarms)),
        **overview_numbers(shown, latest, quotes_a_day_before(database, shown, now), alarms),
        **shown_note(symbols),
    }


def overview_numbers(
    symbols: Sequence[str], latest: Mapping[str, StoredQuote], before: Mapping[str, StoredQuote], alarms: Columns
) -> Metadata:
    """Return price_BTC, change_24h_percent_BTC, anomalies_24h_BTC, ...

    A market event counts as one anomaly, of the coin that moved most.
    """
    numbers: Metadata = {"market_events_24h": int((alarms["kind"] == Kind.MARKET_MOVE.value).sum())}
    for symbol in symbols:
        if symbol in latest:
            numbers[f"price_{symbol}"] = latest[symbol].price
        if symbol in latest and symbol in before:
            numbers[f"change_24h_percent_{symbol}"] = 100 * (latest[symbol].price / before[symbol].price - 1)
        numbers[f"anomalies_24h_{symbol}"] = int((alarms["symbol"] == symbol).sum())
    return numbers


def overview_sentence(alarms: Columns, latest: Collection[str], symbols: Sequence[str], now: datetime) -> str:
    """Return how many anomalies there were, the first of `alarms`, and which symbols have no quotes."""
    without = [symbol for symbol in symbols if symbol not in latest]
    critical = int((alarms["severity"] == Severity.CRITICAL.value).sum())
    when = iso(now.replace(microsecond=0))
    number = counted(len(alarms), "anomaly", "anomalies")
    text = f"{number}, {critical} of them critical, in the 24 hours before {when}."
    if len(alarms):
        text += f" {headline_of(alarms['headline'][0], alarms['explanation'][0])}"
    return f"{text} No quotes yet: {some(without, _NAMED)}." if without else text


def alarm_records(alarms: Columns) -> list[dict[str, Any]]:
    """Return the first alarms: the minute (UTC), the move in percent, a market event by its members."""
    times = [f"{moment:%Y-%m-%d %H:%M}" for moment in alarms.datetimes("timestamp")[:_TABLE_ROWS]]
    members, *columns = (alarms[name][:_TABLE_ROWS].tolist() for name in ("members", *_TABLE_COLUMNS))
    rows = [dict(zip(_TABLE_COLUMNS, row, strict=True)) for row in zip(*columns, strict=True)]
    return [
        {
            "time_utc": time,
            **row,
            "headline": headline_of(row["headline"], row["explanation"]),
            "symbol": among or row["symbol"],
            "move": format_signed(row["move"]),
        }
        for time, among, row in zip(times, members, rows, strict=True)
    ]


def chart_metadata(
    database: Database, symbols: Sequence[str], anomalies: Columns, now: datetime, last: Shown
) -> Metadata:
    """Return the picture if it is due, else a note of when the last one was drawn.

    `anomalies` are the rows of the last `SPAN`, `last` is the metadata of the previous materialization.
    """
    drawn_at = _time_of(last.get(DRAWN_AT))
    charted = last[ALARMS].value if ALARMS in last else None
    drawn_of = last[QUOTES].value if QUOTES in last else 0
    quotes = sum(quotes_by_symbol(database, symbols, now - SPAN, now).values())
    filled = _FILLED * drawn_of + _MORE * len(symbols)
    if drawn_at is None or is_due(now, drawn_at, charted, anomalies) or quotes > filled:
        picture = _picture(database, symbols, anomalies, now)
        return {**picture, **_drawn(anomalies, now.replace(microsecond=0), quotes)}
    where = f"drawn at {iso(drawn_at)}: see the materialization of that time under Events"
    return {"chart_note": dg.MetadataValue.text(where), **_drawn(anomalies, drawn_at, drawn_of)}


def is_due(now: datetime, drawn_at: datetime | None, charted: str | None, anomalies: Columns) -> bool:
    """Return whether to draw: never drawn, an hour ago, or other alarms than on the last picture.

    That was drawn at `drawn_at`; `charted` is its `alarms_digest`.
    """
    if drawn_at is None or not timedelta(0) <= now - drawn_at < REDRAW_AFTER:
        return True
    return charted != alarms_digest(anomalies, drawn_at)


def alarms_digest(anomalies: Columns, drawn_at: datetime) -> str:
    """Return a digest of the alarms on a picture of `drawn_at`, by their ids only.

    Alarms that leave the last `SPAN` before the picture is an hour old do not count.
    """
    recent = anomalies["timestamp"] >= to_datetime64(drawn_at - SPAN + REDRAW_AFTER)
    ids = anomalies["id"][recent & alarm_mask(anomalies)]
    return sha256(" ".join(sorted(ids)).encode()).hexdigest()[:16]


def _drawn(anomalies: Columns, at: datetime, quotes: int) -> Metadata:
    return {
        DRAWN_AT: dg.MetadataValue.timestamp(at),
        ALARMS: dg.MetadataValue.text(alarms_digest(anomalies, at)),
        QUOTES: dg.MetadataValue.int(quotes),
    }


def _picture(database: Database, symbols: Sequence[str], anomalies: Columns, now: datetime) -> Metadata:
    # They import matplotlib and the detectors, which a tick without a picture does not need.
    from market_pipeline.charts.overview_chart import draw_overview, most_alarming
    from market_pipeline.pipeline.chart_rows import stored_scores

    chosen = most_alarming(symbols, anomalies)
    scores = stored_scores(database, chosen, now - SPAN, now)
    picture = base64.b64encode(draw_overview(scores, anomalies, chosen, now - SPAN, now)).decode()
    title = f"The last 24 hours of {', '.join(chosen)}"
    metadata = {"chart": dg.MetadataValue.md(f"![{title}](data:image/png;base64,{picture})")}
    if len(chosen) < len(symbols):
        note = f"{len(chosen)} of {len(symbols)} symbols: those with the most severe alarms"
        return {**metadata, "chart_note": dg.MetadataValue.text(note)}
    return metadata


def _time_of(value: dg.MetadataValue[Any] | None) -> datetime | None:
    if not isinstance(value, dg.TimestampMetadataValue):
        return None
    return datetime.fromtimestamp(value.value, timezone.utc)
