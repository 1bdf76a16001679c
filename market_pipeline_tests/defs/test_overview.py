"""The overview: numbers per symbol, the last day's alarms, and a picture that is not drawn too often."""

import base64
from datetime import datetime, timedelta, timezone
from io import BytesIO
from typing import Any

import dagster as dg
import numpy as np
import pytest
from PIL import Image

from market_pipeline.anomalies.anomaly import alarm_mask
from market_pipeline.core.clock import utc_now
from market_pipeline.core.columns import Columns
from market_pipeline.core.symbols import parse_catalogue
from market_pipeline.defs.assets.market_overview import (
    ALARMS,
    DRAWN_AT,
    QUOTES,
    alarm_records,
    alarms_digest,
    chart_metadata,
    is_due,
    overview_metadata,
    overview_numbers,
)
from market_pipeline.defs.assets.price_coverage import coverage_metadata
from market_pipeline.pipeline.missing_days import past_days
from market_pipeline.storage.engine import Database
from market_pipeline.storage.queries.latest import anomalies_since
from market_pipeline.storage.rows.write import upsert
from market_pipeline.storage.schema.tables import raw_prices
from market_pipeline_tests.builders import anomalies_of, anomaly_row
from market_pipeline_tests.defs.world import World

NOON = datetime(2026, 5, 1, 12, 0, 0, 654321, tzinfo=timezone.utc)
SOON = NOON + timedelta(minutes=30)
HOUR = timedelta(hours=1)


def test_the_overview_holds_numbers_per_symbol_and_one_picture_an_hour(pair: World, pictures: None) -> None:
    pair.complete(pair.days_ago(2), pair.days_ago(1))
    pair.tick()
    first = pair.latest_metadata("market_overview")
    assert base64.b64decode(first["chart"].split("base64,")[1].rstrip(")")).startswith(b"\x89PNG")
    assert len(first["chart"]) < 100_000
    pair.tick()
    second = pair.latest_metadata("market_overview")
    assert "chart" not in second and second["chart_drawn_at"] == first["chart_drawn_at"]
    newest = {row["symbol"]: row for row in pair.prices()}
    for symbol in pair.symbols:
        assert second[f"price_{symbol}"] == newest[symbol]["price"]
        assert -60 < second[f"change_24h_percent_{symbol}"] < 60
        assert second[f"anomalies_24h_{symbol}"] >= 0
    bitcoin = newest["BTC"]
    pair.insert(symbol="BTC", timestamp=bitcoin["timestamp"] - 5 * timedelta(minutes=1), price=bitcoin["price"] / 2)
    pair.tick()
    third = pair.latest_metadata("market_overview")
    assert third["anomalies_24h_BTC"] >= 1 and "chart" in third
    assert any(record.data["symbol"] == "BTC" for record in third["anomalies_last_24_hours"].records)


def test_a_change_over_24_hours_is_not_shown_of_a_price_that_is_days_old(pair: World) -> None:
    pair.insert(symbol="BTC", timestamp=utc_now() - timedelta(days=3), price=1.0)
    pair.tick()
    metadata = pair.latest_metadata("market_overview")
    assert "price_BTC" in metadata and "change_24h_percent_BTC" not in metadata


def test_a_market_event_is_one_row_and_one_anomaly() -> None:
    event: dict[str, Any] = {"id": "e", "event_id": "e", "severity": "critical", "move": 0.012}
    alarms = anomalies_of(
        anomaly_row("SOL", kind="market_move", members="SOL,BTC,ETH", **event),
        *(anomaly_row(symbol, id=symbol, event_id="e") for symbol in ("SOL", "BTC", "ETH")),
        anomaly_row("ADA", id="x", move=-0.2, headline="", explanation="ADA fell."),
    )
    alarms = alarms.where(alarm_mask(alarms))
    shown = ("time_utc", "symbol", "kind", "severity", "move", "headline")
    assert [tuple(row[name] for name in shown) for row in alarm_records(alarms)] == [
        ("2024-03-01 00:00", "SOL,BTC,ETH", "market_move", "critical", "+1.2%", "BTC rose 6.0% in 5 min."),
        ("2024-03-01 00:00", "ADA", "jump", "alert", "\N{MINUS SIGN}20%", "ADA fell."),
    ]
    assert overview_numbers(["BTC", "SOL", "ADA"], {}, {}, alarms) == {
        "market_events_24h": 1, "anomalies_24h_BTC": 0, "anomalies_24h_SOL": 1, "anomalies_24h_ADA": 1,
    }


