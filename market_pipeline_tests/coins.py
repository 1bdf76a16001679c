"""The coin of a row that a test stores without thinking of coins."""

from market_pipeline.core.symbols import KNOWN_COINS, UNKNOWN_COIN


def coin_id(symbol):
    """The id under which a Database made without a catalogue reads `symbol`."""
    return KNOWN_COINS.get(symbol, UNKNOWN_COIN)
