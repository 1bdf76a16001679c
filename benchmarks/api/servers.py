"""The servers that are asked: ours as a person starts it, and the bare one."""

import os
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager

import requests

from market_pipeline.commands.ports import free_port

_READY_SECONDS = 60.0


@contextmanager
def ours(environment: Mapping[str, str], workers: int = 1) -> Iterator[str]:
    """`market-pipeline serve` in `environment`; gives its address."""
    port = free_port()
    command = [sys.executable, "-m", "market_pipeline.commands.main", "serve", "--port", str(port)]
    with _process([*command, "--workers", str(workers)], environment, port) as address:
        yield address


@contextmanager
def bare(database_url: str) -> Iterator[str]:
    """The application of `bare` over the same rows; gives its address."""
    port = free_port()
    command = [sys.executable, "-m", "uvicorn", "benchmarks.api.bare:app", "--port", str(port)]
    environment = {**os.environ, "BARE_DATABASE_URL": database_url}
    with _process([*command, "--log-level", "warning", "--no-access-log"], environment, port) as address:
        yield address


@contextmanager
def _process(command: Sequence[str], environment: Mapping[str, str], port: int) -> Iterator[str]:
    address = f"http://127.0.0.1:{port}"
    with subprocess.Popen(
        command, env=dict(environment), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    ) as server:
        try:
            _wait_for(server, address)
            yield address
        finally:
            server.terminate()


def _wait_for(server: "subprocess.Popen[bytes]", address: str) -> None:
    deadline = time.monotonic() + _READY_SECONDS
    while time.monotonic() < deadline and server.poll() is None:
        try:
            requests.get(f"{address}/healthz", timeout=1)
            return
        except requests.RequestException:
            time.sleep(0.1)
    raise RuntimeError(f"the server at {address} did not start")
