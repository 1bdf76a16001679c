"""A key and a password that are in no log line, exception, output or file, whatever fails.

Here without Dagster: settings, client, database. Runs and commands are in `test_canaries_of_runs`.
"""

import base64
import logging
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, suppress
from datetime import timedelta
from pathlib import Path
from typing import Protocol

import pytest
from sqlalchemy import URL, make_url, text

from market_pipeline.coingecko.client import CoinGeckoClient
from market_pipeline.coingecko.errors import CoinGeckoError
from market_pipeline.coingecko.retries import RetryPolicy
from market_pipeline.core.clock import utc_now
from market_pipeline.pipeline.coin_ids import load_identities
from market_pipeline.prices.quotes import Quote, Source
from market_pipeline.settings import Plan, SettingsError, load_settings
from market_pipeline.simulator.faults import KINDS, LISTING_ONLY, Fault
from market_pipeline.simulator.market_model import MarketModel
from market_pipeline.simulator.server import Simulator
from market_pipeline.storage.db_errors import DatabaseUnavailable, StorageError, WriteFailed
from market_pipeline.storage.engine import Database
from market_pipeline.storage.rows.records import columns_of
from market_pipeline.storage.rows.write import upsert
from market_pipeline.storage.schema.migrate import check_schema, migrate
from market_pipeline.storage.schema.tables import raw_prices
from market_pipeline_tests.builders import generous_budget
from market_pipeline_tests.canaries import KEY, PASSWORD, PASSWORD_IN_URL, heard, heard_in_files, words_of

STATUSES = [
    (400, 10010), (400, 10011), (400, 10012), (401, 10002), (401, 10005), (401, 10012), (403, None),
    (403, 1020), (404, None), (408, None), (414, None), (422, None), (429, None), (429, 1015), (500, None),
    (503, None), (520, None),
]
NEED_A_COIN = {"wrong_id", *LISTING_ONLY}
Errors = list[Exception]
Serve = Callable[..., str]


class ClientAt(Protocol):
    """What the fixture `client_at` gives."""

    def __call__(
        self, url: str, plan: Plan = "demo", policy: RetryPolicy | None = None
    ) -> AbstractContextManager[CoinGeckoClient]: ...


@pytest.fixture
def told(caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str], tmp_path: Path) -> Iterator[Errors]:
    """What errors told; in the end nothing is heard in it, in the log, in the output or in a file."""
    caplog.set_level(logging.DEBUG)
    errors: Errors = []
    yield errors
    found = [place for error in errors for place in heard("error", words_of(error))]
    for record in caplog.records:
        found += heard("log", record.getMessage() + repr(vars(record)) + (record.exc_text or ""))
    found += heard("log", caplog.text)
    output = capfd.readouterr()
    found += heard("stdout", output.out) + heard("stderr", output.err) + heard_in_files(tmp_path)
    assert errors, "nothing failed, so nothing was looked at"
    assert found == []


@pytest.fixture
def client_at(budget_database: Database) -> ClientAt:
    """A client with the key, which does not sleep."""

    @contextmanager
    def make(url: str, plan: Plan = "demo", policy: RetryPolicy | None = None) -> Iterator[CoinGeckoClient]:
        waits: list[float] = []
        budget = generous_budget(budget_database, waits)
        with CoinGeckoClient(url, plan, KEY, budget, sleep=waits.append, policy=policy) as client:
            yield client

    return make


def ask_everything(client: CoinGeckoClient, told: Errors) -> None:
    """Every request that the client can send; the errors go to `told`."""
    end = utc_now() - timedelta(days=2)
    for ask in (
        client.ping,
        lambda: client.simple_price(["bitcoin", "ethereum"]),
        lambda: client.market_chart_range("bitcoin", end - timedelta(days=1), end),
        lambda: client.market_chart_range("nothing", end - timedelta(days=1), end),
        client.coins_list,
        client.key_info,
    ):
        try:
            answer = ask()
        except CoinGeckoError as error:
            told.append(error)
        else:
            assert heard("answer", repr(answer)) == []


def play(answers: list[tuple[bytes, ...]]) -> socket.socket:
    """A server that answers the first requests with these bytes, and goes on with the last of them."""
    listener = socket.create_server(("127.0.0.1", 0))
    left = list(answers)

    def serve() -> None:
        while True:
            try:
                connection, _ = listener.accept()
            except OSError:
                return
            with connection, suppress(OSError):
                connection.settimeout(5)
                for part in left.pop(0) if len(left) > 1 else left[0]:
                    connection.recv(65_536)
                    connection.sendall(part)

    thread = threading.Thread(target=serve, daemon=True)
    thread.start()
    return listener


@pytest.fixture
def server() -> Iterator[Serve]:
    """`server([part, ...])`: the address of a server that answers every connection with these parts."""
    listeners: list[socket.socket] = []

    def make(*parts: bytes) -> str:
        listeners.append(play([parts]))
        return f"127.0.0.1:{listeners[-1].getsockname()[1]}"

    yield make
    for listener in listeners:
        listener.shutdown(socket.SHUT_RDWR)
        listener.close()


