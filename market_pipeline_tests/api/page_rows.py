"""Rows for the tests of the page: a day of prices as wanted, single alarms."""

from datetime import timedelta
from hashlib import md5

from sqlalchemy import Double, Integer

from market_pipeline.core.clock import utc_now
from market_pipeline.prices.quotes import Quote, Source
from market_pipeline.storage.queries.scores import record_scored
from market_pipeline.storage.rows.records import columns_of
from market_pipeline.storage.rows.write import upsert
from market_pipeline.storage.schema.tables import price_anomalies, raw_prices
from market_pipeline.storage.schema.types import UtcTimestamp

_EVERY = timedelta(minutes=5)
_HOURS = 26


def prices(database, symbol, last, first=None, newest=timedelta(minutes=2), silent=None, times=None):
    """Five-minute prices of 26 hours, all `first` (or `last`) but the last one, `newest` ago; gives its time.

    `silent` leaves out those between so long and so long before the newest.
    """
    end = (utc_now() - newest).replace(microsecond=0)
    times = times or [end - _EVERY * back for back in range(_HOURS * 12, -1, -1)]
    if silent is not None:
        times = [time_ for time_ in times if not end - silent[0] < time_ < end - silent[1]]
    coin_id, before = database.coin_id(symbol), first or last
    rows = [
        Quote(symbol, coin_id, moment, last if moment == times[-1] else before, Source.LIVE, moment)
        for moment in times
    ]
    upsert(database, raw_prices, columns_of(raw_prices, rows))
    record_scored(database, {symbol: times[-1]})
    return times[-1]


def flag(database, symbol, moment, kind="jump", **values):
    """A flagged quote at `moment`; gives its id."""
    usual = ((Double, 1.0), (Integer, 1), (UtcTimestamp, moment))
    row = {}
    for column in price_anomalies.columns:
        plain = next((value for type_, value in usual if isinstance(column.type, type_)), "")
        row[column.name] = None if column.nullable else plain
    id_ = md5(f"{symbol} {moment} {kind}".encode(), usedforsecurity=False).hexdigest()
    row |= {
        "symbol": symbol, "coin_id": database.coin_id(symbol), "kind": kind, "id": id_, "episode_id": id_,
        "severity": "alert", "direction": "up", "scope": "market", "explanation": "A move.", **values,
    }
    upsert(database, price_anomalies, columns_of(price_anomalies, [row]))
    return id_
