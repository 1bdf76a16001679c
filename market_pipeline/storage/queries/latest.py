"""The latest quotes and anomalies, and the names of the coins, by index look-ups."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlalchemy import CTE, Text, and_, column, func, select, union_all, values

from market_pipeline.anomalies.anomaly import Kind
from market_pipeline.core.clock import DAY, MICROSECOND, from_microseconds
from market_pipeline.core.columns import Columns
from market_pipeline.prices.quotes import FUTURE_TOLERANCE, Quality
from market_pipeline.storage.engine import Database
from market_pipeline.storage.queries.price_pages import PriceQuery, latest_points, newest_points
from market_pipeline.storage.rows.filters import of_configured_coins, of_symbol, united
from market_pipeline.storage.rows.read import columns_from_rows, readable
from market_pipeline.storage.schema.operations_tables import coin_identities
from market_pipeline.storage.schema.tables import price_anomalies, raw_prices

# History has a point an hour.
_REACH = timedelta(hours=1)
# Of quotes each second.
_MOST_NEAR = 8_000


@dataclass(frozen=True)
class StoredQuote:
    """A stored price in US dollars and when it was true, UTC."""

    timestamp: datetime
    price: float


def latest_quotes(database: Database, symbols: Sequence[str], now: datetime) -> dict[str, StoredQuote]:
    """Return the latest quote at `now` of each symbol that has one: neither in the future nor a bad tick."""
    return quotes_at(database, symbols, now + FUTURE_TOLERANCE)


def quotes_at(database: Database, symbols: Sequence[str], at: datetime) -> dict[str, StoredQuote]:
    """Return the newest quote at or before `at`, and no bad tick, of each symbol that has one.

    Two statements for all symbols. Only symbols whose newest quote is old, or may be a bad tick, are read one by one.
    """
    newest = _newest_quotes(database, symbols, at)
    old = {symbol for symbol, quote in newest.items() if quote.timestamp < at - DAY}
    unclear = sorted(old | _with_bad_ticks(database, list(newest), at))
    points = latest_points(database, unclear, at) if unclear else {}
    exact = {symbol: StoredQuote(from_microseconds(when), price) for symbol, (when, price, *_) in points.items()}
    return {symbol: quote for symbol, quote in newest.items() if symbol not in unclear} | exact


def _newest_quotes(database: Database, symbols: Sequence[str], at: datetime) -> dict[str, StoredQuote]:
    """Return the newest quote at or before `at`, bad ticks included, by two look-ups in the key for each symbol."""
    if not symbols:
        return {}
    return dict(_quotes_of(database, _newest_keys(database, symbols, at)))


def _newest_keys(database: Database, symbols: Sequence[str], at: datetime) -> CTE:
    """Return the key of the newest quote at or before `at` of each symbol; its `timestamp` is NULL if there is none."""
    prices = raw_prices.c
    # As rows: a part of a statement for each symbol would have PostgreSQL plan each of them.
    coins = values(column("symbol", Text), column("coin_id", Text)).data(
        [(symbol, database.coin_id(symbol)) for symbol in symbols]
    ).cte("coins")
    last = select(func.max(prices.timestamp)).where(
        prices.symbol == coins.c.symbol, prices.coin_id == coins.c.coin_id, prices.timestamp <= at
    ).correlate(coins).scalar_subquery()
    return select(coins.c.symbol, coins.c.coin_id, last.label("timestamp")).cte("keys")


def _with_bad_ticks(database: Database, symbols: Sequence[str], at: datetime) -> set[str]:
    """Return the symbols with a bad tick that a quote of the day before `at` may belong to; none lasts over a day."""
    rows = price_anomalies.c
    ticks = select(rows.symbol).where(
        rows.symbol.in_(symbols), rows.timestamp.between(at - 2 * DAY, at), rows.kind == Kind.BAD_TICK.value
    )
    with database.reading() as connection:
        return set(connection.execute(ticks).scalars())


def day_changes(database: Database, latest: Mapping[str, StoredQuote], now: datetime) -> dict[str, float]:
    """Return the 24 h change of each symbol that has one, from its quote of `latest_quotes` at `now`: 0.05 is +5%.

    It is that price over the price nearest to 24 hours before it, less 1: a quote within an hour of that time, of two
    equally near ones the earlier, and no bad tick. A latest quote that is over a day old has none.
    """
    times = {symbol: quote.timestamp - DAY for symbol, quote in latest.items() if quote.timestamp >= now - DAY}
    before = _nearest_quotes(database, times) if times else {}
    return {symbol: latest[symbol].price / quote.price - 1 for symbol, quote in before.items()}


def _nearest_quotes(database: Database, times: Mapping[str, datetime]) -> dict[str, StoredQuote]:
    """Return the quote nearest to its time of each symbol that has one within `_REACH`.

    Two statements for all symbols; those with a bad tick of about that time are read one by one.
    """
    found = _beside(database, times)
    unclear = _with_bad_ticks(database, list(times), max(times.values()) + _REACH)
    for symbol in unclear:
        begin, end = times[symbol] - _REACH, times[symbol] + _REACH
        points = newest_points(database, PriceQuery(symbol, begin, end + MICROSECOND, _MOST_NEAR), end)
        good = [point for point in points if point[-1] == Quality.OK.value]
        found[symbol] = [StoredQuote(from_microseconds(when), price) for when, price, *_ in good]
    nearest = {
        symbol: min(quotes, key=lambda quote: (abs(quote.timestamp - times[symbol]), quote.timestamp))
        for symbol, quotes in found.items() if quotes
    }
    return {symbol: quote for symbol, quote in nearest.items() if abs(quote.timestamp - times[symbol]) <= _REACH}


def _beside(database: Database, times: Mapping[str, datetime]) -> dict[str, list[StoredQuote]]:
    """Return the quotes of each symbol next before (or at) and after its time, by two look-ups in the key for each."""
    prices = raw_prices.c
    wanted = values(column("symbol", Text), column("coin_id", Text), column("at", prices.timestamp.type)).data(
        [(symbol, database.coin_id(symbol), at) for symbol, at in times.items()]
    ).cte("wanted").c
    # By constants as well: PostgreSQL has no idea how many rows are before a time that it does not know.
    near = prices.timestamp.between(min(times.values()) - _REACH, max(times.values()) + _REACH)
    sides = [
        select(edge(prices.timestamp)).where(
            prices.symbol == wanted.symbol, prices.coin_id == wanted.coin_id, near, beside
        ).correlate(wanted.at.table).scalar_subquery()
        for edge, beside in ((func.max, prices.timestamp <= wanted.at), (func.min, prices.timestamp > wanted.at))
    ]
    keys = union_all(*(select(wanted.symbol, wanted.coin_id, side.label("timestamp")) for side in sides)).cte("keys")
    found: dict[str, list[StoredQuote]] = {}
    for symbol, quote in _quotes_of(database, keys):
        found.setdefault(symbol, []).append(quote)
    return found


def _quotes_of(database: Database, keys: CTE) -> list[tuple[str, StoredQuote]]:
    """Return the quote of each of `keys` with its symbol."""
    same = [keys.c[name] == raw_prices.c[name] for name in ("symbol", "coin_id", "timestamp")]
    columns = raw_prices.c.symbol, raw_prices.c.timestamp, raw_prices.c.price
    stored = select(*columns).join_from(keys, raw_prices, and_(*same))
    with database.reading() as connection:
        return [(symbol, StoredQuote(when, price)) for symbol, when, price in connection.execute(stored)]


def prices_at(database: Database, symbol: str, times: Collection[datetime]) -> dict[datetime, float]:
    """Return the price of `symbol` at each of `times` that has a quote within the day before it: that of the newest."""
    if not times:
        return {}
    prices = raw_prices.c
    wanted = values(column("at", prices.timestamp.type)).data([(at,) for at in times]).cte("wanted")
    own = of_symbol(database, raw_prices, symbol)
    # No other upper bound: SQLite would begin there.
    before = prices.timestamp >= min(times) - DAY, prices.timestamp <= wanted.c.at
    last = select(func.max(prices.timestamp)).where(own, *before).correlate(wanted)
    keys = select(wanted.c.at, last.scalar_subquery().label("timestamp")).cte("keys").c
    stored = select(keys.at, prices.timestamp, prices.price).join_from(
        keys.at.table, raw_prices, prices.timestamp == keys.timestamp
    )
    with database.reading() as connection:
        return {at: price for at, when, price in connection.execute(stored.where(own)) if when >= at - DAY}


def newest_quote_times(database: Database, symbols: Sequence[str], now: datetime) -> dict[str, datetime | None]:
    """Return the time of the newest stored quote of each symbol that is not in the future, None if it has none."""
    if not symbols:
        return {}
    keys = _newest_keys(database, symbols, now + FUTURE_TOLERANCE).c
    with database.reading() as connection:
        return {symbol: at for symbol, at in connection.execute(select(keys.symbol, keys.timestamp))}


def anomalies_since(database: Database, symbols: Sequence[str], since: datetime) -> Columns:
    """Return all columns of the anomalies from `since` on, newest first."""
    table = price_anomalies
    names = [column.name for column in table.columns]
    recent = select(*(readable(column, database.dialect) for column in table.columns)).where(table.c.timestamp >= since)
    rows = []
    with database.reading() as connection:
        for statement in united([recent.where(of_symbol(database, table, symbol)) for symbol in symbols]):
            rows += [tuple(row) for row in connection.execute(statement)]
    when, symbol, kind = (names.index(name) for name in ("timestamp", "symbol", "kind"))
    rows.sort(key=lambda row: (-row[when], row[symbol], row[kind]))
    return columns_from_rows(table, names, rows)


def coin_names(database: Database) -> dict[str, str]:
    """Return CoinGecko's name of each symbol's coin, where /coins/list is known to have it."""
    columns = coin_identities.c
    named = select(columns.symbol, columns.listed_name).where(
        of_configured_coins(database, coin_identities), columns.listed_name.is_not(None)
    )
    with database.reading() as connection:
        return {symbol: name for symbol, name in connection.execute(named)}
