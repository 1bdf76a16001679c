"""The overview: numbers per symbol, the last day's alarms, and a picture that is not drawn too often."""

import base64
from collections.abc import Mapping
from dataclasses import replace
from datetime import datetime, timedelta, timezone
from io import BytesIO
from typing import Any

import dagster as dg
import numpy as np
import pytest
from PIL import Image

from market_pipeline.anomalies.anomaly import alarm_mask
from market_pipeline.charts.canvas import OVERVIEW_WIDTH
from market_pipeline.charts.overview_chart import draw_overview
from market_pipeline.core.clock import start_of_day
from market_pipeline.core.columns import Columns
from market_pipeline.defs.assets.market_overview import (
    Picture,
    alarms_digest,
    current_picture,
    is_due,
    overview_lines,
    overview_metadata,
    overview_numbers,
    shortened,
)
from market_pipeline.defs.assets.price_coverage import coverage_metadata
from market_pipeline.pipeline.missing_days import past_days
from market_pipeline.settings import load_settings
from market_pipeline.storage.engine import Database
from market_pipeline.storage.queries.latest import StoredQuote, anomalies_since
from market_pipeline.storage.rows.write import upsert
from market_pipeline.storage.schema.tables import raw_prices
from market_pipeline_tests.builders import anomalies_of, anomaly_row
from market_pipeline_tests.defs.world import World

NOON = datetime(2026, 5, 1, 12, 0, 0, 654321, tzinfo=timezone.utc)
SOON = NOON + timedelta(minutes=30)
HOUR = timedelta(hours=1)


def picture_in(metadata: dict[str, Any]) -> bytes:
    found: str = metadata["overview"].split("base64,")[1].split(")")[0]
    return base64.b64decode(found)


