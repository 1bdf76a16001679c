"""The alarms of the product over the real prices, measured: `python -m benchmarks.anomalies alarms`."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from benchmarks.anomalies import alarm_measures, alarm_rivals, peers
from benchmarks.anomalies.alarm_measures import Entry, Noticed, Ratio
from benchmarks.anomalies.alarm_rivals import Rival
from benchmarks.anomalies.peers import Peers
from benchmarks.anomalies.prices import Bars, by_file
from benchmarks.anomalies.replay import PERIODS, Run, after, chained, run, with_hourly_past, without_past
from market_pipeline.anomalies.anomaly import Anomaly, Kind, Severity

P_VALUES = ("jump_p", "residual_p", "large_move_p", "market_p")
SERIOUS = "alert and critical"
FIRST_WEEKS = 28  # days
_QUICK = "2022-11_5min.csv.gz"


@dataclass(frozen=True)
class Beginning:
    """Alarms a day in the first weeks of a file: of a new installation, with an hourly past, and with a whole one."""

    file: str
    new: float
    hourly: float
    with_past: float


@dataclass(frozen=True)
class Alarms:
    """Everything that the tables of the section print."""

    days: float
    coin_days: float
    told: dict[tuple[str, float], Ratio]  # by what is counted, and days
    realised: dict[tuple[str, float, str], Ratio]  # by p, nominal rate, and file or "all"
    noticed: list[Noticed]
    rivals: list[Rival]
    pairs: tuple[tuple[int, ...], int]
    wrong: tuple[int, int, list[str]]
    repeats: tuple[int, int]
    small: dict[str, tuple[int, list[int]]]
    rates: dict[tuple[str, str], float]
    beginnings: list[Beginning]
    ranked: list[Entry]
    peers: Peers | None


def measure(series: Sequence[Bars], *, quick: bool = False) -> Alarms:
    """Run every file after its past, and its first weeks without one; with `quick` one short file only."""
    files = list(by_file(list(series)).values())
    histories = chained(files)
    if quick:
        kept = [number for number, history in enumerate(histories) if history.file == _QUICK] or [0]
        histories, files = [histories[n] for n in kept], [files[n] for n in kept]
    runs = [run(history) for history in histories]
    beginnings = [beginning(number, files, runs) for number in range(len(files))]
    return Alarms(
        days=alarm_measures.days_of(runs),
        coin_days=sum(one.coin_days for one in runs),
        told=told_by(runs),
        realised=realised_by(runs),
        noticed=_noticed(runs),
        rivals=_rivals(runs),
        pairs=alarm_measures.pairs(runs),
        wrong=alarm_measures.wrong_directions(runs),
        repeats=alarm_measures.repeats(runs),
        small=_small(runs),
        rates=alarm_measures.rates(runs),
        beginnings=beginnings,
        ranked=alarm_measures.ranking(runs),
        peers=peers.measure([bars for bars_of in files for bars in bars_of]),
    )


def beginning(number: int, files: Sequence[Sequence[Bars]], runs: Sequence[Run]) -> Beginning:
    """The first file has the others for a past, moved before it; a new installation is calibrated every day."""
    bars, with_past = files[number], runs[number]
    if not with_past.history.past_days and len(files) > 1:
        with_past = run(after(chained(files[1:])[-1], bars), at_most_days=FIRST_WEEKS)
    new = run(without_past(bars), refresh_days=1, at_most_days=FIRST_WEEKS)
    hourly = run(with_hourly_past(with_past.history), refresh_days=1, at_most_days=FIRST_WEEKS)
    rates = (alarm_measures.alarms_a_day(each, FIRST_WEEKS) for each in (new, hourly, with_past))
    return Beginning(bars[0].file, *rates)


def told_by(runs: Sequence[Run]) -> dict[tuple[str, float], Ratio]:
    """What is told to be rare against what came, by what is counted, and days."""
    told = {}
    for days in alarm_measures.TOLD:
        for kind in (Kind.LARGE_MOVE, Kind.MARKET_MOVE):
            for apart, name in ((60.0, "an hour"), (1440.0, "a day")):
                what = f"{kind.value} rows, {name} apart"
                told[what, days] = alarm_measures.told_by_rows(runs, kind, days, apart)
        for column in PERIODS:
            if column in runs[0].scores:
                told[column, days] = alarm_measures.told_by_scores(runs, column, days)
    return told


def realised_by(runs: Sequence[Run]) -> dict[tuple[str, float, str], Ratio]:
    """Quotes below a nominal p against that share, by p, nominal rate, and file or "all"."""
    answer = {}
    for column in P_VALUES:
        for nominal in alarm_measures.NOMINAL:
            answer[column, nominal, "all"] = alarm_measures.realised(runs, column, nominal)
            for one in runs:
                answer[column, nominal, one.history.file] = alarm_measures.realised([one], column, nominal)
    return answer


_GROUPS: dict[str, Callable[[Anomaly], bool]] = {
    "all alarms": lambda row: True,
    "market rows": lambda row: row.kind == Kind.MARKET_MOVE.value,
    SERIOUS: lambda row: row.severity != Severity.WATCH.value,
    "critical": lambda row: row.severity == Severity.CRITICAL.value,
}


def _noticed(runs: Sequence[Run]) -> list[Noticed]:
    return [alarm_measures.noticed(runs, title, counts) for title, counts in _GROUPS.items()]


def _rivals(runs: Sequence[Run]) -> list[Rival]:
    ours = [alarm_rivals.product(runs, f"{title} (ours)", counts) for title, counts in _GROUPS.items()]
    return ours + alarm_rivals.measure(runs)


def _small(runs: Sequence[Run]) -> dict[str, tuple[int, list[int]]]:
    critical, alert = Severity.CRITICAL.value, Severity.ALERT.value
    return {
        "all alarms": alarm_measures.small(runs, lambda row: True),
        "own moves": alarm_measures.small(runs, lambda row: row.scope == "idiosyncratic"),
        "alert": alarm_measures.small(runs, lambda row: row.severity == alert),
        "critical": alarm_measures.small(runs, lambda row: row.severity == critical),
    }
