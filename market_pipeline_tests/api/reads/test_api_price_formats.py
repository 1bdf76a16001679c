"""JSON, CSV and Arrow: the same rows, each number and time to the last digit, in the format asked for."""

import csv
import io
import json
import subprocess
import sys
from datetime import datetime, timezone

import pyarrow as pa
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import delete

from market_pipeline.storage.schema.tables import raw_prices
from market_pipeline_tests.api.reads.rows import ARROW, points_of, some_prices, store_prices, utc

FORMATS = ("application/json", "text/csv", ARROW)

TIMES = st.datetimes(datetime(2000, 1, 1), datetime(2026, 1, 1), timezones=st.just(timezone.utc))
ROWS = st.lists(
    st.fixed_dictionaries({
        "symbol": st.just("BTC"),
        "coin_id": st.just("bitcoin"),
        "timestamp": TIMES,
        "price": st.floats(1e-12, 1e12),
        "source": st.sampled_from(["simple_price", "market_chart"]),
        "ingested_at": TIMES,
    }),
    min_size=1, max_size=20, unique_by=lambda row: row["timestamp"],
)


@settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(rows=ROWS)
def test_prices_and_times_come_back_as_they_were_stored(client, database, rows):
    with database.writing() as connection:
        connection.execute(delete(raw_prices))
    newest_first = store_prices(database, *sorted(rows, key=lambda row: row["timestamp"], reverse=True))
    for media_type in FORMATS:
        assert points_of(client.get("/prices/BTC", headers={"Accept": media_type})) == newest_first
    assert client.get("/prices/BTC/latest").json() == {"symbol": "BTC", **newest_first[0]}


def test_json_written_by_hand_is_what_the_library_would_write(client, database):
    store_prices(database, *(
        {
            "symbol": "BTC", "coin_id": "bitcoin", "timestamp": utc(2024, 3, 1, 0, number), "price": price,
            "source": "market_chart",
            "ingested_at": utc(2024, 3, 1, 0, number, 21, 402_113),
        }
        for number, price in enumerate((1e-12, 5e-324, 0.1, 1.0, 67187.33589, 123456789012345680.0, 9.9e299))
    ))
    answer = client.get("/prices/BTC?limit=6")
    assert answer.text == json.dumps(answer.json(), separators=(",", ":"))
    assert len(answer.json()["points"]) == 6


def test_csv_needs_no_quotes_and_holds_no_formula(client, database):
    """A spreadsheet takes what begins with one of =+-@ for a formula."""
    stored = some_prices(database, count=3)
    answer = client.get("/prices/BTC", headers={"Accept": "text/csv"})
    assert answer.headers["content-type"] == "text/csv; charset=utf-8; header=present"
    header, *rows = list(csv.reader(io.StringIO(answer.text, newline="")))
    assert header == ["timestamp", "price", "source", "ingested_at", "quality"]
    assert rows == [[str(value) for value in point.values()] for point in stored]
    assert '"' not in answer.text
    assert all(value[0] not in "=+-@\t\r" for row in rows for value in row)


def test_arrow_has_types_and_no_row_too_many(client, database):
    some_prices(database, count=5)
    answer = client.get("/prices/BTC?limit=3", headers={"Accept": ARROW})
    table = pa.ipc.open_stream(answer.content).read_all()
    moment = pa.timestamp("us", tz="UTC")
    assert table.schema == pa.schema(
        [
            ("timestamp", moment), ("price", pa.float64()), ("source", pa.string()), ("ingested_at", moment),
            ("quality", pa.string()),
        ]
    )
    assert len(table) == 3


@pytest.mark.parametrize(("accept", "given_type"), [
    ("*/*", "application/json"),
    ("", "application/json"),
    ("text/*", "text/csv"),
    ("application/*", "application/json"),
    ("text/csv, application/json", "application/json"),
    ("text/csv;q=0.9, application/json;q=0.8", "text/csv"),
    ("application/json;q=0, */*;q=0.1", "text/csv"),
    ("text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8", "application/json"),
    (f"{ARROW}, application/json;q=0.5", ARROW),
    ("TEXT/csv;q=1", "text/csv"),
])
def test_the_format_is_the_one_that_the_client_likes_best(client_over, sqlite_database, accept, given_type):
    some_prices(sqlite_database)
    answer = client_over(sqlite_database).get("/prices/BTC", headers={"Accept": accept})
    assert answer.headers["content-type"].partition(";")[0] == given_type
    assert answer.headers["vary"] == "Accept"


@pytest.mark.parametrize("accept", ["text/html", "application/json;q=0", "image/*", "nonsense", "a/b/c", ";;,"])
def test_nothing_acceptable_is_a_problem_that_names_what_there_is(client_over, sqlite_database, accept):
    answer = client_over(sqlite_database).get("/prices/BTC", headers={"Accept": accept})
    assert answer.status_code == 406
    assert answer.headers["content-type"] == "application/problem+json"
    assert answer.json()["offered"] == list(FORMATS)
    assert answer.headers["vary"] == "Accept"


def test_each_format_has_its_own_largest_page(client_over, sqlite_database):
    client = client_over(sqlite_database)
    for media_type, limit, status in (
        ("application/json", 10_000, 200), ("application/json", 10_001, 422), ("text/csv", 10_000, 200),
        ("text/csv", 10_001, 422), (ARROW, 1_000_000, 200), (ARROW, 1_000_001, 422),
    ):
        answer = client.get(f"/prices/BTC?limit={limit}", headers={"Accept": media_type})
        assert answer.status_code == status, (media_type, limit)
        if status == 422:
            assert answer.json()["errors"][0]["where"] == "query.limit"


def test_nothing_heavy_is_loaded_until_arrow_is_asked_for(sqlite_database):
    """In a process of its own. ADBC's module loads pandas, if there is one, though nothing here uses it."""
    some_prices(sqlite_database)
    program = """
import sys
from pathlib import Path
from starlette.testclient import TestClient
from market_pipeline.api.app import create_app
from market_pipeline.api.dagster_reports import DagsterHome
from market_pipeline.api.service import Service
from market_pipeline.settings import load_settings
from market_pipeline.storage.engine import Database

settings = load_settings(None, database_url=sys.argv[1])
client = TestClient(create_app(Service(settings, Database(settings.database), DagsterHome(Path("absent")))),
                    "http://127.0.0.1:8000")
for path in ("/prices/BTC", "/anomalies", "/symbols", "/coverage/BTC", "/budget", "/openapi.json"):
    assert client.get(path).status_code == 200, path
print(sorted({"pandas", "pyarrow", "adbc_driver_manager", "dagster", "matplotlib", "numba"} & set(sys.modules)))
"""
    url = sqlite_database.url.render_as_string()
    ran = subprocess.run([sys.executable, "-c", program, url], capture_output=True, text=True, check=False)
    assert ran.returncode == 0, ran.stderr
    assert ran.stdout.splitlines()[-1] == "[]"
