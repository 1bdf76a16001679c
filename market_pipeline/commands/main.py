"""The command line: arguments in, exit code out. What each command does is in its own module."""

import argparse
import sys
import uuid
from collections.abc import Sequence

from market_pipeline.commands import backfill, chart, demo, doctor, migrate, rename, replay, run, serve
from market_pipeline.commands.start import StartError
from market_pipeline.dagster_instance.home import HomeError
from market_pipeline.logs import bound
from market_pipeline.settings import SettingsError
from market_pipeline.storage.db_errors import StorageError


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; 0 if it went well, 2 with one explanation on standard error if it could not start.

    1 if it failed, 130 if it was interrupted before there was something to stop.
    """
    options = _parser().parse_args(arguments)
    # What a run or a request logs within it carries that one's own id.
    with bound(trace_id=str(uuid.uuid4())):
        return _execute(options)


def _execute(options: argparse.Namespace) -> int:
    try:
        return int(options.command(options))
    except (SettingsError, HomeError, StartError, StorageError) as error:
        sys.stderr.write(f"market-pipeline: {error}\n")
        return 2
    except KeyboardInterrupt:
        return 130
    except Exception as error:
        # Told here, where its line carries the command's id.
        sys.excepthook(type(error), error, error.__traceback__)
        return 1


def _parser() -> argparse.ArgumentParser:
    description = "Crypto prices from CoinGecko, checked, stored and watched."
    parser = argparse.ArgumentParser(prog="market-pipeline", description=description)
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    for name, module, text in (
        ("run", run, "start the Dagster UI and daemon on this machine, collecting from CoinGecko"),
        ("demo", demo, "the same without internet: prices from the simulator, in a database of its own"),
    ):
        command = commands.add_parser(name, help=text, description=text)
        command.add_argument(
            "--port", type=_port, default=3000, help="port of the UI on 127.0.0.1 (default 3000)"
        )
        command.set_defaults(command=module.execute)
    text = "serve the HTTP API and its page"
    command = commands.add_parser("serve", help=text, description=text)
    command.add_argument(
        "--port", type=_port, default=serve.API_PORT, help="port of the API (default %(default)s)"
    )
    serve.add_arguments(command)
    command.set_defaults(command=serve.execute)
    for name, module, text in (
        ("backfill", backfill, "bring past days up to date with the fewest requests, after saying what it takes"),
        ("replay", replay, "judge refused prices again by the rules of today"),
        ("rename", rename, "give what is stored of a coin another symbol or coin id"),
        ("chart", chart, "draw one symbol with its expected band and what was flagged, as PNG or SVG"),
    ):
        command = commands.add_parser(name, help=text, description=text)
        module.add_arguments(command)
        command.set_defaults(command=module.execute)
    command = commands.add_parser("migrate", help="create or update the tables of DATABASE_URL")
    command.set_defaults(command=migrate.execute)
    text = "examine settings, database, API, budget, Dagster and data, and say what to do"
    command = commands.add_parser("doctor", help=text, description=text)
    command.add_argument("--json", action="store_true", help="one JSON document instead of lines")
    command.set_defaults(command=doctor.execute)
    return parser


def _port(text: str) -> int:
    if text.isdecimal() and 1 <= int(text) <= 65535:
        return int(text)
    raise argparse.ArgumentTypeError(f"{text} is not a port; write a number from 1 to 65535")


if __name__ == "__main__":
    sys.exit(main())
