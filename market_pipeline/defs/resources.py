"""Resources: thin Dagster faces of the CoinGecko client and of the database.

Neither carries a secret in its configuration, because Dagster stores and shows configuration: the
key and the database password are read from the settings when they are needed.
"""

from functools import lru_cache
from typing import TYPE_CHECKING

import dagster as dg
from sqlalchemy.engine import make_url

from market_pipeline.pipeline.client_factory import budgeted_client
from market_pipeline.settings import Plan, load_settings
from market_pipeline.storage.engine import Database

if TYPE_CHECKING:
    from market_pipeline.coingecko.client import CoinGeckoClient


@lru_cache
def _process_database(url: str, coins: tuple[tuple[str, str], ...]) -> Database:
    return Database(make_url(url), dict(coins))


class CoinGeckoResource(dg.ConfigurableResource):  # type: ignore[type-arg]  # generic only in its private base
    """CoinGecko's API: paced by the shared budget, retried with backoff, key only in a header."""

    plan: Plan
    base_url: str

    def client(self) -> "CoinGeckoClient":
        """A client to use in a `with` block."""
        settings = load_settings(coingecko_plan=self.plan, coingecko_base_url=self.base_url)
        return budgeted_client(settings, current_database())


class DatabaseResource(dg.ConfigurableResource):  # type: ignore[type-arg]  # generic only in its private base
    """The database of prices, SQLite or PostgreSQL, as `DATABASE_URL` says."""

    def database(self) -> Database:
        """The database, connected when first used."""
        return current_database()


def current_database() -> Database:
    """The database of the settings, one pool of connections per process."""
    settings = load_settings()
    return _process_database(settings.database_url.get_secret_value(), tuple(settings.catalogue.ids.items()))
