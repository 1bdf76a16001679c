"""A database that fails: an answer that says so and nothing about paths, hosts, statements or passwords."""

import pytest
from sqlalchemy.engine import make_url

from market_pipeline.storage.engine import Database
from market_pipeline_tests.api.reads.rows import ARROW

PATHS = ("/prices/BTC", "/prices/BTC/latest", "/anomalies", "/anomalies?kind=jump", "/anomalies/BTC",
         "/anomalies/0123456789abcdef0123456789abcdef", "/symbols", "/coverage/BTC", "/budget")
REQUESTS = [*((path, "application/json") for path in PATHS), ("/prices/BTC", ARROW)]
GONE = {
    "sqlite": "sqlite:////canary-folder/canary.db",
    "postgresql": "postgresql+psycopg2://canary_user:canary_word@127.0.0.1:1/canary_base",
}


def require_silence(answer):
    assert answer.status_code == 500
    assert answer.headers["content-type"] == "application/problem+json"
    document = answer.json()
    assert document["type"].endswith(":database-error")
    assert document["trace_id"] == answer.headers["x-request-id"]
    words = answer.text.lower()
    for inside in ("canary", "127.0.0.1", "select", "raw_prices", "price_anomalies", "sqlalchemy", "psycopg",
                   "sqlite", ".py", "traceback", "/tmp"):
        assert inside not in words, inside


@pytest.mark.parametrize(("path", "accept"), REQUESTS)
@pytest.mark.parametrize("dialect", GONE)
def test_a_database_that_cannot_be_reached_is_not_described(client_over, dialect, path, accept):
    client = client_over(Database(make_url(GONE[dialect])))
    require_silence(client.get(path, headers={"Accept": accept}))


@pytest.mark.parametrize(("path", "accept"), REQUESTS)
def test_a_database_without_tables_is_not_described(client_over, database, path, accept):
    with database.writing() as connection:
        for table in ("raw_prices", "price_anomalies", "request_budgets"):
            connection.exec_driver_sql(f"DROP TABLE {table}")
    require_silence(client_over(database).get(path, headers={"Accept": accept}))
