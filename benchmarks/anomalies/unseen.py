"""The same with priors that know nothing of the file: each file is run with those fitted on the others."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from unittest.mock import patch

from benchmarks.anomalies.alarm_measures import Ratio
from benchmarks.anomalies.alarms import Beginning, beginning, realised_by, told_by
from benchmarks.anomalies.prices import Bars, by_file
from benchmarks.anomalies.priors import fit
from benchmarks.anomalies.replay import chained, run
from market_pipeline.anomalies import calibration
from market_pipeline.anomalies.scores import tails


@dataclass(frozen=True)
class Unseen:
    """Return periods, realised rates and first weeks, as in `Alarms`."""

    told: dict[tuple[str, float], Ratio]
    realised: dict[tuple[str, float, str], Ratio]
    beginnings: list[Beginning]


def measure(series: Sequence[Bars]) -> Unseen:
    """Fit and run as often as there are files."""
    files = list(by_file(list(series)).values())
    runs, beginnings = [], []
    for number, history in enumerate(chained(files)):
        with fitted_on([bars for other, bars in enumerate(files) if other != number]):
            runs.append(run(history))
            beginnings.append(beginning(number, files, runs))
    return Unseen(told_by(runs), realised_by(runs), beginnings)


@contextmanager
def fitted_on(files: Sequence[Sequence[Bars]]) -> Iterator[None]:
    """The package with the priors that these files give."""
    found = fit(files)
    with (
        patch.dict(tails.PRIOR_TAILS, found.tails),
        patch.dict(tails.TIME_BEYOND, found.time_beyond),
        patch.object(calibration, "WEEKLY", found.weekly),
    ):
        yield
