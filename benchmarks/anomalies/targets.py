"""The bars the detectors are held against, and whether they were reached."""

from collections.abc import Iterator
from dataclasses import dataclass

from benchmarks.anomalies import alarm_measures, events, feeds, peers
from benchmarks.anomalies.alarms import SERIOUS, Alarms
from benchmarks.anomalies.cadences import Cadences
from benchmarks.anomalies.contenders import OURS
from benchmarks.anomalies.replay import PERIODS
from benchmarks.anomalies.results import Results
from benchmarks.anomalies.scoring import Recall
from benchmarks.anomalies.synthetic import BAYES
from benchmarks.anomalies.throughput import PLAIN
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
        short = max(self.bar - self.value, self.value - (self.value if self.most is None else self.most))
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
    if results.alarms is not None:
        yield from _alarms(results.alarms)
    if results.unseen is not None:
        for (what, days), ratio in results.unseen.told.items():
            if what in PERIODS:
                title = f"priors of the other files, realised / told, {what}, once in {days:g} days or rarer"
                yield Target(title, ratio.ratio, 0.8, ratio.error, most=1.25)
    if results.cadences is not None:
        yield from _cadences(results.cadences)
    yield from _speeds(results)


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
    for size, bar in ((3.0, 0.45), (4.0, 0.72), (5.0, 0.85), (6.0, 0.94)):
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


def _alarms(measured: Alarms) -> Iterator[Target]:
    """The bars of what a person is told; those in events and pairs were set on 30 events in 1,670 days."""
    for (what, days), ratio in measured.told.items():
        if "a day apart" not in what:
            title = f"realised / told, {what}, once in {days:g} days or rarer"
            yield Target(title, ratio.ratio, 0.8, ratio.error, most=1.25)
    for (column, nominal, file), ratio in measured.realised.items():
        if file == "all":
            yield Target(f"realised / nominal {column} at {nominal:g}", ratio.ratio, 0.8, ratio.error, most=1.25)
            years = {name: one for (p, rate, name), one in measured.realised.items() if (p, rate) == (column, nominal)}
            worst = max((name for name in years if name != "all"), key=lambda name: _off(years[name].ratio))
            title = f"realised / nominal {column} at {nominal:g}: {worst.removesuffix('_5min.csv.gz')}, farthest off"
            yield Target(title, years[worst].ratio, 0.67, years[worst].error, most=1.5)
    serious = next(row for row in measured.noticed if row.title == SERIOUS)
    yield _share("known events with an alert or critical alarm", serious.hits, serious.events, 28 / 30)
    yield Target("episodes of the market a day, alert and critical", serious.episodes_a_day, 0.0, most=0.17)
    hits, possible = measured.pairs
    for number, bar in enumerate((105, 124, 127, 129)):
        title = f"event-coin pairs at {events.RATES[number]:g} episodes a coin-day"
        yield _share(title, hits[number], possible, bar / 130)
    yield Target("market rows with the wrong direction", measured.wrong[0], 0.0, most=0.0)
    yield Target("alarms that repeat two other coins' at the same time", measured.repeats[0], 0.0, most=0.0)
    count, under = measured.small["all alarms"]
    for limit, found, most in zip(alarm_measures.SMALL, under, (0.15, 0.02), strict=True):
        yield _share(f"alarms smaller than {limit:.1%}", found, count, 0.0, most)
    yield Target("critical alarms smaller than 1%", measured.small["critical"][1][0], 0.0, most=0.0)
    yield Target("alarms a day, all five coins", sum(measured.rates.values()), 0.67, most=1.5)
    past = max(sum(one.with_past for one in measured.beginnings), 1e-9)
    for what, total in (
        ("a new installation", sum(one.new for one in measured.beginnings)),
        ("a new one with an hourly past", sum(one.hourly for one in measured.beginnings)),
    ):
        yield Target(f"alarms of the first four weeks of {what} / with a whole past", total / past, 0.67, most=1.5)
    entries = round(alarm_measures.FIRST[0] * measured.days / alarm_measures.BAR_DAYS)
    held = alarm_measures.held(measured.ranked, entries)
    yield _share(f"known events in the first {entries} entries by importance", held, serious.events, 25 / 30)


def _off(ratio: float) -> float:
    return max(ratio, 1 / max(ratio, 0.01))


def _share(what: str, found: int, possible: int, bar: float, most: float | None = None) -> Target:
    part = found / max(possible, 1)
    return Target(what, part, bar, (part * (1 - part) / max(possible, 1)) ** 0.5, most=most)


def _cadences(measured: Cadences) -> Iterator[Target]:
    for (what, days), ratio in measured.told.items():
        title = f"hourly world, realised / told, {what}, once in {days:g} days or rarer"
        yield Target(title, ratio.ratio, 0.8, ratio.error, most=1.25)
    even, uneven = measured.hourly.values()
    quotient = uneven.large_rows / max(even.large_rows, 1e-9)
    yield Target("large-move rows at uneven hours / at even ones", quotient, 0.67, most=1.5)
    yield Target("alarms a coin-year on daily closes", measured.daily["all"], 0.0, most=12.0)
    yield Target("alarms of a calm stablecoin in nine days", sum(measured.stable["calm"].values()), 0.0, most=1.0)
    depeg = measured.stable["depeg"].items()
    yield Target("alert or critical alarms of its depeg", sum(n for kind, n in depeg if "watch" not in kind), 1.0)


def _speeds(results: Results) -> Iterator[Target]:
    by_name = {row.title: row for row in results.speeds or []}
    if PLAIN in by_name:
        ours = (results.speeds or [])[0]
        ratio = by_name[PLAIN].millions / ours.millions
        yield Target("cost of score_prices a row, in plain EWMA loops", ratio, 0.0, most=86.0)
    for row, most in zip(results.latencies or [], (0.080, 2.5), strict=False):
        yield Target(f"CPU seconds of {row.title}", row.seconds, 0.0, most=most)
