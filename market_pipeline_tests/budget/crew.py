"""Real processes that send requests to a simulator through one shared budget, started and killed by command.

Run as a script it forks a worker for each line `start N`, kills it with SIGKILL at `kill N`, and kills
all at the end of its input. Forked, because sixteen interpreters that import SQLAlchemy at once take
longer than the time in which they are to be compared.
"""

import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Iterable, Sequence
from pathlib import Path
from urllib.parse import urlsplit

from market_pipeline.budget.plan_limits import Account
from market_pipeline.simulator.server import Simulator
from market_pipeline.storage.engine import Database

PROJECT = Path(__file__).parents[2]
ZONES = ("UTC", "Asia/Kolkata", "America/St_Johns", "Pacific/Kiritimati")


class Crew:
    """Workers on `database` that send requests to `simulator` as fast as `limit` in `window` seconds allows.

    The account is the simulator's address, so that several crews can share a database. Every worker lives
    in another time zone than its neighbors and requests a coin named after it, which identifies it in the
    simulator's log.
    """

    def __init__(self, database: Database, simulator: Simulator, limit: int, window: float) -> None:
        self._simulator = simulator
        self.account = _account(simulator.base_url)
        self._random = random.Random(5)
        url = database.url.render_as_string(hide_password=False)
        self._process = subprocess.Popen(
            [sys.executable, __file__, url, simulator.base_url, str(limit), str(window)],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=PROJECT,
            env={**os.environ, "PYTHONPATH": str(PROJECT)},
        )
        self._expect("ready")

    def __enter__(self) -> "Crew":
        return self

    def __exit__(self, *reason: object) -> None:
        """End all workers; every one must have lived until it was killed."""
        assert self._process.stdin and self._process.stdout
        self._process.stdin.close()
        trouble = self._process.stdout.read()
        assert (self._process.wait(30), trouble) == (0, "")
        self._process.stdout.close()

    def start(self, *numbers: int) -> None:
        for number in numbers:
            self._send(f"start {number}")

    def replace_at_random(self, numbers: Sequence[int]) -> None:
        """Kill one of these workers and start another in its place."""
        number = self._random.choice(numbers)
        self._send(f"kill {number}")
        self.start(number)

    def log(self) -> list[tuple[float, int]]:
        """When requests reached the server by its own log, in seconds, oldest first, and from which worker."""
        return sorted(
            (sent.time.timestamp(), int(sent.query["ids"].removeprefix("worker-")))
            for sent in self._simulator.requests
        )

    def _send(self, command: str) -> None:
        assert self._process.stdin
        self._process.stdin.write(command + "\n")
        self._process.stdin.flush()
        self._expect("done")

    def _expect(self, line: str) -> None:
        assert self._process.stdout and self._process.stdout.readline() == line + "\n"


def most_within(seconds: float, times: Iterable[float]) -> int:
    """The largest number of the sorted `times` in any window of so many seconds."""
    ordered = list(times)
    most = first = 0
    for last, moment in enumerate(ordered):
        while ordered[first] <= moment - seconds:
            first += 1
        most = max(most, last - first + 1)
    return most


def _account(base_url: str) -> Account:
    return Account("keyless", urlsplit(base_url).netloc)


def _work(number: int, url: str, base_url: str, limit: int, window: float) -> None:
    from sqlalchemy import make_url

    from market_pipeline.budget import rules
    from market_pipeline.budget.plan_limits import Limits
    from market_pipeline.budget.shared import SharedBudget
    from market_pipeline.coingecko.client import CoinGeckoClient

    rules.WINDOW = round(window * rules.SECOND) + rules.MARGIN
    zone = ZONES[number % len(ZONES)]
    os.environ["TZ"] = zone
    time.tzset()
    os.environ["PGOPTIONS"] = f"-c timezone={zone}"
    budget = SharedBudget(Database(make_url(url)), _account(base_url), Limits(limit, None))
    with CoinGeckoClient(base_url, "keyless", None, budget) as client:
        while True:
            client.simple_price([f"worker-{number}"])


def _main(url: str, base_url: str, limit: str, window: str) -> None:
    # Imported before the first fork, so that a worker starts at once.
    import psycopg2  # noqa: F401

    import market_pipeline.budget.shared
    import market_pipeline.coingecko.transport  # noqa: F401

    workers: dict[str, int] = {}
    failed = False
    print("ready", flush=True)
    for line in sys.stdin:
        command, number = line.split()
        if command == "start":
            workers[number] = os.fork()
            if workers[number] == 0:
                _work(int(number), url, base_url, int(limit), float(window))
        else:
            failed |= _end(workers.pop(number))
        print("done", flush=True)
    for pid in workers.values():
        failed |= _end(pid)
    sys.exit(int(failed))


def _end(pid: int) -> bool:
    """Kill a worker; whether it had ended by itself before."""
    os.kill(pid, signal.SIGKILL)
    _, status = os.waitpid(pid, 0)
    return not os.WIFSIGNALED(status)


if __name__ == "__main__":
    _main(*sys.argv[1:])
