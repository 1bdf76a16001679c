"""A simulator with a client at it, and a server that plays back raw bytes."""

import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, suppress
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, settings

from market_pipeline.budget.shared import SharedBudget
from market_pipeline.coingecko.client import CoinGeckoClient
from market_pipeline.coingecko.request_budget import RequestBudget
from market_pipeline.simulator.market_model import MarketModel
from market_pipeline.simulator.server import Simulator
from market_pipeline.storage.engine import Database
from market_pipeline_tests.builders import Recorder, generous_budget

# How long an example takes is the machine's business.
settings.register_profile("patient", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("patient")

# A certificate for localhost that signs itself, good for a century and for nothing else.
_CERTIFICATE = """\
-----BEGIN EC PRIVATE KEY-----
MHcCAQEEIE6EPEj1pRevsiaKmosQj4HxxIbdEgHQF7iv2HBmWM4loAoGCCqGSM49
AwEHoUQDQgAEIAkyqvDW+QmeIo6ul0CPEpYmdw2fVx2IYSOhe9u36PjtQn8z9Z7A
YXjuZRpCY6tcZh9L+KgGIg58eNDziFC3iQ==
-----END EC PRIVATE KEY-----
-----BEGIN CERTIFICATE-----
MIIBmzCCAUGgAwIBAgIUb0CI4IkLP1rOtFKzLyj46wahqMowCgYIKoZIzj0EAwIw
FDESMBAGA1UEAwwJbG9jYWxob3N0MCAXDTI2MTEzMDA1MzMyOFoYDzIxMjYxMTA2
MDUzMzI4WjAUMRIwEAYDVQQDDAlsb2NhbGhvc3QwWTATBgcqhkjOPQIBBggqhkjO
PQMBBwNCAAQgCTKq8Nb5CZ4ijq6XQI8SliZ3DZ9XHYhhI6F727fo+O1CfzP1nsBh
eO5lGkJjq1xmH0v4qAYiDnx40POIULeJo28wbTAdBgNVHQ4EFgQUXyinZqiXf0yM
H3qcVId+1dxlDnkwHwYDVR0jBBgwFoAUXyinZqiXf0yMH3qcVId+1dxlDnkwDwYD
VR0TAQH/BAUwAwEB/zAaBgNVHREEEzARgglsb2NhbGhvc3SHBH8AAAEwCgYIKoZI
zj0EAwIDSAAwRQIhAJ00vjX2U7qYzqTr/0P3p+TpBzlk9ljnEMYw3ncJUMoBAiAJ
TxB9N51v2tOt6gTMBp9QIKlW1BztOVDY956+5WuLUA==
-----END CERTIFICATE-----
"""


@pytest.fixture
def simulator() -> Iterator[Simulator]:
    with Simulator(MarketModel(seed=1)) as running:
        yield running


@pytest.fixture
def waits() -> list[float]:
    """The waits between attempts, which are recorded instead of slept."""
    return []


@pytest.fixture
def budget(budget_database: Database, waits: list[float]) -> SharedBudget:
    """A budget that leaves room for everything; its time passes by sleeping only, `waits` included."""
    return generous_budget(budget_database, waits)


@pytest.fixture
def recorder() -> Recorder:
    return Recorder()


@pytest.fixture
def connect(budget: SharedBudget, waits: list[float]) -> Callable[..., CoinGeckoClient]:
    """`with connect(url) as client`: a client, keyless by default, that does not sleep."""

    def make(
        url: str, plan: Any = "keyless", key: str | None = None, with_budget: RequestBudget = budget, **options: Any
    ) -> CoinGeckoClient:
        return CoinGeckoClient(url, plan, key, with_budget, sleep=waits.append, **options)

    return make


@pytest.fixture
def client(simulator: Simulator, connect: Callable[..., CoinGeckoClient]) -> Iterator[CoinGeckoClient]:
    with connect(simulator.base_url) as plain:
        yield plain


@contextmanager
def _play(parts: list[bytes], pause: float) -> Iterator[str]:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        thread = threading.Thread(target=_serve, args=(listener, parts, pause))
        thread.start()
        try:
            yield f"http://127.0.0.1:{listener.getsockname()[1]}"
        finally:
            # Closing alone would not wake the thread that waits in accept().
            listener.shutdown(socket.SHUT_RDWR)
            thread.join()


def _serve(listener: socket.socket, parts: list[bytes], pause: float) -> None:
    while True:
        try:
            connection, _ = listener.accept()
        except OSError:
            return
        with connection, suppress(OSError):
            connection.recv(65_536)
            for part in parts:
                connection.sendall(part)
                time.sleep(pause)


@pytest.fixture
def play() -> Callable[..., AbstractContextManager[str]]:
    """`with play([b"HTTP/1.1 ..."], pause=0.0) as url`: every connection is answered with these bytes."""
    return lambda parts, pause=0.0: _play(parts, pause)


@pytest.fixture
def reply() -> Callable[..., AbstractContextManager[str]]:
    """`with reply(b"{}", "401 Unauthorized", "Date: today") as url`: every request has this answer."""

    def start(body: bytes, status: str = "200 OK", *headers: str) -> AbstractContextManager[str]:
        head = "\r\n".join([f"HTTP/1.1 {status}", *headers, f"Content-Length: {len(body)}", "", ""])
        return _play([head.encode() + body], 0.0)

    return start


@pytest.fixture
def certificate(tmp_path: Path) -> Path:
    """A file with a certificate for localhost and 127.0.0.1 that signs itself, and its key."""
    file = tmp_path / "certificate.pem"
    file.write_text(_CERTIFICATE)
    return file
