"""Real processes that ask a simulator through one shared budget, started and killed by command.

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
from pathlib import Path
from urllib.parse import urlsplit

from market_pipeline.budget.plan_limits import Account

PROJECT = Path(__file__).parents[2]
ZONES = ("UTC", "Asia/Kolkata", "America/St_Johns", "Pacific/Kiritimati")


class Crew:
    """Workers on `database` that ask `simulator` as fast as `limit` requests a minute allow.

    Their limit is that of the simulator's address, so that several crews can share a database.

    Every worker lives in another time zone than its neighbours and asks for a coin named after it, by
    which the simulator's log knows it.
    """

    def __init__(self, database, simulator, limit):
        self._simulator = simulator
        self.account = _account(simulator.base_url)
        self._chooser = random.Random(5)
        url = database.url.render_as_string(hide_password=False)
        self._process = subprocess.Popen(
            [sys.executable, __file__, url, simulator.base_url, str(limit)],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=PROJECT,
            env={**os.environ, "PYTHONPATH": str(PROJECT)},
        )
        assert self._process.stdout.readline() == "ready\n"

    def __enter__(self):
        return self

    def __exit__(self, *reason):
        """Every worker must have lived until it was killed."""
        self._process.stdin.close()
        trouble = self._process.stdout.read()
        assert (self._process.wait(30), trouble) == (0, "")
        self._process.stdout.close()

    def start(self, *numbers):
        for number in numbers:
            self._tell(f"start {number}")

    def kill(self, number):
        self._tell(f"kill {number}")

    def replace_at_random(self, numbers):
        """Kill one of these workers and start another in its place."""
        number = self._chooser.choice(numbers)
        self.kill(number)
        self.start(number)

    def times(self):
        """When requests reached the server by its own log, in seconds, oldest first."""
        return sorted(sent.time.timestamp() for sent in self._simulator.requests)

    def workers(self):
        """Whose requests those were, in the same order."""
        sent = sorted(self._simulator.requests, key=lambda sent: sent.time)
        return [int(one.query["ids"].removeprefix("worker-")) for one in sent]

    def _tell(self, command):
        self._process.stdin.write(command + "\n")
        self._process.stdin.flush()
        assert self._process.stdout.readline() == "done\n"


def most_in_a_minute(times):
    """The largest number of `times` (seconds, sorted) in any window of 60 s."""
    most = first = 0
    for last, moment in enumerate(times):
        while times[first] <= moment - 60:
            first += 1
        most = max(most, last - first + 1)
    return most


def _account(base_url):
    return Account("keyless", urlsplit(base_url).netloc)


def _work(number, url, base_url, limit):
    from sqlalchemy import make_url

    from market_pipeline.budget.plan_limits import Limits
    from market_pipeline.budget.shared import SharedBudget
    from market_pipeline.coingecko.client import CoinGeckoClient
    from market_pipeline.storage.engine import Database

    zone = ZONES[number % len(ZONES)]
    os.environ["TZ"] = zone
    time.tzset()
    os.environ["PGOPTIONS"] = f"-c timezone={zone}"
    budget = SharedBudget(Database(make_url(url)), _account(base_url), Limits(limit, None))
    with CoinGeckoClient(base_url, "keyless", None, budget) as client:
        while True:
            client.simple_price([f"worker-{number}"])


def _main(url, base_url, limit):
    # Imported before the first fork, so that a worker starts at once.
    import psycopg2  # noqa: F401

    import market_pipeline.budget.shared  # noqa: F401
    import market_pipeline.coingecko.client  # noqa: F401

    workers = {}
    failed = False
    sys.stdout.write("ready\n")
    sys.stdout.flush()
    for line in sys.stdin:
        command, number = line.split()
        if command == "start":
            workers[number] = pid = os.fork()
            if pid == 0:
                _work(int(number), url, base_url, int(limit))
        else:
            failed |= _end(workers.pop(number))
        sys.stdout.write("done\n")
        sys.stdout.flush()
    for pid in workers.values():
        failed |= _end(pid)
    sys.exit(int(failed))


def _end(pid):
    """Kill a worker; whether it had ended by itself before."""
    os.kill(pid, signal.SIGKILL)
    _, status = os.waitpid(pid, 0)
    return not os.WIFSIGNALED(status)


if __name__ == "__main__":
    _main(*sys.argv[1:])
