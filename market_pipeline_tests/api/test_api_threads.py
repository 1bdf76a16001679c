"""No more threads than connections: who waits for a connection in vain is told that the database failed."""

import threading
import time
from concurrent.futures import ThreadPoolExecutor

import pytest
from starlette.testclient import TestClient

from market_pipeline.api.app import create_app
from market_pipeline.api.service import STATE_THREADS
from market_pipeline.storage.engine import POOL


@pytest.fixture
def database(sqlite_database):
    """One is enough: both have pools of the same size."""
    return sqlite_database


def test_readers_never_outnumber_the_connections(service_of):
    app, lock, inside, most = create_app(service_of()), threading.Lock(), 0, 0

    @app.get("/testing/slow")
    def slow():
        nonlocal inside, most
        with lock:
            inside += 1
            most = max(most, inside)
        time.sleep(0.05)
        with lock:
            inside -= 1

    with TestClient(app, base_url="http://127.0.0.1") as client, ThreadPoolExecutor(60) as pool:
        answers = list(pool.map(lambda _: client.get("/testing/slow"), range(60)))
    assert {answer.status_code for answer in answers} == {200}
    assert 1 < most <= POOL["pool_size"] - STATE_THREADS
