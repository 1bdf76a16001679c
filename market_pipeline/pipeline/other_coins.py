"""What is stored of a symbol under another coin id than its configured one, by index look-ups."""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date, datetime

from sqlalchemy import Connection, func, select

from market_pipeline.core.program import command
from market_pipeline.core.symbols import Catalogue, Coin
from market_pipeline.core.wording import counted
from market_pipeline.pipeline.missing_days import incomplete_days
from market_pipeline.storage.engine import Database
from market_pipeline.storage.schema.tables import raw_prices
from market_pipeline.storage.schema.types import UtcTimestamp


@dataclass(frozen=True)
class OtherCoin:
    """Prices of `symbol` stored under `coin_id`, not its `present_id`: how many, and of which UTC days.

    `missing` are the days among them that lack prices of the present coin.
    """

    symbol: str
    present_id: str
    coin_id: str
    prices: int
    first: date
    last: date
    missing: tuple[date, ...]

    def __str__(self) -> str:
        days = f"{self.first}" if self.first == self.last else f"{self.first} to {self.last}"
        return f"{self.symbol} also holds {counted(self.prices, 'price')} of {self.coin_id} ({days}), not used"

    @property
    def remedy(self) -> str:
        """What to run so that the days get prices of the present coin; empty if they have them."""
        if not self.missing:
            return ""
        present, other = Coin(self.symbol, self.present_id), Coin(self.symbol, self.coin_id)
        if present.is_simulated and not other.is_simulated:
            return (
                "COINGECKO_BASE_URL is an address of this machine, whose prices count as simulated; unset it to use "
                f"those of {self.coin_id}"
            )
        backfill = command(f"backfill --from {self.missing[0]} --to {self.missing[-1]} --symbols {self.symbol}")
        fetch = f"fetch the prices of {self.present_id}: {backfill}"
        # A rename would make the simulator's prices pass for CoinGecko's.
        if other.is_simulated and not present.is_simulated:
            return f"{fetch}; or, to look at the simulated ones, set COINGECKO_BASE_URL=http://127.0.0.1"
        rename = command(f"rename {self.symbol}={self.coin_id} {self.symbol}={self.present_id}")
        return f"{fetch}; or, if both ids are the same coin, rename what is stored: {rename}"


def other_coins(
    database: Database, catalogue: Catalogue, history_start: date, now: datetime
) -> list[OtherCoin]:
    """Return the other coins of every symbol of `catalogue`; days before `history_start` cannot be missing."""
    found = []
    for coin in catalogue:
        for coin_id in stored_ids(database, coin.symbol):
            if coin_id == coin.coin_id:
                continue
            prices, first, last = _extent(database, coin.symbol, coin_id)
            missing = incomplete_days(database, Catalogue([coin]), max(first, history_start), last, now)
            days = tuple(day for day, _ in missing)
            found.append(OtherCoin(coin.symbol, coin.coin_id, coin_id, prices, first, last, days))
    return found


def price_count(database: Database, coin: Coin) -> int:
    """Count the stored prices of `coin`."""
    columns = raw_prices.c
    query = select(func.count()).where(columns.symbol == coin.symbol, columns.coin_id == coin.coin_id)
    with database.reading() as connection:
        return connection.execute(query).scalar_one()


def stored_symbols(database: Database) -> list[str]:
    """Return every symbol that has stored prices, of whatever coin."""
    symbols, after = [], ""
    column = raw_prices.c.symbol
    with database.reading() as connection:
        # One look-up each, as for ids.
        while after := connection.execute(select(func.min(column)).where(column > after)).scalar() or "":
            symbols.append(after)
    return symbols


def stored_ids(database: Database, symbol: str) -> list[str]:
    """Return every coin id under which prices of `symbol` are stored."""
    with database.reading() as connection:
        return list(_ids(connection, symbol))


def _ids(connection: Connection, symbol: str) -> Iterator[str]:
    """Yield the ids by one look-up each: SELECT DISTINCT would read every price."""
    columns = raw_prices.c
    after = ""
    while True:
        following = select(func.min(columns.coin_id)).where(columns.symbol == symbol, columns.coin_id > after)
        after = connection.execute(following).scalar() or ""
        if not after:
            return
        yield after


def _extent(database: Database, symbol: str, coin_id: str) -> tuple[int, date, date]:
    columns = raw_prices.c
    ends = (edge(columns.timestamp, type_=UtcTimestamp()) for edge in (func.min, func.max))
    query = select(func.count(), *ends).where(columns.symbol == symbol, columns.coin_id == coin_id)
    with database.reading() as connection:
        count, first, last = connection.execute(query).one()
    return count, first.date(), last.date()
