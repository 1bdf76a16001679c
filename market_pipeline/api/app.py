"""The ASGI application, put together from its parts."""

import os
import threading
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from importlib import import_module
from pathlib import Path

import anyio.to_thread
from fastapi import FastAPI

from market_pipeline import __version__
from market_pipeline.api.change_limits import ChangeLimits
from market_pipeline.api.endpoints import (
    anomalies,
    budget,
    candles,
    chart,
    collect,
    health,
    metrics,
    packaged,
    page,
    prices,
    symbols,
)
from market_pipeline.api.guards import add_guards
from market_pipeline.api.http.openapi import describe
from market_pipeline.api.http.problems import handle_errors
from market_pipeline.api.http.responses import HeadAsGet
from market_pipeline.api.http.tracing import Tracing
from market_pipeline.api.large_responses import ArrowReads
from market_pipeline.api.service import STATE_THREADS, Service
from market_pipeline.dagster_instance.connection import DagsterHome
from market_pipeline.dagster_instance.instance_storage import storage_of
from market_pipeline.logs import configure_logging
from market_pipeline.settings import load_settings
from market_pipeline.storage.engine import POOL, Database

# As many as there are connections: others would only wait for one, and time out after half a minute.
_READING_THREADS = POOL["pool_size"] - STATE_THREADS
# What reads long times from SQLite.
_ARROW = "market_pipeline.storage.rows.bulk"
# For work whose client was cut off.
_EXIT_SECONDS = 3.0


def create_app(service: Service, at_end: Callable[[], None] | None = None) -> FastAPI:
    """Build the API over `service`, which it closes at shutdown, after calling `at_end`."""

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        anyio.to_thread.current_default_thread_limiter().total_tokens = _READING_THREADS
        # It takes seconds, for which the first collect should not have to wait.
        service.dagster.open_soon()
        if service.database.dialect == "sqlite":
            # Half a second, for which the first chart of a year should not.
            threading.Thread(target=import_module, args=(_ARROW,), daemon=True).start()
        yield
        if at_end is not None:
            at_end()
        app.state.change_limits.close()
        app.state.arrow_reads.close()
        service.database.dispose()
        service.dagster.close()

    app = FastAPI(
        title="market_pipeline",
        version=__version__,
        description="Cryptocurrency prices as collected, anomalies found in them, and the state of the pipeline.",
        lifespan=lifespan,
        # A redirect would have the host of the request: wrong behind a proxy, and without TLS.
        redirect_slashes=False,
        # FastAPI's own pages load scripts from another host; /docs is in `page`.
        docs_url=None,
        redoc_url=None,
    )
    app.state.service = service
    app.state.change_limits = ChangeLimits(service)
    app.state.arrow_reads = ArrowReads(service)
    app.state.state_threads = anyio.CapacityLimiter(STATE_THREADS)
    app.state.packaged_threads = anyio.CapacityLimiter(1)
    endpoints = (prices, candles, anomalies, symbols, budget, collect, health, metrics, chart, packaged, page)
    routers = [module.router for module in endpoints]
    for router in routers:
        app.include_router(router)
    app.state.routes = [route for router in routers for route in router.routes]
    describe(app)
    handle_errors(app)
    # The middleware added last runs first.
    app.add_middleware(HeadAsGet)
    add_guards(app, service.settings)
    app.add_middleware(Tracing)
    return app


def app_from_environment() -> FastAPI:
    """Build the API of a server process: settings from the environment, Dagster's folder in DAGSTER_HOME."""
    settings = load_settings()
    configure_logging(settings)
    dagster = DagsterHome(Path(os.environ["DAGSTER_HOME"]), storage_of(settings))
    return create_app(Service(settings, Database(settings.database, settings.catalogue.ids), dagster), _exit_soon)


def _exit_soon() -> None:
    """End this process in a few seconds, even if its threads still wait.

    A thread cannot be cancelled, and one that collects may wait for CoinGecko for a minute. No work is left half done:
    every write is one transaction.
    """
    timer = threading.Timer(_EXIT_SECONDS, os._exit, (0,))
    timer.daemon = True
    timer.start()
