"""CoinGecko at a time of the test's choice: a simulated market on a real socket, and a client that never sleeps."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import date, datetime, timedelta, timezone

from market_pipeline.coingecko.client import CoinGeckoClient
from market_pipeline.coingecko.request_budget import Grant
from market_pipeline.core.slices import DayOfSymbol
from market_pipeline.core.symbols import Catalogue, parse_catalogue
from market_pipeline.pipeline.collect import fetch_days
from market_pipeline.prices.collection import Collection
from market_pipeline.prices.gaps import Interval
from market_pipeline.prices.holes import fill_holes
from market_pipeline.simulator.market_model import MarketModel
from market_pipeline.simulator.server import Simulator

NOW = datetime(2026, 11, 23, 15, 20, 7, tzinfo=timezone.utc)
TODAY = NOW.date()
LONGEST_SILENCE = timedelta(minutes=13)
MANY = tuple(f"C{n}" for n in range(20))
_MANY = ",".join(f"{symbol}=coin-{symbol.lower()}" for symbol in MANY)
# The market does not know PEPE.
CATALOGUE = parse_catalogue(f"BTC,ETH,SOL,ADA,DOT,PEPE=pepe,{_MANY}")


class SilentMarket(MarketModel):
    """A market whose history lacks the prices of some stretches."""

    silences: Sequence[Interval] = ()

    def points(
        self, coin_id: str, start: datetime, end: datetime, step: timedelta
    ) -> list[tuple[datetime, float]]:
        points = super().points(coin_id, start, end, step)
        return [point for point in points if not any(gap.start < point[0] < gap.end for gap in self.silences)]


class Source:
    """One simulator for many tests; `now` is our time, `server_now` the server's where it differs.

    Each request waits for `wait` in the budget; `before_history` is called before each one for history.
    """

    catalogue: Catalogue = CATALOGUE

    def __init__(self) -> None:
        self.market = SilentMarket([coin.coin_id for coin in CATALOGUE if coin.symbol != "PEPE"], seed=1)
        self.simulator = Simulator(self.market, clock=lambda: self.server_now or self.now)
        self.reset()

    def reset(self) -> None:
        """Return to a market at NOW without faults, silences or requests."""
        self.now, self.wait = NOW, timedelta()
        self.before_history: Callable[[], object] = lambda: None
        self.server_now: datetime | None = None
        self.market.silences = ()
        self.simulator.clear_faults()
        self.simulator.clear_requests()

    @property
    def paths(self) -> list[str]:
        """The paths of the requests so far."""
        return [sent.path for sent in self.simulator.requests]

    def client(self, base_url: str | None = None) -> CoinGeckoClient:
        """Return a client of the keyless plan."""
        address = base_url or self.simulator.base_url
        return CoinGeckoClient(
            address, "keyless", None, self, sleep=lambda seconds: None, clock=lambda: self.now
        )

    def fetch(self, *days: DayOfSymbol, base_url: str | None = None) -> Collection:
        """Fetch `days` as of `now`."""
        with self.client(base_url) as client:
            return fetch_days(client, self.catalogue, days, self.now)

    def fill(self, holes: Mapping[str, Sequence[Interval]]) -> Collection:
        """Fill `holes` as of `now`."""
        with self.client() as client:
            collection = Collection(client, self.catalogue)
            fill_holes(collection, holes, LONGEST_SILENCE)
            return collection

    def acquire(self, endpoint: str) -> Grant:
        """Grant the request after `wait`: the source is its client's budget too."""
        if endpoint != "/simple/price":
            self.before_history()
        self.now += self.wait
        return Grant(endpoint, self.now, self.wait.total_seconds())

    def settle(self, grant: Grant, outcome: str, cool_down: float | None = None, reason: str = "") -> None:
        """Ignore the outcome."""


def days_ago(first: int, last: int, *symbols: str) -> Iterable[DayOfSymbol]:
    """Yield the days from `first` to `last` days before TODAY, of BTC or of `symbols`."""
    days: list[date] = [TODAY - timedelta(days=n) for n in range(last, first + 1)]
    return [(day, symbol) for day in days for symbol in symbols or ("BTC",)]
