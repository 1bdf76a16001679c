"""Every detector on the same synthetic series, one process per core."""

import os
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from multiprocessing import get_context

from benchmarks.anomalies import limits
from benchmarks.anomalies.contenders import CONTENDERS, Contender
from benchmarks.anomalies.scoring import FALSE_ALARMS, Recall, Tail, recall, tail
from benchmarks.anomalies.worlds import World, make_series

ORACLE, BAYES = "oracle (knows sigma)", "Bayes filter (knows the world's law)"


@dataclass(frozen=True)
class Outcome:
    """Recall of one detector in one world, by false alarms per 10,000 quotes."""

    detector: str
    title: str
    recalls: dict[int, Recall]


def outcomes(world: World, seed: int = 1) -> Iterator[Outcome]:
    """Limits first, then the detectors, each judged on all series of the world."""
    tails = _in_processes([(world, number, seed) for number in range(world.series)])
    titles = {ORACLE: ORACLE, BAYES: BAYES} | {contender.name: contender.title for contender in CONTENDERS}
    for name, title in titles.items():
        judged = [one[name] for one in tails]
        yield Outcome(name, title, {rate: recall(judged, rate) for rate in FALSE_ALARMS})


def tails_of(
    world: World, number: int, seed: int, contenders: Sequence[Contender] = CONTENDERS, *, limit: bool = True
) -> dict[str, Tail]:
    """The highest scores of each detector, and of the limits, on one series and its control."""
    series = make_series(world, number, seed)
    kept: dict[str, Tail] = {}
    if limit:
        for name, scores in ((ORACLE, limits.oracle), (BAYES, limits.bayes)):
            on_both = (scores(series, series.control), scores(series, series.prices))
            kept[name] = tail(*on_both, series.jump_at, series.jump_size)
    for contender in contenders:
        length = contender.at_most or world.length
        minutes = series.minutes[:length]
        control = contender.scores(minutes, series.control[:length])
        jumped = contender.scores(minutes, series.prices[:length])
        kept[contender.name] = tail(control, jumped, series.jump_at, series.jump_size)
    return kept


def _in_processes(tasks: Sequence[tuple[World, int, int]]) -> list[dict[str, Tail]]:
    """Whole series are handed out, so that the answer does not depend on the number of processes."""
    with ProcessPoolExecutor(os.cpu_count(), mp_context=get_context("spawn")) as pool:
        return list(pool.map(tails_of, *zip(*tasks, strict=True)))
