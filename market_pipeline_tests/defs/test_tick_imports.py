"""What a tick loads: it is a process of its own every few minutes, so every import is paid each time."""

import subprocess
import sys
from datetime import timedelta

import pytest

from market_pipeline.core.clock import utc_now

TICK = """
import sys
import dagster as dg
from market_pipeline.core.clock import utc_now
from market_pipeline.definitions import defs
from market_pipeline.defs.partitions import range_tags
from market_pipeline.settings import load_settings

today = utc_now().date()
tags = range_tags(today, today, load_settings(None).catalogue.symbols)
with dg.DagsterInstance.get() as instance:
    assert defs.resolve_job_def("tick").execute_in_process(instance=instance, tags=tags).success
heavy = ("pandas", "pyarrow", "adbc_driver_manager", "numba", "scipy", "matplotlib")
print("loaded:", *(name for name in heavy if name in sys.modules))
"""


@pytest.mark.slow
def test_a_tick_that_draws_nothing_loads_nothing_heavy(world_of, sqlite_database):
    """The tick before has drawn the hour's picture."""
    start = (utc_now() - timedelta(days=2)).date().isoformat()
    world = world_of(sqlite_database, HISTORY_START=start, MARKET_SYMBOLS="BTC,ETH,SOL")
    assert world.tick().success
    done = subprocess.run([sys.executable, "-c", TICK], capture_output=True, text=True, check=True)
    assert [line for line in done.stdout.splitlines() if line.startswith("loaded:")] == ["loaded:"]
