"""Which requests are refused: by token, host name, other sites' pages and size; over a real socket where it matters."""

import http.client
import socket
from collections.abc import Callable, Iterator
from typing import Any
from urllib.parse import urlsplit

import pytest
from starlette.testclient import TestClient

from market_pipeline.api.app import create_app
from market_pipeline.api.endpoints.page import PAGE_PATHS
from market_pipeline.api.guards import OPEN_PATHS
from market_pipeline.api.service import Service
from market_pipeline.core.loopback import is_loopback
from market_pipeline_tests.api.serving import LOCAL, Response, asking, kind_of, served

TOKEN = "a-token-that-nobody-guesses"
OTHER = "http://prices.example.org"


@pytest.fixture
def address(service_of: Callable[..., Service]) -> Iterator[str]:
    """The API without a token, over a socket."""
    with served(create_app(service_of())) as there:
        yield there


@pytest.fixture
def guarded(service_of: Callable[..., Service]) -> Iterator[TestClient]:
    """The API with a token, under the name of another host."""
    with asking(create_app(service_of(api_token=TOKEN)), OTHER) as client:
        yield client


def refused(answer: Response, status: int, kind: str) -> bool:
    assert (answer.status_code, kind_of(answer)) == (status, kind)
    return bool(answer.headers["X-Content-Type-Options"] == "nosniff")


def test_without_the_token_nothing_is_served(guarded: TestClient) -> None:
    wrong = [
        "", "Bearer", "Bearer ", f"Bearer {TOKEN}x", f"Bearer {TOKEN[:-1]}", f"Basic {TOKEN}", TOKEN, "Bearer \u00e9",
    ]
    paths = [
        ("GET", "/prices/BTC"), ("GET", "/metrics"), ("GET", "/page-settings.json"), ("GET", "/symbols"),
        ("GET", "/symbols/BTC/chart.json"),
        ("GET", "/symbols/BTC%2Fchart.json"), ("POST", "/collect-once/BTC"),
        ("GET", "/nowhere"), ("GET", "/./healthz/x"), ("GET", "/healthz/"), ("OPTIONS", "/prices/BTC"),
    ]
    for method, path, given in [*((*each, wrong[0]) for each in paths), *((*paths[0], each) for each in wrong)]:
        headers = {b"Authorization": given.encode("latin-1")} if given else {}
        answer = guarded.request(method, path, headers=headers)
        assert refused(answer, 401, "unauthorized"), (path, given)
        assert answer.headers["WWW-Authenticate"] == "Bearer" and TOKEN not in answer.text
    both = [("Authorization", f"Bearer {TOKEN}"), ("Authorization", "Bearer x")]
    assert guarded.get("/symbols", headers=both).status_code == 401


def test_with_the_token_all_is_served_and_some_without_it(guarded: TestClient) -> None:
    for scheme in ("Bearer", "bearer", "BEARER"):
        answer = guarded.get("/page-settings.json", headers={"Authorization": f"{scheme} {TOKEN}"})
        assert answer.json()["dagster_ui_url"] == "http://127.0.0.1:3000"
    for path in (*OPEN_PATHS, *PAGE_PATHS, "/symbols/BTC"):
        assert guarded.get(path).status_code in (200, 503), path


def test_the_document_says_where_a_token_is_needed(guarded: TestClient, client: TestClient) -> None:
    document = guarded.get("/openapi.json").json()
    scheme = document["components"]["securitySchemes"]["bearer"]
    assert (scheme["type"], scheme["scheme"]) == ("http", "bearer")
    for path, operations in document["paths"].items():
        for operation in operations.values():
            needed = path not in OPEN_PATHS
            assert ("security" in operation, "401" in operation["responses"]) == (needed, needed), path
    assert "securitySchemes" not in client.get("/openapi.json").json()["components"]


@pytest.mark.parametrize(("host", "status"), [
    *((host, 200) for host in ("127.0.0.1", "localhost", "LOCALHOST:8000", "localhost.", "[::1]:8000", "127.9.9.9:1")),
    *((host, 421) for host in (
        "evil.example:8000", "localhost.evil.example", "127.0.0.1.evil.example", "0.0.0.0", "192.168.1.4", "",
        "127.0.0.1:80@evil.example", "evil.example#127.0.0.1", "[::2]",
    )),
])
def test_without_a_token_only_loopback_names_are_served(client: TestClient, host: str, status: int) -> None:
    """DNS rebinding: a page of evil.example may let its name resolve to 127.0.0.1, but cannot send another Host."""
    answer = client.get("/healthz", headers={"Host": host})
    assert answer.status_code == 200 if status == 200 else refused(answer, 421, "unknown-host")


def test_a_request_without_a_host_or_with_two_is_refused(address: str) -> None:
    for headers in (b"", b"Host: localhost\r\nHost: evil.example\r\n"):
        assert b" 421 " in spoken(address, b"GET /healthz HTTP/1.0\r\n" + headers + b"\r\n")


@pytest.mark.parametrize("settings", [{"api_token": TOKEN}, {"api_without_token": True}])
def test_a_token_or_the_setting_opens_it_to_any_name(
    service_of: Callable[..., Service], settings: dict[str, Any]
) -> None:
    with asking(create_app(service_of(**settings)), OTHER) as client:
        assert client.get("/healthz").status_code == 200


