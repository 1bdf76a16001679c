"""When the overview's picture is drawn: metadata is stored with every materialization, so a picture
in each would fill the event log."""

import base64
from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta, timezone
from typing import Any

import dagster as dg

from market_pipeline.clock import iso
from market_pipeline.storage import overview
from market_pipeline.storage.columns import Columns
from market_pipeline.storage.engine import Database

DRAWN_AT = "chart_drawn_at"
NEWEST = "chart_newest_anomaly"
REDRAW_AFTER = timedelta(hours=1)
SPAN = timedelta(hours=24)


def is_due(now: datetime, drawn_at: datetime | None, newest: str, charted: str | None) -> bool:
    """Whether to draw: never drawn, an hour ago, or an anomaly that the last picture does not show."""
    return drawn_at is None or now - drawn_at >= REDRAW_AFTER or newest != charted


def newest_anomaly(anomalies: Columns) -> str:
    """A name for the newest anomaly of rows ordered newest first."""
    if not len(anomalies):
        return "none"
    return f"{iso(anomalies.datetimes('timestamp')[0])} {anomalies['symbol'][0]} {anomalies['detector'][0]}"


def chart_metadata(
    store: Database,
    symbols: Sequence[str],
    anomalies: Columns,
    now: datetime,
    last: Mapping[str, dg.MetadataValue[Any]],
) -> dict[str, dg.MetadataValue[Any]]:
    """The picture if it is due, else a note of when the last one was drawn.

    `last` is the metadata of the overview's previous materialization.
    """
    newest = newest_anomaly(anomalies)
    drawn_at = _time_of(last.get(DRAWN_AT))
    charted = last[NEWEST].value if NEWEST in last else None
    if drawn_at is not None and not is_due(now, drawn_at, newest, charted):
        where = f"drawn at {iso(drawn_at.replace(microsecond=0))}: see the materialization of that time under Events"
        return {
            "chart_note": dg.MetadataValue.text(where),
            DRAWN_AT: dg.MetadataValue.timestamp(drawn_at),
            NEWEST: dg.MetadataValue.text(newest),
        }
    from market_pipeline.anomalies.chart import draw_overview

    series = overview.price_series(store, symbols, now - SPAN)
    picture = base64.b64encode(draw_overview(series, anomalies, symbols, now - SPAN, now)).decode()
    return {
        "chart": dg.MetadataValue.md(f"![The last 24 hours of each symbol](data:image/png;base64,{picture})"),
        DRAWN_AT: dg.MetadataValue.timestamp(now),
        NEWEST: dg.MetadataValue.text(newest),
    }


def _time_of(value: dg.MetadataValue[Any] | None) -> datetime | None:
    return (
        datetime.fromtimestamp(value.value, timezone.utc)
        if isinstance(value, dg.TimestampMetadataValue)
        else None
    )
