"""Parameters that are almost right are refused, with the place and the remedy."""

import base64
import json
from datetime import datetime, timedelta

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
from market_pipeline_tests.api.serving import kind_of

FIRST, LAST = utc(1, 1, 1), utc(9999, 12, 31, 23, 59, 59, 999_999)
MOMENTS = st.integers(to_microseconds(FIRST), to_microseconds(LAST))


REFUSED = {
    "limit": ["0", "-1", "1.0", "1e2", "1_0", "%2B1", "", "%201", "\u0663", "9" * 1500, "true", "1%00", "1&limit=1"],
    "start": [
        "2026-1-1", "2026-02-30", "2026-01-01T00:00:00", "2026-01-01%2000:00:00Z", "2026-01-01T24:00:00Z", "1",
        "2026-01-01T00:00:00%2B24:00", "2026-01-01T00:00:00%2B0100", "2026-01-01T00:00:60Z", "2026-01-01T00:00Z",
        "0000-01-01", "10000-01-01", "null", "now", "", "2026-01-01%00", "2026-01-01Z", "2026-01-01T00:00:00.Z",
        "2026-01-01&start=2026-01-02", "\u0662\u0660\u0662\u0666-01-01",
    ],
    "cursor": ["%00", "a%20b", "a" * 201],
    "limt": ["5"],
}
ACCEPTED = [
    "start=0001-01-01T00:00:00%2B23:59", "end=9999-12-31T23:59:59.9999999-23:59", "start=0001-01-01",
    "end=9999-12-31", "start=2026-01-01t00:00:00z", "start=2026-01-01T00:00:00.123456789012345678901234567890Z",
    "start=2026-01-01T00:00:00-00:00", "start=2026-01-01&end=2026-01-01", "limit=007",
]
REFUSED_FILTERS = [
    "kind=JUMP", "kind=null", "kind=jump,large_move", "severity=low", "scope=", "alarms_only=1", "alarms_only=True",
    "alarms_only=", "limit=1001", "since=yesterday", "kind=jump&kind=jump", "symbol=BTC",
]
REFUSED_DAYS = ["from=2026-13-01", "from=0", "to=2026-01-01T00:00:00Z", "to=86400", "days=3"]


def test_an_end_before_the_start_is_refused(client: TestClient) -> None:
    for path in ("/prices/BTC", "/candles/BTC", "/symbols/BTC/chart.json"):
        answer = client.get(f"{path}?start=9999-12-31&end=0001-01-01")
        assert (answer.status_code, answer.json()["detail"]) == (422, "query.end: is before `start`; swap them"), path
    answers = [client.get(f"/{query}") for query in (
        "anomalies?since=2026-01-02&until=2026-01-01", "coverage/BTC?from=2026-01-02&to=2026-01-01",
    )]
    assert [answer.json()["errors"] for answer in answers] == [
        [{"where": "query.until", "what": "is before `since`; swap them"}],
        [{"where": "query.to", "what": "is before `from`; swap them"}],
    ]


def test_what_is_almost_right_is_refused_at_its_place(client: TestClient) -> None:
    for name, values in REFUSED.items():
        for value in values:
            answer = client.get(f"/prices/BTC?{name}={value}")
            assert (answer.status_code, kind_of(answer)) == (422, "invalid-request"), value
            assert [error["where"] for error in answer.json()["errors"]] == [f"query.{name}"]
    for path, queries in (
        ("/anomalies", REFUSED_FILTERS), ("/anomalies/BTC", REFUSED_FILTERS), ("/coverage/BTC", REFUSED_DAYS),
    ):
        for query in queries:
            assert client.get(f"{path}?{query}").status_code == 422, query


def test_whatever_the_document_allows_is_answered(client: TestClient) -> None:
    for query in ACCEPTED:
        for path in (f"/prices/BTC?{query}", f"/anomalies?since={query.partition('=')[2].partition('&')[0]}"):
            answer = client.get(path)
            assert answer.status_code == 200 or "since=007" in path, answer.text


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
    sealed = cursor.encode_time(microseconds)
    assert cursor.decode_time(sealed) == from_microseconds(microseconds)
    assert len(sealed) < 50 and sealed.replace("-", "").replace("_", "").isalnum()


@given(MOMENTS, st.sampled_from(["BTC", "A.B-C", "X" * 20]))
def test_a_cursor_of_anomalies_is_opened_again(microseconds: int, symbol: str) -> None:
    place = Cursor(from_microseconds(microseconds), symbol, "market_move")
    assert cursor.decode_anomaly(cursor.encode_anomaly(place)) == place
    assert len(cursor.encode_anomaly(place)) < 200


@given(st.text(alphabet="ABab01-_", min_size=1, max_size=200))
def test_a_made_up_cursor_is_unknown(text: str) -> None:
    for opened in (cursor.decode_time, cursor.decode_anomaly):
        with pytest.raises(ApiProblem, match="There is no page after the cursor"):
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


def test_a_cursor_around_nonsense_is_unknown_too() -> None:
    for key in (
        [10**30], ["x"], [None], [[1]], [1, 2], [], [1e308], [float("nan")], {"a": 1}, "abc", 5,
        [1, "BTC", "no kind"], [1, "\0", "jump"], [1, "\ud800", "jump"], [1, None, "jump"],
    ):
        text = base64.urlsafe_b64encode(json.dumps(key).encode()).rstrip(b"=").decode()
        for decode in (cursor.decode_time, cursor.decode_anomaly):
            with pytest.raises(ApiProblem):
                decode(text)