@pytest.mark.parametrize(("headers", "foreign"), [
    ({"Sec-Fetch-Site": "cross-site"}, True), ({"Sec-Fetch-Site": "same-site"}, True),
    ({"Sec-Fetch-Site": "same-origin", "Origin": LOCAL}, False), ({"Sec-Fetch-Site": "none"}, False),
    ({"Origin": "https://evil.example"}, True), ({"Origin": "null"}, True), ({"Origin": "http://["}, True),
    ({"Origin": ""}, True), ({"Origin": "http://127.0.0.1:9000"}, True), ({"Origin": LOCAL}, False), ({}, False),
])
def test_pages_of_other_sites_change_nothing(client: TestClient, headers: dict[str, str], foreign: bool) -> None:
    answer = client.post("/healthz", headers=headers)
    if foreign:
        assert refused(answer, 403, "foreign-site")
    else:
        assert refused(answer, 405, "method-not-allowed") and answer.headers["Allow"] == "GET, HEAD"
    assert client.get("/healthz", headers=headers).status_code == 200, "the browser hides the answer"


def test_long_addresses_and_large_headers_are_refused(client: TestClient) -> None:
    """With an address of 60 kB of parameters one request blocked all others; a browser may have many cookies."""
    query = "&".join(f"p{number}=" for number in range(400))
    assert refused(client.get(f"/symbols?{query}"), 414, "address-too-long")
    assert client.get(f"/prices/BTC?cursor={'a' * 200}").status_code == 404
    assert client.get("/healthz", headers={"Cookie": "a" * 16_000}).status_code == 200
    for name in ("Accept", "Cookie"):
        assert refused(client.get("/healthz", headers={name: "a" * 33_000}), 431, "headers-too-large")


def test_the_first_of_several_guards_answers(guarded: TestClient, client: TestClient) -> None:
    """The size of the head comes first, and the body last: without the token nothing of it is read."""
    token, foreign = {"Authorization": f"Bearer {TOKEN}"}, {"Sec-Fetch-Site": "cross-site"}
    large, elsewhere = {"Content-Length": "9999"}, {"Host": "evil.example"}
    assert refused(guarded.post("/healthz/x", headers=token | large), 413, "body-too-large")
    assert refused(guarded.post("/healthz/x", headers=large), 401, "unauthorized")
    assert refused(guarded.post("/healthz/x", headers=large | foreign), 403, "foreign-site")
    assert refused(client.post("/healthz/x", headers=large | foreign | elsewhere), 421, "unknown-host")
    assert refused(client.post(f"/{'x' * 2048}", headers=large | foreign | elsewhere), 414, "address-too-long")


def test_no_request_is_redirected(client: TestClient) -> None:
    """A redirect would have the name and scheme of the proxy's request, and a token would follow in the open."""
    for path in ("/prices/BTC/", "/healthz/"):
        assert refused(client.get(path, follow_redirects=False), 404, "not-found")


def test_a_head_has_no_body_on_the_wire(address: str) -> None:
    answer = spoken(address, b"HEAD /healthz HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
    assert answer.startswith(b"HTTP/1.1 200") and answer.endswith(b"\r\n\r\n") and b"content-length: 19" in answer


def test_a_large_body_is_refused_before_it_is_sent(address: str, client: TestClient) -> None:
    """The announcement alone is answered, and the connection is closed: nothing waits for the rest."""
    answer = spoken(address, b"POST /healthz HTTP/1.1\r\nHost: localhost\r\nContent-Length: 4097\r\n\r\n")
    assert b" 413 " in answer and b"body-too-large" in answer and b"connection: close" in answer.lower()
    for length in ("99999999999999999999", "1_0", "-1"):
        assert client.post("/healthz", headers={"Content-Length": length}).status_code == 413


def test_a_body_of_unknown_length_is_counted(address: str) -> None:
    host = urlsplit(address)
    for pieces, status in (([b"x" * 2100] * 2, 413), ([b"x" * 2100], 405), ([], 405)):
        connection = http.client.HTTPConnection(str(host.hostname), host.port, timeout=20)
        connection.request("POST", "/healthz", iter(pieces), {"Transfer-Encoding": "chunked"}, encode_chunked=True)
        assert connection.getresponse().status == status
        connection.close()


def test_a_body_that_does_not_end_is_not_waited_for(address: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("market_pipeline.api.guards.BODY_SECONDS", 0.2)
    head = b"POST /healthz HTTP/1.1\r\nHost: localhost\r\n"
    for rest in (b"Transfer-Encoding: chunked\r\n\r\n1\r\nx\r\n", b"Content-Length: 2\r\n\r\nx"):
        assert b" 413 " in spoken(address, head + rest)


def test_every_answer_has_the_security_headers(service_of: Callable[..., Service]) -> None:
    app = create_app(service_of())

    @app.get("/broken")
    def broken() -> None:
        raise RuntimeError("inside")

    with asking(app) as client:
        for path in ("/healthz", "/nowhere", "/openapi.json", "/broken"):
            headers = client.get(path).headers
            assert headers["Content-Security-Policy"] == "default-src 'none'; frame-ancestors 'none'"
            assert headers["X-Content-Type-Options"] == "nosniff" and headers["X-Frame-Options"] == "DENY"
            assert headers["Referrer-Policy"] == "no-referrer"
            assert headers["Cross-Origin-Resource-Policy"] == "same-origin"
        assert refused(client.get("/broken"), 500, "internal-error")


def test_loopback_is_this_machine_alone() -> None:
    assert all(map(is_loopback, ("127.0.0.1", "::1", "[::1]", "localhost", "127.1.2.3")))
    assert not any(map(is_loopback, ("0.0.0.0", "::", "example.org", "10.0.0.1", "")))


def spoken(address: str, request: bytes) -> bytes:
    """What the server answers to `request` until it closes the connection."""
    host = urlsplit(address)
    with socket.create_connection((str(host.hostname), host.port or 80), timeout=20) as connection:
        connection.sendall(request)
        answer = b""
        while part := connection.recv(65536):
            answer += part
    return answer
