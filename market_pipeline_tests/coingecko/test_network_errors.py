"""Requests that never leave, and what on this machine prevents them: over real sockets."""

import ssl
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest

from market_pipeline.coingecko.client import CoinGeckoClient
from market_pipeline.coingecko.errors import CoinGeckoError, Misconfigured, Unreachable
from market_pipeline.coingecko.network_errors import CA_VARIABLES
from market_pipeline.coingecko.request_budget import NOT_SENT
from market_pipeline.simulator.server import Simulator
from market_pipeline_tests.builders import Recorder

Connect = Callable[..., CoinGeckoClient]

CLOSED = "127.0.0.1:9"


@pytest.fixture(autouse=True)
def plain_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("http_proxy", "https_proxy", "all_proxy", "no_proxy"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.upper(), raising=False)
    for name in CA_VARIABLES:
        monkeypatch.delenv(name, raising=False)


@pytest.fixture
def fail(recorder: Recorder, connect: Connect, waits: list[float]) -> Callable[[str], CoinGeckoError]:
    """The error of a ping at an address; nothing of it may have cost a credit."""

    def ask(url: str) -> CoinGeckoError:
        with connect(url, with_budget=recorder) as client, pytest.raises(CoinGeckoError) as caught:
            client.ping()
        assert {outcome for outcome, _ in recorder.outcomes} == {NOT_SENT}
        assert len(recorder.outcomes) == client.requests_sent == len(waits) + 1
        return caught.value

    return ask


class _Ping(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        self.send_response(200)
        self.end_headers()
        self.wfile.write(b'{"gecko_says":"hi"}')

    def log_message(self, *words: object) -> None:
        pass


@pytest.fixture
def encrypted(certificate: Path) -> Iterator[str]:
    """The address of a server that shows `certificate`."""
    with HTTPServer(("127.0.0.1", 0), _Ping) as server:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(certificate)
        server.socket = context.wrap_socket(server.socket, server_side=True)
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        yield f"https://127.0.0.1:{server.server_port}"
        server.shutdown()
        thread.join()


@pytest.mark.parametrize(
    ("url", "variable", "value", "words"),
    [
        (f"https://{CLOSED}", "REQUESTS_CA_BUNDLE", "/nowhere/ca.pem", "names /nowhere/ca.pem, which cannot"),
        ("https://api.invalid", "CURL_CA_BUNDLE", "/nowhere/ca.pem", "names /nowhere/ca.pem, which cannot"),
        ("https://api.invalid", "REQUESTS_CA_BUNDLE", __file__, "cannot be used as a file of certificate"),
        ("http://api.invalid", "http_proxy", "http://u:hunter2@[proxy", "is not a usable address"),
        ("https://api.invalid", "HTTPS_PROXY", "htp://proxy:1", "is not a usable address"),
        pytest.param(
            "http://api.invalid", "all_proxy", f"socks5://{CLOSED}", "`pip install 'requests[socks]'`",
            marks=pytest.mark.skipif(find_spec("socks") is not None, reason="the package is installed"),
        ),
    ],
)
def test_a_setting_that_prevents_requests_is_tried_once_and_named(
    fail: Callable[[str], CoinGeckoError],
    monkeypatch: pytest.MonkeyPatch,
    waits: list[float],
    url: str,
    variable: str,
    value: str,
    words: str,
) -> None:
    monkeypatch.setenv(variable, value)
    error = fail(url)
    assert isinstance(error, Misconfigured) and error.affects_all
    assert variable in error.verdict and words in error.verdict
    assert "hunter2" not in str(error)
    assert waits == []


def test_a_proxy_that_requires_a_login_is_named(
    fail: Callable[[str], CoinGeckoError], play: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    with play([b"HTTP/1.1 407 Proxy Authentication Required\r\n\r\n"]) as proxy:
        monkeypatch.setenv("https_proxy", proxy)
        error = fail("https://api.invalid")
    assert isinstance(error, Misconfigured)
    assert error.verdict.startswith("the proxy in https_proxy requires a user and a password")


@pytest.mark.parametrize("answer", [[b"not TLS at all, whatever it is"], []], ids=["other words", "hung up"])
def test_what_fails_before_tls_is_ready_may_pass_and_has_not_left(
    fail: Callable[[str], CoinGeckoError], play: Callable[..., Any], waits: list[float], answer: list[bytes]
) -> None:
    with play(answer) as url:
        error = fail(url.replace("http:", "https:"))
    assert isinstance(error, Unreachable)
    assert len(waits) == 3


def test_a_refused_connection_has_not_left(fail: Callable[[str], CoinGeckoError], waits: list[float]) -> None:
    error = fail(f"http://{CLOSED}")
    assert isinstance(error, Unreachable) and error.affects_all
    assert len(waits) == 3


def test_an_untrusted_certificate_says_where_its_authority_belongs(
    fail: Callable[[str], CoinGeckoError], encrypted: str, waits: list[float]
) -> None:
    error = fail(encrypted)
    assert isinstance(error, Misconfigured)
    assert "127.0.0.1 shows is not trusted (self" in error.verdict and "REQUESTS_CA_BUNDLE" in error.verdict
    assert waits == []


def test_the_authorities_of_the_environment_count_on_loopback(
    encrypted: str, certificate: Path, connect: Connect, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(certificate))
    with connect(encrypted) as client:
        client.ping()


def test_without_tls_no_authorities_are_needed(
    simulator: Simulator, connect: Connect, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", "/nowhere/ca.pem")
    with connect(simulator.base_url) as client:
        client.ping()
