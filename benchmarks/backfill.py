"""What filling history costs: requests against what arithmetic allows, and how fast rows come in."""

import contextlib
import io
import math
import time
from collections.abc import Iterator
from datetime import date, timedelta

from sqlalchemy import func, select

from benchmarks.figures import Figure
from benchmarks.world import World, a_world, use
from market_pipeline.budget.plan_limits import Account, Limits
from market_pipeline.budget.shared import SharedBudget
from market_pipeline.coingecko.client import CoinGeckoClient
from market_pipeline.commands.main import main
from market_pipeline.core.clock import utc_now
from market_pipeline.core.symbols import KNOWN_COINS, parse_catalogue
from market_pipeline.pipeline.collect import fetch_days
from market_pipeline.prices.gaps import last_settled_day
from market_pipeline.prices.windows import LONGEST_WINDOW_DAYS, plan_repairs
from market_pipeline.storage.engine import Database
from market_pipeline.storage.schema.tables import raw_prices

_YEAR = 365
# Enough partitions that their events, not the start of the run, take the time.
_FILLED_DAYS = 15


def figures() -> Iterator[Figure]:
    """Requests of a year, as planned and as the simulator counted them, and rows a second."""
    for symbols in (5, 50, 250):
        yield _planned(symbols)
    with a_world() as world:
        yield _counted(world)
        yield from _filled(world)


def _planned(symbols: int) -> Figure:
    names = [f"COIN{number}" for number in range(symbols)]
    repairs = plan_repairs(_year(date(2025, 1, 1), names), names)
    least = symbols * math.ceil(_YEAR / LONGEST_WINDOW_DAYS)
    return Figure(
        f"requests of a year of {symbols} symbols / fewest possible",
        sum(repair.requests for repair in repairs) / least,
        "x",
        1,
        note=f"{least:,} requests in {len(repairs):,} runs",
    )


def _year(first: date, symbols: list[str]) -> list[tuple[date, str]]:
    return [(first + timedelta(days=n), symbol) for n in range(_YEAR) for symbol in symbols]


def _counted(world: World) -> Figure:
    """A year of five symbols, collected window by window as the runs do."""
    symbols = list(KNOWN_COINS)
    budget = SharedBudget(world.sqlite("budget.db"), Account("pro", "loopback"), Limits(10_000, None))
    last = last_settled_day(utc_now())
    catalogue = parse_catalogue(",".join(symbols))
    with CoinGeckoClient(world.simulator.base_url, "pro", "CG-benchmark", budget) as client:
        for repair in plan_repairs(_year(last - timedelta(days=_YEAR - 1), symbols), symbols):
            part = [
                (repair.first + timedelta(days=n), symbol)
                for n in range(repair.days)
                for symbol in repair.symbols
            ]
            fetch_days(client, catalogue, part, utc_now())
    return Figure("requests of a year of five symbols, as sent", len(world.simulator.requests), "", 25)


def _filled(world: World) -> Iterator[Figure]:
    """The command, from the plan to the last event of its run, in a process that has loaded everything."""
    database = world.sqlite("filled.db")
    last = last_settled_day(utc_now())
    first = last - timedelta(days=_FILLED_DAYS - 1)
    use({**world.environment(database), "HISTORY_START": first.isoformat()})
    _backfill(last, last)
    stored = _rows(database)
    started = time.perf_counter()
    _backfill(first, last)
    seconds = time.perf_counter() - started
    rows = _rows(database) - stored
    partitions = len(KNOWN_COINS) * (_FILLED_DAYS - 1)
    note = f"{rows:,} rows in {seconds:.1f} s"
    yield Figure("rows a second of the backfill command", rows / seconds, "rows/s", note=note)
    yield Figure("partitions a second of it, with their events", partitions / seconds, "1/s")


def _backfill(first: date, last: date) -> None:
    with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()) as errors:
        code = main(["backfill", "--from", first.isoformat(), "--to", last.isoformat(), "--yes"])
    if code:
        raise RuntimeError(f"the backfill ended with {code}: {errors.getvalue()[-2000:]}")


def _rows(database: Database) -> int:
    with database.reading() as connection:
        return int(connection.execute(select(func.count()).select_from(raw_prices)).scalar_one())
