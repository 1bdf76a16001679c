"""Two hundred who read and twenty who collect at once for half a minute: what they were told, and p99.

The simulator refuses what goes beyond the minute's budget, so that a budget that is not kept is seen.
"""

from collections.abc import Iterator
from dataclasses import dataclass

from benchmarks.api import servers
from benchmarks.api.load import Told, load
from benchmarks.figures import Figure
from benchmarks.world import a_world
from market_pipeline.simulator.messages import LoggedRequest
from market_pipeline.storage.engine import Database

SECONDS = 30.0
READERS = 200
COLLECTORS = 20
PER_MINUTE = 100
# Not errors: the budget and the client's own limit are kept by saying so.
ALLOWED = {"200", "503 budget-exhausted", "429 too-many-requests"}

_SYMBOLS = ("BTC", "ETH", "SOL", "ADA", "DOT")


@dataclass(frozen=True)
class Crowd:
    """What readers and collectors were told, and every request that reached the simulator."""

    read: Told
    collected: Told
    requests: list[LoggedRequest]

    @property
    def errors(self) -> dict[str, int]:
        """The answers that nobody should get."""
        return {
            outcome: count
            for told, allowed in ((self.read, {"200"}), (self.collected, ALLOWED))
            for outcome, count in told.outcomes.items()
            if outcome not in allowed
        }

    @property
    def most_in_a_minute(self) -> int:
        """The most requests that the simulator got within any 60 seconds."""
        times = sorted(request.time.timestamp() for request in self.requests)
        return max((sum(start <= time < start + 60 for time in times) for start in times), default=0)


def crowd(database: Database, seconds: float = SECONDS) -> Crowd:
    """Let them ask an API over `database` for `seconds`."""
    with a_world(requests_per_minute=PER_MINUTE) as world:
        environment = world.environment(database) | {"COINGECKO_REQUESTS_PER_MINUTE": str(PER_MINUTE)}
        with servers.ours(environment) as address:
            read, collected = load(address, seconds, READERS, COLLECTORS, _SYMBOLS)
        return Crowd(read, collected, world.simulator.requests)


def figures(name: str, database: Database) -> Iterator[Figure]:
    """Errors, the budget, and p99 of both kinds of caller."""
    found = crowd(database)
    who = f"{name}: {READERS} readers, {COLLECTORS} collectors, {SECONDS:.0f} s"
    note = f"read {dict(found.read.outcomes)}, collected {dict(found.collected.outcomes)} {found.errors or ''}"
    yield Figure(f"{who}: errors", sum(found.errors.values()), "", bar=0.1, note=note)
    yield Figure(f"{who}: requests in a minute", found.most_in_a_minute, "", bar=PER_MINUTE)
    yield Figure(f"{who}: reads", len(found.read.seconds) / SECONDS, "1/s")
    for kind, told in (("a read", found.read), ("a collect", found.collected)):
        for share, quantile in (("p50", 0.5), ("p99", 0.99)):
            yield Figure(f"{who}: {kind}, {share}", 1000 * told.quantile(quantile), "ms")
