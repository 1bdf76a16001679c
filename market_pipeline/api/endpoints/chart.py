"""What the chart of a symbol's page shows: candles in their expected band, silences, and the alarms among them."""

from datetime import datetime, timedelta
from typing import Annotated, Any

import numpy as np
from fastapi import APIRouter, Depends, Query, Request, Response
from numpy.typing import NDArray
from pydantic_core import to_json

from market_pipeline.anomalies.anomaly import headline_of
from market_pipeline.api.http.compression import compressed
from market_pipeline.api.http.negotiation import JSON
from market_pipeline.api.http.query import Parameters, SymbolInPath, each_once, not_before
from market_pipeline.api.http.times import Moment, text_of, texts_of
from market_pipeline.api.service import Service, ServiceOf
from market_pipeline.charts.track import Track, track_of
from market_pipeline.core.clock import EPOCH, MICROSECONDS_PER_DAY, iso
from market_pipeline.core.columns import Columns
from market_pipeline.pipeline.candle_scores import chart_interval, scored_candles
from market_pipeline.prices.quotes import FUTURE_TOLERANCE
from market_pipeline.storage.queries.anomaly_pages import AnomalyFilter, Row, important_page
from market_pipeline.storage.queries.coverage import first_times
from market_pipeline.storage.queries.latest import coin_names, day_changes, latest_quotes

# The page's own: programs use /candles and /anomalies.
router = APIRouter(include_in_schema=False, dependencies=[Depends(each_once)])

# More would cover the line.
MOST_ALARMS = 200
# The longest ones: a coin that is seldom quoted has thousands.
_MOST_SILENCES = 60
# Significant digits of what is computed; prices are as stored.
_DIGITS = 5
_ALARM_COLUMNS = ("id", "symbol", "kind", "severity", "direction", "price_after", "mark")


class ChartSpan(Parameters):
    """The time to show, from the first stored price until now unless it is limited."""

    start: Moment | None = None
    end: Annotated[Moment | None, not_before("start")] = None


@router.get("/symbols/{symbol}/chart.json")
def chart(request: Request, symbol: SymbolInPath, span: Annotated[ChartSpan, Query()], service: ServiceOf) -> Response:
    """Return at most 2,000 candles, at the shortest interval that allows it."""
    name, now = service.symbol(symbol), service.clock()
    # The years before 1970 hold no prices, and the first of them no room for what is read ahead of a chart.
    end = max(min(span.end or now, now + FUTURE_TOLERANCE), EPOCH)
    first = first_times(service.database, [name]).get(name)
    start = max(EPOCH, *filter(None, (span.start, first))) if span.start or first else end
    document = _document(service, name, min(start, end), end, now)
    latest = latest_quotes(service.database, [name], now)
    document["first"] = iso(first) if first else None
    document["newest"] = iso(latest[name].timestamp) if latest else None
    document["change_24h"] = day_changes(service.database, latest, now).get(name)
    return compressed(request, to_json(document), JSON)


def _document(service: Service, symbol: str, start: datetime, end: datetime, now: datetime) -> dict[str, Any]:
    interval = chart_interval(start, end)
    candles = scored_candles(service.database, symbol, start, end, interval, now)
    track = track_of(candles, symbol, start, end)
    wanted = AnomalyFilter(since=start, until=end, alarms_only=True, concerning=symbol)
    alarms, more = important_page(service.database, service.catalogue.symbols, wanted, None, MOST_ALARMS)
    longest = sorted(track.silences, key=lambda silence: silence[0] - silence[1])[:_MOST_SILENCES]
    return {
        "symbol": symbol,
        "coin": coin_names(service.database).get(symbol) or service.catalogue.coin(symbol).coin_id,
        "start": iso(start),
        "end": iso(end),
        "interval_seconds": interval / timedelta(seconds=1),
        "candles": _candles(candles, track),
        # Where a line begins: none crosses a silence.
        "stretches": np.flatnonzero(np.diff(track.stretch, prepend=-1)).tolist(),
        "silences": [[_text_of_day(edge) for edge in silence] for silence in sorted(longest)],
        "alarms": [_alarm(row) for row in sorted(alarms, key=lambda row: int(row.timestamp))],
        "more_alarms": more is not None,
    }


def _candles(candles: Columns, track: Track) -> dict[str, list[Any]]:
    lower, upper = track.band(1)
    # Half of the band's width, in dollars; unknown after a silence.
    deviation = (upper - lower) / 2
    return {
        "opened_at": texts_of(candles["timestamp"].astype(np.int64).tolist()),
        **{name: candles[name].tolist() for name in ("open", "high", "low", "close", "quotes")},
        "expected": _numbers(track.price_before, known=np.isfinite(deviation)),
        "deviation": _numbers(deviation, digits=_DIGITS),
        "volatility": _numbers(track.volatility, digits=_DIGITS),
    }


def _numbers(
    values: NDArray[np.float64], *, known: NDArray[np.bool_] | None = None, digits: int | None = None
) -> list[float | None]:
    """Return `values` as JSON has them: null where they are unknown, with so many significant digits."""
    finite = np.isfinite(values) if known is None else known & np.isfinite(values)
    numbers = values.tolist()
    if digits is not None:
        numbers = [float(f"{number:.{digits}g}") for number in numbers]
    return [number if is_known else None for number, is_known in zip(numbers, finite.tolist(), strict=True)]


def _alarm(row: Row) -> dict[str, object]:
    document = {name: getattr(row, name) for name in _ALARM_COLUMNS}
    return {**document, "timestamp": text_of(row.timestamp), "headline": headline_of(row.headline, row.explanation)}


def _text_of_day(day: float) -> str:
    """Write a time that is given in days since 1970."""
    return iso(EPOCH + timedelta(microseconds=round(day * MICROSECONDS_PER_DAY)))
