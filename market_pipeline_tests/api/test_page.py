"""The pages' files as they are served; what a browser shows is in test_*_in_a_browser.py."""

import re
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from html.parser import HTMLParser
from pathlib import Path
from typing import ClassVar
from urllib.parse import urljoin

import pytest
import requests
from starlette.testclient import TestClient

from market_pipeline.api.app import create_app
from market_pipeline.api.endpoints import packaged
from market_pipeline.api.endpoints.packaged import PACKAGED_PATHS
from market_pipeline.api.endpoints.page import PAGE_PATHS
from market_pipeline.api.service import STATE_THREADS, Service
from market_pipeline.charts.theme import DARK, LIGHT
from market_pipeline.core.program import DEMO_VARIABLE
from market_pipeline.storage.engine import POOL
from market_pipeline_tests.api.serving import served
from market_pipeline_tests.builders import wait_for

STATIC = Path(__file__).parents[2] / "market_pipeline" / "api" / "static"
WRITES_MARKUP = re.compile(
    r"innerHTML|outerHTML|insertAdjacentHTML|document\.write|\beval\b|new Function|DOMParser"
)


def test_every_file_has_its_type_and_an_etag_and_asks_for_nothing_inline(client: TestClient) -> None:
    types = {"css": "text/css", "js": "text/javascript", "svg": "image/svg+xml"}
    assert len(PAGE_PATHS - PACKAGED_PATHS) == len(list(STATIC.iterdir())) + 2
    for path in {"/symbols/BTC", *PAGE_PATHS} - PACKAGED_PATHS:
        answer = client.get(path)
        assert answer.status_code == 200
        kind = types.get(path.rpartition(".")[2], "text/html")
        assert answer.headers["Content-Type"].startswith(kind), path
        assert answer.headers["Cache-Control"] == "no-cache"
        policy = answer.headers["Content-Security-Policy"]
        assert "script-src 'self';" in policy and "style-src 'self';" in policy and "unsafe" not in policy
        assert "default-src 'none'" in policy and ("data:" in policy) == (path == "/docs")
        again = client.get(path, headers={"If-None-Match": answer.headers["ETag"]})
        assert (again.status_code, again.content) == (304, b"")


def test_the_files_of_other_packages_are_compressed_and_cached(client: TestClient) -> None:
    for path in PACKAGED_PATHS:
        plain, packed = (client.get(path, headers={"Accept-Encoding": code}) for code in ("gzip;q=0", "br, gzip"))
        assert (plain.headers.get("Content-Encoding"), packed.headers["Content-Encoding"]) == (None, "gzip")
        assert plain.content == packed.content and int(packed.headers["Content-Length"]) < len(plain.content) / 2
        assert plain.headers["ETag"] != packed.headers["ETag"] and packed.headers["Vary"] == "Accept-Encoding"
        assert packed.headers["Cache-Control"] == "public, max-age=86400"
        again = {"If-None-Match": packed.headers["ETag"], "Accept-Encoding": "gzip"}
        assert client.get(path, headers=again).status_code == 304
    assert client.get("/packaged/plotly.js").status_code == 404


def test_files_of_other_packages_are_read_one_at_a_time(
    service_of: Callable[..., Service], monkeypatch: pytest.MonkeyPatch
) -> None:
    """They are large, and no token is required for them."""
    both = threading.Barrier(2, timeout=0.3)

    def content(name: str, compress: bool) -> bytes:
        try:
            both.wait()
        except threading.BrokenBarrierError:
            return b"alone"
        return b"together"

    monkeypatch.setattr(packaged, "_content", content)
    with served(create_app(service_of())) as address, ThreadPoolExecutor(2) as threads:
        plain = {"Accept-Encoding": "identity"}
        requested = [threads.submit(requests.get, f"{address}/packaged/swagger-ui.css", headers=plain) for _ in "12"]
        answers = [one.result() for one in requested]
    assert [answer.content for answer in answers] == [b"alone", b"alone"]


@pytest.mark.parametrize("name", ["nothing.js", "..%2fpage.py", "%2e%2e/page.py", "page.css/x", "x" * 200])
def test_there_are_no_other_files(client: TestClient, name: str) -> None:
    assert client.get(f"/page/{name}").status_code in (404, 422)


