"""Who is let in, and who is not: tokens, host names, other sites' pages, bodies; over a real socket."""

import http.client
import socket
from urllib.parse import urlsplit

import pytest
import requests
from starlette.testclient import TestClient

from market_pipeline.api.app import create_app
from market_pipeline.api.guards import OPEN_PATHS
from market_pipeline.core.loopback import is_loopback
from market_pipeline_tests.api.conftest import served

TOKEN = "a-token-that-nobody-guesses"
LOCAL = "http://127.0.0.1:8000"


@pytest.fixture
def address(service_of):
    """The API without a token, over a socket."""
    with served(create_app(service_of())) as there:
        yield there


@pytest.fixture
def guarded(service_of):
    """The API with a token, in process, under the name of another host."""
    with TestClient(create_app(service_of(api_token=TOKEN)), "http://prices.example.org") as asking:
        yield asking


@pytest.fixture(autouse=True)
def database(sqlite_database):
    """None of this depends on the database."""
    return sqlite_database


def assert_problem(answer, status, kind):
    document = answer.json()
    assert (answer.status_code, document["type"]) == (status, f"urn:market-pipeline:problem:{kind}")
    assert answer.headers["Content-Type"] == "application/problem+json"
    assert document["trace_id"] == answer.headers["X-Request-ID"]
    assert answer.headers["X-Content-Type-Options"] == "nosniff"


@pytest.mark.parametrize(
    "authorization",
    [
        None, "Bearer", "Bearer ", f"Bearer {TOKEN}x", f"Bearer {TOKEN[:-1]}", f"Basic {TOKEN}", TOKEN,
        "Bearer \u00e9",
    ],
)
def test_without_the_token_nothing_is_told(guarded, authorization):
    headers = {"Authorization": authorization.encode("latin-1")} if authorization else {}
    for method, path in (
        ("GET", "/prices/BTC"), ("GET", "/metrics"), ("GET", "/page-settings.json"),
        ("POST", "/collect-once/BTC"),
        ("GET", "/nowhere"), ("GET", "/./healthz/x"), ("GET", "/healthz/"), ("OPTIONS", "/prices/BTC"),
    ):
        answer = guarded.request(method, path, headers=headers)
        assert_problem(answer, 401, "unauthorized")
        assert answer.headers["WWW-Authenticate"] == "Bearer"
        assert TOKEN not in answer.text


@pytest.mark.parametrize("scheme", ["Bearer", "bearer", "BEARER"])
def test_with_the_token_everything_is_as_without_one(guarded, scheme):
    answer = guarded.get("/page-settings.json", headers={"Authorization": f"{scheme} {TOKEN}"})
    assert answer.json()["dagster_ui_url"] == "http://127.0.0.1:3000"


def test_two_authorizations_are_none(guarded):
    both = [("Authorization", f"Bearer {TOKEN}"), ("Authorization", "Bearer x")]
    assert guarded.get("/symbols", headers=both).status_code == 401


def test_what_needs_no_token_answers_without_one(guarded):
    for path in OPEN_PATHS:
        assert guarded.get(path).status_code in (200, 503), path


def test_the_document_says_that_a_token_is_needed_and_where(guarded):
    document = guarded.get("/openapi.json").json()
    scheme = document["components"]["securitySchemes"]["bearer"]
    assert (scheme["type"], scheme["scheme"]) == ("http", "bearer")
    needs = {}
    for path, operations in document["paths"].items():
        for operation in operations.values():
            needs[path] = ("security" in operation, "401" in operation["responses"])
    assert needs == {path: (path not in OPEN_PATHS, path not in OPEN_PATHS) for path in needs}
    assert {(False, False), (True, True)} == set(needs.values())


def test_the_document_speaks_of_no_token_where_none_is_needed(client):
    document = client.get("/openapi.json").json()
    assert "securitySchemes" not in document["components"]


@pytest.mark.parametrize(
    "host", ["127.0.0.1", "localhost", "LOCALHOST:8000", "localhost.", "[::1]:8000", "127.9.9.9:1"]
)
def test_without_a_token_the_names_of_this_machine_are_served(address, host):
    assert requests.get(f"{address}/healthz", headers={"Host": host}, timeout=10).status_code == 200


@pytest.mark.parametrize(
    "host",
    [
        "evil.example:8000", "localhost.evil.example", "127.0.0.1.evil.example", "0.0.0.0", "192.168.1.4", "",
        "127.0.0.1:80@evil.example", "evil.example#127.0.0.1", "[::2]",
    ],
)
def test_without_a_token_other_names_are_not_served(address, host):
    """A page of evil.example may let its name resolve to 127.0.0.1, but it cannot send another Host."""
    answer = requests.get(f"{address}/healthz", headers={"Host": host}, timeout=10)
    assert_problem(answer, 421, "unknown-host")


def test_a_request_without_a_host_or_with_two_is_refused(address):
    for headers in (b"", b"Host: localhost\r\nHost: evil.example\r\n"):
        assert b" 421 " in told(address, b"GET /healthz HTTP/1.0\r\n" + headers + b"\r\n")


@pytest.mark.parametrize("settings", [{"api_token": TOKEN}, {"api_without_token": True}])
def test_a_token_or_the_word_of_its_owner_opens_it_to_any_name(service_of, settings):
    with TestClient(create_app(service_of(**settings)), "http://prices.example.org") as asking:
        assert asking.get("/healthz").status_code == 200


