"""The services of deploy/compose.yaml as separate processes: ticks, repair, health, stops, kills, secrets.

Each service has a folder of its own and shares PostgreSQL alone with the others. The password and the key hold a word
that must be found nowhere.
"""

import json
import time
from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import psycopg2
import requests

from benchmarks.figures import Figure
from faults.options import Options
from faults.stack import Stack, postgresql
from faults.stores import scratch
from market_pipeline.commands.ports import HOST
from market_pipeline.core.clock import utc_now
from market_pipeline.core.symbols import KNOWN_COINS
from market_pipeline.simulator.faults import Fault
from market_pipeline.simulator.market_model import MarketModel
from market_pipeline.simulator.server import Simulator
from market_pipeline_tests.canaries import KEY, PASSWORD, WORD, heard_in_files

_SYMBOLS = ("BTC", "ETH")
_DAYS = 3
# Longer than all else that a tick does, shorter than the client waits for an answer.
_HANG_SECONDS = 8.0
# What is created in DAGSTER_HOME where that is possible, and done without elsewhere.
_DISPENSABLE = {".logs_queue", "logs", "creating.lock"}
_HAS_HEALTH = ("code", "webserver", "daemon", "api")


class Deployment:
    """The running services, and what is asked of them."""

    def __init__(self, stack: Stack, simulator: Simulator, port: int) -> None:
        self.stack = stack
        self.simulator = simulator
        self._database = psycopg2.connect(host=HOST, port=port, user="market", password=PASSWORD, dbname="market")
        self._database.autocommit = True

    def rows(self, query: str) -> list[tuple[Any, ...]]:
        """Return the rows of a query."""
        with self._database.cursor() as cursor:
            cursor.execute(query)
            return list(cursor.fetchall())

    def runs(self, job: str, status: str) -> list[str]:
        """Return the ids of the runs of `job` in this status, newest first."""
        found = self.rows(
            f"SELECT run_id FROM dagster.runs WHERE pipeline_name = '{job}' AND status = '{status}' ORDER BY id DESC"
        )
        return [row[0] for row in found]

    def status(self, run_id: str) -> str:
        """Return the status of a run."""
        return str(self.rows(f"SELECT status FROM dagster.runs WHERE run_id = '{run_id}'")[0][0])

    def retries_of(self, run_id: str) -> list[str]:
        """Return the statuses of the runs that were started again for this one."""
        found = self.rows(
            "SELECT status FROM dagster.runs JOIN dagster.run_tags USING (run_id) "
            f"WHERE key = 'dagster/parent_run_id' AND value = '{run_id}'"
        )
        return [row[0] for row in found]

    def conditions(self) -> list[str]:
        """Return the conditions that /readyz reports."""
        state = requests.get(f"{self.stack.url('api')}/readyz", timeout=60).json()
        return [one["kind"] for one in state["conditions"]]

    def doctor(self) -> dict[str, str]:
        """Return the verdict of each of the doctor's examinations, made beside the API."""
        report = self.stack["api"].run("market-pipeline", "doctor", "--json", check=False).stdout
        return {one["name"]: one["status"] for one in json.loads(report)["findings"]}

    def tick_in_progress(self) -> str:
        """Return a tick that waits for the source's answer, which it gets in some seconds."""
        known = set(self.runs("tick", "STARTED"))
        self.simulator.add_fault(Fault("hang", path="/simple/price", times=1, seconds=_HANG_SECONDS))
        (run,) = until(lambda: set(self.runs("tick", "STARTED")) - known, 180, "a tick in progress")
        return str(run)


def figures(options: Options) -> Iterator[Figure]:
    """Yield the figures of one deployment, from its start to its end."""
    with (
        scratch() as folder,
        Simulator(MarketModel(tuple(KNOWN_COINS.values()), seed=options.seed), plan="demo") as simulator,
    ):
        variables = {
            "POSTGRES_PASSWORD": PASSWORD,
            "API_TOKEN": f"{WORD}-token-1",
            "COINGECKO_PLAN": "demo",
            "COINGECKO_API_KEY": KEY,
            "COINGECKO_BASE_URL": simulator.base_url,
            "COINGECKO_MONTHLY_CREDITS": "1000000",
            "COLLECT_CRON": "* * * * *",
            "MARKET_SYMBOLS": ",".join(_SYMBOLS),
            "HISTORY_START": (utc_now().date() - timedelta(days=_DAYS)).isoformat(),
        }
        with postgresql(folder, variables) as port:
            stack = Stack(folder, variables, port)
            try:
                began = time.monotonic()
                stack.up(600)
                yield Figure("From nothing to a healthy code server, webserver, daemon, API", _since(began), "s")
                deployment = Deployment(stack, simulator, port)
                yield from _collected(deployment)
                yield from _stopped(deployment)
                yield from _killed(deployment)
                yield from _told(deployment)
            finally:
                seconds = stack.down()
            late = [name for name, took in seconds.items() if took > stack[name].service.grace_seconds]
            yield Figure("Services that did not end within their grace period", len(late), "services", 0)
        yield from _left(stack, folder)


