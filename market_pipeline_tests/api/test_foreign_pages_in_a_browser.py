"""What pages of other sites can do to an API on this machine without a token: a real browser tries."""

import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from market_pipeline.api.app import create_app
from market_pipeline_tests.api.browser import chromium
from market_pipeline_tests.api.conftest import served
from market_pipeline_tests.builders import wait_for

pytestmark = pytest.mark.slow

POST = """address => fetch(`${address}/collect-once/BTC`, {method: 'POST', mode: 'no-cors'})
    .then(answer => answer.status, () => 'refused')"""
READ = "address => fetch(`${address}/symbols`).then(answer => answer.status, () => 'refused')"


@pytest.fixture(scope="module")
def page():
    """A tab of a browser for which evil.example is this machine."""
    with chromium("--host-resolver-rules=MAP evil.example 127.0.0.1") as browser:
        yield browser.new_page()


@pytest.fixture
def address(sqlite_database, dagster_home, service_of):
    with served(create_app(service_of())) as there:
        yield there


@pytest.fixture
def database(sqlite_database):
    return sqlite_database


@pytest.fixture(scope="module")
def elsewhere():
    """A page of another site, on this machine too: of others Chromium itself keeps loopback away."""

    class Page(BaseHTTPRequestHandler):
        def do_GET(self):
            self.send_response(200)
            self.end_headers()

        def log_message(self, *_):
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Page) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://localhost:{server.server_port}/"
        server.shutdown()


def test_another_site_cannot_make_it_collect(page, address, elsewhere, simulator, caplog):
    """A browser lets any page send this request; only the answer stays hidden from the page."""
    caplog.set_level("INFO", "market_pipeline")
    page.goto(elsewhere)
    assert page.evaluate(POST, address) == "refused"
    wait_for(lambda: "POST /collect-once/BTC answered 403" in caplog.text, 5, "the line of the refused request")
    assert simulator.requests == []
    page.goto(address)
    assert page.evaluate(POST, address) == 200, "its own page may"
    assert len(simulator.requests) == 1


def test_another_site_cannot_read_it(page, address, elsewhere):
    page.goto(elsewhere)
    assert page.evaluate(READ, address) == "refused"
    page.goto(address)
    assert page.evaluate(READ, address) == 200


def test_a_name_that_comes_to_mean_this_machine_is_not_served(page, address):
    """DNS rebinding: to the browser it would be the same origin, free to read and to collect."""
    answer = page.goto(address.replace("127.0.0.1", "evil.example"))
    assert answer.status == 421
    assert answer.json()["type"].endswith("unknown-host")


def test_it_cannot_be_framed(page, address, elsewhere):
    page.goto(elsewhere)
    page.set_content(f'<iframe src="{address}/"></iframe>')
    page.wait_for_timeout(1000)
    assert [frame.url for frame in page.frames if frame != page.main_frame] == ["chrome-error://chromewebdata/"]
