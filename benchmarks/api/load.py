"""Many who read and some who collect at the same time, for a while; what they were told and how long it took."""

import asyncio
import json
import statistics
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field

from benchmarks.api.client import Connection

READS = (
    "/prices/BTC?limit=100", "/prices/eth/latest", "/prices/SOL?limit=20&start=2020-01-01", "/anomalies?limit=20",
    "/anomalies/BTC", "/coverage/DOT", "/prices/ADA?limit=500", "/budget", "/healthz",
)


@dataclass
class Told:
    """The answers of one kind of caller: how many of each status, or of each kind of problem, and the seconds."""

    outcomes: Counter[str] = field(default_factory=Counter)
    seconds: list[float] = field(default_factory=list)

    def quantile(self, share: float) -> float:
        """The seconds within which `share` of the answers came."""
        return statistics.quantiles(self.seconds, n=1000, method="inclusive")[round(share * 1000) - 1]


def load(
    address: str, seconds: float, readers: int, collectors: int, symbols: Sequence[str], reads: Sequence[str] = READS
) -> tuple[Told, Told]:
    """What `readers` and `collectors` were told by the API at `address` within `seconds`.

    Each has a connection of its own; the collectors come from loopback addresses of their own, because
    the API limits each client. Raises ConnectionError if a connection breaks.
    """
    return asyncio.run(_load(address, seconds, readers, collectors, symbols, reads))


async def _load(
    address: str, seconds: float, readers: int, collectors: int, symbols: Sequence[str], reads: Sequence[str]
) -> tuple[Told, Told]:
    read, collected = Told(), Told()
    until = time.monotonic() + seconds

    async def keep_asking(told: Told, method: str, paths: Sequence[str], first: int, source: str) -> None:
        async with Connection(address, source) as connection:
            number = first
            while time.monotonic() < until:
                answer = await connection.ask(method, paths[number % len(paths)])
                told.outcomes[_outcome(answer.status, answer.body)] += 1
                told.seconds.append(answer.seconds)
                number += 1

    posts = [f"/collect-once/{symbol}" for symbol in symbols]
    await asyncio.gather(
        *(keep_asking(read, "GET", reads, number, "127.0.0.1") for number in range(readers)),
        *(keep_asking(collected, "POST", posts, number, f"127.0.0.{2 + number}") for number in range(collectors)),
    )
    return read, collected


def _outcome(status: int, body: bytes) -> str:
    return str(status) if status < 400 else f"{status} {json.loads(body)['type'].rpartition(':')[2]}"
