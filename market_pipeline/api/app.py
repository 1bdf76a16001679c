"""The ASGI application, put together from its parts."""

import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from fastapi import FastAPI

from market_pipeline import __version__
from market_pipeline.api import anomalies, budget, collect, health, metrics, page, prices, symbols
from market_pipeline.api.dagster_home import DagsterHome
from market_pipeline.api.errors import handle_errors
from market_pipeline.api.openapi import describe
from market_pipeline.api.service import Service
from market_pipeline.api.tracing import Tracing
from market_pipeline.logs import configure_logging
from market_pipeline.settings import load_settings
from market_pipeline.storage.engine import Database


def create_app(service: Service) -> FastAPI:
    """The API over `service`, which it closes in the end."""

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        yield
        service.database.dispose()
        service.dagster.close()

    app = FastAPI(
        title="market_pipeline",
        version=__version__,
        description="Cryptocurrency prices as collected, the anomalies found in them, and the state of it all.",
        lifespan=lifespan,
        # Their pages load scripts from another host.
        docs_url=None,
        redoc_url=None,
    )
    app.state.service = service
    for module in (prices, anomalies, symbols, budget, collect, health, metrics, page):
        app.include_router(module.router)
    describe(app)
    handle_errors(app)
    app.add_middleware(Tracing)
    return app


def app_from_environment() -> FastAPI:
    """What a server process of uvicorn starts: settings from the environment, Dagster's folder in DAGSTER_HOME."""
    settings = load_settings()
    configure_logging(settings)
    dagster = DagsterHome(Path(os.environ["DAGSTER_HOME"]))
    return create_app(Service(settings, Database(settings.database), dagster))
