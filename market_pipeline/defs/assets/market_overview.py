"""The asset `market_overview`, the first one to look at.

Its summary lists the alarms of the last day, its overview adds a picture, and the UI plots price and change of each
symbol over time. The picture is drawn once an hour, or earlier if it would change, and kept in the overview until the
next one: whichever materialization a person opens shows it. It is the light one: the UI shows an image unchanged on a
light and on a dark page.
"""

import base64
import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from hashlib import sha256
from typing import Any

import dagster as dg

from market_pipeline.anomalies.anomaly import Kind, Severity, alarm_mask, by_importance, headline_of
from market_pipeline.core.clock import iso, utc_now
from market_pipeline.core.columns import Columns, to_datetime64
from market_pipeline.core.links import symbol_page
from market_pipeline.core.wording import counted, some
from market_pipeline.dagster_instance.reports import markdown, number_name, shown_number
from market_pipeline.defs.assets.price_anomalies import PRICE_ANOMALIES
from market_pipeline.defs.assets.raw_prices import RAW_PRICES
from market_pipeline.defs.assets.table_metadata import EVERY_TICK, MONITOR, OWNERS, SHOWN_SYMBOLS, shown_note
from market_pipeline.defs.logging.log_fields import logged_step
from market_pipeline.settings import Settings
from market_pipeline.storage.engine import Database
from market_pipeline.storage.queries.counts import quotes_by_symbol
from market_pipeline.storage.queries.latest import StoredQuote, anomalies_since, day_changes, latest_quotes
from market_pipeline.storage.schema.migrate import check_schema

MARKET_OVERVIEW = "market_overview"

SPAN = timedelta(hours=24)
_NAMED = 20
_LISTED = 20
# The UI shows shorter Markdown at once, and longer in a dialog.
_SHOWN_AT_ONCE = 1000

OVERVIEW = "overview"
REDRAW_AFTER = timedelta(hours=1)
# A picture of the hole after a first start or an outage is redrawn when the hole has been filled: when there are
# this many times the quotes, and this many more per symbol, which a few ticks do not bring.
_FILLED = 1.5
_MORE = 10

Metadata = dict[str, Any]
Shown = Mapping[str, dg.MetadataValue[Any]]


def build_market_overview(settings: Settings) -> dg.AssetsDefinition:
    """Define the unpartitioned overview of all coins of `settings`."""

    @dg.asset(
        name=MARKET_OVERVIEW,
        description="The market at a glance: the alarms of the last 24 hours with links to the page of their symbol, a "
        "picture of the expected bands, drawn once an hour or when an alarm is new or more severe, and price and "
        "change of each symbol as numbers that the UI plots over time.",
        deps=[RAW_PRICES, PRICE_ANOMALIES],
        group_name=MONITOR,
        owners=OWNERS,
        tags=EVERY_TICK,
        kinds={"dashboard", "matplotlib"},
    )
    @logged_step
    def market_overview(
        context: dg.AssetExecutionContext, database: dg.ResourceParam[Database]
    ) -> None:
        check_schema(database)
        previous = context.instance.get_latest_materialization_event(dg.AssetKey(MARKET_OVERVIEW))
        last = previous.asset_materialization.metadata if previous and previous.asset_materialization else {}
        # Dagster stores the metadata of a result twice: with the output of the step, and with the materialization.
        context.add_asset_metadata(overview_metadata(database, settings, utc_now(), last))

    return market_overview


def overview_metadata(database: Database, settings: Settings, now: datetime, last: Shown) -> Metadata:
    """Return the metadata of one materialization at `now` (aware UTC); `last` is that of the previous one."""
    symbols = settings.catalogue.symbols
    shown = symbols[:SHOWN_SYMBOLS]
    anomalies = anomalies_since(database, symbols, now - SPAN)
    alarms = by_importance(anomalies.where(alarm_mask(anomalies)))
    latest = latest_quotes(database, symbols, now)
    lines = overview_lines(alarms, latest, symbols, settings.api_url, now)
    changes = day_changes(database, latest, now)
    picture = current_picture(database, symbols, anomalies, changes, now, last)
    return {
        "summary": dg.MetadataValue.md(shortened(lines)),
        OVERVIEW: dg.MetadataValue.md("\n".join([*lines, "", picture.markdown])),
        **overview_numbers(shown, latest, changes),
        "alarms_24h": len(alarms),
        "alarms_critical_24h": int((alarms["severity"] == Severity.CRITICAL.value).sum()),
        "market_events_24h": int((alarms["kind"] == Kind.MARKET_MOVE.value).sum()),
        **shown_note(symbols),
    }


def overview_numbers(
    symbols: Sequence[str], latest: Mapping[str, StoredQuote], changes: Mapping[str, float]
) -> Metadata:
    """Return BTC/change_24h_percent, BTC/price_usd, ...: side by side in the plots of the UI, which it sorts."""
    numbers: Metadata = {}
    for symbol in symbols:
        if symbol in changes:
            numbers[number_name(symbol, "change_24h_percent")] = round(100 * changes[symbol], 2)
        if symbol in latest:
            numbers[number_name(symbol, "price_usd")] = shown_number(latest[symbol].price)
    return numbers


