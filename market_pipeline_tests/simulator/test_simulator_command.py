"""The command line: as a process of its own, and its failures in this one."""

import logging
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest
import requests

from market_pipeline.simulator.__main__ import main
from market_pipeline_tests.builders import wait_for

AGENT = {"User-Agent": "market-pipeline-tests/1.0"}
PACKAGE_ROOT = Path(__file__).parents[2]


@pytest.fixture
def free_port() -> int:
    with closing(socket.socket()) as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def is_up(url: str) -> bool:
    try:
        return requests.get(url, headers=AGENT, timeout=30).ok
    except requests.ConnectionError:
        return False


def test_the_command_serves_and_ends_cleanly(free_port: int) -> None:
    command = [sys.executable, "-W", "error", "-m", "market_pipeline.simulator", "--port", str(free_port)]
    process = subprocess.Popen(
        [*command, "--coins", "BTC,PEPE=pepe"], cwd=PACKAGE_ROOT, stderr=subprocess.PIPE, text=True
    )
    try:
        base = f"http://127.0.0.1:{free_port}/api/v3"
        wait_for(lambda: is_up(f"{base}/ping"), 60, "an answer")
        url = f"{base}/simple/price?ids=bitcoin,pepe&vs_currencies=usd"
        prices = requests.get(url, headers=AGENT, timeout=30)
        assert set(prices.json()) == {"bitcoin", "pepe"}
        statuses = [requests.get(f"{base}/ping", headers=AGENT, timeout=30).status_code for _ in range(4)]
        assert statuses == [200, 200, 200, 429]
        process.send_signal(signal.SIGINT)
        _, log = process.communicate(timeout=30)
    finally:
        process.kill()
        process.wait()
    assert process.returncode == 0
    assert "Serving bitcoin, pepe from a market model with seed 7 as CoinGecko" in log
    assert f"(keyless, 5 requests per minute) at {base}" in log
    assert "GET /ping -> 429" in log and "Stopped." in log
    assert "Traceback" not in log


def run_until_asked(port: int, ask: Callable[[], None], *arguments: str) -> int:
    """Run `main` in this thread while another thread sends requests and then SIGTERM."""

    def ask_and_stop() -> None:
        wait_for(lambda: is_up(f"http://127.0.0.1:{port}/api/v3/ping"), 60, "an answer")
        try:
            ask()
        finally:
            signal.raise_signal(signal.SIGTERM)

    helper = threading.Thread(target=ask_and_stop)
    helper.start()
    try:
        return main(["--port", str(port), *arguments])
    finally:
        helper.join()


def test_a_replay_is_served_from_the_command_line(
    free_port: int, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "market_pipeline.simulator")
    file = tmp_path / "prices.csv"
    file.write_text("symbol,timestamp,price\nBTC,2022-11-01T00:00:00Z,5\nBTC,2022-11-01T00:05:00Z,5\n")
    answers: list[dict[str, dict[str, float]]] = []

    def ask() -> None:
        url = f"http://127.0.0.1:{free_port}/api/v3/simple/price?ids=bitcoin&vs_currencies=usd"
        answers.extend(requests.get(url, headers=AGENT, timeout=30).json() for _ in range(10))

    options = ("--replay", str(file), "--requests-per-minute", "0")
    assert run_until_asked(free_port, ask, *options) == 0
    assert answers == [{"bitcoin": {"usd": 5.0}}] * 10
    assert f"Serving bitcoin from {file}, now playing 2022-11-01T" in caplog.text
    assert "(keyless, no limit)" in caplog.text


def test_a_port_in_use_is_one_sentence_and_code_2(
    free_port: int, caplog: pytest.LogCaptureFixture
) -> None:
    with closing(socket.socket()) as other:
        other.bind(("127.0.0.1", free_port))
        other.listen()
        assert main(["--port", str(free_port)]) == 2
    assert [record.getMessage() for record in caplog.records] == [
        f"Port {free_port} of 127.0.0.1 is in use; stop what uses it or choose another with --port."
    ]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--replay", "no-such-file.csv"], "no-such-file.csv"),
        (["--replay", __file__], "must begin with the line symbol,timestamp,price"),
        (["--requests-per-minute", "-1"], "-1 is not in the range"),
        (["--coins", "NOPE"], "Unsupported symbol: 'NOPE'"),
        (["--plan", "gold"], "'gold' is not one of"),
        (["--port", "70000"], "70000 is not in the range"),
        (["--model", "--replay", "x.csv"], "--model and --replay exclude each other"),
    ],
)
def test_what_cannot_be_served_is_refused_with_code_2(
    caplog: pytest.LogCaptureFixture, capsys: pytest.CaptureFixture[str], arguments: list[str], message: str
) -> None:
    assert main(["--port", "0", *arguments]) == 2
    assert message in caplog.text + capsys.readouterr().err
