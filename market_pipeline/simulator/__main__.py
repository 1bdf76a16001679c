"""`python -m market_pipeline.simulator`: serve a simulated CoinGecko until Ctrl-C or SIGTERM."""

import argparse
import errno
import logging
import signal
import sys
import threading
from collections.abc import Sequence
from datetime import date

from market_pipeline.clock import Clock, utc_now
from market_pipeline.simulator.access import PLAN_LIMITS
from market_pipeline.simulator.feed import Feed
from market_pipeline.simulator.market import MarketModel
from market_pipeline.simulator.replay import Replay
from market_pipeline.simulator.server import Simulator
from market_pipeline.symbols import KNOWN_COINS, Catalogue, parse_catalogue

DEFAULT_PORT = 8710

logger = logging.getLogger("market_pipeline.simulator")


def main(arguments: Sequence[str] | None = None, clock: Clock = utc_now) -> int:
    """Serve until told to stop; 0 after a clean end, 2 when it cannot start."""
    options = _parser().parse_args(arguments)
    level = logging.WARNING if options.quiet else logging.INFO
    logging.basicConfig(level=level, stream=sys.stderr, format="%(asctime)s simulator %(levelname)s %(message)s")
    limit = PLAN_LIMITS[options.plan] if options.requests_per_minute is None else options.requests_per_minute
    try:
        feed, what = _feed(options, clock)
        with Simulator(feed, options.port, limit or None, clock, options.plan) as simulator:
            logger.info(
                "Serving %s as CoinGecko (%s, %s) at %s; faults and request log at %s. Ctrl-C stops it.",
                what,
                options.plan,
                f"{limit} requests per minute" if limit else "no limit",
                simulator.base_url,
                simulator.admin_url,
            )
            _wait_for_signal()
    except OSError as error:
        return _cannot_start(_in_use(options.port) if error.errno == errno.EADDRINUSE else str(error))
    except ValueError as error:
        return _cannot_start(str(error))
    logger.info("Stopped.")
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m market_pipeline.simulator",
        description="A CoinGecko on 127.0.0.1: the same paths, answers, limits and errors, over simulated or recorded prices.",
    )
    source = parser.add_mutually_exclusive_group()
    source.add_argument("--model", action="store_true", help="serve a seeded market (the default)")
    source.add_argument("--replay", metavar="FILE", help="serve a symbol,timestamp,price file (.csv or .csv.gz) as if it happened now")
    parser.add_argument("--coins", type=_catalogue, default=",".join(KNOWN_COINS), help="the coins, e.g. BTC,PEPE=pepe (default: %(default)s)")
    parser.add_argument("--seed", type=int, default=7, help="which market the model makes (default: %(default)s)")
    parser.add_argument("--speed", type=float, default=1.0, help="how many times faster than recorded a replay plays (default: 1)")
    parser.add_argument("--day", type=date.fromisoformat, metavar="YYYY-MM-DD", help="the day of the file that plays today (default: its last full day); with --speed, the day that starts playing now (default: its first)")
    parser.add_argument("--port", type=int, default=DEFAULT_PORT, help="the port on 127.0.0.1; 0 takes a free one (default: %(default)s)")
    parser.add_argument("--plan", choices=sorted(PLAN_LIMITS), default="keyless", help="whose keys, errors and history hold (default: %(default)s)")
    parser.add_argument("--requests-per-minute", type=int, metavar="N", help="0 for no limit (default: what the plan allows)")
    parser.add_argument("--quiet", action="store_true", help="log only what is wrong")
    return parser


def _catalogue(text: str) -> Catalogue:
    try:
        return parse_catalogue(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from None


def _feed(options: argparse.Namespace, clock: Clock) -> tuple[Feed, str]:
    """The feed that the options describe, and its description."""
    coin_ids = {coin.symbol: coin.coin_id for coin in options.coins}
    if options.replay is None:
        model = MarketModel(coin_ids.values(), seed=options.seed)
        return model, f"{', '.join(model.coin_ids)} from a market model with seed {options.seed}"
    replay = Replay(options.replay, coin_ids, options.speed, clock, options.day)
    playing = replay.recorded_at(clock()).isoformat(timespec="minutes")
    return replay, f"{', '.join(replay.coin_ids)} from {options.replay}, now playing {playing}"


def _wait_for_signal() -> None:
    """Block until SIGINT or SIGTERM."""
    told = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: told.set())
    told.wait()


def _in_use(port: int) -> str:
    return f"Port {port} of 127.0.0.1 is in use; stop what uses it or choose another with --port (0 takes a free one)."


def _cannot_start(reason: str) -> int:
    logger.error("%s", reason)
    return 2


if __name__ == "__main__":
    sys.exit(main())
