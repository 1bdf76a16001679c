"""Run the benchmark, print the report and, after a full run, write it to `docs/anomaly-benchmark.md`.

    python -m benchmarks.anomalies [--quick] [SECTION ...]

Sections: worlds, feeds, events, peers, adherence, alarms, unseen, cadences, throughput. With `--quick` or chosen
sections the report is only printed.
"""

import argparse
import logging
import sys
import time
from pathlib import Path

from benchmarks.anomalies import (
    adherence,
    alarms,
    cadences,
    events,
    feeds,
    latency,
    market,
    peers,
    synthetic,
    throughput,
    unseen,
)
from benchmarks.anomalies.plot import draw
from benchmarks.anomalies.prices import load
from benchmarks.anomalies.report import PICTURE, report
from benchmarks.anomalies.results import Results
from benchmarks.anomalies.worlds import IRREGULAR, WORLDS

logger = logging.getLogger(__name__)

SECTIONS = ("worlds", "feeds", "events", "peers", "adherence", "alarms", "unseen", "cadences", "throughput")
_DOCS = Path(__file__).resolve().parents[2] / "docs"
_QUICK = 0.1  # share of the quotes of a world


def run(sections: list[str], *, quick: bool) -> Results:
    """Measure the sections, in the order of SECTIONS."""
    results = Results()
    for section in (one for one in SECTIONS if one in sections):
        started = time.monotonic()
        if section == "worlds":
            for world in (one.scaled(_QUICK) if quick else one for one in WORLDS):
                results.worlds[world.name] = (world, list(synthetic.outcomes(world)))
        elif section == "cadences":
            results.cadences = cadences.measure(quick=quick)
        elif section == "throughput":
            results.speeds = list(throughput.measure(40_000 if quick else 400_000))
            results.latencies = list(latency.measure())
        else:
            _on_real_prices(section, results, quick=quick)
        logger.info("%s took %.0f s", section, time.monotonic() - started)
    return results


def _on_real_prices(section: str, results: Results, *, quick: bool) -> None:
    bars = load()
    if not bars:
        results.without_prices = True
        return
    if section == "alarms":
        results.alarms = alarms.measure(bars, quick=quick)
        return
    if section == "unseen":
        results.unseen = unseen.measure(bars)
        return
    if quick:
        bars = [one for one in bars if one.file == bars[0].file]
    if section == "feeds":
        results.feeds = feeds.outcomes(bars)
    elif section == "events":
        results.events, results.market = events.by_symbol(bars), market.measure(bars)
    elif section == "peers":
        results.peers = peers.measure(bars)
    else:
        results.adherence = adherence.measure(bars)


def main() -> None:
    """Parse the command line, run, print and write."""
    parser = argparse.ArgumentParser("python -m benchmarks.anomalies", description="Benchmark the detectors.")
    parser.add_argument("sections", nargs="*", metavar="SECTION", help=", ".join(SECTIONS))
    parser.add_argument("--quick", action="store_true", help="a tenth of the quotes; prints only")
    arguments = parser.parse_args()
    unknown = set(arguments.sections) - set(SECTIONS)
    if unknown:
        parser.error(f"no such section: {', '.join(sorted(unknown))}; there are {', '.join(SECTIONS)}")
    logging.basicConfig(level=logging.INFO, format="%(message)s", stream=sys.stderr)
    results = run(arguments.sections or list(SECTIONS), quick=arguments.quick)
    text = "\n".join(report(results)).rstrip() + "\n"
    sys.stdout.write(text)
    # Without the real prices the page would lose half of what it says.
    if not arguments.quick and not arguments.sections and not results.without_prices:
        (_DOCS / "anomaly-benchmark.md").write_text(text, encoding="utf-8")
        draw(*results.worlds[IRREGULAR.name], _DOCS / PICTURE)


if __name__ == "__main__":
    main()
