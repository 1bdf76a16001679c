"""Parameters that are almost right are refused, with the place and the remedy."""

import base64
import json
from datetime import datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from starlette.testclient import TestClient

from market_pipeline.api.http import cursor
from market_pipeline.api.http.problems import ApiProblem
from market_pipeline.api.http.times import moment, text_of, texts_of
from market_pipeline.core.clock import from_microseconds, iso, to_microseconds
from market_pipeline.storage.engine import Database
from market_pipeline.storage.queries.anomaly_pages import Cursor
from market_pipeline_tests.api.reads.rows import some_prices, utc

FIRST, LAST = utc(1, 1, 1), utc(9999, 12, 31, 23, 59, 59, 999_999)
MOMENTS = st.integers(to_microseconds(FIRST), to_microseconds(LAST))


@pytest.mark.parametrize(("query", "where"), [
    ("limit=0", "limit"), ("limit=-1", "limit"), ("limit=1.0", "limit"), ("limit=1e2", "limit"),
    ("limit=1_0", "limit"), ("limit=%2B1", "limit"), ("limit=", "limit"), ("limit=%201", "limit"),
    ("limit=\u0663", "limit"),
    ("limit=" + "9" * 1500, "limit"), ("limit=true", "limit"), ("limit=1%00", "limit"),
    ("limit=1&limit=1", "limit"), ("start=2026-01-01&start=2026-01-02", "start"), ("limt=5", "limt"),
    ("start=2026-1-1", "start"), ("start=2026-02-30", "start"), ("start=2026-01-01T00:00:00", "start"),
    ("start=2026-01-01%2000:00:00Z", "start"), ("start=2026-01-01T24:00:00Z", "start"), ("start=1", "start"),
    ("start=2026-01-01T00:00:00%2B24:00", "start"), ("start=2026-01-01T00:00:00%2B0100", "start"),
    ("start=2026-01-01T00:00:60Z", "start"), ("start=2026-01-01T00:00Z", "start"), ("start=0000-01-01", "start"),
    ("start=10000-01-01", "start"), ("start=null", "start"), ("start=now", "start"), ("start=", "start"),
    ("start=2026-01-01%00", "start"), ("start=2026-01-01Z", "start"), ("start=2026-01-01T00:00:00.Z", "start"),
    ("end=\u0662\u0660\u0662\u0666-01-01", "end"), ("cursor=%00", "cursor"), ("cursor=a%20b", "cursor"),
    ("cursor=" + "a" * 201, "cursor"),
])
def test_what_is_almost_right_is_refused_at_its_place(client: TestClient, query: str, where: str) -> None:
    answer = client.get(f"/prices/BTC?{query}")
    assert answer.status_code == 422
    document = answer.json()
    assert document["type"].endswith(":invalid-request")
    assert [error["where"] for error in document["errors"]] == [f"query.{where}"]


@pytest.mark.parametrize("query", [
    "kind=JUMP", "kind=null", "kind=jump,large_move", "severity=low", "scope=", "alarms_only=1",
    "alarms_only=True", "alarms_only=", "limit=1001", "since=yesterday", "kind=jump&kind=jump", "symbol=BTC",
])
def test_filters_of_anomalies_take_their_values_and_no_others(client: TestClient, query: str) -> None:
    for path in ("/anomalies", "/anomalies/BTC"):
        assert client.get(f"{path}?{query}").status_code == 422


@pytest.mark.parametrize("query", ["from=2026-13-01", "from=0", "to=2026-01-01T00:00:00Z", "to=86400", "days=3"])
def test_days_are_days(client: TestClient, query: str) -> None:
    assert client.get(f"/coverage/BTC?{query}").status_code == 422


@pytest.mark.parametrize("query", [
    "start=0001-01-01T00:00:00%2B23:59", "end=9999-12-31T23:59:59.9999999-23:59", "start=0001-01-01",
    "end=9999-12-31",
    "start=2026-01-01t00:00:00z", "start=2026-01-01T00:00:00.123456789012345678901234567890Z",
    "start=2026-01-01T00:00:00-00:00", "start=9999-12-31&end=0001-01-01", "limit=007",
])
def test_whatever_the_document_allows_is_answered(client: TestClient, query: str) -> None:
    for path in ("/prices/BTC", f"/anomalies?since={query.partition('=')[2].partition('&')[0]}"):
        if path != "/prices/BTC" and query.startswith("limit"):
            continue
        answer = client.get(path if "?" in path else f"{path}?{query}")
        assert answer.status_code == 200, answer.text


