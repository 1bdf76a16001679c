"""When the overview's picture is drawn: metadata is stored with every materialization, so a picture
in each would fill the event log.

It is the light one, on paper of its own: the UI shows an image as it is on a light and on a dark page,
and dark letters on white can be read on both.
"""

import base64
from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta, timezone
from hashlib import sha256
from typing import Any

import dagster as dg

from market_pipeline.anomalies.anomaly import alarm_mask
from market_pipeline.anomalies.series import to_datetime64
from market_pipeline.core.clock import iso
from market_pipeline.core.columns import Columns
from market_pipeline.storage.engine import Database
from market_pipeline.storage.queries.counts import quotes_by_symbol

DRAWN_AT = "chart_drawn_at"
ALARMS = "chart_alarms"
QUOTES = "chart_quotes"
REDRAW_AFTER = timedelta(hours=1)
SPAN = timedelta(hours=24)
# A picture of the hole that a first start or an outage leaves is drawn again when it has been filled: with so
# many times the quotes, and so many more a symbol, which a few ticks do not bring.
_FILLED = 1.5
_MORE = 10


def is_due(now: datetime, drawn_at: datetime | None, charted: str | None, anomalies: Columns) -> bool:
    """Whether to draw: never drawn, an hour ago, or other alarms than on the picture drawn at `drawn_at`,
    of which `charted` is the `alarms_digest`."""
    if drawn_at is None or not timedelta(0) <= now - drawn_at < REDRAW_AFTER:
        return True
    return charted != alarms_digest(anomalies, drawn_at)


def alarms_digest(anomalies: Columns, drawn_at: datetime) -> str:
    """A digest of which alarms there are, but not of what is known of them.

    Of those that a picture of `drawn_at` shows and that are still in the last `SPAN` when it is an hour
    old: that an alarm grows old is nothing new.
    """
    recent = anomalies["timestamp"] >= to_datetime64(drawn_at - SPAN + REDRAW_AFTER)
    ids = anomalies["id"][recent & alarm_mask(anomalies)]
    return sha256(" ".join(sorted(ids)).encode()).hexdigest()[:16]


def chart_metadata(
    store: Database,
    symbols: Sequence[str],
    anomalies: Columns,
    now: datetime,
    last: Mapping[str, dg.MetadataValue[Any]],
) -> dict[str, dg.MetadataValue[Any]]:
    """The picture if it is due, else a note of when the last one was drawn.

    `anomalies` are the rows of the last `SPAN`, `last` is the metadata of the overview's previous
    materialization.
    """
    drawn_at = _time_of(last.get(DRAWN_AT))
    charted = last[ALARMS].value if ALARMS in last else None
    drawn_of = last[QUOTES].value if QUOTES in last else 0
    quotes = sum(quotes_by_symbol(store, symbols, now - SPAN, now).values())
    filled = _FILLED * drawn_of + _MORE * len(symbols)
    if drawn_at is None or is_due(now, drawn_at, charted, anomalies) or quotes > filled:
        picture = _picture(store, symbols, anomalies, now)
        return {**picture, **_drawn(anomalies, now.replace(microsecond=0), quotes)}
    where = f"drawn at {iso(drawn_at)}: see the materialization of that time under Events"
    return {"chart_note": dg.MetadataValue.text(where), **_drawn(anomalies, drawn_at, drawn_of)}


def _drawn(anomalies: Columns, at: datetime, quotes: int) -> dict[str, dg.MetadataValue[Any]]:
    return {
        DRAWN_AT: dg.MetadataValue.timestamp(at),
        ALARMS: dg.MetadataValue.text(alarms_digest(anomalies, at)),
        QUOTES: dg.MetadataValue.int(quotes),
    }


def _picture(
    store: Database, symbols: Sequence[str], anomalies: Columns, now: datetime
) -> dict[str, dg.MetadataValue[Any]]:
    from market_pipeline.charts.overview_chart import draw_overview, most_alarming
    from market_pipeline.pipeline.chart_rows import stored_scores

    chosen = most_alarming(symbols, anomalies)
    scores = stored_scores(store, chosen, now - SPAN, now)
    picture = base64.b64encode(draw_overview(scores, anomalies, chosen, now - SPAN, now)).decode()
    words = f"The last 24 hours of {', '.join(chosen)}"
    metadata: dict[str, dg.MetadataValue[Any]] = {
        "chart": dg.MetadataValue.md(f"![{words}](data:image/png;base64,{picture})")
    }
    if len(chosen) < len(symbols):
        note = f"{len(chosen)} of {len(symbols)} symbols: those with the most severe alarms"
        metadata["chart_note"] = dg.MetadataValue.text(note)
    return metadata


def _time_of(value: dg.MetadataValue[Any] | None) -> datetime | None:
    return (
        datetime.fromtimestamp(value.value, timezone.utc)
        if isinstance(value, dg.TimestampMetadataValue)
        else None
    )
