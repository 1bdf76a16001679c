"""An installation of many symbols: a feed that answers fast, a filled database, and an instance of its past days."""

import sqlite3
import tempfile
from collections.abc import Iterator
from contextlib import AbstractContextManager, closing, contextmanager, nullcontext
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from functools import lru_cache
from pathlib import Path
from typing import Any

import dagster as dg
import numpy as np

from benchmarks.world import use
from market_pipeline.anomalies.parameters import DETECTOR_VERSION
from market_pipeline.anomalies.scores.learning import calibrate_with_peaks
from market_pipeline.core.clock import DAY, start_of_day, utc_now
from market_pipeline.core.columns import Columns
from market_pipeline.core.slices import DayOfSymbol, Slice
from market_pipeline.dagster_instance.nonpublic import DATA_VERSION
from market_pipeline.dagster_instance.reports import materialization
from market_pipeline.defs.partitions import range_tags
from market_pipeline.pipeline.calibrate import due_calibrations
from market_pipeline.pipeline.peaks import read_prices
from market_pipeline.settings import EVENT_BATCH_SIZE, Settings, load_settings
from market_pipeline.simulator.feed import last_update, publication_moments
from market_pipeline.simulator.server import Simulator
from market_pipeline.storage.engine import Database
from market_pipeline.storage.queries.calibrations import save_calibrations
from market_pipeline.storage.rows.write import upsert
from market_pipeline.storage.schema import tables
from market_pipeline.storage.schema.migrate import migrate

_RECENT_DAYS = 10
_STEP = 300
_AT_ONCE = 400_000
_PLANNED = dg.DagsterEventType.ASSET_MATERIALIZATION_PLANNED.value
# The tag of a copied event is that of the event which it was copied from.
_TAGS = (
    "INSERT INTO asset_event_tags (event_id, asset_key, key, value, event_timestamp) "
    "SELECT e.id, t.asset_key, t.key, t.value, t.event_timestamp FROM asset_event_tags t "
    "JOIN event_logs e ON e.asset_key = t.asset_key AND e.id <> t.event_id WHERE t.key = ? "
    "AND e.dagster_event_type = 'ASSET_MATERIALIZATION'"
)


@dataclass(frozen=True)
class Size:
    """How many symbols, over how many days up to today."""

    symbols: int
    days: int

    @classmethod
    def parse(cls, size: str) -> "Size":
        """Parse `250x365`."""
        symbols, _, days = size.partition("x")
        return cls(int(symbols), int(days))


