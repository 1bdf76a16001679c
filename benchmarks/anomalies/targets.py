"""The bars the detectors are held against, and whether they were reached."""

from collections.abc import Iterator
from dataclasses import dataclass

from benchmarks.anomalies import events, feeds, peers
from benchmarks.anomalies.contenders import OURS
from benchmarks.anomalies.results import Results
from benchmarks.anomalies.scoring import Recall
from benchmarks.anomalies.synthetic import BAYES
from benchmarks.anomalies.worlds import HOURLY, IRREGULAR, JUMP_SIZES, REGULAR

CALIBRATED = OURS[1].name


@dataclass(frozen=True)
class Target:
    """A value that is to be at least `bar`, or, with `most`, between the two."""

    what: str
    value: float
    bar: float
    error: float = 0.0
    limit: float | None = None  # what the Bayes filter reached on the same data
    most: float | None = None

    @property
    def verdict(self) -> str:
        short = max(self.bar - self.value, self.value - (self.most or self.value))
        if short <= 0:
            return "reached"
        if self.limit is not None and self.limit - self.value <= self.error:
            return "missed, as by the limit itself" if self.limit < self.bar else "missed, near the limit"
        return "missed, within its standard error" if short <= self.error else "missed"


def targets(results: Results) -> Iterator[Target]:
    """All targets of the sections that were run."""
    yield from _world(results, IRREGULAR.name, 1, {5.0: 0.33, 6.0: 0.45, 8.0: 0.84}, f1=0.51)
    yield from _world(results, IRREGULAR.name, 10, {5.0: 0.63, 6.0: 0.79, 8.0: 0.97})
    yield from _world(results, REGULAR.name, 1, {5.0: 0.41, 6.0: 0.68, 8.0: 0.95})
    yield from _world(results, HOURLY.name, 10, {5.0: 0.39, 6.0: 0.54, 8.0: 0.78})
    yield from _feeds(results)
    yield from _peers(results)
    for row in (results.adherence or [])[:2]:
        what = f"realised / nominal alarms at {row.nominal:g}"
        yield Target(what, row.ratio, 0.8, row.error, most=1.25)
        off = max(max(coin.ratio, 1 / max(coin.ratio, 0.01)) for coin in row.coins)
        yield Target(f"{what}: factor of the coin farthest off", off, 1.0, most=1.5)
    yield from _events(results)
    if results.speeds:
        yield Target("million rows/s of score_prices", results.speeds[0].millions, 2.0)


def _world(
    results: Results, name: str, rate: int, bars: dict[float, float], f1: float | None = None
) -> Iterator[Target]:
    if name not in results.worlds:
        return
    world, outcomes = results.worlds[name]
    by_name = {outcome.detector: outcome.recalls[rate] for outcome in outcomes}
    ours, limit = by_name[CALIBRATED], by_name[BAYES]
    for size, bar in bars.items():
        i = JUMP_SIZES.index(size)
        what = f"{world.title}, {rate} per 10,000: recall at {size:g} sigma"
        yield Target(what, ours.recalls[i], bar, ours.errors[i], limit.recalls[i])
    if f1 is not None:
        yield Target(f"{world.title}, {rate} per 10,000: F1", ours.f1, f1, _f1_error(ours), limit.f1)


def _f1_error(ours: Recall) -> float:
    """About the standard error of the recall over all sizes, on which F1 hangs."""
    part = sum(ours.recalls) / len(ours.recalls)
    return float((part * (1 - part) / max(ours.jumps, 1)) ** 0.5)


def _feeds(results: Results) -> Iterator[Target]:
    rows = {row.title: row for row in results.feeds or []}
    if CALIBRATED not in rows:
        return
    for size, bar in ((8.0, 0.72), (10.0, 0.88), (15.0, 0.985)):
        i = feeds.SIZES.index(size)
        value, error = rows[CALIBRATED].recalls[10][i]
        what = f"emulated live feed, 10 per 10,000: recall at {size:g} sigma"
        yield Target(what, value, bar, error, rows[feeds.HINDSIGHT].recalls[10][i][0])


def _peers(results: Results) -> Iterator[Target]:
    if results.peers is None:
        return
    for size, bar in ((5.0, 0.60), (6.0, 0.75), (8.0, 0.93)):
        value, error = results.peers.recalls["idiosyncratic", "residual_score", 10][peers.SIZES.index(size)]
        yield Target(f"idiosyncratic jump, 10 per 10,000: recall at {size:g} sigma", value, bar, error)
    right = sum(right for right, _ in results.peers.scopes.values())
    found = sum(found for _, found in results.peers.scopes.values())
    yield Target("share of right scopes on injected jumps", right / max(found, 1), 0.99)


def _events(results: Results) -> Iterator[Target]:
    for row in (row for row in results.events or [] if row.title == OURS[2].name):
        for rate, bar in ((0.2, 124 / 130), (0.5, 128 / 130)):
            share = row.hits[events.RATES.index(rate)] / row.possible
            what = f"known events noticed by large move at {rate:g} episodes per symbol-day"
            yield Target(what, share, bar)
    for row in (results.market or [])[:1]:
        share = row.hits[events.RATES.index(0.1)] / row.possible
        yield Target("known events noticed by the market alarm at 0.1 per day", share, 27 / 30)
