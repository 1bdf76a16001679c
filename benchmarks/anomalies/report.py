"""The report: what was measured in a few lines, the targets, then the tables."""

from collections.abc import Iterator, Sequence

from benchmarks.anomalies import alarm_tables, tables
from benchmarks.anomalies.contenders import ALL_LIBRARIES, LIBRARIES
from benchmarks.anomalies.events import Hits
from benchmarks.anomalies.feeds import BUDGETS, Found
from benchmarks.anomalies.results import Results
from benchmarks.anomalies.scoring import FALSE_ALARMS
from benchmarks.anomalies.targets import Target, targets

PICTURE = "anomaly-benchmark.png"

_PREFACE = """\
# Anomaly benchmark

Written by `make bench-anomalies` (`python -m benchmarks.anomalies`), which takes about 20 minutes on two cores. The
same seeds give the same numbers, except for times. Every share and ratio has its standard error.

Three kinds of data:

- **Synthetic worlds**, in which the variance of each interval is known: a log-stochastic volatility with three
  factors (half-lives of 20 days, 6 hours and 20 minutes) and an hour-of-day factor, median 60% a year. Jumps of 3 to
  8 standard deviations are injected, one in 500 quotes on average. The threshold of each detector is set on the same
  paths without jumps, so that all raise equally many false alarms. Two rows are limits. The oracle knows the
  variance. The Bayes filter (1,000 particles) knows the law of the world and learns the volatility from past prices:
  no causal detector of one price series is better, except by chance. The package's filter assumes the same family of
  models with other parameters.
- **Real prices**: 5-minute closes of BTC, ETH, SOL, ADA and DOT from four spans between December 2020 and November
  2024, 786 days together. DOT ends on 8 January 2024.
- **Simulated markets** of other cadences and coins, for what the real prices do not contain.
"""

_TARGETS = """\
The limit is that of the Bayes filter (in the emulated live feed, of hindsight volatility) on the same data. Bars for
real prices were set on longer spans (known events: 30 events in 1,670 days) and, for the live feed, on 1-minute
prices. A miss within its standard error is named as one."""

_FEEDS = """\
Every first to third bar of the real prices, with outages (0.4%) and repeated quotes (8%), and with injected jumps.
Sizes are in hindsight standard deviations, taken from the ten quotes on either side. Budgets are set before
injection, so real jumps use up a part of them."""

_EVENTS = """\
Pairs of a known event and a coin with an alarm in the event's window or in the hour after it. The threshold of each
detector is set per coin to give the stated number of episodes (alarms at most 60 minutes apart). The events were
chosen by size, which favours rules that measure size."""

_PEERS = """\
Jumps in one coin alone, and equal jumps in all coins, injected into calm 5-minute bars at which all coins are quoted;
jumps in one coin also with each coin quoted up to two minutes after its bar, at a price between two bars.
Sizes are in hindsight standard deviations, budgets in alarms per 10,000 bars before injection."""

_ADHERENCE = """\
Each week is scored with a calibration of what was known before it, from the 30th day of a file on. A coin's calendar
month has about nine expected alarms at 1e-3 and two at 2e-4; chance alone puts many of them beyond a factor of 1.5.
The last but one column counts the months within the 95% interval of chance. Alarms cluster, so the standard error
shown here, which assumes independence, is too small."""

_ALARMS = """\
The detectors as the assets run them: each day is judged from the window of quotes that the asset reads, with a
calibration of what was known before. Calibrations are renewed every week. The past of a file is made of the files
before it, shifted by whole days to end where it begins and scaled so that no price jumps at the seam. Days with less
than 30 days of past are not judged. Counts are in parentheses. Standard errors treat alarms less than a day apart as
one, of whatever coin.

"An hour apart" and "a day apart" say which rows of one coin count as one. `large_move_days` and `market_days` count
the days that have a quote with such a return period, flagged or not. An alarm notices an event if its first quote or
its peak lies in the event's window or in the hour after it. Alarms of all coins at most 60 minutes apart are one
episode of the market."""

_UNSEEN = """\
As above, but the priors of each file's detectors (tails, floors) are fitted on the other three files only. The other
constants of the detectors are as shipped."""

_CADENCES = """\
Five simulated coins of one market: log-stochastic volatility, returns from a mixture of two normal distributions. The
long world has hourly quotes, and a year of past before the first day that counts. The uneven hours are cut from the
same paths as the even ones. The daily closes have a year of past. The stablecoin is quoted in thousandths of a
dollar, beside the five other coins and after 60 days of past; the depeg is a fall of 4% in two hours."""

_SPEED = """\
CPU seconds on one core, the best of three after one call that compiles. The package scores five coins of 1-minute
quotes, the rivals one. A tick and a day of 250 symbols run in processes of their own."""


def report(results: Results) -> Iterator[str]:
    """The lines of the report."""
    yield from _PREFACE.splitlines()
    yield ""
    if len(LIBRARIES) < len(ALL_LIBRARIES):
        yield from ("Some libraries are not installed here, so their rows are missing.", "")
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
        yield from _section("Alarms", _ALARMS, alarm_tables.alarms(results.alarms))
    if results.unseen is not None:
        yield from _section("Alarms with priors of the other files", _UNSEEN, alarm_tables.unseen(results.unseen))
    if results.cadences is not None:
        yield from _section("Other cadences and coins", _CADENCES, alarm_tables.cadences(results.cadences))
    if results.speeds is not None:
        yield from _section("Throughput", _SPEED, tables.throughput(results.speeds))
        yield from tables.latencies(results.latencies or [])


def _section(title: str, prose: str, lines: Iterator[str]) -> Iterator[str]:
    yield from (f"## {title}", "", *prose.splitlines(), "")
    yield from lines


def _targets(rows: Sequence[Target]) -> Iterator[str]:
    cells = []
    for row in rows:
        value = f"{row.value:.3f} ± {row.error:.3f}" if row.error else f"{row.value:.3g}"
        bar = f">= {row.bar:.3g}"
        if row.most is not None:
            bar = f"{row.bar:g} to {row.most:g}" if row.bar else f"<= {row.most:g}"
        cells.append([row.what, value, bar, "" if row.limit is None else f"{row.limit:.3f}", row.verdict])
    yield from tables.table(["target", "measured", "bar", "limit", "verdict"], cells)


def _feeds(found: Sequence[Found]) -> Iterator[str]:
    for budget in BUDGETS:
        yield from tables.live_feed(found, budget)


def _events(by_symbol: Sequence[Hits], market: Sequence[Hits]) -> Iterator[str]:
    yield from tables.hits("detector", by_symbol, "symbol-day")
    yield from tables.hits("one alarm for the market", market, "day")
