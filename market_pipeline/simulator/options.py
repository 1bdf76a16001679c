"""The command line of the simulator: its options and what they mean."""

import argparse
from collections.abc import Sequence
from datetime import date

from market_pipeline.core.symbols import KNOWN_COINS, Catalogue, parse_catalogue
from market_pipeline.simulator.access import PLAN_LIMITS

DEFAULT_PORT = 8710


def parse_options(arguments: Sequence[str] | None) -> argparse.Namespace:
    """The options of the command line; ends the process with code 2 when they cannot be used."""
    parser = argparse.ArgumentParser(
        prog="python -m market_pipeline.simulator",
        description="A CoinGecko on 127.0.0.1: the same paths, answers, limits and errors, "
        "over simulated or recorded prices.",
    )
    _add_source(parser)
    _add_service(parser)
    return parser.parse_args(arguments)


def _add_source(parser: argparse.ArgumentParser) -> None:
    source = parser.add_mutually_exclusive_group()
    source.add_argument("--model", action="store_true", help="serve a seeded market (the default)")
    source.add_argument(
        "--replay",
        metavar="FILE",
        help="serve a symbol,timestamp,price file (.csv or .csv.gz) as if it happened now",
    )
    parser.add_argument(
        "--coins",
        type=_catalogue,
        default=",".join(KNOWN_COINS),
        help="the coins, e.g. BTC,PEPE=pepe (default: %(default)s)",
    )
    parser.add_argument(
        "--seed", type=int, default=7, help="which market the model makes (default: %(default)s)"
    )
    parser.add_argument(
        "--speed",
        type=float,
        default=1.0,
        help="how many times faster than recorded a replay plays (default: 1)",
    )
    parser.add_argument(
        "--day",
        type=date.fromisoformat,
        metavar="YYYY-MM-DD",
        help="the day of the file that plays today (default: its last full day); "
        "with --speed, the day that starts playing now (default: its first)",
    )


def _add_service(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--port",
        type=_port,
        default=DEFAULT_PORT,
        help="the port on 127.0.0.1; 0 takes a free one (default: %(default)s)",
    )
    parser.add_argument(
        "--plan",
        choices=sorted(PLAN_LIMITS),
        default="keyless",
        help="whose keys, errors and history hold (default: %(default)s)",
    )
    parser.add_argument(
        "--requests-per-minute",
        type=int,
        metavar="N",
        help="0 for no limit (default: what the plan allows)",
    )
    parser.add_argument("--quiet", action="store_true", help="log only what is wrong")
    parser.add_argument(
        "--log-format",
        choices=("json", "console"),
        default="json",
        help="what a log line looks like (default: %(default)s)",
    )


def _catalogue(text: str) -> Catalogue:
    try:
        return parse_catalogue(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from None


def _port(text: str) -> int:
    if not text.isdecimal() or int(text) > 65_535:
        raise argparse.ArgumentTypeError(f"{text!r} is not a port from 0 to 65535")
    return int(text)