@given(MOMENTS)
def test_a_time_is_read_as_it_is_written(microseconds: int) -> None:
    text = text_of(microseconds)
    assert text == iso(from_microseconds(microseconds))
    assert to_microseconds(moment(text)) == microseconds
    assert texts_of([microseconds, 0]) == [text, "1970-01-01T00:00:00Z"]


@given(st.datetimes(utc(2, 1, 1).replace(tzinfo=None)), st.integers(-1439, 1439))
def test_an_offset_is_taken_off(local: datetime, minutes: int) -> None:
    sign, (hours, rest) = "-" if minutes < 0 else "+", divmod(abs(minutes), 60)
    given_time = f"{local.isoformat()}{sign}{hours:02}:{rest:02}"
    expected = min(local.replace(tzinfo=utc(1, 1, 1).tzinfo), LAST)
    shift = timedelta(minutes=minutes)
    assert moment(given_time) == (LAST if expected > LAST + min(shift, timedelta(0)) else expected - shift)


@given(st.text(alphabet="0123456789-:TZ.+tz ", max_size=30))
def test_no_text_breaks_the_reading_of_times(text: str) -> None:
    try:
        found = moment(text)
    except ValueError:
        return
    assert FIRST <= found <= LAST


@given(MOMENTS)
def test_a_cursor_of_prices_is_opened_again(microseconds: int) -> None:
    sealed = cursor.encode_price(microseconds)
    assert cursor.decode_price(sealed) == from_microseconds(microseconds)
    assert len(sealed) < 50 and sealed.replace("-", "").replace("_", "").isalnum()


@given(MOMENTS, st.sampled_from(["BTC", "A.B-C", "X" * 20]))
def test_a_cursor_of_anomalies_is_opened_again(microseconds: int, symbol: str) -> None:
    place = Cursor(from_microseconds(microseconds), symbol, "market_move")
    assert cursor.decode_anomaly(cursor.encode_anomaly(place)) == place
    assert len(cursor.encode_anomaly(place)) < 200


@given(st.text(alphabet="ABab01-_", min_size=1, max_size=200))
def test_a_made_up_cursor_is_unknown(text: str) -> None:
    for opened in (cursor.decode_price, cursor.decode_anomaly):
        with pytest.raises(ApiProblem, match="There is no page behind the cursor"):
            opened(text)


def test_a_cursor_that_was_tampered_with_breaks_nothing(client: TestClient, database: Database) -> None:
    """Whichever character is changed, cut off or added: it is another place or none."""
    some_prices(database)
    good = client.get("/prices/BTC?limit=1").json()["next_cursor"]
    assert client.get(f"/prices/BTC?cursor={good}").status_code == 200
    changed = [f"{good[:at]}{'A' if good[at] != 'A' else 'B'}{good[at + 1:]}" for at in range(len(good))]
    for bad in [*changed, good[:-1], good + "A", good[1:], good + "=", good.upper()]:
        assert client.get("/prices/BTC", params={"cursor": bad}).status_code in (200, 404, 422), bad
    assert client.get(f"/anomalies?cursor={good}").json()["type"].endswith(":unknown-cursor")


@pytest.mark.parametrize("key", [
    [10**30], ["x"], [None], [[1]], [1, 2], [], [1e308], [float("nan")], {"a": 1}, "abc", 5,
    [1, "BTC", "no kind"], [1, "\0", "jump"], [1, "\ud800", "jump"], [1, None, "jump"],
])
def test_a_cursor_around_nonsense_is_unknown_too(key: Any) -> None:
    text = base64.urlsafe_b64encode(json.dumps(key).encode()).rstrip(b"=").decode()
    for place in (cursor.decode_price, cursor.decode_anomaly):
        with pytest.raises(ApiProblem):
            place(text)
