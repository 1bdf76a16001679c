"""Anomalies over HTTP: order, filters, pages, one of them, and all of their columns."""

import random
from datetime import datetime

import pytest

from market_pipeline.anomalies.anomaly import Kind
from market_pipeline.core.clock import iso
from market_pipeline.storage.queries import anomaly_pages
from market_pipeline.storage.schema.tables import price_anomalies
from market_pipeline_tests.api.reads.rows import anomaly, at, store_anomalies, walk

SYMBOLS = ("BTC", "ETH", "SOL", "ADA", "DOT")


def ids(answer):
    assert answer.status_code == 200, answer.text
    return [row["id"] for row in answer.json()["anomalies"]]


def in_order(rows):
    return sorted(rows, key=lambda row: (-row["timestamp"].timestamp(), row["symbol"], row["kind"]))


@pytest.fixture
def many(database):
    """Two hundred rows with many ties in time, of every kind, some of them members of others."""
    rng = random.Random(5)
    keys = {
        (rng.choice(SYMBOLS), rng.randrange(60), rng.choice(list(Kind)).value) for _ in range(250)
    }
    rows = [
        anomaly(*key, severity=rng.choice(["watch", "alert", "critical"]), scope=rng.choice(["market", "mixed"]))
        for key in sorted(keys)
    ]
    for row in rows:
        row["event_id"] = rng.choice([None, row["id"], rows[0]["id"]])
    return in_order(store_anomalies(database, *rows))


def test_the_newest_come_first_then_by_symbol_and_kind(client, many):
    assert ids(client.get("/anomalies?limit=1000")) == [row["id"] for row in many]
    assert ids(client.get("/anomalies")) == [row["id"] for row in many[:100]]
    of_sol = [row["id"] for row in many if row["symbol"] == "SOL"]
    assert ids(client.get("/anomalies/sol?limit=1000")) == of_sol


@pytest.mark.parametrize("looked_through", [20_000, 20])
@pytest.mark.parametrize(("query", "wanted"), [
    ("limit=7", lambda row: True),
    ("limit=3&kind=jump", lambda row: row["kind"] == "jump"),
    ("limit=1000&severity=critical&scope=mixed",
     lambda row: (row["severity"], row["scope"]) == ("critical", "mixed")),
    ("limit=5&since=2024-03-01T00:30:00Z", lambda row: row["timestamp"] >= at(30)),
    ("limit=4&alarms_only=true", lambda row: row["event_id"] in (None, row["id"])),
    ("limit=2&kind=bad_tick&since=2024-03-01T00:20:00Z",
     lambda row: row["kind"] == "bad_tick" and row["timestamp"] >= at(20)),
])
def test_all_pages_give_what_is_chosen_once(client, many, monkeypatch, looked_through, query, wanted):
    """Also where only a few rows are looked through for a page: it may be short then, but leads on."""
    monkeypatch.setattr(anomaly_pages, "MOST_SCANNED", looked_through)
    limit = int(query.partition("&")[0].removeprefix("limit="))
    for path, symbols in (("/anomalies", SYMBOLS), ("/anomalies/ETH", ("ETH",))):
        pages = walk(client, f"{path}?{query}")
        expected = [row["id"] for row in many if wanted(row) and row["symbol"] in symbols]
        assert [one for page in pages for one in ids(page)] == expected
        assert all(len(ids(page)) <= limit for page in pages)


def test_pages_hold_still_while_newer_rows_arrive(client, database, many):
    minutes = iter(range(100, 200))

    def between():
        store_anomalies(database, anomaly("BTC", next(minutes)))

    pages = walk(client, "/anomalies?limit=20", between)
    assert [one for page in pages for one in ids(page)] == [row["id"] for row in many]


def test_few_rows_are_looked_through_for_one_page(client, many, monkeypatch):
    monkeypatch.setattr(anomaly_pages, "MOST_SCANNED", 10)
    pages = walk(client, "/anomalies?kind=user_threshold&severity=watch&limit=1000")
    assert len(pages) > 5
    assert any(ids(page) == [] for page in pages)


def test_every_column_is_told_in_its_form(client, database):
    (stored,) = store_anomalies(database, anomaly(
        members="BTC,ETH,SOL", quality_flags="warm_up,few_quotes", z=-7.25, p_raw=1e-300, move=0.1,
        confirmed_at=at(9), peers_moved=4,
    ))
    (row,) = client.get("/anomalies").json()["anomalies"]
    assert list(row) == [column.name for column in price_anomalies.columns]
    expected = {name: iso(value) if isinstance(value, datetime) else value for name, value in stored.items()}
    expected |= {"members": ["BTC", "ETH", "SOL"], "quality_flags": ["warm_up", "few_quotes"]}
    assert row == expected
    assert isinstance(row["peers_moved"], int)


def test_what_is_not_known_is_null_and_lists_are_empty(client, database):
    unknown = {column.name for column in price_anomalies.columns if column.nullable}
    store_anomalies(database, anomaly(**dict.fromkeys(unknown), quality_flags=""))
    (row,) = client.get("/anomalies").json()["anomalies"]
    assert {name for name, value in row.items() if value is None} == unknown - {"members"}
    assert row["members"] == row["quality_flags"] == []


def test_one_anomaly_is_told_with_what_it_stands_for(client, database):
    event = anomaly("SOL", 10, "market_move", members="SOL,BTC", explanation="The market fell.")
    event["event_id"] = event["id"]
    first = anomaly("BTC", 9, event_id=event["id"])
    second = anomaly("SOL", 10, event_id=event["id"])
    gone = anomaly("OLD", 10, event_id=event["id"])
    store_anomalies(database, event, first, second, gone, anomaly("BTC", 10))
    answer = client.get(f"/anomalies/{event['id']}")
    assert answer.status_code == 200
    assert answer.json()["anomaly"]["explanation"] == "The market fell."
    assert [row["id"] for row in answer.json()["members_of_event"]] == [second["id"], first["id"]]
    member = client.get(f"/anomalies/{first['id']}").json()
    assert member["anomaly"]["event_id"] == event["id"]
    assert member["members_of_event"] == []


def test_an_unknown_anomaly_is_not_found(client, database):
    (gone,) = store_anomalies(database, anomaly("OLD"))
    for id_ in ("0" * 31 + "f", gone["id"]):
        answer = client.get(f"/anomalies/{id_}")
        assert answer.status_code == 404
        assert answer.json()["type"].endswith(":unknown-anomaly")
    assert client.get(f"/anomalies/{gone['id'].upper()[:-1]}F").status_code == 400


def test_only_symbols_that_are_collected_here_are_shown(client_over, database):
    rows = store_anomalies(database, anomaly("OLD", 5), anomaly("BTC", 4), anomaly("ETH", 3))
    assert ids(client_over(database).get("/anomalies")) == [rows[1]["id"], rows[2]["id"]]
    assert ids(client_over(database, market_symbols="ETH").get("/anomalies")) == [rows[2]["id"]]


def test_an_empty_database_has_an_empty_page(client):
    for path in ("/anomalies", "/anomalies/BTC", "/anomalies?kind=jump"):
        assert client.get(path).json() == {"anomalies": [], "next_cursor": None}
