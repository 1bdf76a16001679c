"""Which coins tell the market: the largest of those quoted so far, and nothing of who comes later."""

from collections.abc import Mapping
from dataclasses import dataclass

from market_pipeline.anomalies.parameters import PARAMETERS
from market_pipeline.anomalies.scores.returns import Floats

# The largest by value, which others follow; coins not named here come after them, by symbol.
_LEADERS = ("BTC", "ETH", "XRP", "BNB", "SOL", "DOGE", "ADA", "TRX", "LINK", "DOT", "LTC", "AVAX")
_RANK = {symbol: number for number, symbol in enumerate(_LEADERS)}


@dataclass(frozen=True)
class CoinPath:
    """A coin's changed quotes as others see them: clock (minutes), log price, and the variance expected until
    each, summed up."""

    minutes: Floats
    log_price: Floats
    variance: Floats


@dataclass(frozen=True, eq=False)
class Era:
    """From `start` (minutes, as in `CoinPath`) to the start of the next era these coins tell the market."""

    start: float
    coins: Mapping[str, CoinPath]


def market_eras(paths: Mapping[str, CoinPath]) -> list[Era]:
    """At any time the first `market_coins` by rank of the coins quoted so far; the first era starts with time.

    With no more coins than that, one era has them all.
    """
    ranked = sorted(paths, key=lambda symbol: (_RANK.get(symbol, len(_RANK)), symbol))
    eras: list[Era] = []
    for start in sorted({float(path.minutes[0]) for path in paths.values()}):
        quoted = [symbol for symbol in ranked if paths[symbol].minutes[0] <= start]
        coins = {symbol: paths[symbol] for symbol in quoted[: PARAMETERS.market_coins]}
        if not eras:
            eras.append(Era(float("-inf"), coins))
        elif eras[-1].coins.keys() <= coins.keys():
            # A coin says nothing before its first quote, so nobody has to wait for it.
            eras[-1] = Era(eras[-1].start, coins)
        else:
            eras.append(Era(start, coins))
    return eras
