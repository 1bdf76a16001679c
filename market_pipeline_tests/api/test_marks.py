"""Marks over HTTP: what people say of an anomaly is stored and shown, and refused where it may not be given."""

import http.client
import json
from collections.abc import Callable
from typing import Any
from urllib.parse import urlsplit

import pytest
from sqlalchemy import text
from starlette.testclient import TestClient

from market_pipeline.anomalies.marks import LONGEST_NOTE
from market_pipeline.api.app import create_app
from market_pipeline.api.service import Service
from market_pipeline.budget.client_limits import ClientLimit
from market_pipeline.storage.engine import Database
from market_pipeline.storage.schema.tables import anomaly_marks, price_anomalies
from market_pipeline_tests.api.serving import LOCAL, Response, both_databases, kind_of, served
from market_pipeline_tests.builders import anomaly_row, store, stored_rows

AS_JSON = {"Content-Type": "application/json"}
FORM = {"Content-Type": "application/x-www-form-urlencoded"}


@pytest.fixture
def row(database: Database, client: TestClient) -> dict[str, Any]:
    """A stored anomaly of a coin that the API of `client` collects."""
    jump, other = (anomaly_row("BTC", minute, coin_id=database.coin_id("BTC")) for minute in (1, 2))
    store(database, price_anomalies, jump, other)
    return jump


def mark(client: TestClient, id_: str, content: object, **headers: str) -> Response:
    return client.put(f"/anomalies/{id_}/mark", json=content, headers=headers)


def shown(client: TestClient, id_: str) -> tuple[Any, ...]:
    document = client.get(f"/anomalies/{id_}").json()["anomaly"]
    return document["mark"], document["note"], document["marked_at"]


@both_databases
def test_a_mark_is_stored_shown_filtered_by_and_removed(
    database: Database, client: TestClient, row: dict[str, Any]
) -> None:
    id_ = row["id"]
    assert shown(client, id_) == (None, None, None)
    untouched = client.get("/anomalies").headers["ETag"]
    answer = mark(client, id_, {"mark": "noise", "note": " Ein Fehler der Börse 🐟 "})
    assert answer.status_code == 200 and answer.headers["Cache-Control"] == "no-store"
    first = answer.json()
    assert first == {"id": id_, "mark": "noise", "note": "Ein Fehler der Börse 🐟", "marked_at": first["marked_at"]}
    assert shown(client, id_) == ("noise", first["note"], first["marked_at"])
    listed = client.get("/anomalies", headers={"If-None-Match": untouched})
    assert listed.status_code == 200, "what a client has is no longer what there is"
    assert [one["mark"] for one in listed.json()["anomalies"]] == [None, "noise"]
    assert mark(client, id_, {"mark": "noise", "note": first["note"]}).json() == first, "the same again"
    assert mark(client, id_, {"mark": "real", "note": " "}).json()["note"] is None
    for wanted, count in (("real", 1), ("noise", 0), ("expected", 0), ("none", 1)):
        for sort in ("time", "importance"):
            assert len(client.get(f"/anomalies?mark={wanted}&sort={sort}").json()["anomalies"]) == count
    assert client.get("/anomalies?mark=maybe").status_code == 422
    for _ in range(2):
        answer = client.delete(f"/anomalies/{id_}/mark")
        assert (answer.status_code, answer.content) == (204, b"")
    assert shown(client, id_) == (None, None, None)
    assert client.get("/anomalies").headers["ETag"] == untouched


def test_what_is_no_mark_is_refused(client: TestClient, database: Database, row: dict[str, Any]) -> None:
    notes = ("a\nb", "a\n", "\u0000", "\u001b[31m", "\u0085", "\u2028", "\u202e", "\ud800", "x" * (LONGEST_NOTE + 1), 5)
    marks: list[Any] = [{}, {"mark": "good"}, {"mark": None}, {"mark": "real", "who": "me"}, [], "real", None]
    for content in [*marks, *({"mark": "real", "note": note} for note in notes)]:
        # Not by `json=`, which would refuse half a character.
        answer = client.put(f"/anomalies/{row['id']}/mark", content=json.dumps(content), headers=AS_JSON)
        assert (answer.status_code, kind_of(answer)) == (422, "invalid-request"), content
    assert stored_rows(database, anomaly_marks) == []


