"""What a run measured; sections that were not run, or have no prices to run on, are absent."""

from dataclasses import dataclass, field

from benchmarks.anomalies.adherence import Adherence
from benchmarks.anomalies.alarms import Alarms
from benchmarks.anomalies.cadences import Cadences
from benchmarks.anomalies.events import Hits
from benchmarks.anomalies.feeds import Found
from benchmarks.anomalies.latency import Latency
from benchmarks.anomalies.peers import Peers
from benchmarks.anomalies.synthetic import Outcome
from benchmarks.anomalies.throughput import Speed
from benchmarks.anomalies.unseen import Unseen
from benchmarks.anomalies.worlds import World


@dataclass
class Results:
    worlds: dict[str, tuple[World, list[Outcome]]] = field(default_factory=dict)
    feeds: list[Found] | None = None
    events: list[Hits] | None = None
    market: list[Hits] | None = None
    peers: Peers | None = None
    adherence: list[Adherence] | None = None
    alarms: Alarms | None = None
    unseen: Unseen | None = None
    cadences: Cadences | None = None
    speeds: list[Speed] | None = None
    latencies: list[Latency] | None = None
    without_prices: bool = False  # sections on real prices were asked for, and there are none
