"""Serve a simulated CoinGecko until Ctrl-C or SIGTERM: `python -m market_pipeline.simulator`.

Point the pipeline at it with COINGECKO_BASE_URL=http://127.0.0.1:8710/api/v3. Faults are added while it runs, with
`curl -d '{"kind": "status", "status": 503, "times": 3}'` to its /admin/faults; `curl -d '{"percent": -8}'` to
/admin/moves lets the market fall; requests are listed at /admin/requests.
"""

import errno
import signal
import socket
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path

import click

from market_pipeline.core.clock import iso, utc_now
from market_pipeline.core.symbols import KNOWN_COINS, Catalogue, parse_catalogue
from market_pipeline.logs import get_logger, log_to_stderr
from market_pipeline.simulator.access import PLAN_LIMITS, Plan
from market_pipeline.simulator.feed import Feed
from market_pipeline.simulator.market_model import MarketModel
from market_pipeline.simulator.recorded_prices import RecordedPrices
from market_pipeline.simulator.server import Simulator

logger = get_logger("market_pipeline.simulator")

_STOP = (signal.SIGINT, signal.SIGTERM)


def _catalogue(text: str) -> Catalogue:
    try:
        return parse_catalogue(text)
    except ValueError as error:
        raise click.BadParameter(str(error)) from None


@click.command()
@click.option("--model", is_flag=True, help="Serve a seeded market (the default).")
@click.option("--replay", metavar="FILE", help="Serve a symbol,timestamp,price file (.csv, .csv.gz) as if it were now.")
@click.option("--coins", type=_catalogue, default=",".join(KNOWN_COINS), show_default=True, metavar="BTC,PEPE=pepe")
@click.option("--seed", type=int, default=7, show_default=True, help="Which market the model makes.")
@click.option(
    "--port", type=click.IntRange(0, 65_535), default=8710, show_default=True, metavar="PORT",
    help="Port on 127.0.0.1; 0 takes a free one.",
)
@click.option(
    "--plan", type=click.Choice(sorted(PLAN_LIMITS)), default="keyless", show_default=True,
    help="The plan whose keys, errors and history apply.",
)
@click.option(
    "--requests-per-minute", type=click.IntRange(0), metavar="N", help="0 for no limit.  [default: that of the plan]"
)
@click.option(
    "--moves", type=click.Path(dir_okay=False, path_type=Path), metavar="FILE",
    help="Keep the moves of the market in this file, and begin with those in it.",
)
@click.option("--quiet", is_flag=True, help="Log only warnings and errors.")
@click.option("--log-format", type=click.Choice(["json", "console"]), default="json", show_default=True)
def serve(
    model: bool, replay: str | None, coins: Catalogue, seed: int, port: int, plan: Plan,
    requests_per_minute: int | None, moves: Path | None, quiet: bool, log_format: str,
) -> int:
    """Serve a CoinGecko on 127.0.0.1: the same paths, answers, limits and errors, over simulated or recorded prices."""
    if model and replay:
        raise click.UsageError("--model and --replay exclude each other")
    log_to_stderr("WARNING" if quiet else "INFO", log_format)
    limit = PLAN_LIMITS[plan] if requests_per_minute is None else requests_per_minute
    try:
        feed, description = _feed(coins, seed, replay)
        with _stop_signals() as wait, Simulator(
            feed, port, limit or None, utc_now, plan, moves_file=moves
        ) as simulator:
            logger.info(
                "Serving %s as CoinGecko (%s, %s) at %s; faults and the request log at %s. Ctrl-C stops it.",
                description, plan, f"{limit} requests per minute" if limit else "no limit",
                simulator.base_url, simulator.admin_url,
            )
            wait()
    except (OSError, ValueError) as error:
        in_use = isinstance(error, OSError) and error.errno == errno.EADDRINUSE
        remedy = f"Port {port} of 127.0.0.1 is in use; stop what uses it or choose another with --port."
        logger.error("%s", remedy if in_use else error)
        return 2
    logger.info("Stopped.")
    return 0


def _feed(coins: Catalogue, seed: int, file: str | None) -> tuple[Feed, str]:
    """Return the feed and its description."""
    coin_ids = {coin.symbol: coin.coin_id for coin in coins}
    if file is None:
        model = MarketModel(coin_ids.values(), seed=seed)
        return model, f"{', '.join(model.coin_ids)} from a market model with seed {seed}"
    recorded = RecordedPrices(file, coin_ids)
    playing = iso(recorded.recorded_at(utc_now()).replace(second=0, microsecond=0))
    return recorded, f"{', '.join(recorded.coin_ids)} from {file}, now playing {playing},"


@contextmanager
def _stop_signals() -> Iterator[Callable[[], None]]:
    """Yield a function that waits for SIGINT or SIGTERM, also if it came before the wait; for the main thread only.

    The signal wakes the wait through a socket, whichever thread the system delivers it to.
    """
    with ExitStack() as stack:
        reader, writer = (stack.enter_context(end) for end in socket.socketpair())
        writer.setblocking(False)
        stack.callback(signal.set_wakeup_fd, signal.set_wakeup_fd(writer.fileno()))
        for number in _STOP:
            stack.callback(signal.signal, number, signal.signal(number, lambda *_: None))

        def wait() -> None:
            while reader.recv(1)[0] not in _STOP:
                pass

        yield wait


def main(arguments: Sequence[str] | None = None) -> int:
    """Serve until a signal; return 0, or 2 with one sentence where it cannot start."""
    try:
        return int(serve.main(arguments, "python -m market_pipeline.simulator", standalone_mode=False) or 0)
    except click.ClickException as error:
        click.echo(f"simulator: {error.format_message()}", err=True)
        return 2


if __name__ == "__main__":
    sys.exit(main())
