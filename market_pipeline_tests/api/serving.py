"""An application in process and over a socket, and the rows that the tests of the API store."""

import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime, timedelta
from typing import Any, Literal

import pytest
import uvicorn
from fastapi import FastAPI
from starlette.testclient import TestClient

from market_pipeline.core.clock import utc_now
from market_pipeline.prices.quotes import Quote, Source
from market_pipeline.storage.engine import Database
from market_pipeline.storage.queries.scores import record_scored
from market_pipeline.storage.rows.records import columns_of
from market_pipeline.storage.rows.write import upsert
from market_pipeline.storage.schema.tables import price_anomalies, raw_prices
from market_pipeline_tests.builders import anomaly_row, store, wait_for

LOCAL = "http://127.0.0.1:8000"
SYMBOLS = ("BTC", "ETH", "SOL", "ADA", "DOT")
# The class of the test client's answers depends on the version of Starlette.
Response = Any
both_databases = pytest.mark.parametrize("database", ["sqlite", "postgresql"], indirect=True)


@contextmanager
def asking(app: FastAPI, url: str = LOCAL) -> Iterator[TestClient]:
    """A client of `app` in process; errors of the server become answers, as over a socket.

    The application neither starts nor ends, which would open and close Dagster.
    """
    yield TestClient(app, url, raise_server_exceptions=False)
    app.state.change_limits.close()
    app.state.arrow_reads.close()


@contextmanager
def served(app: FastAPI, starts: bool = False) -> Iterator[str]:
    """`app` on a free loopback port, by uvicorn in a thread; gives its address.

    Unless it `starts` it has neither the limit on threads nor Dagster opened ahead, and closes nothing at its end.
    """
    listener = socket.create_server(("127.0.0.1", 0))
    lifespan: Literal["on", "off"] = "on" if starts else "off"
    server = uvicorn.Server(uvicorn.Config(app, log_config=None, access_log=False, lifespan=lifespan))
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]}, daemon=True)
    thread.start()
    wait_for(lambda: server.started, 20, "the start of the server")
    try:
        yield f"http://127.0.0.1:{listener.getsockname()[1]}"
    finally:
        server.should_exit = True
        thread.join(10)
        listener.close()
        app.state.change_limits.close()
        app.state.arrow_reads.close()


def kind_of(answer: Response) -> str:
    """The kind of a problem, whose document must have the common form."""
    assert answer.headers["content-type"] == "application/problem+json"
    document = answer.json()
    assert (document["status"], document["trace_id"]) == (answer.status_code, answer.headers["x-request-id"])
    return str(document["type"].removeprefix("urn:market-pipeline:problem:"))


def store_quotes(
    database: Database, symbol: str, times: list[datetime], last: float, first: float | None = None, scored: bool = True
) -> datetime:
    """Store live quotes of `symbol`, all at the price `first` (or `last`) but the newest, `scored` or not."""
    before = last if first is None else first
    rows = [
        Quote(symbol, database.coin_id(symbol), at, last if at == times[-1] else before, Source.LIVE, at)
        for at in times
    ]
    upsert(database, raw_prices, columns_of(raw_prices, rows))
    if scored:
        record_scored(database, {symbol: times[-1]})
    return times[-1]


def store_day(
    database: Database, symbol: str, last: float, first: float | None = None, *,
    newest: timedelta = timedelta(minutes=2), silent: tuple[timedelta, timedelta] | None = None,
) -> datetime:
    """Store five-minute quotes of 26 hours, the newest of them `newest` ago; gives its time.

    `silent` leaves out those between so long and so long before the newest.
    """
    end = (utc_now() - newest).replace(microsecond=0)
    times = [end - timedelta(minutes=5) * back for back in range(26 * 12, -1, -1)]
    if silent is not None:
        times = [at for at in times if not end - silent[0] < at < end - silent[1]]
    return store_quotes(database, symbol, times, last, first)


def store_anomaly(database: Database, symbol: str, at: datetime, kind: str = "jump", **changes: Any) -> str:
    """Store a flagged quote at `at`; gives its id."""
    row = anomaly_row(symbol, kind=kind, timestamp=at, coin_id=database.coin_id(symbol), **changes)
    return str(store(database, price_anomalies, row)[0]["id"])
