"""Score the days of a run of `price_anomalies` with the calibrations known when they began, and count."""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import fields
from datetime import datetime, timedelta
from typing import Any

from market_pipeline.anomalies.anomaly import Anomaly, Kind, Severity, alarms, is_alarm
from market_pipeline.anomalies.detect import detect_days
from market_pipeline.anomalies.parameters import DETECTOR_VERSION
from market_pipeline.anomalies.words.formatting import format_signed
from market_pipeline.core.clock import DAY
from market_pipeline.core.columns import Columns
from market_pipeline.core.slices import DayOfSymbol
from market_pipeline.storage.engine import Database
from market_pipeline.storage.queries.calibrations import calibrations_for
from market_pipeline.storage.queries.scores import stored_severities
from market_pipeline.storage.rows.records import columns_of
from market_pipeline.storage.schema.tables import price_anomalies

# The other coins of a collection are quoted within this time.
_RECENT = timedelta(minutes=10)
# A day of a coin has seldom more alarms.
_HEADLINES = 5


def score_days(database: Database, prices: Columns, days: Sequence[DayOfSymbol]) -> list[Anomaly]:
    """Return the anomalies of `days`, scored from `prices` and the stored calibrations.

    Raises ValueError if a stored calibration cannot be read.
    """
    wanted = {day - n * DAY for day, _ in days for n in (0, 1)}
    known = calibrations_for(database, wanted, DETECTOR_VERSION)
    return detect_days(prices, days, known.get)


def anomaly_rows(database: Database, anomalies: Iterable[Anomaly]) -> Columns:
    """Return the anomalies as rows of their table, each with the coin of its symbol."""
    names = [field.name for field in fields(Anomaly)]
    records = [
        {"coin_id": database.coin_id(anomaly.symbol), **{name: getattr(anomaly, name) for name in names}}
        for anomaly in anomalies
    ]
    return columns_of(price_anomalies, records)


def new_alarms(
    database: Database, anomalies: Iterable[Anomaly], newest: Mapping[str, datetime], now: datetime
) -> list[Anomaly]:
    """Return the alarms that the `newest` quotes of their symbols revealed or made more severe than the stored rows.

    So each is new once, however often its day is scored while it lasts, and again when it becomes more severe. Quotes
    older than an hour reveal nothing new.
    """
    since = {symbol: at - _RECENT for symbol, at in newest.items() if at > now - timedelta(hours=1)}
    recent = [
        row for row in alarms(anomalies)
        if row.symbol in since and max(row.detected_at, row.episode_peak) >= since[row.symbol]
    ]
    stored = stored_severities(database, [row.id for row in recent])
    rank = [severity.value for severity in Severity].index
    return [row for row in recent if row.id not in stored or rank(row.severity) > rank(stored[row.id])]


def anomaly_facts(
    anomalies: Iterable[Anomaly], days: Iterable[DayOfSymbol]
) -> Mapping[DayOfSymbol, dict[str, Any]]:
    """Count for each of `days` the rows, those of each kind, the alarms (no members of an event), and by severity.

    With the headlines of the most important alarms, and of the moves of the market that the symbol was part of.
    """
    of_day: dict[DayOfSymbol, list[Anomaly]] = {day: [] for day in days}
    moves: dict[str, Anomaly] = {}
    for anomaly in anomalies:
        of_day[anomaly.timestamp.date(), anomaly.symbol].append(anomaly)
        if anomaly.kind == Kind.MARKET_MOVE.value:
            moves[anomaly.id] = anomaly
    return {day: _facts(rows, moves) for day, rows in of_day.items()}


def _headlines(rows: Iterable[Anomaly], moves: Mapping[str, Anomaly]) -> list[str]:
    """Return the headlines of a day of a symbol, the most important first; `moves` are those of the market, by id."""
    headlines: list[str] = []
    listed: set[str] = set()
    for row in sorted(rows, key=lambda row: -(row.importance or 0.0)):
        move = moves.get(row.event_id or "")
        if is_alarm(row.id, row.event_id):
            headlines.append(row.headline)
        elif move and move.symbol != row.symbol and move.id not in listed:
            listed.add(move.id)
            headlines.append(f"{move.headline} {row.symbol}: {format_signed(row.move)}.")
    return headlines


def _facts(rows: Sequence[Anomaly], moves: Mapping[str, Anomaly]) -> dict[str, Any]:
    severities = {f"severity_{severity.value}": 0 for severity in Severity}
    found = alarms(rows)
    severities |= Counter(f"severity_{Severity(row.severity).value}" for row in found)
    kinds = Counter(f"kind_{Kind(row.kind).value}" for row in rows)
    headlines = _headlines(rows, moves)[:_HEADLINES]
    return {
        "rows": len(rows),
        "alarms": len(found),
        **({"headlines": tuple(headlines)} if headlines else {}),
        **severities,
        **dict(sorted(kinds.items())),
        "detector_version": DETECTOR_VERSION,
    }
