"""ETag and 304, HEAD, and what a client may keep."""

import pytest

from market_pipeline_tests.api.reads.rows import ARROW, anomaly, some_prices, store_anomalies

READS = ("/prices/BTC", "/prices/BTC?limit=2", "/prices/BTC/latest", "/anomalies", "/anomalies/BTC", "/symbols",
         "/coverage/BTC?from=2024-03-01&to=2024-03-02")


@pytest.fixture
def filled(database):
    some_prices(database)
    return store_anomalies(database, anomaly())


@pytest.mark.usefixtures("filled")
@pytest.mark.parametrize("path", READS)
def test_a_client_that_has_the_answer_gets_none(client, path):
    first = client.get(path)
    assert first.status_code == 200
    assert first.headers["cache-control"] == "no-cache"
    tag = first.headers["etag"]
    assert tag.startswith('"')
    for given in (tag, f"W/{tag}", f'"x", {tag}', "*"):
        again = client.get(path, headers={"If-None-Match": given})
        assert (again.status_code, again.content) == (304, b""), given
        for name in ("etag", "cache-control", "vary", "link"):
            assert again.headers.get(name) == first.headers.get(name)
    assert client.get(path, headers={"If-None-Match": '"x"'}).content == first.content


def test_the_tag_changes_with_the_answer_and_with_nothing_else(client, database):
    some_prices(database)
    kinds = ("application/json", "text/csv", ARROW)
    tag, *others = [client.get("/prices/BTC", headers={"Accept": kind}).headers["etag"] for kind in kinds]
    assert len({tag, *others}) == 3
    some_prices(database, "ETH")
    assert client.get("/prices/BTC").headers["etag"] == tag
    some_prices(database, count=1, first=50)
    answer = client.get("/prices/BTC", headers={"If-None-Match": tag})
    assert answer.status_code == 200
    assert answer.headers["etag"] != tag


def test_state_is_not_kept(client):
    answer = client.get("/budget")
    assert answer.headers["cache-control"] == "no-store"
    assert "etag" not in answer.headers


@pytest.mark.parametrize("path", [*READS, "/budget", "/healthz", "/openapi.json", "/prices/XYZ", "/nowhere"])
@pytest.mark.usefixtures("filled")
def test_head_tells_what_get_would_without_a_body(client, path):
    got, told = client.get(path), client.head(path)
    assert told.status_code == got.status_code
    assert told.content == b""
    for name in ("content-type", "etag", "link", "vary", "cache-control"):
        assert told.headers.get(name) == got.headers.get(name)
    if "etag" in got.headers:
        assert told.headers["content-length"] == got.headers["content-length"]


def test_head_knows_304_and_has_no_place_where_there_is_no_get(client, database):
    some_prices(database)
    tag = client.get("/prices/BTC").headers["etag"]
    assert client.head("/prices/BTC", headers={"If-None-Match": tag}).status_code == 304
    assert client.head("/collect-once/BTC").status_code == 405