@pytest.mark.parametrize(
    ("headers", "foreign"),
    [
        ({"Sec-Fetch-Site": "cross-site"}, True),
        ({"Sec-Fetch-Site": "same-site"}, True),
        ({"Sec-Fetch-Site": "same-origin", "Origin": LOCAL}, False),
        ({"Sec-Fetch-Site": "none"}, False),
        ({"Origin": "https://evil.example"}, True),
        ({"Origin": "null"}, True),
        ({"Origin": "http://["}, True),
        ({"Origin": ""}, True),
        ({"Origin": "http://127.0.0.1:9000"}, True),
        ({"Origin": LOCAL}, False),
        ({}, False),
    ],
)
def test_pages_of_other_sites_change_nothing(client, headers, foreign):
    answer = client.post("/healthz", headers=headers)
    if foreign:
        assert_problem(answer, 403, "foreign-site")
    else:
        assert_problem(answer, 405, "method-not-allowed")
        assert answer.headers["Allow"] == "GET, HEAD"
    assert client.get("/healthz", headers=headers).status_code == 200, "whoever cannot read it may still ask"


def test_an_address_of_many_parameters_is_not_taken_apart(client):
    """The longest that are of use have some hundred bytes; with 60 kB one request kept all others waiting."""
    query = "&".join(f"p{number}=" for number in range(400))
    assert_problem(client.get(f"/symbols?{query}"), 414, "address-too-long")
    assert client.get(f"/prices/BTC?cursor={'a' * 200}").status_code == 404


def test_large_headers_are_refused_and_those_of_a_browser_with_many_cookies_are_not(client):
    assert client.get("/healthz", headers={"Cookie": "a" * 16_000}).status_code == 200
    for name in ("Accept", "Cookie"):
        assert_problem(client.get("/healthz", headers={name: "a" * 33_000}), 431, "headers-too-large")


@pytest.mark.parametrize("path", ["/prices/BTC/", "/healthz/"])
def test_nobody_is_sent_to_another_address(client, path):
    """It would have the name and the scheme by which a proxy asks, and a token would follow in the open."""
    assert_problem(client.get(path, follow_redirects=False), 404, "not-found")


def test_a_large_body_is_refused_before_it_is_sent(address):
    """The announcement alone is answered, and the connection is closed: nothing waits for the rest."""
    answer = told(address, b"POST /healthz HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1025\r\n\r\n")
    assert b" 413 " in answer and b"body-too-large" in answer and b"connection: close" in answer.lower()


@pytest.mark.parametrize("length", ["99999999999999999999", "1_0", "-1"])
def test_a_length_that_is_none_gets_no_further(client, length):
    assert client.post("/healthz", headers={"Content-Length": length}).status_code == 413


@pytest.mark.parametrize(("pieces", "status"), [([b"x" * 600] * 2, 413), ([b"x" * 600], 405), ([], 405)])
def test_a_body_of_unknown_length_is_counted(address, pieces, status):
    host = urlsplit(address)
    connection = http.client.HTTPConnection(host.hostname, host.port, timeout=20)
    chunked = {"Transfer-Encoding": "chunked"}
    connection.request("POST", "/healthz", iter(pieces), chunked, encode_chunked=True)
    answer = connection.getresponse()
    assert answer.status == status
    answer.read()
    connection.close()


def test_a_body_that_does_not_end_is_not_waited_for(address, monkeypatch):
    monkeypatch.setattr("market_pipeline.api.guards._BODY_SECONDS", 0.2)
    head = b"POST /healthz HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n"
    assert b" 413 " in told(address, head + b"1\r\nx\r\n")


def test_every_answer_tells_the_browser_what_it_may_do(client):
    for path in ("/healthz", "/nowhere", "/openapi.json"):
        headers = client.get(path).headers
        assert headers["Content-Security-Policy"] == "default-src 'none'; frame-ancestors 'none'"
        assert headers["X-Content-Type-Options"] == "nosniff"
        assert headers["X-Frame-Options"] == "DENY"
        assert headers["Referrer-Policy"] == "no-referrer"
        assert headers["Cross-Origin-Resource-Policy"] == "same-origin"


def test_an_internal_error_has_them_too(service_of):
    app = create_app(service_of())

    @app.get("/broken")
    def broken():
        raise RuntimeError("inside")

    with TestClient(app, LOCAL, raise_server_exceptions=False) as asking:
        assert_problem(asking.get("/broken"), 500, "internal-error")


@pytest.mark.parametrize(
    ("name", "is_one"),
    [("127.0.0.1", True), ("::1", True), ("[::1]", True), ("localhost", True), ("127.1.2.3", True),
     ("0.0.0.0", False), ("::", False), ("example.org", False), ("10.0.0.1", False), ("", False)],
)
def test_loopback_is_this_machine_alone(name, is_one):
    assert is_loopback(name) is is_one


def told(address, request):
    """What the server answers to `request` until it closes the connection."""
    host = urlsplit(address)
    with socket.create_connection((host.hostname, host.port), timeout=20) as connection:
        connection.sendall(request)
        answer = b""
        while part := connection.recv(65536):
            answer += part
    return answer
