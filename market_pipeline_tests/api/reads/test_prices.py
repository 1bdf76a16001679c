"""Prices newest first: limits, times, pages; as JSON, CSV and Arrow the same rows, to the last digit."""

import csv
import io
import json
import subprocess
import sys
from collections.abc import Callable
from datetime import datetime, timezone
from typing import Any

import pyarrow as pa
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import delete
from starlette.testclient import TestClient

from market_pipeline.storage.engine import Database
from market_pipeline.storage.schema.tables import price_anomalies, raw_prices
from market_pipeline_tests.api.reads.rows import ARROW, FORMATS, points_of, some_prices, store_prices, walk
from market_pipeline_tests.api.serving import SYMBOLS, both_databases, kind_of
from market_pipeline_tests.builders import anomaly_row, at, price_row, store

TIMES = st.datetimes(datetime(2000, 1, 1), datetime(2026, 1, 1), timezones=st.just(timezone.utc))
ROWS = st.lists(
    st.fixed_dictionaries({
        "symbol": st.just("BTC"), "coin_id": st.just("bitcoin"), "timestamp": TIMES, "price": st.floats(1e-12, 1e12),
        "source": st.sampled_from(["simple_price", "market_chart"]), "ingested_at": TIMES,
    }),
    min_size=1, max_size=20, unique_by=lambda row: row["timestamp"],
)


