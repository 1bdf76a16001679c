"""Every kind of answer without end, and every other way to keep a request waiting, ends at the deadline."""

import gzip
import os
import signal
import socket
import ssl
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import pytest
import requests

from market_pipeline.coingecko.client import CoinGeckoClient
from market_pipeline.coingecko.deadline import Deadline, DeadlineAdapter
from market_pipeline.coingecko.errors import ConnectionFailed, DeadlineExceeded, Unreachable
from market_pipeline.coingecko.retries import RetryPolicy

Connect = Callable[..., CoinGeckoClient]

OK = b"HTTP/1.1 200 OK\r\n"
CHUNKED = OK + b"Transfer-Encoding: chunked\r\n\r\n"
GZIP_HEADER = gzip.compress(b"", mtime=0)[:10]
# What comes first, and what follows for ever.
ENDLESS = {
    "status line": (b"HTTP/1.1 200 O", b"K"),
    "header": (OK + b"X-Long: ", b"a"),
    "100-continue": (b"", b"HTTP/1.1 100 Continue\r\n\r\n"),
    "body": (OK + b"Content-Length: 5000\r\n\r\n{", b" "),
    "body until the connection closes": (OK + b"Connection: close\r\n\r\n{}", b" "),
    "chunk size": (CHUNKED, b"0"),
    "chunk extension": (CHUNKED + b"1;a=", b"b"),
    "trailers": (CHUNKED + b"2\r\n{}\r\n0\r\n", b"A: b\r\n"),
    "gzip of nothing": (OK + b"Content-Encoding: gzip\r\n\r\n" + GZIP_HEADER, b"\x00\x00\x00\xff\xff"),
}


@pytest.mark.parametrize("kind", ENDLESS)
def test_an_answer_without_end_is_given_up(play: Callable[..., Any], connect: Connect, kind: str) -> None:
    first, rest = ENDLESS[kind]
    threads, files = threading.active_count(), len(os.listdir("/dev/fd"))
    started = time.monotonic()
    with play([first, *[rest] * 3_000], pause=0.01) as url:
        policy = RetryPolicy(idle=0.4, attempt=0.4, call=0.5)
        with (
            connect(url, policy=policy) as client,
            pytest.raises(DeadlineExceeded, match="not complete after") as caught,
        ):
            client.ping()
    assert time.monotonic() - started < 15, "the answer takes twice as long"
    assert (caught.value.status, client.requests_sent, caught.value.affects_all) == (None, 1, True)
    assert len(os.listdir("/dev/fd")) <= files and threading.active_count() <= threads


def test_all_attempts_of_a_call_share_one_limit(
    play: Callable[..., Any], connect: Connect
) -> None:
    """A server that takes its connections and never answers would otherwise get four requests."""
    with (
        play([b""], pause=0.3) as url,
        connect(url, policy=RetryPolicy(idle=0.1, call=0.25)) as client,
        pytest.raises(ConnectionFailed),
    ):
        client.ping()
    assert client.requests_sent < 4


@contextmanager
def full_listener() -> Iterator[str]:
    """The URL of a listener whose queue is full: new connections wait."""
    with socket.create_server(("127.0.0.1", 0), backlog=0) as listener:
        address = listener.getsockname()
        with socket.create_connection(address):
            yield f"http://127.0.0.1:{address[1]}"


def test_connecting_has_the_same_deadline(connect: Connect) -> None:
    with (
        full_listener() as url,
        connect(url, policy=RetryPolicy(idle=30, attempt=0.1, call=0.1)) as client,
    ):
        started = time.monotonic()
        with pytest.raises((Unreachable, DeadlineExceeded)):
            client.ping()
    assert time.monotonic() - started < 15 and client.requests_sent == 1


@pytest.mark.parametrize("connects", [True, False])
def test_ctrl_c_ends_an_endless_request(
    play: Callable[..., Any], connect: Connect, connects: bool, request: pytest.FixtureRequest
) -> None:
    # A process that was started in the background of a shell ignores Ctrl-C.
    former = signal.signal(signal.SIGINT, signal.default_int_handler)
    request.addfinalizer(lambda: signal.signal(signal.SIGINT, former))
    parts = [b"HTTP/1.1 200 O", *[b"K"] * 3_000]
    with play(parts, pause=0.01) if connects else full_listener() as url:
        timer = threading.Timer(0.1, os.kill, (os.getpid(), signal.SIGINT))
        started = time.monotonic()
        with connect(url, policy=RetryPolicy(idle=30)) as client:
            timer.start()
            with pytest.raises(KeyboardInterrupt):
                client.ping()
    assert time.monotonic() - started < 15 and client.requests_sent == 1


@contextmanager
def session() -> Iterator[requests.Session]:
    with requests.Session() as made:
        made.trust_env = False
        made.mount("http://", DeadlineAdapter())
        made.mount("https://", DeadlineAdapter())
        yield made


def test_tls_ends_at_the_deadline(certificate: Path) -> None:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate)
    with socket.create_server(("127.0.0.1", 0)) as listener, session() as asking:

        def answer_and_trickle() -> None:
            with suppress(OSError), context.wrap_socket(listener.accept()[0], server_side=True) as connection:
                connection.recv(65_536)
                connection.sendall(OK + b"Content-Length: 2\r\n\r\n{}")
                connection.recv(65_536)
                for part in (OK, *[b"a"] * 500):
                    connection.sendall(part)
                    time.sleep(0.01)

        listener.settimeout(10)
        thread = threading.Thread(target=answer_and_trickle, daemon=True)
        thread.start()
        url = f"https://localhost:{listener.getsockname()[1]}"
        with Deadline(60):
            assert asking.get(url, verify=str(certificate), timeout=30).text == "{}"
        # Headers that end with their connection are headers; the transport looks at `passed`.
        with Deadline(0.1) as deadline, suppress(requests.RequestException):
            asking.get(url, verify=str(certificate), timeout=5)
        assert deadline.passed
        thread.join(30)
    assert not thread.is_alive()


def test_a_tunnel_through_a_proxy_ends_at_the_deadline(play: Callable[..., Any]) -> None:
    with play([b"H"] * 500, pause=0.01) as proxy, session() as asking:
        with Deadline(0.1) as deadline, suppress(requests.RequestException):
            asking.get("https://api.invalid", proxies={"https": proxy}, timeout=1)
    assert deadline.passed


def test_a_connection_outlives_the_deadline_of_an_earlier_request(play: Callable[..., Any]) -> None:
    with play([OK + b"Content-Length: 2\r\n\r\n{}"] * 2, pause=0.2) as url, session() as asking:
        with Deadline(0.1):
            assert asking.get(url, timeout=30).text == "{}"
        # The same connection: this server reads only the first request, and its second answer comes by itself.
        with Deadline(60) as deadline:
            assert asking.get(url, timeout=30).text == "{}"
    assert not deadline.passed
