"""Serve the HTTP API and its page alone, without Dagster's processes."""

import os
import sys

import click

from market_pipeline.commands.children.processes import Processes
from market_pipeline.commands.ports import require_free
from market_pipeline.commands.start import command_settings, database_of
from market_pipeline.commands.terminal.face import Banner, common_rows, face_of
from market_pipeline.core.loopback import is_loopback
from market_pipeline.dagster_instance.home import current_home, ready_home
from market_pipeline.dagster_instance.instance_storage import storage_of
from market_pipeline.logs import get_logger
from market_pipeline.settings import Settings
from market_pipeline.storage.db_errors import SchemaMismatch, StorageError
from market_pipeline.storage.engine import Database
from market_pipeline.storage.schema.migrate import check_schema, migrate

logger = get_logger(__name__)


def execute(port: int, host: str, workers: int, without_token: bool) -> int:
    """Prepare and serve until Ctrl-C; return 0, or the exit code of a server that ended by itself."""
    settings = command_settings(api_without_token=True) if without_token else command_settings()
    _require_guarded(host, settings)
    require_free(port, "the API", host)
    storage, home = storage_of(settings), current_home()
    prepare(database_of(settings))
    try:
        ready_home(storage)
    except StorageError as error:
        # As for a role that may only read: what is stored can be served.
        logger.warning("The API may lack the state of Dagster. %s", error)
    environment = {
        **os.environ, **settings.as_environment(), **storage.variables, "DAGSTER_HOME": str(home)
    }
    url = f"http://{f'[{host}]' if ':' in host else host}:{port}"
    with face_of(settings, home / "serve.log", requests_too=True) as face, Processes() as processes:
        logger.info("DAGSTER_HOME is %s", home)
        logger.info("The API and its page will be at %s in a few seconds", url)
        face.doing("Starting the API")
        rows = [("Prices page", url), ("API", f"{url}/docs"), *common_rows(settings, home, face)]
        face.announce(Banner("The API answers. Times are UTC.", rows, [f"{url}/healthz"]))
        face.start(processes, server_command(host, port, workers), environment, home, "api")
        return face.wait(processes).exit_code or 1
    return 0


def server_command(host: str, port: int, workers: int = 1) -> list[str]:
    """Return the command of the server itself, which reads its settings from the environment."""
    return [sys.executable, "-m", "market_pipeline.api", host, str(port), str(workers)]


def _require_guarded(address: str, settings: Settings) -> None:
    if is_loopback(address) or settings.api_token is not None or settings.api_without_token:
        return
    raise click.UsageError(
        f"on {address} other machines could read and collect: set API_TOKEN, for example to what "
        "`openssl rand -hex 32` prints, or add --without-token if access is restricted otherwise"
    )


def prepare(database: Database) -> None:
    """Migrate the database only if it needs it: a read-only replica can be served as it is."""
    try:
        check_schema(database)
    except SchemaMismatch:
        migrate(database)
    finally:
        database.dispose()
