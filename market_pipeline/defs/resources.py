"""The resource `coingecko`. The other two are the `Database` itself and the IO manager (`io_manager.py`).

All are plain objects made from the settings: they have no configuration that Dagster could store or show.
"""

from typing import TYPE_CHECKING

from market_pipeline.pipeline.client_factory import budgeted_client
from market_pipeline.settings import Settings
from market_pipeline.storage.engine import Database

if TYPE_CHECKING:
    from market_pipeline.coingecko.client import CoinGeckoClient


class CoinGeckoResource:
    """The API of `settings`, within the request budget in `database`."""

    def __init__(self, settings: Settings, database: Database) -> None:
        self._settings = settings
        self._database = database

    def client(self) -> "CoinGeckoClient":
        """Return a client to use in a `with` block."""
        return budgeted_client(self._settings, self._database)
