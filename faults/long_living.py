"""Daemon, code server, webserver and API in real time, with a tick a minute: nothing may grow.

The processes are those of `market-pipeline run` and `market-pipeline serve` on PostgreSQL; the API is asked meanwhile.
"""

import subprocess
import sys
import time
from collections import defaultdict
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path

import requests
from sqlalchemy import text

from benchmarks.figures import Figure
from benchmarks.world import MARKET
from faults import process
from faults.options import Options
from faults.stores import stores
from market_pipeline.commands.ports import free_port
from market_pipeline.simulator.server import Simulator
from market_pipeline.storage.engine import Database

# What a process is, by a word of its command line. Runs come and go; they are not what is watched.
_ROLES = {"_daemon": "daemon", "api grpc": "code server", "webserver": "webserver", "serve": "API"}
_EVERY_SECONDS = 5.0
_ASKED = ("/prices?symbol=BTC", "/readyz", "/metrics", "/anomalies")
# Shorter than this, caches are not full.
_ENOUGH_MINUTES = 15.0


def figures(options: Options) -> Iterator[Figure]:
    """Memory and open files of each process over the given minutes."""
    minutes = options.minutes or (2.0 if options.quick else 40.0)
    port, api = free_port(), free_port()
    with stores() as (_, store), Simulator(MARKET, plan="pro") as simulator:
        environment = {**store.environment(simulator.base_url), "COLLECT_CRON": "* * * * *"}
        folder = store.home.parent
        with (
            _command(["run", "--no-api", "--port", str(port)], environment, folder) as dagster,
            _command(["serve", "--port", str(api)], environment, folder) as served,
        ):
            samples = _watched([dagster, served], f"http://127.0.0.1:{api}", 60 * minutes)
        ticks = _succeeded(store.database())
    yield Figure("minutes watched, with a tick in each", minutes, "min", note=f"{ticks} runs succeeded")
    long = minutes >= _ENOUGH_MINUTES
    for role, series in sorted(samples.items()):
        memory, files = ([sample[place] for sample in series] for place in (0, 1))
        note = f"{memory[-1]:.0f} MiB and {files[-1]:.0f} files at the end"
        bar = 24 if long else None
        yield Figure(f"{role}: memory, growth after warm-up", process.growth(memory), "MiB", bar, note=note)
        yield Figure(f"{role}: open files, growth", process.growth(files), "", 3 if long else None)


@contextmanager
def _command(arguments: list[str], environment: Mapping[str, str], folder: Path) -> Iterator[int]:
    command = [sys.executable, "-m", "market_pipeline.commands.main", *arguments]
    with (folder / f"{arguments[0]}.log").open("wb") as log, subprocess.Popen(
        command, env=dict(environment), cwd=folder, stdout=log, stderr=subprocess.STDOUT
    ) as started:
        try:
            yield started.pid
        finally:
            process.kill(_tree(started.pid))


def _tree(pid: int) -> list[int]:
    return [pid, *(descendant for child in process.children(pid) for descendant in _tree(child))]


def _watched(roots: list[int], api: str, seconds: float) -> dict[str, list[tuple[float, float]]]:
    """Sample every process with a role; the sum where several have the same."""
    samples: dict[str, list[tuple[float, float]]] = defaultdict(list)
    ends = time.monotonic() + seconds
    while time.monotonic() < ends:
        held: dict[str, tuple[float, float]] = {}
        for pid in [one for root in roots for one in _tree(root)]:
            with suppress(OSError):
                command = Path(f"/proc/{pid}/cmdline").read_text().replace("\0", " ")
                role = next((role for word, role in _ROLES.items() if word in command), None)
                if role and "execute_run" not in command:
                    memory, files = held.get(role, (0.0, 0.0))
                    held[role] = memory + process.resident_mib(pid), files + process.open_files(pid)
        for role, sample in held.items():
            samples[role].append(sample)
        for path in _ASKED:
            with suppress(requests.RequestException):
                requests.get(api + path, timeout=5)
        time.sleep(_EVERY_SECONDS)
    return samples


def _succeeded(database: Database) -> int:
    with database.reading() as connection:
        query = text("SELECT count(*) FROM dagster.runs WHERE status = 'SUCCESS'")
        return int(connection.execute(query).scalar_one())
