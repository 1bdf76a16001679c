"""Anomalies over HTTP: order, filters, pages, one of them, and all of their columns."""

import random
from collections.abc import Callable
from datetime import datetime
from typing import Any

import pytest
from starlette.testclient import TestClient

from market_pipeline.anomalies.anomaly import Kind
from market_pipeline.core.clock import iso
from market_pipeline.storage.engine import Database
from market_pipeline.storage.queries import anomaly_pages
from market_pipeline.storage.schema.tables import price_anomalies
from market_pipeline_tests.api.reads.rows import walk
from market_pipeline_tests.api.serving import SYMBOLS, Response, both_databases, kind_of
from market_pipeline_tests.builders import anomaly_row, at, store

Row = dict[str, Any]


def ids(answer: Response) -> list[str]:
    assert answer.status_code == 200, answer.text
    return [row["id"] for row in answer.json()["anomalies"]]


@pytest.fixture
def many(database: Database) -> list[Row]:
    """A hundred rows with many ties in time, of every kind, some of them members of others; in their order."""
    rng = random.Random(5)
    keys = {(rng.choice(SYMBOLS), rng.randrange(40), rng.choice(list(Kind)).value) for _ in range(115)}
    rows = [
        anomaly_row(
            *key, severity=rng.choice(["watch", "alert", "critical"]), scope=rng.choice(["market", "mixed"]),
            importance=rng.choice([None, 0.1, 2.5, 1 / 3]),
        )
        for key in sorted(keys)
    ]
    for row in rows:
        row["event_id"] = rng.choice([None, row["id"], rows[0]["id"]])
    store(database, price_anomalies, *rows)
    return sorted(rows, key=lambda row: (-row["timestamp"].timestamp(), row["symbol"], row["kind"]))


CHOICES: list[tuple[str, Callable[[Row], bool]]] = [
    ("limit=1000", lambda row: True),
    ("limit=7", lambda row: True),
    ("limit=3&kind=jump", lambda row: row["kind"] == "jump"),
    ("limit=1000&severity=critical&scope=mixed", lambda row: (row["severity"], row["scope"]) == ("critical", "mixed")),
    ("limit=5&since=2024-03-01T00:30:00Z", lambda row: row["timestamp"] >= at(30)),
    ("limit=4&since=2024-03-01T00:10:00Z&until=2024-03-01T00:30:00Z", lambda row: at(10) <= row["timestamp"] < at(30)),
    ("limit=9&alarms_only=true", lambda row: row["event_id"] in (None, row["id"])),
    ("limit=2&kind=bad_tick&since=2024-03-01T00:20:00Z",
     lambda row: row["kind"] == "bad_tick" and row["timestamp"] >= at(20)),
]


@pytest.mark.parametrize(("database", "examined"), [("sqlite", 20), ("postgresql", 20_000)], indirect=["database"])
def test_all_pages_give_what_is_chosen_once_the_newest_first(
    database: Database, client: TestClient, many: list[Row], monkeypatch: pytest.MonkeyPatch, examined: int
) -> None:
    """Then by symbol and kind; also if few rows are examined for a page: it may be short then, but leads on."""
    monkeypatch.setattr(anomaly_pages, "MOST_SCANNED", examined)
    for query, wanted in CHOICES:
        limit = int(query.partition("&")[0].removeprefix("limit="))
        for path, symbols in (("/anomalies", SYMBOLS), ("/anomalies/eth", ("ETH",))):
            pages = walk(client, f"{path}?{query}")
            expected = [row["id"] for row in many if wanted(row) and row["symbol"] in symbols]
            assert [one for page in pages for one in ids(page)] == expected, query
            assert all(len(ids(page)) <= limit for page in pages)
    assert ids(client.get("/anomalies")) == [row["id"] for row in many[:100]]


@both_databases
def test_all_pages_by_importance_give_what_is_chosen_once(
    database: Database, client: TestClient, many: list[Row]
) -> None:
    """Rows of equal importance keep the order of time, and those without one come last."""
    ranked = sorted(many, key=lambda row: -1.0 if row["importance"] is None else row["importance"], reverse=True)
    for query, wanted in CHOICES:
        for path, symbols in (("/anomalies", SYMBOLS), ("/anomalies/eth", ("ETH",))):
            pages = walk(client, f"{path}?{query}&sort=importance")
            expected = [row["id"] for row in ranked if wanted(row) and row["symbol"] in symbols]
            assert [one for page in pages for one in ids(page)] == expected, query
    by_time = client.get("/anomalies?limit=5").json()["next_cursor"]
    other = client.get(f"/anomalies?sort=importance&cursor={by_time}")
    assert (other.status_code, kind_of(other)) == (404, "unknown-cursor")