@pytest.mark.parametrize("page", ["page", "symbol"])
def test_a_page_names_all_its_scripts_so_that_none_waits_for_another(page: str) -> None:
    needed, found = [f"{page}.js"], set[str]()
    while needed:
        script = needed.pop()
        found.add(script)
        needed += set(re.findall(r'from "\./(\w+\.js)"', (STATIC / script).read_text())) - found
    assert set(re.findall(r"page/(\w+\.js)", (STATIC / f"{page}.html").read_text())) == found


@pytest.mark.parametrize("path", ["/", "/symbols/BTC", "/docs"])
def test_a_page_brings_everything_along(client: TestClient, path: str) -> None:
    class Links(HTMLParser):
        found: ClassVar[list[str]] = []

        def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
            self.found.extend(str(value) for name, value in attrs if name in ("src", "href"))
            assert not any(name.startswith("on") or name == "style" for name, _ in attrs), "inline code"

    Links().feed(client.get(path).text)
    assert len(Links.found) >= 4
    for link in Links.found:
        assert client.get(urljoin(f"http://127.0.0.1{path}", link)).status_code == 200, link


def test_no_script_makes_markup_from_text() -> None:
    for script in STATIC.glob("*.js"):
        assert not WRITES_MARKUP.search(script.read_text()), script.name


def test_the_colours_are_those_of_the_charts() -> None:
    """One product, one palette; the page adds grounds for its notes."""
    light, dark = re.findall(r":root \{(.*?)\}", (STATIC / "page.css").read_text(), re.DOTALL)
    for theme, block in ((LIGHT, light), (DARK, dark)):
        colours = dict(re.findall(r"--([a-z-]+): (#[0-9a-f]{6})", block))
        charted = {
            "paper": theme.paper, "ink": theme.ink, "faint": theme.faint, "grid": theme.grid,
            "line": theme.line, "mild": theme.event, "mild-ink": theme.event_ink,
            "alarm": theme.kinds["jump"], "up": theme.kinds["stale_feed"],
        }
        assert charted.items() <= colours.items()
    light, dark = re.findall(r":root \{(.*?)\}", (STATIC / "symbol.css").read_text(), re.DOTALL)
    for theme, block in ((LIGHT, light), (DARK, dark)):
        colours = dict(re.findall(r"--([a-z_0-9-]+): (#[0-9a-f]{6})", block))
        bands = {"sigma-1": theme.one_sigma, "sigma-3": theme.three_sigma, "market_move": theme.event_ink}
        assert colours == {**bands, **theme.kinds}


def test_readers_never_outnumber_the_connections_and_the_page_needs_none(service_of: Callable[..., Service]) -> None:
    """A thread without a connection would time out; the page says that the API is unreachable, so it must come."""
    app, released, lock = create_app(service_of()), threading.Event(), threading.Lock()
    inside: list[int] = []

    @app.get("/testing/slow")
    def slow() -> None:
        with lock:
            inside.append(1)
        released.wait()

    reading = POOL["pool_size"] - STATE_THREADS
    with served(app, starts=True) as address, ThreadPoolExecutor(30) as pool:
        answers = [pool.submit(requests.get, f"{address}/testing/slow") for _ in range(30)]
        try:
            wait_for(lambda: len(inside) == reading, 20, "the use of every thread")
            for path in PAGE_PATHS:
                assert requests.get(address + path, timeout=20).status_code == 200
            assert len(inside) == reading
        finally:
            released.set()
        assert {answer.result().status_code for answer in answers} == {200}


def test_the_page_names_the_commands_that_serve_it(client: TestClient, monkeypatch: pytest.MonkeyPatch) -> None:
    for demo, commands in (("0", "`market-pipeline run` or `market-pipeline serve`"), ("1", "`market-pipeline demo`")):
        monkeypatch.setenv(DEMO_VARIABLE, demo)
        assert client.get("/page-settings.json").json()["serving"] == commands


@pytest.mark.parametrize(("base_url", "shown"), [
    ("http://127.0.0.1:8190/api/v3", "127.0.0.1:8190"), ("https://pro-api.coingecko.com/api/v3", ""),
    ("https://coingecko.com.example/api/v3", "coingecko.com.example"),
])
def test_prices_of_another_source_are_marked(api: Callable[..., TestClient], base_url: str, shown: str) -> None:
    """A simulator's look like real ones."""
    assert api(coingecko_base_url=base_url).get("/page-settings.json").json()["other_source"] == shown