def _collected(deployment: Deployment) -> Iterator[Figure]:
    until(lambda: len(deployment.runs("tick", "SUCCESS")) >= 2, 600, "two ticks")
    until(lambda: deployment.runs("calibrate_detectors", "SUCCESS"), 600, "a calibration")
    live = deployment.rows("SELECT count(DISTINCT symbol) FROM raw_prices WHERE source = 'simple_price'")[0][0]
    yield Figure("Symbols with prices of scheduled ticks", live, "symbols", len(_SYMBOLS), at_least=True)
    days = deployment.rows(
        "SELECT count(*) FROM (SELECT symbol, timestamp::date FROM raw_prices WHERE timestamp < date_trunc('day', "
        "now() AT TIME ZONE 'UTC') GROUP BY 1, 2 HAVING count(*) >= 24) AS complete"
    )[0][0]
    yield Figure("Past days that the repair completed", days, "days", len(_SYMBOLS) * _DAYS, at_least=True)
    failed = [name for name, status in deployment.doctor().items() if status == "fail"]
    yield Figure("Examinations of the doctor that failed", len(failed), "", 0, note=", ".join(failed))
    found = deployment.conditions()
    yield Figure("Conditions that /readyz reports", len(found), "", 0, note=", ".join(found))
    healthy = [name for name in _HAS_HEALTH if deployment.stack[name].is_healthy()]
    yield Figure("Services whose health check succeeds", len(healthy), "services", len(_HAS_HEALTH), at_least=True)


def _stopped(deployment: Deployment) -> Iterator[Figure]:
    """Stop the code server during a tick: the tick ends as if nothing had happened."""
    run, code = deployment.tick_in_progress(), deployment.stack["code"]
    yield Figure("Code server stopped during a tick: it ends after", code.stop(), "s", code.service.grace_seconds)
    done = deployment.status(run) == "SUCCESS"
    yield Figure("The tick was let to its end", done, "", 1, at_least=True, note=deployment.status(run))
    code.start()


def _killed(deployment: Deployment) -> Iterator[Figure]:
    """Kill the code server and its runs during a tick, as the end of a container does."""
    run, code = deployment.tick_in_progress(), deployment.stack["code"]
    code.kill()
    killed_at = time.monotonic()
    code.start()
    until(lambda: deployment.status(run) == "FAILURE", 300, "the verdict on the killed run")
    yield Figure("Code server killed during a tick: the tick counts as failed after", _since(killed_at), "s", 180)
    until(lambda: "SUCCESS" in deployment.retries_of(run), 300, "its retry")
    yield Figure("It was started again and has succeeded after", _since(killed_at), "s", 300)
    known = len(deployment.runs("tick", "SUCCESS"))
    until(lambda: len(deployment.runs("tick", "SUCCESS")) > known, 300, "the next tick")


def _told(deployment: Deployment) -> Iterator[Figure]:
    """Kill the daemon: /readyz and the doctor say so until it is back."""
    daemon = deployment.stack["daemon"]
    daemon.kill()
    killed_at = time.monotonic()
    until(lambda: "scheduler-dead" in deployment.conditions(), 300, "the condition scheduler-dead")
    yield Figure("Daemon killed: /readyz tells of it after", _since(killed_at), "s", 240)
    verdict = deployment.doctor()["daemons"]
    yield Figure("The doctor tells of it, too", verdict == "fail", "", 1, at_least=True)
    daemon.start()
    began = time.monotonic()
    until(lambda: deployment.conditions() == [], 300, "the end of all conditions")
    yield Figure("Daemon started again: /readyz reports nothing after", _since(began), "s", 180)


def _left(stack: Stack, folder: Path) -> Iterator[Figure]:
    written = {name: more for name in stack.containers if (more := set(stack[name].written()) - _DISPENSABLE)}
    yield Figure("Services that wrote outside of their working folder", len(written), "services", 0, note=str(written))
    left = [pid for container in stack.containers.values() for pid in container.processes()]
    yield Figure("Processes left behind", len(left), "", 0)
    found = heard_in_files(folder)
    yield Figure("Secrets in output, files and PostgreSQL's files", len(found), "places", 0, note=str(found)[:99])


def until(condition: Callable[[], Any], seconds: float, what: str) -> Any:
    """Return the first true value of `condition()`; raise TimeoutError if there is none within `seconds`."""
    deadline = time.monotonic() + seconds
    while not (found := condition()):
        if time.monotonic() > deadline:
            raise TimeoutError(f"{what} did not happen within {seconds:.0f} s")
        time.sleep(0.5)
    return found


def _since(began: float) -> float:
    return time.monotonic() - began
