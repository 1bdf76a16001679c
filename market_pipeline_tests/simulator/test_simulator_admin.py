"""The admin path, the request log, and the server's own behaviour on its socket."""

import logging
import socket
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
import requests

from market_pipeline.simulator.faults import Fault
from market_pipeline.simulator.feed import HOUR
from market_pipeline.simulator.market_model import MarketModel
from market_pipeline.simulator.moves import Move, MovedFeed
from market_pipeline.simulator.server import Simulator
from market_pipeline_tests.builders import wait_for
from market_pipeline_tests.simulator.client import Client, MovableClock


def test_faults_are_added_listed_and_cleared_over_the_admin_path(client: Client) -> None:
    url = client.simulator.admin_url + "/faults"
    added = requests.post(url, json={"kind": "status", "status": 503, "times": 2, "path": "/ping"}, timeout=30)
    assert added.status_code == 201
    assert client.get("/ping").status_code == 503
    listed = requests.get(url, timeout=30).json()
    assert listed == [{"kind": "status", "status": 503, "path": "/ping", "remaining": 1}]
    assert requests.delete(url, timeout=30).status_code == 204
    assert requests.get(url, timeout=30).json() == []
    assert client.get("/ping").ok


def test_the_market_moves_on_demand(
    clock: MovableClock, client: Client, market: MarketModel, tmp_path: Path
) -> None:
    url = client.simulator.admin_url + "/moves"
    assert requests.post(url, json={"percent": -10, "coin": "bitcoin"}, timeout=30).status_code == 201
    assert requests.post(url, json={"percent": 50}, timeout=30).status_code == 201
    kept = tmp_path / "moves.jsonl"
    feed, before, after = MovedFeed(market, kept), clock(), clock() + timedelta(minutes=5)
    for move in (Move(before, -10, "bitcoin"), Move(before, 50)):
        feed.add(move)
    for coin, factor in (("bitcoin", 1.35), ("ethereum", 1.5)):
        moved, plain = feed.quote(coin, after), market.quote(coin, after)
        assert moved and plain and moved[0] == pytest.approx(factor * plain[0]) and moved[1] == plain[1]
        assert feed.points(coin, before - HOUR, before, HOUR) == market.points(coin, before - HOUR, before, HOUR)
    again = MovedFeed(market, kept)
    assert again.quote("ethereum", after) == feed.quote("ethereum", after)
    kept.write_text("{}\n")
    with pytest.raises(ValueError, match="delete the file"):
        MovedFeed(market, kept)
    for body in ("{", "{}", '{"percent": 0}', '{"percent": 1, "coin": 2}', '{"percent": true}', '{"by": 1}'):
        assert requests.post(url, data=body, timeout=30).status_code == 422


def test_a_list_of_faults_is_added_whole_or_not_at_all(client: Client) -> None:
    url = client.simulator.admin_url + "/faults"
    assert requests.post(url, json=[{"kind": "cut"}, {"kind": "nonsense"}], timeout=30).status_code == 422
    assert requests.get(url, timeout=30).json() == []
    assert requests.post(url, json=[{"kind": "html"}, {"kind": "cut", "times": None}], timeout=30).ok
    assert requests.get(url, timeout=30).json() == [
        {"kind": "html", "remaining": 1},
        {"kind": "cut", "remaining": None},
    ]


@pytest.mark.parametrize(
    ("body", "message"),
    [
        (b"", "This cannot be used as a fault"),
        (b"\xff\xfe\xfa", "This cannot be used as a fault"),
        (b"{", "This cannot be used as a fault"),
        (b'"cut"', "a fault is a JSON object such as"),
        (b"{}", "kind is missing; it is one of cut,"),
        (b'{"kind": "nonsense"}', "kind 'nonsense' is not one of cut,"),
        (b'{"kind": "cut", "colour": 1}', "'colour' is not a field of a fault; those are kind, times"),
        (b'{"kind": "cut", "times": "2"}', "times cannot be '2'"),
        (b'{"kind": "cut", "times": true}', "times cannot be True"),
        (b'{"kind": "status", "status": 200}', "status 200 is not an error status"),
        (b'{"kind": "hang", "seconds": NaN}', "seconds nan is not between"),
    ],
)
def test_a_bad_fault_gets_a_clear_422(client: Client, body: bytes, message: str) -> None:
    answer = requests.post(client.simulator.admin_url + "/faults", data=body, timeout=30)
    assert answer.status_code == 422
    assert message in answer.json()["error"]


def test_an_unknown_admin_path_says_which_there_are(client: Client) -> None:
    answer = requests.post(client.simulator.admin_url + "/requests", timeout=30)
    assert answer.status_code == 404
    assert "GET or DELETE /admin/requests" in answer.json()["error"]


def test_a_body_of_unreasonable_size_is_refused_unread(client: Client) -> None:
    with socket.create_connection(("127.0.0.1", client.simulator.port), timeout=30) as connection:
        connection.sendall(b"POST /admin/faults HTTP/1.1\r\nContent-Length: 2000000\r\n\r\n")
        assert b" 413 " in connection.recv(1000)


def test_the_log_holds_what_was_asked_and_what_was_answered(client: Client, clock: MovableClock) -> None:
    client.get("/simple/price", ids="bitcoin,ethereum", vs_currencies="usd")
    client.get("/nowhere")
    requests.get(f"http://127.0.0.1:{client.simulator.port}/elsewhere", timeout=30)
    first, second, third = client.simulator.requests
    assert (first.time, first.method, first.path, first.status) == (clock.now, "GET", "/simple/price", 200)
    assert first.query == {"ids": "bitcoin,ethereum", "vs_currencies": "usd"}
    assert first.headers["user-agent"] == "market-pipeline-tests/1.0"
    assert (second.path, second.status) == ("/nowhere", 404)
    assert (third.path, third.status) == ("/elsewhere", 404)