class WalkFeed:
    """Random walks in five-minute steps, one per coin, from `start` to two days from now."""

    def __init__(self, coins: int, start: datetime) -> None:
        self._coin_ids = tuple(f"coin-{number:04d}" for number in range(coins))
        self._start = int(start.timestamp())
        self._steps = int((utc_now() + 2 * DAY).timestamp() - self._start) // _STEP
        self._market = np.random.default_rng(0).standard_normal(self._steps) * 0.0007
        self.prices = lru_cache(maxsize=None)(self._make_prices)

    @property
    def coin_ids(self) -> tuple[str, ...]:
        return self._coin_ids

    def quote(self, coin_id: str, at: datetime) -> tuple[float, datetime] | None:
        moment = last_update(coin_id, at)
        return self.price(coin_id, moment), moment

    def points(
        self, coin_id: str, start: datetime, end: datetime, step: timedelta
    ) -> list[tuple[datetime, float]]:
        return [(at, self.price(coin_id, at)) for at in publication_moments(coin_id, start, end, step)]

    def price(self, coin_id: str, at: datetime) -> float:
        place = min(max(int(at.timestamp() - self._start) // _STEP, 0), self._steps - 1)
        return float(self.prices(coin_id)[place])

    def _make_prices(self, coin_id: str) -> np.ndarray:
        random = np.random.default_rng(1 + int(coin_id[-4:]))
        own = random.standard_normal(self._steps) * 0.0008
        return np.exp(np.cumsum(self._market + own) + random.uniform(-3, 8))


@dataclass
class ScaleWorld:
    """A filled installation of this size."""

    size: Size
    folder: Path
    settings: Settings
    database: Database
    feed: WalkFeed
    rows: int = 0

    def today(self) -> dict[str, str]:
        """The tags of a tick."""
        day = utc_now().date()
        return range_tags(day, day, self.settings.catalogue.symbols)

    def fill(self) -> None:
        """Store hourly prices of all days and five-minute prices of the last ten."""
        now = (utc_now() - timedelta(minutes=6)).replace(tzinfo=None)
        start = np.datetime64(self.settings.history_start, "us")
        recent = max(start, np.datetime64(now.date() - timedelta(days=_RECENT_DAYS), "us"))
        hourly = np.arange(start, recent, np.timedelta64(3600, "s"))
        times = np.concatenate([hourly, np.arange(recent, np.datetime64(now, "us"), np.timedelta64(_STEP, "s"))])
        places = (times - start) // np.timedelta64(_STEP, "s")
        coins, at_once = list(self.settings.catalogue), max(1, _AT_ONCE // len(times))
        for first in range(0, len(coins), at_once):
            part = coins[first : first + at_once]
            prices = {
                "symbol": np.repeat(np.array([coin.symbol for coin in part], dtype=object), len(times)),
                "coin_id": np.repeat(np.array([coin.coin_id for coin in part], dtype=object), len(times)),
                "timestamp": np.tile(times, len(part)),
                "price": np.concatenate([self.feed.prices(coin.source_id)[places] for coin in part]),
                "source": np.full(len(part) * len(times), "market_chart", dtype=object),
                "ingested_at": np.tile(times + np.timedelta64(3600, "s"), len(part)),
            }
            self.rows += upsert(self.database, tables.raw_prices, Columns(prices))

    def calibrate_past(self, now: datetime) -> None:
        """Store all calibrations that are due but that of the coming midnight; each coin's is that of the first."""
        symbols = self.settings.catalogue.symbols
        first, today = symbols[0], start_of_day(now.date())
        learned = calibrate_with_peaks(read_prices(self.database, [first], now.date() - 30 * DAY, now.date()), today)[0]
        own = {key: tail for key, tail in learned.tails.items() if key.startswith(first)}
        coins = {symbol: learned.coins[first] for symbol in symbols}
        tails = {symbol + key.removeprefix(first): tail for key, tail in own.items() for symbol in symbols}
        for as_of in due_calibrations(self.database, symbols, now, missing=False).symbols:
            if as_of <= today:
                whole = replace(learned, as_of=as_of, coins=coins, tails={**learned.tails, **tails})
                documents = {symbol: whole.of(symbol).to_json() for symbol in symbols}
                save_calibrations(self.database, as_of, DETECTOR_VERSION, documents, now)

    def materialize_past(self, instance: dg.DagsterInstance) -> None:
        """Record a planned and a stored materialization of every past partition.

        Dagster reports one of each asset, the others are its copies.
        """
        first, symbol = self.settings.history_start, self.settings.catalogue.symbols[0]
        scored = {DATA_VERSION: f"{DETECTOR_VERSION} {utc_now().isoformat()} benchmark"}
        of_assets: dict[str, dict[str, str]] = {
            "raw_prices": {}, "rejected_prices": {}, "price_anomalies": scored, "daily_bars": {}
        }
        for asset, tags in of_assets.items():
            event = materialization(asset, (first, symbol), {})
            instance.report_runless_asset_event(event._replace(tags={**(event.tags or {}), **tags}))
        with closing(sqlite3.connect(Path(instance.root_directory, "history", "runs", "index.db"))) as index, index:
            names = [row[1] for row in index.execute("PRAGMA table_info(event_logs)") if row[1] != "id"]
            events = index.execute(f"SELECT {', '.join(names)} FROM event_logs").fetchall()
            kind = names.index("dagster_event_type")
            # Only the columns of a planned one are read.
            planned = [(*event[:kind], _PLANNED, *event[kind + 1 :]) for event in events]
            places = names.index("partition"), names.index("event")
            copies = (copy for event in [*planned, *events] for copy in self._copies(event, *places, (first, symbol)))
            values = ", ".join("?" * len(names))
            index.executemany(f"INSERT INTO event_logs ({', '.join(names)}) VALUES ({values})", copies)
            index.execute(_TAGS, (DATA_VERSION,))
        # The first ones came before the copies of the prices.
        for asset in ("price_anomalies", "daily_bars"):
            event = materialization(asset, (first, symbol), {})
            instance.report_runless_asset_event(event._replace(tags={**(event.tags or {}), **of_assets[asset]}))

    def _copies(self, event: tuple[Any, ...], name: int, document: int, of: DayOfSymbol) -> Iterator[tuple[Any, ...]]:
        """Yield the row `event` of partition `of` as a row of every other past partition."""
        last = utc_now().date() - DAY
        for day in Slice("", of[0], last).days:
            for symbol in self.settings.catalogue.symbols:
                if (day, symbol) != of:
                    copy = list(event)
                    copy[name] = f"{day}|{symbol}"
                    copy[document] = event[document].replace(str(of[0]), str(day)).replace(of[1], symbol)
                    yield tuple(copy)


def _folder(keep: Path | None) -> AbstractContextManager[str]:
    if keep is None:
        return tempfile.TemporaryDirectory()
    keep.mkdir(parents=True)
    return nullcontext(str(keep))


@contextmanager
def a_scale_world(size: Size, keep: Path | None = None) -> Iterator[ScaleWorld]:
    """An installation of `size`, with its simulator, in the folder `keep` or one that is gone afterwards."""
    first = utc_now().date() - timedelta(days=size.days - 1)
    feed = WalkFeed(size.symbols, start_of_day(first))
    with _folder(keep) as folder, Simulator(feed, plan="pro") as simulator:
        home = Path(folder) / "home"
        home.mkdir()
        (home / "dagster.yaml").write_text("telemetry: {enabled: false}\n")
        use(
            {
                "DAGSTER_HOME": str(home),
                "DATABASE_URL": f"sqlite:///{folder}/prices.db",
                "COINGECKO_BASE_URL": simulator.base_url,
                "COINGECKO_PLAN": "pro",
                "COINGECKO_API_KEY": "CG-benchmark",
                "COINGECKO_REQUESTS_PER_MINUTE": "10000",
                "COINGECKO_MONTHLY_CREDITS": "10000000",
                "MARKET_SYMBOLS": ",".join(f"S{number:04d}={coin}" for number, coin in enumerate(feed.coin_ids)),
                "HISTORY_START": first.isoformat(),
                "LOG_LEVEL": "ERROR",
                "DAGSTER_EVENT_BATCH_SIZE": str(EVENT_BATCH_SIZE),
            }
        )
        settings = load_settings(None)
        database = Database(settings.database, settings.catalogue.ids)
        migrate(database)
        world = ScaleWorld(size, Path(folder), settings, database, feed)
        world.fill()
        yield world
        database.dispose()
