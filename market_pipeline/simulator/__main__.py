"""`python -m market_pipeline.simulator`: serve a simulated CoinGecko until Ctrl-C or SIGTERM.

Point the pipeline at it with COINGECKO_BASE_URL=http://127.0.0.1:8710/api/v3. While it runs, faults
are added with `curl -d '{"kind": "status", "status": 503, "times": 3}'` to its /admin/faults; what
was asked is read from /admin/requests.
"""

import argparse
import errno
import sys
from collections.abc import Callable, Sequence

from market_pipeline.core.clock import iso, utc_now
from market_pipeline.logs import get_logger, log_to_stderr
from market_pipeline.simulator.access import PLAN_LIMITS
from market_pipeline.simulator.feed import Feed
from market_pipeline.simulator.market import MarketModel
from market_pipeline.simulator.options import parse_options
from market_pipeline.simulator.recorded_prices import Replay
from market_pipeline.simulator.server import Simulator
from market_pipeline.simulator.signals import stop_signals

logger = get_logger("market_pipeline.simulator")


def main(arguments: Sequence[str] | None = None) -> int:
    """Serve until told to stop; 0 after a clean end, 2 when it cannot start."""
    options = parse_options(arguments)
    log_to_stderr("WARNING" if options.quiet else "INFO", options.log_format)
    try:
        with stop_signals() as wait:
            _serve(options, wait)
    except OSError as error:
        return _cannot_start(_in_use(options.port) if error.errno == errno.EADDRINUSE else str(error))
    except ValueError as error:
        return _cannot_start(str(error))
    logger.info("Stopped.")
    return 0


def _serve(options: argparse.Namespace, wait: Callable[[], None]) -> None:
    """Serve what the options describe for as long as `wait` waits."""
    limit = PLAN_LIMITS[options.plan] if options.requests_per_minute is None else options.requests_per_minute
    feed, description = _feed(options)
    with Simulator(feed, options.port, limit or None, utc_now, options.plan) as simulator:
        logger.info(
            "Serving %s as CoinGecko (%s, %s) at %s; faults and the request log at %s. Ctrl-C stops it.",
            description,
            options.plan,
            f"{limit} requests per minute" if limit else "no limit",
            simulator.base_url,
            simulator.admin_url,
        )
        wait()


def _feed(options: argparse.Namespace) -> tuple[Feed, str]:
    """The feed that the options describe, and its description."""
    coin_ids = {coin.symbol: coin.coin_id for coin in options.coins}
    if options.replay is None:
        model = MarketModel(coin_ids.values(), seed=options.seed)
        return model, f"{', '.join(model.coin_ids)} from a market model with seed {options.seed}"
    replay = Replay(options.replay, coin_ids, options.speed, utc_now, options.day)
    playing = iso(replay.recorded_at(utc_now()).replace(second=0, microsecond=0))
    return replay, f"{', '.join(replay.coin_ids)} from {options.replay}, now playing {playing},"


def _in_use(port: int) -> str:
    return f"Port {port} of 127.0.0.1 is in use; stop what uses it or choose another with --port."


def _cannot_start(reason: str) -> int:
    logger.error("%s", reason)
    return 2


if __name__ == "__main__":
    sys.exit(main())