def test_every_overview_shows_the_picture_which_is_drawn_anew_with_an_alarm(
    pair: World, pictures: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    changes: list[Mapping[str, float]] = []

    def draw(*given: Any) -> bytes:
        changes.append(given[-1])
        return draw_overview(*given)

    monkeypatch.setattr("market_pipeline.charts.overview_chart.draw_overview", draw)
    pair.complete(pair.days_ago(2), pair.days_ago(1))
    pair.tick()
    first = pair.latest_metadata("market_overview")
    assert picture_in(first).startswith(b"RIFF") and len(first["overview"]) < 100_000
    pair.tick()
    second = pair.latest_metadata("market_overview")
    assert picture_in(second) == picture_in(first)
    newest = {row["symbol"]: row for row in pair.prices()}
    for symbol in pair.symbols:
        assert second[f"{symbol}/price_usd"] == pytest.approx(newest[symbol]["price"], rel=1e-6)
        assert -60 < second[f"{symbol}/change_24h_percent"] < 60
    bitcoin = newest["BTC"]
    # Shortly after midnight the newest quote is yesterday's, which a tick does not score again.
    at = max(bitcoin["timestamp"] + timedelta(seconds=1), start_of_day(pair.today))
    pair.insert(symbol="BTC", timestamp=at, price=bitcoin["price"] / 2)
    pair.tick()
    third = pair.latest_metadata("market_overview")
    assert third["alarms_24h"] > second["alarms_24h"] and picture_in(third) != picture_in(first)
    for symbol in pair.symbols:
        assert changes[-1][symbol] == pytest.approx(third[f"{symbol}/change_24h_percent"] / 100, abs=1e-4)
    assert "[BTC](http://127.0.0.1:8000/symbols/BTC?day=" in third["summary"]
    # Plots are sorted by name, capital letters first; of 100 names at most.
    numbers = [name for name, value in third.items() if isinstance(value, int | float)]
    assert sorted(numbers) == [
        "BTC/change_24h_percent", "BTC/price_usd", "ETH/change_24h_percent", "ETH/price_usd",
        "alarms_24h", "alarms_critical_24h", "market_events_24h",
    ]
    assert all(len(str(third[name])) <= 9 for name in numbers)


def test_a_market_event_is_one_line_and_a_headline_is_shown_verbatim() -> None:
    event: dict[str, Any] = {"id": "e", "event_id": "e", "severity": "critical", "move": 0.012}
    alarms = anomalies_of(
        anomaly_row("SOL", kind="market_move", members="SOL,BTC,ETH", **event),
        *(anomaly_row(symbol, id=symbol, event_id="e") for symbol in ("SOL", "BTC", "ETH")),
        anomaly_row("ADA", id="x", move=-0.2, headline="", explanation="ADA [*] fell."),
    )
    alarms = alarms.where(alarm_mask(alarms))
    page = "http://127.0.0.1:8000/symbols"
    assert overview_lines(alarms, ["SOL", "ADA"], ["SOL", "ADA"], "http://127.0.0.1:8000", NOON) == [
        "**2 alarms, 1 critical, in the 24 hours before 2026-05-01 12:00 UTC.**",
        "",
        f"- critical: BTC rose 6.0% in 5 min. [SOL]({page}/SOL?day=2024-03-01)",
        f"- alert: ADA \\[\\*\\] fell. [ADA]({page}/ADA?day=2024-03-01)",
    ]


def test_the_summary_is_as_long_as_the_ui_shows_without_a_dialog() -> None:
    lines = ["**40 alarms**", "", *(f"- alarm {number} {'x' * 80}" for number in range(40))]
    text = shortened(lines)
    assert 800 < len(text) < 1000
    shown = text.split("\n")
    assert shown[:-1] == lines[: len(shown) - 1] and shown[-1] == f"- and {len(lines) - len(shown) + 1} more"
    assert shortened(lines[:5]) == "\n".join(lines[:5])


def alarms_at(*given: tuple[str, float], **columns: Any) -> Columns:
    """Alarms of these ids, this many hours before noon, by the columns that decide on a picture."""
    times = [np.datetime64((NOON - hours * HOUR).replace(tzinfo=None), "us") for _, hours in given]
    arrays = {"id": np.array([name for name, _ in given], dtype=object), "event_id": np.full(len(given), None)}
    arrays["severity"] = np.full(len(given), "watch", dtype=object)
    return Columns({**arrays, "timestamp": np.array(times, dtype="datetime64[us]"), **columns})


THREE = (("a", 1.0), ("b", 22.9), ("c", 23.2))
CHARTED = alarms_at(*THREE)


@pytest.mark.parametrize(
    ("found", "due"),
    [
        (CHARTED, False),
        (alarms_at(("b", 22.9), ("c", 23.2), ("a", 1.0)), False),
        # At half past twelve that of 12:48 yesterday is out of the last 24 hours.
        (alarms_at(("a", 1.0), ("b", 22.9)), False),
        *((alarms_at(*THREE, ("new", hours)), True) for hours in (-0.4, 0.5, 12.0, 22.0)),
        # What is learned of an alarm later changes no picture, its turning out a part of a market event does.
        (alarms_at(*THREE, score=np.array([9.0, 9.0, 9.0])), False),
        (alarms_at(*THREE, event_id=np.array(["event", None, None])), True),
        (alarms_at(*THREE, severity=np.array(["critical", "watch", "watch"], dtype=object)), True),
    ],
)
def test_a_picture_is_due_within_the_hour_if_it_would_show_other_alarms(found: Columns, due: bool) -> None:
    assert is_due(SOON, NOON, alarms_digest(CHARTED, NOON), found) is due


def test_a_picture_is_due_after_an_hour_and_if_it_is_from_the_future() -> None:
    """A clock that was wrong must not keep a picture for years."""
    digest = alarms_digest(CHARTED, NOON)
    for minutes, due in ((59, False), (60, True), (-60 * 24 * 300, True)):
        assert is_due(NOON + timedelta(minutes=minutes), NOON, digest, CHARTED) is due


@pytest.fixture
def filled(sqlite_database: Database) -> Database:
    """A day and its lead of two coins, a quarter of an hour apart, up to noon."""
    times = np.datetime64("2026-04-22T12:00", "us") + np.arange(9 * 96 + 1) * np.timedelta64(15, "m")
    walks = 100 * np.exp(np.cumsum(0.002 * np.random.default_rng(4).standard_normal((2, len(times))), axis=1))
    columns = {
        "symbol": np.repeat(np.array(["BTC", "ETH"], dtype=object), len(times)),
        "coin_id": np.repeat(np.array(["bitcoin", "ethereum"], dtype=object), len(times)),
        "timestamp": np.tile(times, 2),
        "price": walks.ravel(),
        "source": np.full(2 * len(times), "simple_price", dtype=object),
        "ingested_at": np.tile(times, 2),
    }
    upsert(sqlite_database, raw_prices, Columns(columns))
    return sqlite_database


def drawn(
    database: Database, now: datetime, before: Picture | None = None, symbols: tuple[str, ...] = ("BTC", "ETH")
) -> Picture:
    """The picture after the materialization that showed `before`, as Dagster stored that."""
    anomalies = anomalies_since(database, symbols, now - timedelta(days=1))
    last = {} if before is None else {"overview": dg.MetadataValue.md(f"Some alarms.\n\n{before.markdown}")}
    return current_picture(database, symbols, anomalies, {}, now, last)


def test_the_picture_is_black_on_white_and_stays_for_an_hour(filled: Database, pictures: None) -> None:
    """The UI may be dark; the picture brings its own paper."""
    first = drawn(filled, NOON)
    text = first.markdown
    assert "![The last 24 hours of BTC, ETH](data:image/webp;base64," in text
    assert text.endswith("Drawn 2026-05-01 12:00 UTC.")
    with Image.open(BytesIO(base64.b64decode(text.split("base64,")[1].split(")")[0]))) as image:
        assert image.width == OVERVIEW_WIDTH
        assert image.convert("RGB").getpixel((1, 1)) == (255, 255, 255)
    second = drawn(filled, SOON, first)
    assert second == first
    assert drawn(filled, NOON + HOUR, second).drawn_at == (NOON + HOUR).replace(microsecond=0)


def test_a_picture_of_a_hole_is_redrawn_when_it_is_filled_but_not_for_the_first_ticks(filled: Database) -> None:
    """Two quotes instead of one are twice as many; half as many again must be ten more a coin, too."""
    first = drawn(filled, NOON)
    for quotes, due in ((2, True), (int(0.62 * first.quotes), False)):
        fewer = replace(first, markdown=first.markdown.replace(f" {first.quotes})", f" {quotes})"), quotes=quotes)
        again = drawn(filled, SOON, fewer)
        assert again.quotes == (first.quotes - 4 if due else quotes)


def test_of_more_symbols_than_panels_the_note_names_how_many_are_shown(filled: Database) -> None:
    symbols = ("BTC", "ETH", *(f"C{number}" for number in range(10)))
    found = drawn(filled, NOON, symbols=symbols).markdown
    assert "8 of 12 symbols" in found
    assert "of BTC, ETH, C0, C1, C2, C3, C4, C5]" in found


def test_nothing_stored_is_a_picture_of_nothing(sqlite_database: Database, pictures: None) -> None:
    assert "base64," in drawn(sqlite_database, NOON).markdown


def test_the_metadata_of_hundreds_of_symbols_stays_bounded(sqlite_database: Database) -> None:
    symbols = [f"S{number}" for number in range(300)]
    settings = load_settings(None, market_symbols=",".join(f"{symbol}=coin-{symbol.lower()}" for symbol in symbols))
    coverage = coverage_metadata(past_days(sqlite_database, settings.catalogue, NOON.date(), NOON))
    assert len({name.rpartition("_")[2] for name in coverage if name.rpartition("_")[2].startswith("S")}) == 50
    tables = [value for value in coverage.values() if isinstance(value, dg.TableMetadataValue)]
    assert max(len(table.records) for table in tables) == 50
    assert len(coverage["summary"]) < 500
    overview = overview_metadata(sqlite_database, settings, NOON, {})
    assert len(overview["summary"].md_str) < 1000
    assert len(overview_numbers(symbols[:50], {symbol: StoredQuote(NOON, 1.0) for symbol in symbols}, {})) == 50
    for metadata in (coverage, overview):
        assert metadata["symbols_shown"] == "the first 50 of 300 in MARKET_SYMBOLS; the API has all"
