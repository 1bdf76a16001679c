"""Which alarms make the overview's picture out of date, and that the picture is of what is stored."""

import base64
from datetime import datetime, timedelta, timezone
from io import BytesIO

import dagster as dg
import numpy as np
import pytest
from PIL import Image

from market_pipeline.core.columns import Columns
from market_pipeline.defs.assets.market_overview import ALARMS, DRAWN_AT, QUOTES, alarms_digest, chart_metadata, is_due
from market_pipeline.storage.queries.latest import anomalies_since
from market_pipeline.storage.rows.write import upsert
from market_pipeline.storage.schema.tables import raw_prices

NOON = datetime(2026, 5, 1, 12, 0, 0, 654321, tzinfo=timezone.utc)
SOON = NOON + timedelta(minutes=30)


def rows(*given):
    """Alarms of these ids, so many hours before noon."""
    times = [np.datetime64((NOON - timedelta(hours=hours)).replace(tzinfo=None), "us") for _, hours in given]
    ids = np.array([name for name, _ in given], dtype=object)
    arrays = {"id": ids, "event_id": np.full(len(ids), None, dtype=object)}
    return Columns({**arrays, "timestamp": np.array(times, dtype="datetime64[us]")})


CHARTED = rows(("a", 1.0), ("b", 22.9), ("c", 23.2))


def due(found, now=SOON):
    return is_due(now, NOON, alarms_digest(CHARTED, NOON), found)


def test_the_same_alarms_in_another_order_are_no_reason_to_draw():
    assert not due(CHARTED)
    assert not due(rows(("b", 22.9), ("c", 23.2), ("a", 1.0)))


def test_an_alarm_that_has_grown_older_than_a_day_is_no_reason_to_draw():
    """At half past twelve that of 12:48 yesterday is out of the last 24 hours."""
    assert not due(rows(("a", 1.0), ("b", 22.9)))


@pytest.mark.parametrize("hours", [-0.4, 0.5, 12.0, 22.0])
def test_any_new_alarm_is_a_reason_to_draw_however_late_it_comes(hours):
    assert due(rows(("a", 1.0), ("b", 22.9), ("c", 23.2), ("new", hours)))


def test_what_is_learned_of_an_alarm_later_is_no_reason_to_draw():
    learned = {"score": np.array([9.0, 9.0, 9.0]), "confirmation": np.full(3, "persisted", dtype=object)}
    assert not due(Columns({**CHARTED.arrays, **learned}))


def test_an_alarm_that_turns_out_to_be_part_of_a_market_event_is_a_reason_to_draw():
    event_id = np.array(["event", None, None], dtype=object)
    assert due(Columns({**CHARTED.arrays, "event_id": event_id}))


def test_a_picture_from_the_future_is_drawn_again():
    """A clock that was wrong must not keep the picture for years."""
    assert due(CHARTED, now=NOON - timedelta(days=300))


@pytest.fixture
def filled(sqlite_database):
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


def metadata(database, now, last, symbols=("BTC", "ETH")):
    anomalies = anomalies_since(database, symbols, now - timedelta(days=1))
    return chart_metadata(database, symbols, anomalies, now, last)


def test_the_picture_is_drawn_once_an_hour_and_noted_in_between(filled):
    first = metadata(filled, NOON, {})
    text = first["chart"].value
    assert text.startswith("![The last 24 hours of BTC, ETH](data:image/png;base64,")
    with Image.open(BytesIO(base64.b64decode(text.split("base64,")[1].rstrip(")")))) as image:
        assert image.width == 1200
        # Black on white: the UI may be dark, the picture brings its own paper.
        assert image.convert("RGB").getpixel((1, 1)) == (255, 255, 255)
    assert first[DRAWN_AT] == dg.MetadataValue.timestamp(NOON.replace(microsecond=0))
    second = metadata(filled, SOON, first)
    assert "chart" not in second
    assert second["chart_note"].value.startswith("drawn at 2026-05-01T12:00:00Z: see the materialization")
    assert (second[DRAWN_AT], second[ALARMS]) == (first[DRAWN_AT], first[ALARMS])
    assert "chart" in metadata(filled, NOON + timedelta(hours=1), second)


def test_a_picture_of_a_hole_is_drawn_again_when_it_is_filled(filled):
    """The first tick draws a day without quotes; what fills it must not wait for the hour."""
    empty = {**metadata(filled, NOON, {}), QUOTES: dg.MetadataValue.int(2)}
    again = metadata(filled, SOON, empty)
    assert "chart" in again and again[QUOTES].value > 100
    assert "chart" not in metadata(filled, SOON, again)


def test_the_first_ticks_are_no_reason_to_draw(filled):
    """Two quotes instead of one are twice as many; half as many again must be ten more a coin, too."""
    first = metadata(filled, NOON, {})
    few = {**first, QUOTES: dg.MetadataValue.int(int(0.62 * first[QUOTES].value))}
    assert "chart" not in metadata(filled, SOON, few)


def test_of_more_symbols_than_there_are_panels_the_note_says_which_are_shown(filled):
    found = metadata(filled, NOON, {}, symbols=["BTC", "ETH", *(f"C{number}" for number in range(10))])
    assert found["chart_note"].value == "8 of 12 symbols: those with the most severe alarms"
    assert "of BTC, ETH, C0, C1, C2, C3, C4, C5]" in found["chart"].value


def test_nothing_stored_is_a_picture_of_nothing(sqlite_database):
    assert "chart" in metadata(sqlite_database, NOON, {})