def test_pages_stay_the_same_while_newer_rows_arrive(client: TestClient, database: Database, many: list[Row]) -> None:
    minutes = iter(range(100, 200))
    pages = walk(client, "/anomalies?limit=20", lambda: store(
        database, price_anomalies, anomaly_row("BTC", next(minutes))
    ))
    assert [one for page in pages for one in ids(page)] == [row["id"] for row in many]


def test_few_rows_are_examined_for_one_page(
    client: TestClient, many: list[Row], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(anomaly_pages, "MOST_SCANNED", 10)
    pages = walk(client, "/anomalies?kind=user_threshold&severity=watch&limit=1000")
    assert len(pages) > 5 and any(ids(page) == [] for page in pages)


@both_databases
def test_every_column_has_its_form_and_unknown_values_are_null(database: Database, client: TestClient) -> None:
    unknown = {column.name for column in price_anomalies.columns if column.nullable}
    (stored, _) = store(
        database, price_anomalies,
        anomaly_row("BTC", 1, members="BTC,ETH,SOL", quality_flags="warm_up,few_quotes", z=-7.25, p_raw=1e-300,
                    move=0.1, confirmed_at=at(9), peers_moved=4),
        anomaly_row("BTC", 0) | dict.fromkeys(unknown) | {"quality_flags": ""},
    )
    full, bare = client.get("/anomalies").json()["anomalies"]
    mark = dict.fromkeys(("mark", "note", "marked_at"))
    assert list(full) == [*(column.name for column in price_anomalies.columns), *mark]
    expected = {name: iso(value) if isinstance(value, datetime) else value for name, value in stored.items()}
    assert full == expected | mark | {"members": ["BTC", "ETH", "SOL"], "quality_flags": ["warm_up", "few_quotes"]}
    assert isinstance(full["peers_moved"], int)
    assert {name for name, value in bare.items() if value is None} == unknown - {"members"} | mark.keys()
    assert bare["members"] == bare["quality_flags"] == []


@both_databases
def test_one_anomaly_comes_with_what_it_represents(database: Database, client: TestClient) -> None:
    event = anomaly_row("SOL", 10, "market_move", members="SOL,BTC", headline="", explanation="The market fell.")
    event["event_id"] = event["id"]
    first, second, gone = (anomaly_row(*key, event_id=event["id"]) for key in (("BTC", 9), ("SOL", 10), ("OLD", 10)))
    store(database, price_anomalies, event, first, second, gone, anomaly_row("BTC", 10))
    answer = client.get(f"/anomalies/{event['id']}")
    assert answer.status_code == 200
    assert answer.json()["anomaly"]["headline"] == "The market fell.", "rows without a headline show the explanation"
    assert [row["id"] for row in answer.json()["members_of_event"]] == [second["id"], first["id"]]
    member = client.get(f"/anomalies/{first['id']}").json()
    assert (member["anomaly"]["event_id"], member["members_of_event"]) == (event["id"], [])
    for id_ in ("0" * 31 + "f", gone["id"]):
        answer = client.get(f"/anomalies/{id_}")
        assert (answer.status_code, kind_of(answer)) == (404, "unknown-anomaly")
    assert client.get(f"/anomalies/{'F' * 32}").status_code == 400


def test_only_symbols_that_are_collected_here_are_shown(
    client_over: Callable[..., TestClient], database: Database
) -> None:
    for path in ("/anomalies", "/anomalies/BTC", "/anomalies?kind=jump"):
        assert client_over(database).get(path).json() == {"anomalies": [], "next_cursor": None}
    rows = [anomaly_row("OLD", 5), anomaly_row("BTC", 4), anomaly_row("ETH", 3)]
    store(database, price_anomalies, *rows)
    assert ids(client_over(database).get("/anomalies")) == [rows[1]["id"], rows[2]["id"]]
    assert ids(client_over(database, market_symbols="ETH").get("/anomalies")) == [rows[2]["id"]]
