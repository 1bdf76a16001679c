"""How much is asked of CoinGecko."""

from collections.abc import Iterator
from datetime import timedelta

from benchmarks.figures import Figure
from benchmarks.world import a_world
from market_pipeline.budget.plan_limits import Account, Limits
from market_pipeline.budget.shared import SharedBudget
from market_pipeline.coingecko.client import CoinGeckoClient
from market_pipeline.core.clock import utc_now
from market_pipeline.core.symbols import parse_catalogue
from market_pipeline.pipeline.collect import fetch_days


def figures() -> Iterator[Figure]:
    """Requests of a tick of five symbols and of a year of one symbol, as the simulator counted them."""
    catalogue = parse_catalogue("BTC,ETH,SOL,ADA,DOT")
    now = utc_now()
    year = [now.date() - timedelta(days=n) for n in range(1, 366)]
    with a_world() as world:
        budget = SharedBudget(world.sqlite("budget.db"), Account("pro", "loopback"), Limits(10_000, None))
        client = CoinGeckoClient(world.simulator.base_url, "pro", "CG-benchmark", budget)
        with client:
            fetch_days(client, catalogue, [(now.date(), symbol) for symbol in catalogue.symbols], now)
            tick = len(world.simulator.requests)
            collected = fetch_days(client, catalogue, [(day, "BTC") for day in year], now)
            yield Figure("requests of a tick of five symbols", tick, "", 1)
            yield Figure(
                "requests of a year of one symbol",
                len(world.simulator.requests) - tick,
                "",
                5,
                note=f"{len(collected.quotes):,} quotes",
            )