def alarms_at(*given: tuple[str, float], **columns: Any) -> Columns:
    """Alarms of these ids, this many hours before noon, by the columns that decide on a picture."""
    times = [np.datetime64((NOON - hours * HOUR).replace(tzinfo=None), "us") for _, hours in given]
    arrays = {"id": np.array([name for name, _ in given], dtype=object), "event_id": np.full(len(given), None)}
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
    ],
)
def test_a_picture_is_due_within_the_hour_if_it_would_show_other_alarms(found: Columns, due: bool) -> None:
    assert is_due(SOON, NOON, alarms_digest(CHARTED, NOON), found) is due


def test_a_picture_is_due_at_first_after_an_hour_and_if_it_is_from_the_future() -> None:
    """A clock that was wrong must not keep a picture for years."""
    digest = alarms_digest(CHARTED, NOON)
    assert is_due(NOON, None, None, CHARTED)
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


def chart(database: Database, now: datetime, last: dict[str, Any], symbols: tuple[str, ...] = ("BTC", "ETH")) -> Any:
    anomalies = anomalies_since(database, symbols, now - timedelta(days=1))
    return chart_metadata(database, symbols, anomalies, now, last)


def test_the_picture_is_black_on_white_and_in_between_there_is_a_note(filled: Database, pictures: None) -> None:
    """The UI may be dark; the picture brings its own paper."""
    first = chart(filled, NOON, {})
    text = first["chart"].value
    assert text.startswith("![The last 24 hours of BTC, ETH](data:image/png;base64,")
    with Image.open(BytesIO(base64.b64decode(text.split("base64,")[1].rstrip(")")))) as image:
        assert image.width == 1200
        assert image.convert("RGB").getpixel((1, 1)) == (255, 255, 255)
    second = chart(filled, SOON, first)
    assert "chart" not in second and second["chart_note"].value.startswith("drawn at 2026-05-01T12:00:00Z")
    assert (second[DRAWN_AT], second[ALARMS]) == (first[DRAWN_AT], first[ALARMS])
    assert "chart" in chart(filled, NOON + HOUR, second)


def test_a_picture_of_a_hole_is_redrawn_when_it_is_filled_but_not_for_the_first_ticks(filled: Database) -> None:
    """Two quotes instead of one are twice as many; half as many again must be ten more a coin, too."""
    first = chart(filled, NOON, {})
    drawn_of = first[QUOTES].value
    for quotes, due in ((2, True), (int(0.62 * drawn_of), False)):
        again = chart(filled, SOON, {**first, QUOTES: dg.MetadataValue.int(quotes)})
        assert ("chart" in again) is due
        assert again[QUOTES].value == (drawn_of - 4 if due else quotes)


def test_of_more_symbols_than_panels_the_note_names_how_many_are_shown(filled: Database) -> None:
    symbols = ("BTC", "ETH", *(f"C{number}" for number in range(10)))
    found = chart(filled, NOON, {}, symbols)
    assert found["chart_note"].value.startswith("8 of 12 symbols")
    assert "of BTC, ETH, C0, C1, C2, C3, C4, C5]" in found["chart"].value


def test_nothing_stored_is_a_picture_of_nothing(sqlite_database: Database, pictures: None) -> None:
    assert "chart" in chart(sqlite_database, NOON, {})


def test_the_metadata_of_hundreds_of_symbols_stays_bounded(sqlite_database: Database) -> None:
    coins = parse_catalogue(",".join(f"S{number}=coin-{number}" for number in range(300)))
    for metadata in (
        overview_metadata(sqlite_database, coins, NOON, {DRAWN_AT: dg.MetadataValue.timestamp(NOON)}),
        coverage_metadata(past_days(sqlite_database, coins, NOON.date(), NOON)),
    ):
        assert len({name.rpartition("_")[2] for name in metadata if name.rpartition("_")[2].startswith("S")}) == 50
        assert metadata["symbols_shown"] == "the first 50 of 300 in MARKET_SYMBOLS; the API has all"
        tables = [value for value in metadata.values() if isinstance(value, dg.TableMetadataValue)]
        assert max(len(table.records) for table in tables) == 50
        assert len(metadata["summary"]) < 500
