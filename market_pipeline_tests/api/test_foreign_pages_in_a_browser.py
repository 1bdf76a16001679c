"""What pages of other sites can do to an API on this machine without a token: a real browser tries."""

import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest
from playwright.sync_api import Page

from market_pipeline.api.app import create_app
from market_pipeline.api.service import Service
from market_pipeline.core.clock import utc_now
from market_pipeline.simulator.server import Simulator
from market_pipeline.storage.engine import Database
from market_pipeline.storage.schema.tables import anomaly_marks
from market_pipeline_tests.api.browser import chromium
from market_pipeline_tests.api.serving import served, store_anomaly, store_quotes
from market_pipeline_tests.builders import stored_rows, wait_for

pytestmark = pytest.mark.slow

POST = """address => fetch(`${address}/collect-once/BTC`, {method: 'POST', mode: 'no-cors'})
    .then(answer => answer.status, () => 'refused')"""
MARK = """([address, id, method]) => fetch(`${address}/anomalies/${id}/mark`, {
    method, headers: {'Content-Type': 'application/json'}, body: '{"mark": "noise"}',
}).then(answer => answer.status, () => 'refused')"""
READ = "address => fetch(`${address}/symbols`).then(answer => answer.status, () => 'refused')"


@pytest.fixture(scope="module")
def page() -> Iterator[Page]:
    """A tab of a browser for which evil.example is this machine."""
    with chromium("--host-resolver-rules=MAP evil.example 127.0.0.1") as browser:
        yield browser.new_page()


@pytest.fixture
def address(service_of: Callable[..., Service]) -> Iterator[str]:
    with served(create_app(service_of())) as there:
        yield there


@pytest.fixture(scope="module")
def elsewhere() -> Iterator[str]:
    """A page of another site, on this machine too: Chromium itself lets no other reach loopback."""

    class Empty(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.end_headers()

        def log_message(self, *_: Any) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Empty) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://localhost:{server.server_port}/"
        server.shutdown()


def test_another_site_cannot_make_it_collect(
    page: Page, address: str, elsewhere: str, simulator: Simulator, caplog: pytest.LogCaptureFixture
) -> None:
    """A browser lets any page send this request; only the answer stays hidden from the page."""
    caplog.set_level("INFO", "market_pipeline")
    page.goto(elsewhere)
    assert page.evaluate(POST, address) == "refused"
    wait_for(lambda: "POST /collect-once/BTC answered 403" in caplog.text, 60, "the line of the refused request")
    assert simulator.requests == []
    page.goto(address)
    assert page.evaluate(POST, address) == 200, "its own page may"
    assert len(simulator.requests) == 1


def test_another_site_can_neither_mark_nor_unmark(page: Page, address: str, elsewhere: str, database: Database) -> None:
    newest = store_quotes(database, "BTC", [utc_now()], 10.0)
    id_ = store_anomaly(database, "BTC", newest)
    page.goto(elsewhere)
    assert page.evaluate(MARK, [address, id_, "PUT"]) == "refused"
    page.goto(address)
    assert page.evaluate(MARK, [address, id_, "PUT"]) == 200, "its own page may"
    page.goto(elsewhere)
    assert page.evaluate(MARK, [address, id_, "DELETE"]) == "refused"
    assert [row["mark"] for row in stored_rows(database, anomaly_marks)] == ["noise"]


def test_another_site_cannot_read_it(page: Page, address: str, elsewhere: str) -> None:
    page.goto(elsewhere)
    assert page.evaluate(READ, address) == "refused"
    page.goto(address)
    assert page.evaluate(READ, address) == 200


def test_a_name_that_comes_to_mean_this_machine_is_not_served(page: Page, address: str) -> None:
    """DNS rebinding: to the browser it would be the same origin, free to read and to collect."""
    answer = page.goto(address.replace("127.0.0.1", "evil.example"))
    assert answer is not None and answer.status == 421
    assert answer.json()["type"].endswith("unknown-host")


def test_it_cannot_be_framed(page: Page, address: str, elsewhere: str) -> None:
    page.goto(elsewhere)
    page.set_content(f'<iframe src="{address}/"></iframe>')
    page.wait_for_function("window.frames.length === 1")
    for frame in page.frames[1:]:
        frame.wait_for_url("chrome-error://chromewebdata/")
