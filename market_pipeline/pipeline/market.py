"""What is stored, for notebooks and scripts: prices, candles, bars, anomalies and coverage as pandas DataFrames.

    from market_pipeline import open_market

    market = open_market()
    market.candles("BTC", "1h", start="2026-11-01")

It only reads, and imports no Dagster.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date, datetime, timezone
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray
from pydantic import SecretStr

from market_pipeline.anomalies.anomaly import Kind, alarm_mask
from market_pipeline.core.clock import EPOCH, iso, start_of_day, utc_now
from market_pipeline.core.columns import Columns
from market_pipeline.core.slices import Slice
from market_pipeline.core.symbols import Catalogue, Coin
from market_pipeline.pipeline.missing_days import DAYS_MEASURED, past_days
from market_pipeline.pipeline.other_coins import stored_ids, stored_symbols
from market_pipeline.prices.candles import INTERVALS, opening
from market_pipeline.settings import load_settings
from market_pipeline.storage.db_errors import DatabaseUnavailable
from market_pipeline.storage.engine import Database
from market_pipeline.storage.queries.candles import read_candles
from market_pipeline.storage.queries.coverage import first_times
from market_pipeline.storage.queries.latest import newest_quote_times
from market_pipeline.storage.queries.price_pages import PriceQuery, newest_table
from market_pipeline.storage.rows.read import read_columns
from market_pipeline.storage.schema.migrate import check_schema, how_to_create
from market_pipeline.storage.schema.tables import daily_bars, price_anomalies

if TYPE_CHECKING:
    import pandas as pd

# A time: a datetime, a day, or either as ISO 8601 text; UTC where it has no offset.
When = datetime | date | str

_ALL_ROWS = 2**31 - 1
_MOST_DAYS = 36_500


def open_market(database_url: str | None = None) -> Market:
    """Open the database at `database_url`, by default that of the settings (environment or `.env`), for reading.

    Raises SettingsError for a URL that cannot be used, DatabaseUnavailable if there is no such database, and
    SchemaMismatch, with the remedy, if its tables are not those of this version.
    """
    settings = load_settings(database_url=SecretStr(database_url)) if database_url else load_settings()
    url = settings.database
    if url.get_backend_name() == "sqlite" and not Path(url.database or "").is_file():
        raise DatabaseUnavailable(
            f"{Path(url.database or '').absolute()} does not exist. Open the notebook in the folder of the project, or "
            "give the URL of another database, such as the demo's: open_market('sqlite:///demo.db'). If there is none "
            f"yet, {how_to_create()}."
        )
    database = Database(url, settings.catalogue.ids)
    check_schema(database)
    return Market(Database(url, _coins(database)))


class Market:
    """The stored data of a database. Every DataFrame is ordered by time and has a UTC index.

    A symbol may be in any case. Times may be datetimes, days or ISO 8601 text, UTC without an offset; `start` is
    inside, `end` is not. Methods raise ValueError for a symbol without prices, a time that cannot be read, and an
    end before the start.
    """

    def __init__(self, database: Database) -> None:
        self._database = database

    def __repr__(self) -> str:
        return f"Market({self._database.url}: {', '.join(self.symbols)})"

    @property
    def symbols(self) -> tuple[str, ...]:
        """The symbols that have prices."""
        return tuple(self._database.coins)

    def prices(self, symbol: str, start: When | None = None, end: When | None = None) -> pd.DataFrame:
        """Return the stored prices: price (US dollars), source, ingested_at, and quality (`ok` or `bad_tick`)."""
        query = PriceQuery(self._symbol(symbol), *_span(start, end), _ALL_ROWS)
        newest_first: pd.DataFrame = newest_table(self._database, query, utc_now()).to_pandas()
        return newest_first.iloc[::-1].set_index("timestamp")

    def candles(
        self, symbol: str, interval: str = "1h", start: When | None = None, end: When | None = None
    ) -> pd.DataFrame:
        """Return open, high, low, close (US dollars) and quotes of each `interval`: 5m, 15m, 1h, 4h or 1d.

        Bad ticks do not count, and an interval without a quote has no row.
        """
        name, now = self._symbol(symbol), utc_now()
        if interval not in INTERVALS:
            raise ValueError(f"there are no candles of {interval!r}; choose {', '.join(INTERVALS)}")
        width, (first, end_at) = INTERVALS[interval], _span(start, end)
        last = end_at or now
        stored = first_times(self._database, [name])[name]
        # From the interval of the first price on: before it there is nothing to look for.
        begin = max(first, opening(stored, width)) if first else opening(stored, width)
        most = max((min(last, now) - begin) // width, 0) + 2
        return read_candles(self._database, name, width, begin, last, most, now).to_frame().set_index("opened_at")

    def bars(self, symbol: str, start: When | None = None, end: When | None = None) -> pd.DataFrame:
        """Return the bars of past days: also realised_volatility (per day, 0.03 is 3%) and completeness (0 to 1)."""
        name = self._symbol(symbol)
        columns = [column.name for column in daily_bars.columns if column.name not in ("symbol", "coin_id")]
        frame = read_columns(self._database, daily_bars, self._slices([name], start, end), columns).to_frame()
        frame.index = _days(frame.pop("day"))
        return _within(frame, start, end)

    def anomalies(
        self,
        symbol: str | None = None,
        start: When | None = None,
        end: When | None = None,
        *,
        alarms_only: bool = True,
        market_moves: bool = False,
    ) -> pd.DataFrame:
        """Return what was flagged of `symbol`, by default of all: headline, kind, severity, move and more.

        With `alarms_only=False` also the rows that another row represents, such as the members of a market event.
        With `market_moves=True` also the market events that `symbol` was a member of, which stand under the symbol
        that was flagged first. Rows of events that go on are updated: see "For backtests" in docs/data.md.
        """
        name = self._symbol(symbol) if symbol else None
        symbols = [name] if name and not market_moves else list(self.symbols)
        rows = read_columns(self._database, price_anomalies, self._slices(symbols, start, end))
        if name:
            rows = rows.where((rows["symbol"] == name) | _market_moves_of(rows, name))
        if alarms_only:
            rows = rows.where(alarm_mask(rows))
        frame = rows.to_frame().set_index("timestamp").sort_index(kind="stable")
        return _within(frame, start, end)

    def coverage(self, symbol: str | None = None, days: int = DAYS_MEASURED) -> pd.DataFrame:
        """Return how complete each of the last `days` (1 to 36,500) past days is.

        Columns: symbol, points, expected, largest_gap, missing.

        `missing` days lack prices that the source may have.
        """
        import pandas as pd

        if days not in range(1, _MOST_DAYS + 1):
            raise ValueError(f"coverage is measured over 1 to {_MOST_DAYS:,} whole days, not {days!r}")
        symbols = [self._symbol(symbol)] if symbol else list(self.symbols)
        coins = Catalogue(Coin(name, self._database.coin_id(name)) for name in symbols)
        rows = [
            (day.day, day.symbol, day.points, day.expected, day.largest_gap, day.day in past.missing)
            for past in past_days(self._database, coins, date.min, utc_now(), days)
            for day in past.measured
        ]
        names = ["day", "symbol", "points", "expected", "largest_gap", "missing"]
        frame = pd.DataFrame(rows, columns=names)
        frame.index = _days(frame.pop("day"))
        return frame.sort_index(kind="stable")

    def close(self) -> None:
        """Close the connections; the next call opens them again."""
        self._database.dispose()

    def _symbol(self, given: str) -> str:
        if not isinstance(given, str):
            raise ValueError(f"{given!r} is not a symbol; ask for one symbol at a time, such as 'BTC'")
        symbol = given.strip().upper()
        if symbol not in self._database.coins:
            raise ValueError(f"no prices of {given!r} are stored, but of {', '.join(self.symbols) or 'no symbol'}")
        return symbol

    def _slices(self, symbols: Sequence[str], start: When | None, end: When | None) -> list[Slice]:
        first, end_at = _span(start, end)
        last = end_at or utc_now()
        begins = first_times(self._database, symbols)
        slices = [Slice(name, max(at, first or at).date(), last.date()) for name, at in begins.items()]
        return [part for part in slices if part.first <= part.last]


def _market_moves_of(rows: Columns, symbol: str) -> NDArray[np.bool_]:
    """Return which rows are market events with `symbol` among their members."""
    moves = rows["kind"] == Kind.MARKET_MOVE.value
    members = [symbol in (members or "").split(",") for members in rows["members"]]
    return np.asarray(moves & np.array(members, dtype=bool), dtype=bool)


def _coins(database: Database) -> dict[str, str]:
    """Return the symbols that have prices, each with its configured coin if that has any, else the newest one's."""
    coins = {}
    for symbol in stored_symbols(database):
        ids, configured = stored_ids(database, symbol), database.coin_id(symbol)
        if configured in ids or len(ids) == 1:
            coins[symbol] = configured if configured in ids else ids[0]
            continue
        newest = {one: newest_quote_times(Database(database.url, {symbol: one}), [symbol], utc_now()) for one in ids}
        coins[symbol] = max(ids, key=lambda one: newest[one][symbol] or EPOCH)
    return coins