@pytest.mark.parametrize("environment", [
    {"COINGECKO_API_KEY": KEY},
    {"COINGECKO_API_KEY": KEY, "COINGECKO_PLAN": "free"},
    {"COINGECKO_API_KEY": KEY, "COINGECKO_PLAN": "demo", "LOG_LEVEL": "loud"},
    {"COINGECKO_BASE_URL": f"https://host/api?x_cg_pro_api_key={KEY}"},
    {"COINGECKO_BASE_URL": f"https://me:{PASSWORD_IN_URL}@host/api"},
    {"COINGECKO_REQUESTS_PER_MINUTE": "many", "COINGECKO_API_KEY": KEY, "COINGECKO_PLAN": "pro"},
    {"DATABASE_URL": f"mysql://me:{PASSWORD_IN_URL}@host/prices"},
    {"DATABASE_URL": f"postgresql://me:{PASSWORD}@host/prices"},
    {"DATABASE_URL": f"postgresql://host:{PASSWORD_IN_URL}/prices"},
    {"DATABASE_URL": f"postgresql://host/prices?password={PASSWORD_IN_URL}"},
    {"DATABASE_URL": f"{PASSWORD}"},
])
def test_settings_that_cannot_be_used(
    told: Errors, monkeypatch: pytest.MonkeyPatch, environment: dict[str, str]
) -> None:
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    with pytest.raises(SettingsError) as caught:
        load_settings(None)
    told.append(caught.value)


@pytest.mark.parametrize("fault", [
    *(Fault(kind="status", status=status, code=code, times=None) for status, code in STATUSES),
    *(
        Fault(kind=kind, times=None, seconds=0.4, coin="bitcoin" if kind in NEED_A_COIN else None)
        for kind in sorted(KINDS - {"status"})
    ),
], ids=lambda fault: f"{fault.kind}-{fault.status}-{fault.code}")
def test_every_fault_of_the_server(
    told: Errors, client_at: ClientAt, monkeypatch: pytest.MonkeyPatch, fault: Fault
) -> None:
    monkeypatch.setattr("market_pipeline.coingecko.client._LIST_TIMEOUT_SECONDS", 0.2)
    with Simulator(MarketModel(), plan="demo", faults=[fault]) as simulator:
        with client_at(simulator.base_url, policy=RetryPolicy(idle=0.2)) as client:
            ask_everything(client, told)


@pytest.mark.parametrize(("host", "plan"), [("pro", "demo"), ("demo", "pro"), ("keyless", "pro")])
def test_a_key_at_the_wrong_host(told: Errors, client_at: ClientAt, host: Plan, plan: Plan) -> None:
    with Simulator(MarketModel(), plan=host) as simulator, client_at(simulator.base_url, plan) as client:
        ask_everything(client, told)


@pytest.mark.parametrize("answer", [
    f"HTTP/1.1 401 {KEY}\r\nContent-Length: 0\r\n\r\n",
    f"HTTP/1.1 {KEY} x\r\n\r\n",
    f"{KEY} nonsense\r\n\r\n",
    f"HTTP/1.1 401 X\r\nbroken {KEY}\r\nContent-Length: 0\r\n\r\n",
    f"HTTP/1.1 302 Found\r\nLocation: http://{KEY}.invalid/?{KEY}\r\nContent-Length: 0\r\n\r\n",
    f"HTTP/1.1 302 Found\r\nLocation: http://[{KEY}\r\nContent-Length: 0\r\n\r\n",
    f"HTTP/1.1 429 X\r\nRetry-After: {KEY}\r\nDate: {KEY}\r\nContent-Length: 0\r\n\r\n",
    f"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n{KEY}\r\n",
    f"HTTP/1.1 200 OK\r\nContent-Length: {KEY}\r\n\r\n",
    f"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: {len(KEY)}\r\n\r\n{KEY}",
    f"HTTP/1.1 200 OK\r\nSet-Cookie: {KEY}={KEY}\r\nContent-Length: {len(KEY) + 2}\r\n\r\n\"{KEY}\"",
    *(
        f"HTTP/1.1 {status} X\r\nContent-Length: {len(body)}\r\n\r\n{body}"
        for status in (200, 401, 500)
        for body in (
            f'{{"error":"{KEY}"}}',
            f'{{"{KEY}":{{"usd":1}},"bitcoin":{{"usd":"{KEY}"}}}}',
            f'{{"prices":[["{KEY}","{KEY}"]],"gecko_says":"{KEY}","plan":"{KEY}"}}',
            f'[{{"id":"{KEY}","symbol":"{KEY}","name":"{KEY}"}}]',
            f"<html>{KEY}</html>",
        )
    ),
])
def test_a_server_that_repeats_the_key_wherever_it_can(
    told: Errors, client_at: ClientAt, server: Serve, answer: str
) -> None:
    with client_at(f"http://{server(answer.encode())}") as client:
        ask_everything(client, told)


