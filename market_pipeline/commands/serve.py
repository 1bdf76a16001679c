"""`market-pipeline serve`: the HTTP API and its page, beside `market-pipeline run` or alone."""

import argparse
import ipaddress
import os
import sys

from market_pipeline.commands.children.processes import Processes
from market_pipeline.commands.start import command_settings
from market_pipeline.core.loopback import is_loopback
from market_pipeline.commands.ports import HOST, require_free
from market_pipeline.commands.start import StartError
from market_pipeline.dagster_instance.home import current_home, ready_home
from market_pipeline.logs import get_logger
from market_pipeline.settings import Settings
from market_pipeline.storage.db_errors import SchemaMismatch
from market_pipeline.storage.engine import Database
from market_pipeline.storage.schema.migrate import check_schema, migrate

logger = get_logger(__name__)

# Where the API is unless somebody says otherwise.
API_PORT = 8000

_MOST_WORKERS = 64
_FAILED = 1


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Which address to listen on is checked with the settings."""
    parser.add_argument(
        "--host", type=_address, default=HOST, metavar="ADDRESS",
        help=f"address to listen on (default {HOST}); any but loopback needs API_TOKEN",
    )
    parser.add_argument("--workers", type=_workers, default=1, help="server processes (default 1)")
    parser.add_argument(
        "--without-token", action="store_true",
        help="serve other addresses and host names without a token (API_WITHOUT_TOKEN=true)",
    )


def execute(options: argparse.Namespace) -> int:
    """Prepare, then serve until Ctrl-C; else the exit code of a server that ended by itself."""
    settings = command_settings(api_without_token=True) if options.without_token else command_settings()
    _require_guarded(options.host, settings)
    require_free(options.port, "the API", options.host)
    current_home()
    _prepare(Database(settings.database, settings.catalogue.ids))
    home = ready_home()
    logger.info("DAGSTER_HOME is %s", home)
    environment = {**os.environ, **settings.as_environment(), "DAGSTER_HOME": str(home)}
    command = server_command(options.host, options.port, options.workers)
    with Processes() as processes:
        where = f"[{options.host}]" if ":" in options.host else options.host
        logger.info("The API and its page will be at http://%s:%s in some seconds", where, options.port)
        processes.start(command, environment, home)
        # Whatever it says: nobody asked it to end.
        return processes.wait_for_any() or _FAILED
    return 0


def server_command(host: str, port: int, workers: int = 1) -> list[str]:
    """The server itself, which takes its settings from the environment."""
    return [sys.executable, "-m", "market_pipeline.api", host, str(port), str(workers)]


def _require_guarded(address: str, settings: Settings) -> None:
    if is_loopback(address) or settings.api_token is not None or settings.api_without_token:
        return
    raise StartError(
        f"on {address} others could read and collect: set API_TOKEN, for example to what "
        "`openssl rand -hex 32` prints, or say --without-token if something else keeps them out"
    )


def _prepare(database: Database) -> None:
    """Migrate the database where it has to be: a replica that can only be read may be served as it is."""
    try:
        check_schema(database)
    except SchemaMismatch:
        migrate(database)
    finally:
        database.dispose()


def _address(text: str) -> str:
    if text.lower() == "localhost":
        return HOST
    try:
        return str(ipaddress.ip_address(text.strip("[]")))
    except ValueError:
        raise argparse.ArgumentTypeError(
            f"{text} is not an address; write 127.0.0.1, ::1, 0.0.0.0 for all, or another of this machine"
        ) from None


def _workers(text: str) -> int:
    if text.isdecimal() and 1 <= int(text) <= _MOST_WORKERS:
        return int(text)
    raise argparse.ArgumentTypeError(f"{text} is not a number of processes from 1 to {_MOST_WORKERS}")