def _days(days: pd.Series) -> pd.DatetimeIndex:
    """Return an index of days in the unit of the other frames: pandas joins no times of different units."""
    import pandas as pd

    return pd.DatetimeIndex(pd.to_datetime(days, utc=True), name="day").as_unit("us")


def _within(frame: pd.DataFrame, start: When | None, end: When | None) -> pd.DataFrame:
    first, last = _span(start, end)
    inside = (frame.index >= first) if first else (frame.index == frame.index)
    return frame[inside & (frame.index < last)] if last else frame[inside]


def _span(start: When | None, end: When | None) -> tuple[datetime | None, datetime | None]:
    """Return both as aware UTC; raise ValueError if the end is before the start, as an empty table would hide it."""
    first, last = _moment(start), _moment(end)
    if first and last and last < first:
        raise ValueError(f"the end {iso(last)} is before the start {iso(first)}")
    return first, last


def _moment(when: When | None) -> datetime | None:
    """Return a time as aware UTC."""
    if when is None:
        return None
    if isinstance(when, str):
        try:
            when = datetime.fromisoformat(when.strip().replace("Z", "+00:00"))
        except ValueError:
            raise ValueError(f"{when!r} is not a time; write 2026-11-23 or 2026-11-23T12:00 (UTC)") from None
    # pandas' NaT is a datetime that is not equal to itself.
    if not isinstance(when, date) or when != when:
        raise ValueError(f"{when!r} is not a time; give a datetime, a date, or text such as 2026-11-23")
    if not isinstance(when, datetime):
        return start_of_day(when)
    return when.replace(tzinfo=when.tzinfo or timezone.utc).astimezone(timezone.utc)