@pytest.mark.parametrize("url", ["http://127.0.0.1:9", "http://no-such-host.invalid/api/v3"])
def test_nobody_at_the_address(told: Errors, client_at: ClientAt, monkeypatch: pytest.MonkeyPatch, url: str) -> None:
    for name in ("http_proxy", "https_proxy", "HTTP_PROXY", "HTTPS_PROXY", "all_proxy", "ALL_PROXY"):
        monkeypatch.delenv(name, raising=False)
    with client_at(url) as client:
        ask_everything(client, told)


@pytest.mark.parametrize("scheme", ["http", "https"])
@pytest.mark.parametrize("proxy", ["refuses", "closed", "unreadable"])
def test_a_proxy_with_credentials(
    told: Errors, client_at: ClientAt, server: Serve, monkeypatch: pytest.MonkeyPatch, scheme: str, proxy: str
) -> None:
    """One that refuses them and repeats them, one that is not there, one whose address cannot be read."""
    refusal = f"HTTP/1.1 407 {PASSWORD}\r\nContent-Length: 0\r\nProxy-Authenticate: Basic {PASSWORD}\r\n\r\n"
    hosts = {"refuses": server(refusal.encode()), "closed": "127.0.0.1:9", "unreadable": "[proxy"}
    address = f"http://somebody:{PASSWORD_IN_URL}@{hosts[proxy]}"
    for name in ("http_proxy", "https_proxy"):
        monkeypatch.setenv(name, address)
    monkeypatch.setenv("no_proxy", "")
    with client_at(f"{scheme}://api.invalid/api/v3") as client:
        ask_everything(client, told)


def store_a_quote(database: Database) -> None:
    now = utc_now()
    quote = Quote("BTC", "bitcoin", now, 1.0, Source.LIVE, now)
    upsert(database, raw_prices, columns_of(raw_prices, [quote]))


def ways(database: Database) -> Iterator[Callable[[], object]]:
    yield lambda: check_schema(database)
    yield lambda: migrate(database)
    yield lambda: store_a_quote(database)
    yield lambda: load_identities(database, [])
    yield lambda: generous_budget(database).acquire("/ping")


# A server that asks for the password in clear text and then complains of it, word for word.
_COMPLAINT = b"SFATAL\0C28P01\0Mpassword authentication failed: " + PASSWORD.encode() + b"\0\0"
WRONG_PASSWORD = (
    b"N",
    b"R\0\0\0\x08\0\0\0\x03",
    b"E" + (len(_COMPLAINT) + 4).to_bytes(4, "big") + _COMPLAINT,
)


@pytest.mark.parametrize("where", ["closed port", "no such host", "no such database", "wrong password"])
def test_a_database_that_cannot_be_reached(told: Errors, server: Serve, postgres_server: URL, where: str) -> None:
    url = make_url(f"postgresql+psycopg2://me:{PASSWORD_IN_URL}@127.0.0.1:9/prices")
    if where == "no such host":
        url = url.set(host="no-such-host.invalid")
    elif where == "no such database":
        url = postgres_server.set(database="absent", password=PASSWORD)
    elif where == "wrong password":
        url = url.set(port=int(server(*WRONG_PASSWORD).rpartition(":")[2]))
    for way in ways(Database(url)):
        with pytest.raises(DatabaseUnavailable) as caught:
            way()
        told.append(caught.value)
    assert "***" in repr(Database(url)) and heard("repr", repr(Database(url))) == []
    if where == "wrong password":
        assert "password authentication failed: [hidden]" in str(told[0])


@pytest.mark.parametrize("spoil", [
    "ALTER TABLE raw_prices DROP COLUMN price CASCADE",
    "ALTER TABLE raw_prices ADD CHECK (price > 1)",
    "DROP TABLE raw_prices",
])
def test_a_write_that_the_database_refuses(told: Errors, postgres_database: Database, spoil: str) -> None:
    database = Database(postgres_database.url.set(password=PASSWORD))
    with database.writing() as connection:
        connection.execute(text(spoil))
    with pytest.raises(WriteFailed) as caught:
        store_a_quote(database)
    told.append(caught.value)
    database.dispose()


def test_tables_of_another_version(told: Errors, postgres_database: Database) -> None:
    database = Database(postgres_database.url.set(password=PASSWORD))
    for version in ("0000", "9999"):
        with database.writing() as connection:
            connection.execute(text(f"UPDATE market_pipeline_version SET version_num = '{version}'"))
        with pytest.raises(StorageError) as caught:
            check_schema(database)
        told.append(caught.value)
    database.dispose()


@pytest.mark.parametrize("secret", [KEY, PASSWORD, PASSWORD_IN_URL, KEY.upper(), f"me:{PASSWORD}", f"x{KEY}"])
def test_what_sings_is_heard(tmp_path: Path, secret: str) -> None:
    encoded = base64.b64encode(secret.encode())
    assert heard("plain", f"some {secret} text") != []
    if secret != KEY.upper():
        assert heard("base64", b"Basic " + encoded) != []
    (tmp_path / "folder").mkdir()
    file = tmp_path / "folder" / "file.bin"
    file.write_bytes(b"\0\xff" + secret.encode())
    assert len(heard_in_files(tmp_path)) == 1
    assert heard_in_files(tmp_path, file) == []
