"""The scripts of the page, called in a real browser: they compute what the charts compute."""

from collections.abc import Callable, Iterator
from datetime import datetime, timedelta, timezone
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any

import numpy as np
import pytest
from playwright.sync_api import Browser

from market_pipeline.charts.track import track_of
from market_pipeline.core.columns import Columns

pytestmark = pytest.mark.slow

END = datetime(2026, 11, 23, 12, tzinfo=timezone.utc)
SPAN = timedelta(hours=24)


STATIC = Path(__file__).parents[2] / "market_pipeline" / "api" / "static"

Call = Callable[..., Any]
Quotes = list[tuple[datetime, float]]


class Files(SimpleHTTPRequestHandler):
    """The scripts as they are; they need no API."""

    def __init__(self, *arguments: Any) -> None:
        super().__init__(*arguments, directory=str(STATIC))

    def log_message(self, format: str, *arguments: Any) -> None:
        pass


@pytest.fixture(scope="module")
def call(browser: Browser) -> Iterator[Call]:
    """`call("words.js", "price", 1.5)`: what the function of that script returns."""
    with ThreadingHTTPServer(("127.0.0.1", 0), Files) as server:
        Thread(target=server.serve_forever, daemon=True).start()
        page = browser.new_page()
        page.goto(f"http://127.0.0.1:{server.server_port}/icon.svg")
        yield lambda script, function, *values: page.evaluate(
            "async ([script, name, values]) => (await import(`/${script}`))[name](...values)",
            [script, function, list(values)],
        )
        page.close()
        server.shutdown()


def test_prices_of_any_magnitude_can_be_read(call: Call) -> None:
    written = {
        67187.33589: "67,187.34", 100: "100.00", 99.99: "99.9900", 2.35912: "2.3591", 1: "1.0000",
        0.43215: "0.4322", 0.000012345678: "0.00001235", 1.2e-9: "0.000000001200",
        3.21e-15: "3.210e\u221215", 5e12: "5.000e+12", 1_234_567_890.1: "1,234,567,890.10",
    }
    assert {value: call("words.js", "price", value) for value in written} == written


def test_of_several_conditions_the_first_bad_one_is_told(call: Call) -> None:
    mild, stale, late = ({"kind": kind, "detail": f"{kind}."} for kind in ("starting", "stale-prices", "stale-scores"))
    told = {"kind": "stale-prices", "detail": "stale-prices. On the page of all symbols: 2 more."}
    assert call("state.js", "inOneLine", [mild, stale, late]) == [told]
    assert call("state.js", "inOneLine", [mild]) == [mild] and call("state.js", "inOneLine", []) == []


def test_shares_are_signed_percentages(call: Call) -> None:
    written = {
        0.0123: "+1.23%", -0.5: "\u221250.00%", 0.00001: "0.00%",
        12.5: "+1,250.00%",
    }
    assert {value: call("words.js", "percent", value) for value in written} == written


def test_durations_have_at_most_two_units(call: Call) -> None:
    minute, hour = 60_000, 3_600_000
    written = {
        -5: "0 s", 59_999: "59 s", minute: "1 min", hour - 1: "59 min", hour: "1 h",
        3 * hour + 5 * minute: "3 h 5 min", 48 * hour: "2 days", 1000 * hour: "41 days",
    }
    assert {value: call("words.js", "span", value) for value in written} == written


def test_times_between_prices_are_rounded(call: Call) -> None:
    written = {299_000: "5 min", 5_399_000: "1 h", 47.8 * 3_600_000: "2 days", 364.8 * 86_400_000: "365 days"}
    assert {value: call("words.js", "length", value) for value in written} == written


def test_the_usual_time_between_prices_is_two_where_history_meets_live_prices(call: Call) -> None:
    live, history = np.arange(0, 50) * 300_000, np.arange(-50, 0) * 3_600_000
    written = {name: call("words.js", "interval", times.tolist()) for name, times in (
        ("live", live), ("history", history), ("both", np.concatenate([history, live])),
        ("one late", np.append(live, 99 * 300_000)),
    )}
    assert written == {"live": "5 min", "history": "1 h", "both": "5 min to 1 h", "one late": "5 min"}


def seen(call: Call, points: Quotes) -> dict[str, Any]:
    given = [[moment.timestamp() * 1000, price] for moment, price in points]
    found: dict[str, Any] = call("track.js", "trackOf", given, END.timestamp() * 1000)
    return found


def quotes(*back: float, price: float = 1.0) -> Quotes:
    """Quotes so many minutes before the end."""
    return [(END - timedelta(minutes=minutes), price) for minutes in sorted(back, reverse=True)]


@pytest.mark.parametrize("seed", range(2))
def test_silences_are_those_of_the_charts(call: Call, seed: int) -> None:
    """Live quotes and hourly history in one day, late ones, lost ones, and outages."""
    rng = np.random.default_rng(seed)
    hourly = np.arange(12 * 60, 23 * 60, 60.0)
    live = np.arange(3, 12 * 60, 5.0)
    back = np.concatenate([hourly + rng.uniform(-9, 9, len(hourly)), live + rng.uniform(-1, 1, len(live))])
    back = back[rng.uniform(size=len(back)) > 0.1]
    for least in (20, 200, 450):
        begin = least + rng.uniform(0, 100)
        back = back[(back < begin) | (back > begin + rng.uniform(5, 150))]
    points = quotes(*back.tolist())
    times = np.array([np.datetime64(moment.replace(tzinfo=None), "us") for moment, _ in points])
    count = len(points)
    charted = track_of(
        Columns({
            "symbol": np.full(count, "BTC", dtype=object), "timestamp": times, "price": np.ones(count),
            "price_before": np.ones(count), "expected_move": np.ones(count), "volatility": np.ones(count),
        }),
        "BTC", END - SPAN, END,
    )
    shown = [[begin / 86_400_000, end / 86_400_000] for begin, end in seen(call, points)["silences"]]
    assert len(shown) == len(charted.silences) > 1
    assert np.allclose(sorted(shown), charted.silences, atol=1e-6)


def test_a_line_comes_in_from_the_day_before(call: Call) -> None:
    points = [(END - SPAN - timedelta(minutes=3), 10.0), (END - SPAN + timedelta(minutes=2), 20.0)]
    points += [(END - SPAN + timedelta(minutes=2 + 5 * step), 20.0) for step in range(1, 287)]
    track = seen(call, points)
    assert track["stretches"][0][0] == [(END - SPAN).timestamp() * 1000, pytest.approx(16.0)]
    assert track["silences"] == [] and track["low"] == 20.0


def test_few_quotes_are_no_line(call: Call) -> None:
    start, end = (END - SPAN).timestamp() * 1000, END.timestamp() * 1000
    assert seen(call, [])["silences"] == [[start, end]]
    alone = seen(call, quotes(60))
    [[point]] = alone["stretches"]
    assert alone["silences"] == [[start, point[0]], [point[0], end]]
    assert len(seen(call, quotes(60, 120))["stretches"]) == 1