def overview_lines(
    alarms: Columns, latest: Collection[str], symbols: Sequence[str], api_url: str, now: datetime
) -> list[str]:
    """Return the Markdown of the overview: how many `alarms`, which symbols have no quotes, a list item an alarm."""
    without = [symbol for symbol in symbols if symbol not in latest]
    critical = int((alarms["severity"] == Severity.CRITICAL.value).sum())
    number = f"{counted(len(alarms), 'alarm')}, {critical} critical," if len(alarms) else "No alarm"
    lines = [f"**{number} in the 24 hours before {now:%Y-%m-%d %H:%M} UTC.**"]
    if without:
        lines.append(f"No quotes yet: {markdown(some(without, _NAMED))}.")
    lines.append("")
    columns = (alarms[name][:_LISTED].tolist() for name in ("symbol", "severity", "headline", "explanation"))
    for at, symbol, severity, headline, explanation in zip(
        alarms.datetimes("timestamp")[:_LISTED], *columns, strict=True
    ):
        page = symbol_page(api_url, symbol, at.date())
        lines.append(f"- {severity}: {markdown(headline_of(headline, explanation))} [{markdown(symbol)}]({page})")
    if len(alarms) > _LISTED:
        lines.append(f"- and {len(alarms) - _LISTED:,} more")
    return lines


def shortened(lines: Sequence[str]) -> str:
    """Return as many of `lines` as the UI shows without a dialog; the last one counts those left out."""
    length = 0
    for number, line in enumerate(lines):
        length += len(line) + 1
        if length > _SHOWN_AT_ONCE - len("- and 1,000 more"):
            return "\n".join([*lines[:number], f"- and {len(lines) - number:,} more"])
    return "\n".join(lines)


@dataclass(frozen=True)
class Picture:
    """The picture as Markdown, when it was drawn, the digest of its alarms, and of how many quotes it is.

    These stand in a reference of the Markdown, which is not shown.
    """

    markdown: str
    drawn_at: datetime
    alarms: str
    quotes: int

    @classmethod
    def of(cls, metadata: Shown) -> "Picture | None":
        """Return the picture that a materialization shows."""
        overview = metadata.get(OVERVIEW)
        text = overview.md_str if isinstance(overview, dg.MarkdownMetadataValue) else None
        found = _STATE.search(text or "")
        if found is None or text is None:
            return None
        drawn_at = datetime.fromisoformat(found["drawn_at"].replace("Z", "+00:00"))
        return cls(text[found.start() :], drawn_at, found["alarms"], int(found["quotes"]))


_STATE = re.compile(r"\[//\]: # \((?P<drawn_at>\S+) (?P<alarms>\S+) (?P<quotes>\d+)\)")


def current_picture(
    database: Database,
    symbols: Sequence[str],
    anomalies: Columns,
    changes: Mapping[str, float],
    now: datetime,
    last: Shown,
) -> Picture:
    """Return a new picture if it is due, else that of the previous materialization.

    `anomalies` are the rows of the last `SPAN`, `changes` the 24 h change of each symbol, `last` is the
    metadata of the previous materialization.
    """
    before = Picture.of(last)
    quotes = sum(quotes_by_symbol(database, symbols, now - SPAN, now).values())
    if before is not None:
        is_filled = quotes > _FILLED * before.quotes + _MORE * len(symbols)
        if not is_filled and not is_due(now, before.drawn_at, before.alarms, anomalies):
            return before
    drawn_at = now.replace(microsecond=0)
    digest = alarms_digest(anomalies, drawn_at)
    state = f"[//]: # ({iso(drawn_at)} {digest} {quotes})"
    return Picture(f"{state}\n\n{_drawn(database, symbols, anomalies, changes, now)}", drawn_at, digest, quotes)


def is_due(now: datetime, drawn_at: datetime, charted: str, anomalies: Columns) -> bool:
    """Return whether to draw again: an hour ago, or other alarms than on the last picture.

    That was drawn at `drawn_at`; `charted` is its `alarms_digest`.
    """
    if not timedelta(0) <= now - drawn_at < REDRAW_AFTER:
        return True
    return charted != alarms_digest(anomalies, drawn_at)


def alarms_digest(anomalies: Columns, drawn_at: datetime) -> str:
    """Return a digest of the alarms on a picture of `drawn_at`, by their ids and severities.

    Alarms that leave the last `SPAN` before the picture is an hour old do not count.
    """
    recent = anomalies["timestamp"] >= to_datetime64(drawn_at - SPAN + REDRAW_AFTER)
    alarms = anomalies.where(recent & alarm_mask(anomalies))
    shown = sorted(zip(alarms["id"].tolist(), alarms["severity"].tolist(), strict=True))
    return sha256(repr(shown).encode()).hexdigest()[:16]


def _drawn(
    database: Database, symbols: Sequence[str], anomalies: Columns, changes: Mapping[str, float], now: datetime
) -> str:
    # They import matplotlib and the detectors, which a tick without a picture does not need.
    from market_pipeline.charts.overview_chart import draw_overview, most_alarming
    from market_pipeline.pipeline.chart_rows import stored_scores

    chosen = most_alarming(symbols, anomalies)
    scores = stored_scores(database, chosen, now - SPAN, now)
    picture = base64.b64encode(draw_overview(scores, anomalies, chosen, now - SPAN, now, changes)).decode()
    title = f"The last 24 hours of {', '.join(chosen)}"
    lines = [f"![{title}](data:image/webp;base64,{picture})", ""]
    if len(chosen) < len(symbols):
        lines.append(f"{len(chosen)} of {len(symbols)} symbols: those with the most severe alarms.")
    lines.append(f"Drawn {now:%Y-%m-%d %H:%M} UTC.")
    return "\n".join(lines)