def test_what_is_no_json_is_refused(client: TestClient, database: Database, row: dict[str, Any]) -> None:
    url, valid = f"/anomalies/{row['id']}/mark", b'{"mark": "real"}'
    for headers in ({}, FORM, {"Content-Type": "text/plain"}, {"Content-Type": "application/jsonx"}):
        answer = client.put(url, content=valid, headers=headers)
        assert (answer.status_code, kind_of(answer)) == (415, "unsupported-media-type")
    for body in (b"", b"{", b"[" * 4096, b"\xff"):
        answer = client.put(url, content=body, headers=AS_JSON)
        assert answer.status_code in (400, 422) and kind_of(answer) == "invalid-request", body
    assert stored_rows(database, anomaly_marks) == []


def test_an_unknown_anomaly_has_no_mark(client: TestClient, database: Database, row: dict[str, Any]) -> None:
    former = anomaly_row("OLD", 1)
    store(database, price_anomalies, former)
    for id_ in ("0" * 32, former["id"]):
        for answer in (mark(client, id_, {"mark": "real"}), client.delete(f"/anomalies/{id_}/mark")):
            assert (answer.status_code, kind_of(answer)) == (404, "unknown-anomaly")
    for id_ in ("BTC", "0" * 31, "F" * 32, "0" * 33):
        assert mark(client, id_, {"mark": "real"}).status_code == 422
    answer = client.get(f"/anomalies/{row['id']}/mark")
    assert (answer.status_code, answer.headers["Allow"]) == (405, "DELETE, PUT")


def test_pages_of_other_sites_give_no_marks(client: TestClient, database: Database, row: dict[str, Any]) -> None:
    for headers in ({"Sec-Fetch-Site": "cross-site"}, {"Origin": "https://evil.example"}):
        for answer in (
            mark(client, row["id"], {"mark": "noise"}, **headers),
            client.delete(f"/anomalies/{row['id']}/mark", headers=headers),
        ):
            assert (answer.status_code, kind_of(answer)) == (403, "foreign-site")
    preflight = client.options(
        f"/anomalies/{row['id']}/mark",
        headers={"Origin": "https://evil.example", "Access-Control-Request-Method": "PUT"},
    )
    assert preflight.status_code == 405 and "Access-Control-Allow-Origin" not in preflight.headers
    assert mark(client, row["id"], {"mark": "real"}, **{"Sec-Fetch-Site": "same-origin", "Origin": LOCAL}).is_success


def test_marks_count_among_the_changes_of_a_client(
    client: TestClient, row: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ClientLimit, "admit", lambda self, name: 6.2)
    for answer in (mark(client, row["id"], {"mark": "real"}), client.delete(f"/anomalies/{row['id']}/mark")):
        assert (answer.status_code, kind_of(answer), answer.headers["Retry-After"]) == (429, "too-many-requests", "7")


def test_the_longest_note_fits_whatever_its_characters_and_however_it_is_sent(
    service_of: Callable[..., Service], database: Database, row: dict[str, Any]
) -> None:
    note = "🐟" * LONGEST_NOTE
    body = json.dumps({"mark": "expected", "note": note}).encode()
    assert len(body) > 12 * LONGEST_NOTE
    with served(create_app(service_of())) as address:
        host = urlsplit(address)
        for content, more in ((body, {}), (iter([body[:1000], body[1000:]]), {"Transfer-Encoding": "chunked"})):
            connection = http.client.HTTPConnection(str(host.hostname), host.port, timeout=20)
            headers = {"Content-Type": "application/json; charset=utf-8", **more}
            connection.request("PUT", f"/anomalies/{row['id']}/mark", content, headers, encode_chunked=bool(more))
            answer = connection.getresponse()
            assert (answer.status, json.loads(answer.read())["note"]) == (200, note)
            connection.close()


def test_a_role_that_may_only_read_says_so(
    postgres_database: Database, api: Callable[..., TestClient]
) -> None:
    jump = anomaly_row("BTC", 1)
    store(postgres_database, price_anomalies, jump)
    with postgres_database.writing() as connection:
        connection.execute(text("CREATE ROLE onlooker LOGIN"))
        connection.execute(text("GRANT SELECT ON ALL TABLES IN SCHEMA public TO onlooker"))
    url = postgres_database.url.set(username="onlooker").render_as_string(hide_password=False)
    reading = api(url=url, market_symbols="BTC")
    assert reading.get(f"/anomalies/{jump['id']}").json()["anomaly"]["mark"] is None
    for answer in (
        mark(reading, jump["id"], {"mark": "real"}), reading.delete(f"/anomalies/{jump['id']}/mark"),
        reading.post("/collect-once/BTC"),
    ):
        assert (answer.status_code, kind_of(answer)) == (403, "read-only")