def test_keys_are_recorded_by_name_and_never_by_value(client: Client, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "market_pipeline.simulator")
    client.get("/ping", headers={"x-cg-demo-api-key": "CG-secret"}, x_cg_pro_api_key="CG-secret")
    client.get("/ping", headers={"x-cg-demo-api-key": ""})
    logged = requests.get(client.simulator.admin_url + "/requests", timeout=30)
    assert "CG-secret" not in logged.text and "CG-secret" not in caplog.text
    assert [entry["headers"]["x-cg-demo-api-key"] for entry in logged.json()] == ["***", ""]
    assert logged.json()[0]["query"] == {"x_cg_pro_api_key": "***"}


def test_the_log_is_cleared_over_the_admin_path_and_in_process(client: Client) -> None:
    client.get("/ping")
    assert requests.delete(client.simulator.admin_url + "/requests", timeout=30).status_code == 204
    assert client.simulator.requests == []
    client.get("/ping")
    client.simulator.clear_requests()
    assert client.simulator.requests == []


def test_every_request_is_one_line_in_the_log(client: Client, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "market_pipeline.simulator")
    client.simulator.add_fault(Fault(kind="cut", path="/coins/list"))
    client.get("/simple/price", ids="bitcoin,solana", vs_currencies="usd")
    with pytest.raises(requests.ConnectionError):
        client.get("/coins/list")
    lines = [record.getMessage() for record in caplog.records if record.name.startswith("market_pipeline")]
    assert lines == [
        "GET /simple/price?ids=bitcoin,solana&vs_currencies=usd -> 200",
        "GET /coins/list -> cut",
    ]


def test_only_loopback_is_served_and_only_reads_exist_on_the_api(client: Client) -> None:
    assert client.simulator.base_url == f"http://127.0.0.1:{client.simulator.port}/api/v3"
    assert requests.post(client.simulator.base_url + "/ping", timeout=30).status_code == 404


def test_a_connection_is_kept_and_ends_with_the_simulator(market: MarketModel, clock: MovableClock) -> None:
    """An open connection must not be answered by a simulator that stopped."""
    with requests.Session() as session:
        with Simulator(market, clock=clock) as simulator:
            url = simulator.base_url + "/ping"
            assert session.get(url, timeout=30).headers["Content-Length"] == "34"
            assert session.get(url, timeout=30).ok
        with pytest.raises(requests.ConnectionError):
            session.get(url, timeout=30)


def test_a_restart_on_the_same_port_gives_the_same_prices(serve: Callable[..., Client], clock: MovableClock) -> None:
    first = serve(feed=MarketModel(seed=3))
    prices = first.prices("bitcoin", "ethereum")
    history = first.chart("bitcoin", clock.now.replace(hour=0), clock.now)
    port = first.simulator.port
    first.simulator.__exit__(None, None, None)
    second = serve(feed=MarketModel(seed=3), port=port)
    assert second.simulator.port == port
    assert second.prices("bitcoin", "ethereum") == prices
    assert second.chart("bitcoin", clock.now.replace(hour=0), clock.now) == history


def test_outside_its_block_a_simulator_has_no_address(market: MarketModel) -> None:
    simulator = Simulator(market)
    with pytest.raises(RuntimeError, match="not running"):
        str(simulator.base_url)
    simulator.__exit__(None, None, None)


def test_a_taken_port_is_an_error(client: Client, market: MarketModel) -> None:
    with pytest.raises(OSError, match="in use"), Simulator(market, port=client.simulator.port):
        pytest.fail("it serves")


def test_what_is_no_http_is_answered_and_logged_without_a_traceback(
    client: Client, caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]
) -> None:
    with socket.create_connection(("127.0.0.1", client.simulator.port), timeout=30) as connection:
        connection.sendall(b"nonsense\r\n\r\n")
        assert b"400" in connection.recv(1000)
    # The server logs after it has answered, in a thread of its own.
    wait_for(lambda: "nonsense" in caplog.text, 60, "the line of the nonsense")
    assert "Traceback" not in caplog.text + capfd.readouterr().err


def test_a_client_that_goes_away_is_no_failure(client: Client, caplog: pytest.LogCaptureFixture) -> None:
    """SO_LINGER 0 makes the close a reset, which the handler meets when it writes or next reads."""
    client.simulator.add_fault(Fault(kind="hang", seconds=0.2))
    caplog.set_level(logging.DEBUG, "market_pipeline.simulator")
    with socket.create_connection(("127.0.0.1", client.simulator.port), timeout=30) as connection:
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\x01\0\0\0\0\0\0\0")
        connection.sendall(b"GET /api/v3/ping HTTP/1.1\r\nUser-Agent: x\r\n\r\n")
        wait_for(lambda: client.simulator.requests, 60, "the request")
    assert client.get("/ping").ok
    wait_for(lambda: "closed its connection early" in caplog.text, 60, "the line of the client that left")
    assert not [record for record in caplog.records if record.levelname == "ERROR"]


def test_a_failure_of_the_simulator_itself_is_logged_with_its_traceback(
    serve: Callable[..., Client], caplog: pytest.LogCaptureFixture
) -> None:
    class BrokenFeed(MarketModel):
        def price(self, coin_id: str, at: Any) -> float:
            raise ArithmeticError("the market broke")

    with pytest.raises(requests.ConnectionError):
        serve(feed=BrokenFeed()).prices("bitcoin")
    assert "the market broke" in caplog.text