@both_databases
@settings(max_examples=10, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(rows=ROWS)
def test_prices_and_times_come_back_as_they_were_stored(
    database: Database, client: TestClient, rows: list[dict[str, Any]]
) -> None:
    with database.writing() as connection:
        connection.execute(delete(raw_prices))
    newest_first = store_prices(database, *sorted(rows, key=lambda row: row["timestamp"], reverse=True))
    for media_type in FORMATS:
        assert points_of(client.get("/prices/BTC", headers={"Accept": media_type})) == newest_first
    assert client.get("/prices/BTC/latest").json() == {"symbol": "BTC", **newest_first[0]}


def test_the_newest_prices_come_first(client: TestClient, database: Database) -> None:
    assert client.get("/prices/BTC").json() == {"symbol": "BTC", "points": [], "next_cursor": None}
    for media_type in FORMATS:
        assert points_of(client.get("/prices/BTC", headers={"Accept": media_type})) == []
    answer = client.get("/prices/BTC/latest")
    assert (answer.status_code, kind_of(answer)) == (404, "no-prices")
    stored = some_prices(database)
    some_prices(database, "ETH", count=101)
    for path in ("/prices/BTC", "/prices/btc"):
        answer = client.get(path)
        assert answer.json() == {"symbol": "BTC", "points": stored, "next_cursor": None}
        assert "Link" not in answer.headers
    assert client.get("/prices/BTC?limit=2").json()["points"] == stored[:2]
    assert client.get("/prices/btc/latest").json() == {"symbol": "BTC", **stored[0]}
    default = client.get("/prices/ETH").json()
    assert len(default["points"]) == 100 and default["next_cursor"] is not None


def test_the_start_is_inside_and_the_end_is_not(client: TestClient, database: Database) -> None:
    """A time between two microseconds is the later one, or a price outside would be given."""
    stored = some_prices(database)
    for query, found in (
        ("start=2024-03-01T00:01:00Z&end=2024-03-01T00:03:00Z", stored[2:4]),
        ("start=2024-03-01T01:01:00%2B01:00&end=2024-02-29T23:03:00-01:00", stored[2:4]),
        ("start=2024-03-01&end=2024-03-02", stored),
        ("start=2024-03-02", []),
        ("start=2024-03-01T00:04:00.0000000Z", stored[:1]),
        ("start=2024-03-01T00:04:00.0000001Z", []),
        ("start=2024-03-01T00:04:00.0000000000001Z", []),
        ("end=2024-03-01T00:00:00.0000001Z", stored[-1:]),
        ("end=2024-03-01T00:00:00Z", []),
    ):
        assert client.get(f"/prices/BTC?{query}").json()["points"] == found, query


@both_databases
def test_pages_give_every_row_once_while_newer_ones_arrive(database: Database, client: TestClient) -> None:
    """Twelve rows: with limits that divide them, that do not, that just fit, and more than enough."""
    stored, arriving = some_prices(database, count=12), iter(range(100, 1000))
    for media_type in FORMATS:
        for limit in (1, 5, 12, 13):
            pages = walk(
                client, f"/prices/BTC?limit={limit}&end=2024-03-01T00:12:00Z",
                lambda: some_prices(database, count=1, first=next(arriving)), headers={"Accept": media_type},
            )
            assert [point for page in pages for point in points_of(page)] == stored
            assert len(pages) == -(-12 // limit)


def test_a_page_behind_a_cursor_has_the_same_start_and_end(client: TestClient, database: Database) -> None:
    stored = some_prices(database, count=9)
    query = "start=2024-03-01T00:01:00Z&end=2024-03-01T00:07:00%2B00:00"
    pages = walk(client, f"/prices/BTC?limit=2&{query}")
    assert [point for page in pages for point in points_of(page)] == stored[2:8]
    assert pages[0].links["next"]["url"].startswith("?limit=2&start=2024-03-01T00")
    by_cursor = client.get(f"/prices/BTC?limit=2&{query}&cursor={pages[0].json()['next_cursor']}")
    assert by_cursor.json() == pages[1].json()


@both_databases
def test_bad_ticks_are_marked_and_quotes_of_the_future_left_out(
    database: Database, client_over: Callable[..., TestClient]
) -> None:
    client = client_over(database, lambda: at(3))
    good, bad, _ = store_prices(database, price_row(), price_row(minutes=2, price=9e5), price_row(minutes=93))
    store(database, price_anomalies, anomaly_row("BTC", 2, "bad_tick", price_after=9e5))
    assert client.get("/prices/BTC/latest").json() == {"symbol": "BTC", **good}
    for media_type in FORMATS:
        answer = client.get("/prices/BTC", headers={"Accept": media_type})
        assert points_of(answer) == [{**bad, "quality": "bad_tick"}, good]


def test_other_symbols_are_refused_with_the_supported_ones(client: TestClient, database: Database) -> None:
    some_prices(database, "OLD")
    for path in ("/prices/XYZ", "/prices/XYZ/latest", "/coverage/XYZ", "/anomalies/XYZ", "/prices/OLD"):
        answer = client.get(path)
        assert (answer.status_code, kind_of(answer)) == (400, "unsupported-symbol")
        assert answer.json()["supported"] == list(SYMBOLS)
    for symbol in ("%00", "BTC%00", "%E2%80%AE", "%FF", "B" * 1000, "%27%3B--"):
        for path in ("prices", "anomalies"):
            assert client.get(f"/{path}/{symbol}").status_code in (400, 404)


def test_json_and_csv_written_by_hand_are_what_libraries_write(client: TestClient, database: Database) -> None:
    """In CSV nothing needs quotes, and nothing looks like a formula to a spreadsheet (=+-@)."""
    prices = (1e-12, 5e-324, 0.1, 1.0, 67187.33589, 123456789012345680.0, 9.9e299)
    stored = store_prices(database, *(price_row(minutes=n, price=price) for n, price in enumerate(prices)))[::-1]
    answer = client.get("/prices/BTC?limit=6")
    assert answer.text == json.dumps(answer.json(), separators=(",", ":")) and len(answer.json()["points"]) == 6
    answer = client.get("/prices/BTC", headers={"Accept": "text/csv"})
    assert answer.headers["content-type"] == "text/csv; charset=utf-8; header=present"
    header, *rows = list(csv.reader(io.StringIO(answer.text, newline="")))
    assert header == ["timestamp", "price", "source", "ingested_at", "quality"]
    assert rows == [[str(value) for value in point.values()] for point in stored] and '"' not in answer.text
    assert all(value[0] not in "=+-@\t\r" for row in rows for value in row)


def test_arrow_has_types_and_no_row_too_many(client: TestClient, database: Database) -> None:
    some_prices(database)
    table = pa.ipc.open_stream(client.get("/prices/BTC?limit=3", headers={"Accept": ARROW}).content).read_all()
    moment, text = pa.timestamp("us", tz="UTC"), pa.string()
    assert table.schema == pa.schema([
        ("timestamp", moment), ("price", pa.float64()), ("source", text), ("ingested_at", moment), ("quality", text),
    ])
    assert len(table) == 3


def test_the_format_is_the_one_that_the_client_prefers(client: TestClient, database: Database) -> None:
    some_prices(database)
    for accept, found in (
        ("*/*", "application/json"), ("", "application/json"), ("text/*", "text/csv"),
        ("application/*", "application/json"), ("text/csv, application/json", "application/json"),
        ("text/csv;q=0.9, application/json;q=0.8", "text/csv"), ("application/json;q=0, */*;q=0.1", "text/csv"),
        ("text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8", "application/json"),
        (f"{ARROW}, application/json;q=0.5", ARROW), ("TEXT/csv;q=1", "text/csv"),
    ):
        answer = client.get("/prices/BTC", headers={"Accept": accept})
        assert answer.headers["content-type"].partition(";")[0] == found, accept
        assert answer.headers["vary"] == "Accept"
    for accept in ("text/html", "application/json;q=0", "image/*", "nonsense", "a/b/c", ";;,"):
        answer = client.get("/prices/BTC", headers={"Accept": accept})
        assert (answer.status_code, kind_of(answer)) == (406, "not-acceptable"), accept
        assert answer.json()["offered"] == list(FORMATS) and answer.headers["vary"] == "Accept"


def test_each_format_has_its_own_largest_page(client: TestClient) -> None:
    for media_type, most in (("application/json", 10_000), ("text/csv", 10_000), (ARROW, 1_000_000)):
        headers = {"Accept": media_type}
        assert client.get(f"/prices/BTC?limit={most}", headers=headers).status_code == 200
        answer = client.get(f"/prices/BTC?limit={most + 1}", headers=headers)
        assert answer.status_code == 422 and answer.json()["errors"][0]["where"] == "query.limit"


def test_nothing_heavy_is_loaded_until_arrow_is_requested(sqlite_database: Database) -> None:
    """In a process of its own. ADBC's module loads pandas, if there is one, though nothing here uses it."""
    some_prices(sqlite_database)
    program = """
import sys
from pathlib import Path
from starlette.testclient import TestClient
from market_pipeline.api.app import create_app
from market_pipeline.dagster_instance.connection import DagsterHome
from market_pipeline.api.service import Service
from market_pipeline.settings import load_settings
from market_pipeline.storage.engine import Database

settings = load_settings(None, database_url=sys.argv[1])
client = TestClient(create_app(Service(settings, Database(settings.database), DagsterHome(Path("absent")))),
                    "http://127.0.0.1:8000")
for path in ("/prices/BTC", "/candles/BTC", "/anomalies", "/symbols", "/coverage/BTC", "/budget", "/openapi.json"):
    assert client.get(path).status_code == 200, path
print(sorted({"pandas", "pyarrow", "adbc_driver_manager", "dagster", "matplotlib", "numba"} & set(sys.modules)))
"""
    url = sqlite_database.url.render_as_string()
    ran = subprocess.run([sys.executable, "-c", program, url], capture_output=True, text=True, check=False)
    assert ran.returncode == 0, ran.stderr
    assert ran.stdout.splitlines()[-1] == "[]"
