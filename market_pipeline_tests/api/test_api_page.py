"""The page's files as they are served; what they show in a browser is in test_page_in_a_browser.py."""

import re
import threading
import time
from html.parser import HTMLParser
from pathlib import Path

import pytest
import requests

from market_pipeline.api.app import create_app
from market_pipeline.api.endpoints.page import PAGE_PATHS
from market_pipeline.charts.theme import DARK, LIGHT
from market_pipeline_tests.api.conftest import served

STATIC = Path(__file__).parents[2] / "market_pipeline" / "api" / "static"
WRITES_MARKUP = re.compile(
    r"innerHTML|outerHTML|insertAdjacentHTML|document\.write|\beval\b|new Function|DOMParser"
)


@pytest.fixture
def database(sqlite_database):
    """Static files: one database is enough."""
    return sqlite_database


def test_every_file_has_its_type_and_an_etag_and_asks_for_nothing_inline(client):
    types = {"": "text/html", "css": "text/css", "js": "text/javascript", "svg": "image/svg+xml"}
    assert len(PAGE_PATHS) == len(list(STATIC.iterdir())) + 1
    for path in PAGE_PATHS - {"/page/page.html"}:
        answer = client.get(path)
        assert answer.status_code == 200
        assert answer.headers["Content-Type"].startswith(types[path.partition(".")[2]]), path
        assert answer.headers["Cache-Control"] == "no-cache"
        policy = answer.headers["Content-Security-Policy"]
        assert "script-src 'self';" in policy and "default-src 'none'" in policy and "unsafe" not in policy
        again = client.get(path, headers={"If-None-Match": answer.headers["ETag"]})
        assert (again.status_code, again.content) == (304, b"")


@pytest.mark.parametrize("name", ["nothing.js", "..%2fpage.py", "%2e%2e/page.py", "page.css/x", "x" * 200])
def test_there_are_no_other_files(client, name):
    assert client.get(f"/page/{name}").status_code in (404, 422)


def test_the_page_brings_everything_along(client):
    class Links(HTMLParser):
        found = []

        def handle_starttag(self, tag, attributes):
            self.found += [value for name, value in attributes if name in ("src", "href")]
            assert not any(name.startswith("on") or name == "style" for name, _ in attributes), "inline code"

    Links().feed(client.get("/").text)
    assert len(Links.found) >= 5
    for link in Links.found:
        assert client.get(f"/{link}").status_code == 200, link


def test_no_script_makes_markup_from_text():
    for script in STATIC.glob("*.js"):
        assert not WRITES_MARKUP.search(script.read_text()), script.name


def test_the_colours_are_those_of_the_charts():
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


def test_it_comes_while_every_thread_waits_for_the_database(service_of):
    """Then it tells that the API cannot be reached; without its scripts it would stay empty."""
    app = create_app(service_of())
    released = threading.Event()
    app.get("/slow")(lambda: released.wait() and None)
    with served(app) as address:
        asking = [threading.Thread(target=requests.get, args=(f"{address}/slow",)) for _ in range(50)]
        for thread in asking:
            thread.start()
        time.sleep(0.5)
        try:
            for path in PAGE_PATHS:
                assert requests.get(address + path, timeout=20).status_code == 200
        finally:
            released.set()
        for thread in asking:
            thread.join()
