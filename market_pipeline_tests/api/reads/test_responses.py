"""What every read has in common: ETag and 304, HEAD, and errors of the database that describe nothing."""

from collections.abc import Callable
from datetime import datetime

import pytest
from sqlalchemy.engine import make_url
from starlette.testclient import TestClient

from market_pipeline.budget.status import budget_status, status_sentence
from market_pipeline.core.clock import iso
from market_pipeline.settings import load_settings
from market_pipeline.storage.engine import Database
from market_pipeline.storage.schema.tables import price_anomalies
from market_pipeline_tests.api.reads.rows import ARROW, FORMATS, some_prices
from market_pipeline_tests.api.serving import Response, both_databases, kind_of
from market_pipeline_tests.builders import anomaly_row, store

READS = ("/prices/BTC", "/prices/BTC?limit=2", "/prices/BTC/latest", "/anomalies", "/anomalies/BTC", "/symbols",
         "/coverage/BTC?from=2024-03-01&to=2024-03-02")
QUERIES = (*READS, "/anomalies?kind=jump", "/anomalies/0123456789abcdef0123456789abcdef", "/budget")
INSIDE = ("canary", "127.0.0.1", "select", "raw_prices", "price_anomalies", "sqlalchemy", "psycopg", "sqlite", ".py",
          "traceback", "/tmp")


def test_a_client_that_has_the_answer_gets_none(client: TestClient, database: Database) -> None:
    some_prices(database)
    store(database, price_anomalies, anomaly_row())
    for path in READS:
        first = client.get(path)
        assert first.status_code == 200 and first.headers["cache-control"] == "no-cache"
        tag = first.headers["etag"]
        assert tag.startswith('"')
        for given in (tag, f"W/{tag}", f'"x", {tag}', "*"):
            again = client.get(path, headers={"If-None-Match": given})
            assert (again.status_code, again.content) == (304, b""), given
            for name in ("etag", "cache-control", "vary", "link"):
                assert again.headers.get(name) == first.headers.get(name)
        assert client.get(path, headers={"If-None-Match": '"x"'}).content == first.content


def test_the_tag_changes_with_the_answer_and_with_nothing_else(client: TestClient, database: Database) -> None:
    some_prices(database)
    tag, *others = [client.get("/prices/BTC", headers={"Accept": kind}).headers["etag"] for kind in FORMATS]
    assert len({tag, *others}) == 3
    some_prices(database, "ETH")
    assert client.get("/prices/BTC").headers["etag"] == tag
    some_prices(database, count=1, first=50)
    answer = client.get("/prices/BTC", headers={"If-None-Match": tag})
    assert answer.status_code == 200 and answer.headers["etag"] != tag


def test_head_is_get_without_a_body(client: TestClient, database: Database) -> None:
    some_prices(database)
    for path in (*READS, "/budget", "/healthz", "/openapi.json", "/prices/XYZ", "/nowhere"):
        got, head = client.get(path), client.head(path)
        assert (head.status_code, head.content) == (got.status_code, b"")
        for name in ("content-type", "etag", "link", "vary", "cache-control"):
            assert head.headers.get(name) == got.headers.get(name)
        if "etag" in got.headers:
            assert head.headers["content-length"] == got.headers["content-length"]
    tag = client.get("/prices/BTC").headers["etag"]
    assert client.head("/prices/BTC", headers={"If-None-Match": tag}).status_code == 304
    assert client.head("/collect-once/BTC").status_code == 405


def require_silence(answer: Response) -> None:
    assert (answer.status_code, kind_of(answer)) == (500, "database-error")
    assert not [word for word in INSIDE if word in answer.text.lower()]


@pytest.mark.parametrize("url", [
    "sqlite:////canary-folder/canary.db", "postgresql+psycopg2://canary_user:canary_word@127.0.0.1:1/canary_base",
])
def test_a_database_that_cannot_be_reached_is_not_described(client_over: Callable[..., TestClient], url: str) -> None:
    client = client_over(Database(make_url(url)))
    for path in QUERIES:
        require_silence(client.get(path))
    require_silence(client.get("/prices/BTC", headers={"Accept": ARROW}))


@both_databases
def test_a_database_without_tables_is_not_described(database: Database, client: TestClient) -> None:
    with database.writing() as connection:
        for table in ("raw_prices", "price_anomalies", "request_budgets"):
            connection.exec_driver_sql(f"DROP TABLE {table}")
    for path in QUERIES:
        require_silence(client.get(path))
    require_silence(client.get("/prices/BTC", headers={"Accept": ARROW}))


def test_the_budget_is_that_of_every_process(client_over: Callable[..., TestClient], database: Database) -> None:
    given = {
        "coingecko_plan": "demo", "coingecko_api_key": "CG-canary-key", "coingecko_monthly_credits": 500,
        "coingecko_requests_per_minute": 7,
    }
    answer = client_over(database, **given).get("/budget")
    assert answer.headers["cache-control"] == "no-store" and "etag" not in answer.headers
    url = database.url.render_as_string(hide_password=False)
    status = budget_status(load_settings(None, database_url=url, **given), database)
    expected = {name: iso(value) if isinstance(value, datetime) else value for name, value in vars(status).items()}
    document = answer.json()
    assert {**document, "now": None} == {**expected, "now": None, "in_words": status_sentence(status)}
    assert (document["left_this_minute"], document["monthly_credits"], document["credits_left"]) == (7, 500, 500)
    assert "canary" not in answer.text
    bare = client_over(database).get("/budget").json()
    assert bare["monthly_credits"] is bare["credits_left"] is bare["cool_down_until"] is None
    assert bare["cool_down_reason"] == ""
