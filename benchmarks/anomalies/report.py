"""The report: what was measured in a few lines, the targets, then the tables."""

from collections.abc import Iterator, Sequence

from benchmarks.anomalies import alarm_tables, tables
from benchmarks.anomalies.events import Hits
from benchmarks.anomalies.feeds import BUDGETS, Found
from benchmarks.anomalies.results import Results
from benchmarks.anomalies.scoring import FALSE_ALARMS
from benchmarks.anomalies.targets import Target, targets

PICTURE = "anomaly-benchmark.png"

_PREFACE = """\
# How well anomalies are found

Written by `make bench-anomalies` (`python -m benchmarks.anomalies`) in about a quarter of an hour on two
cores; the same seeds give the same figures, all but the times.

In the synthetic worlds the variance of every interval is known: three random factors (half-lives of 20 days,
6 hours and 20 minutes) and an hour-of-day factor, median 60 % a year, integrated over each interval in pieces
of at most 15 minutes (held still over an hour instead, hourly jumps are harder to find for everyone, the
limit included). Jumps of 3 to 8 standard deviations of their interval are put in, on average one in 500
quotes. The threshold of each detector is set on the same paths without jumps, so that all give equally many
false alarms; what differs is the share of jumps they find. Two rows are limits: the oracle knows the
variance, which only hindsight could, and the Bayes filter knows the law of the world and learns the
volatility from past prices (1,000 particles). Shares stand with their standard error; no causal detector of
one price series can do better than the Bayes filter but by chance. The worlds have log-stochastic volatility,
the family that the package's filter assumes, with other parameters; the real series further down are the
check on that.
"""

_TARGETS = """\
The limit is that of the Bayes filter (in the emulated feed, of hindsight volatility) on the same data. The
bars for the real series were set on more series, longer spans and, for the live feed, 1-minute prices; here
its quotes are 5 to 15 minutes apart, so that less is known of volatility."""

_FEEDS = """\
5-minute closes of BTC, ETH, SOL, ADA and DOT (15 October to 25 November 2022, first half of 2023), of which
every first to third is taken, with outages (0.4 %) and repeated
quotes (8 %); jumps of so many hindsight standard deviations, taken from the ten quotes on either side; longer
windows give other figures to all. The
budget is counted on the feeds before injection, so that the real jumps in them use some of it up."""

_EVENTS = """\
Pairs of a known event and a coin for which an alarm fell into the event's window or the hour after it. The
threshold of each detector is chosen per coin to give the stated number of episodes (alarms with no more than
60 minutes between them). The events were chosen by their size, which favours rules that look at size."""

_PEERS = """\
Jumps in one coin alone and equal jumps in all five, put into calm aligned 5-minute bars; sizes in hindsight
standard deviations, budgets in alarms per 10,000 bars of the untouched series."""

_ADHERENCE = """\
Each week is scored with the calibration of the 90 days before it (at least 30 days). A coin's calendar month
holds about nine expected alarms at 1e-3 and two at 2e-4: chance alone takes many of them out of a factor of
1.5, hence the column that counts the months whose alarms lie where chance puts 95 of 100. Alarms come in
clusters and in several coins at once, so the standard error of the ratio is too small."""

_ALARMS = """\
The detectors as the assets run them: each day is judged with the quotes of its own window and a calibration of what was
known before it, made anew every week. The files lie years apart, so the past of a file is the files before it, moved up
to its beginning and scaled to its first prices; days with less than 30 days of past are not judged. Numbers in brackets
are counts; errors take alarms less than a day apart as one, whatever their coin. "An hour apart" and "a day apart" say
how rows of one coin are merged into one; "days by" counts days with such a quote, flagged or not. An event is noticed
by an alarm whose first quote or peak lies in its window or in the hour after it; alarms of all coins within 60 minutes
are one episode. The events were chosen by size, which favours rules that look at size."""

_CADENCES = """\
Simulated coins of one market: log-stochastic volatility, tails of two normal distributions. The long world has hourly
quotes; a year of them is a past before any day is counted. The uneven hours are cut from the same paths as the even
ones. The daily closes have a year of past. The stablecoin is quoted in thousandths of a dollar beside five other coins,
with 60 days of past; the depeg is a fall of 4% in two hours."""

_SPEED = """\
CPU seconds on one core, the best of three, after one call that compiles; five coins of 1-minute quotes for
the package, one coin for the rivals."""


def report(results: Results) -> Iterator[str]:
    """The lines of the report."""
    yield from _PREFACE.splitlines()
    yield ""
    yield from _section("Targets", _TARGETS, _targets(list(targets(results))))
    if results.worlds:
        yield from ("## Synthetic worlds", "", f"![Recall against the size of the jump]({PICTURE})", "")
        for world, outcomes in results.worlds.values():
            for rate in FALSE_ALARMS:
                yield from tables.world(world, outcomes, rate)
    if results.without_prices:
        yield from ("The sections on real prices were skipped: `../shared/prices` is not there.", "")
    if results.feeds is not None:
        yield from _section("Real prices through an emulated live feed", _FEEDS, _feeds(results.feeds))
    if results.events is not None:
        yield from _section("Known events", _EVENTS, _events(results.events, results.market or []))
    if results.peers is not None:
        yield from _section("One coin against the market", _PEERS, tables.idiosyncratic(results.peers))
    if results.adherence is not None:
        yield from _section("Alarm budgets out of sample", _ADHERENCE, tables.adherence(results.adherence))
    if results.alarms is not None:
        yield from _section("What a person is told", _ALARMS, alarm_tables.alarms(results.alarms))
    if results.cadences is not None:
        yield from _section("Other cadences and coins", _CADENCES, alarm_tables.cadences(results.cadences))
    if results.speeds is not None:
        yield from _section("Throughput", _SPEED, tables.throughput(results.speeds))


def _section(title: str, prose: str, lines: Iterator[str]) -> Iterator[str]:
    yield from (f"## {title}", "", *prose.splitlines(), "")
    yield from lines


def _targets(rows: Sequence[Target]) -> Iterator[str]:
    cells = []
    for row in rows:
        value = f"{row.value:.3f} ± {row.error:.3f}" if row.error else f"{row.value:.3g}"
        bar = f">= {row.bar:.3g}" if row.most is None else f"{row.bar:g} to {row.most:g}"
        cells.append([row.what, value, bar, "" if row.limit is None else f"{row.limit:.3f}", row.verdict])
    yield from tables.table(["target", "measured", "bar", "limit", "verdict"], cells)


def _feeds(found: Sequence[Found]) -> Iterator[str]:
    for budget in BUDGETS:
        yield from tables.live_feed(found, budget)


def _events(by_symbol: Sequence[Hits], market: Sequence[Hits]) -> Iterator[str]:
    yield from tables.hits("detector", by_symbol, "symbol-day")
    yield from tables.hits("one alarm for the market", market, "day")
