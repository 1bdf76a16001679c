"""What a partition of past days costs with its events: without and with what decision 31 does, and over a year.

The runs are those of the backfill command, each in a process of its own, over the simulator.
"""

import contextlib
import io
import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import dagster as dg
from sqlalchemy import Connection, create_engine, text
from sqlalchemy.engine import URL, make_url
from sqlalchemy.pool import NullPool

from benchmarks.figures import Figure
from benchmarks.world import World, a_world, postgresql
from market_pipeline.core.clock import utc_now
from market_pipeline.core.symbols import KNOWN_COINS
from market_pipeline.prices.gaps import last_settled_day
from market_pipeline.storage.engine import Database

# The largest run of five symbols.
_ONE_RUN = 90
_YEAR = 365
_PLAIN = "plain"
_SECONDS = os.sysconf("SC_CLK_TCK")


def on_sqlite() -> Iterator[Figure]:
    """Processor time of the largest run as a ratio, and the speed of a year."""
    with a_world() as world:
        files = [make_url(f"sqlite:///{world.folder / f'year{number}.db'}") for number in range(3)]
        yield from _figures(world, files, 2.0)


def on_postgresql() -> Iterator[Figure]:
    """The same with prices and events in PostgreSQL; the server's processor time is included."""
    with a_world() as world, postgresql() as server:
        names = [f"year{number}" for number in range(3)]
        with _connected(server) as connection:
            for name in names:
                connection.execute(text(f"CREATE DATABASE {name}"))
        yield from _figures(world, [server.set(database=name) for name in names], 5.0)


def _figures(world: World, databases: Sequence[URL], bar: float) -> Iterator[Figure]:
    ours = _filled(world, databases[0], _ONE_RUN, "ours")
    plain = _filled(world, databases[1], _ONE_RUN, _PLAIN)
    yield Figure(
        f"run of {ours['partitions']} partitions, events one by one / in batches",
        plain["cpu"] / ours["cpu"],
        "x",
        bar,
        at_least=True,
        note=f"{plain['cpu']:.1f} s CPU against {ours['cpu']:.1f} s",
    )
    year = _filled(world, databases[2], _YEAR, "ours")
    each = 1000 * year["cpu"] / year["partitions"]
    note = f"{each:.1f} ms CPU each, {year['wall']:.0f} s in all"
    yield Figure("partitions a second of the year", year["partitions"] / year["wall"], "1/s", note=note)


@contextlib.contextmanager
def _connected(url: URL) -> Iterator[Connection]:
    engine = create_engine(url, isolation_level="AUTOCOMMIT", poolclass=NullPool)
    with engine.connect() as connection:
        yield connection


def _filled(world: World, url: URL, days: int, way: str) -> dict[str, float]:
    """Fill `days` in an empty installation and a process of its own."""
    home = world.folder / f"home {url.drivername} {way} {days}"
    home.mkdir()
    environment = {
        **world.environment(Database(url)),
        "DAGSTER_HOME": str(home),
        "HISTORY_START": (_last() - timedelta(days=days)).isoformat(),
    }
    if way == _PLAIN:
        environment["DAGSTER_EVENT_BATCH_SIZE"] = "0"
    before = _server_cpu(url)
    command = [sys.executable, "-m", "benchmarks.year", str(days), way]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    if done.returncode:
        raise RuntimeError(f"filling {days} days failed:\n{done.stderr[-3000:]}")
    result: dict[str, float] = json.loads(done.stdout.splitlines()[-1])
    result["cpu"] += _server_cpu(url) - before
    return result


def _server_cpu(url: URL) -> float:
    """The processor seconds that the PostgreSQL server at `url` and its past and present sessions have used."""
    if url.get_backend_name() != "postgresql":
        return 0.0
    with _connected(url) as connection:
        data = connection.execute(text("SHOW data_directory")).scalar_one()
    first = (Path(data) / "postmaster.pid").read_text().splitlines()[0]
    total = 0
    for folder in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            # After the name, which may contain spaces: state, parent, ...
            fields = (folder / "stat").read_text().rpartition(")")[2].split()
            if folder.name == first:
                total += sum(int(ticks) for ticks in fields[11:15])
            elif fields[1] == first:
                total += sum(int(ticks) for ticks in fields[11:13])
    return total / _SECONDS


def _last() -> date:
    return last_settled_day(utc_now())


def _fill(days: int, way: str) -> dict[str, float]:
    """Fill `days` before the last one, which is filled first: the process has then loaded everything."""
    if way == _PLAIN:
        _store_events_one_by_one()
    last = _last()
    _backfill(last, last)
    wall, cpu = time.perf_counter(), time.process_time()
    _backfill(last - timedelta(days=days), last - timedelta(days=1))
    return {
        "partitions": days * len(KNOWN_COINS),
        "wall": time.perf_counter() - wall,
        "cpu": time.process_time() - cpu,
    }


def _store_events_one_by_one() -> None:
    """Undo decision 31; connections to SQLite stay open, as decision 18 has them."""
    from market_pipeline.dagster_instance import lanes
    from market_pipeline.defs.assets import price_anomalies, raw_prices

    def describe(
        context: dg.AssetExecutionContext, asset: str, metadata: Mapping[str, Mapping[str, Any]]
    ) -> None:
        for key, of_partition in metadata.items():
            context.add_asset_metadata(of_partition, asset_key=asset, partition_key=key)

    vars(lanes)["store_events_in_batches"] = lambda: None
    if os.environ["DATABASE_URL"].startswith("postgresql"):
        vars(lanes)["keep_event_log_connections"] = lambda: None
    vars(price_anomalies)["describe_partitions"] = vars(raw_prices)["describe_partitions"] = describe


def _backfill(first: date, last: date) -> None:
    from market_pipeline.commands.main import main

    with contextlib.redirect_stdout(io.StringIO()):
        code = main(["backfill", "--from", first.isoformat(), "--to", last.isoformat(), "--yes"])
    if code:
        raise RuntimeError(f"the backfill ended with {code}")


if __name__ == "__main__":
    print(json.dumps(_fill(int(sys.argv[1]), sys.argv[2])))
