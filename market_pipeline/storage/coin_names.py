"""What CoinGecko calls the configured coins, as far as it was asked: one small table is read."""

from sqlalchemy import select, tuple_

from market_pipeline.storage.bookkeeping import coin_identities
from market_pipeline.storage.engine import Database


def coin_names(database: Database) -> dict[str, str]:
    """CoinGecko's name of each symbol's coin; a coin that was not asked about, or is not listed, is left out."""
    columns = coin_identities.c
    present = tuple_(columns.symbol, columns.coin_id).in_(list(database.coins.items()))
    asked = select(columns.symbol, columns.listed_name).where(present, columns.listed_name.is_not(None))
    with database.reading() as connection:
        return {symbol: name for symbol, name in connection.execute(asked)}
