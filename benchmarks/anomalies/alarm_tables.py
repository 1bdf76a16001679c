"""The section `alarms` as Markdown tables."""

from collections.abc import Iterator, Sequence

from benchmarks.anomalies import alarm_measures, events, peers
from benchmarks.anomalies.alarm_measures import Entry, Ratio
from benchmarks.anomalies.alarms import P_VALUES, Alarms, Beginning
from benchmarks.anomalies.cadences import Cadences
from benchmarks.anomalies.tables import recall, table
from benchmarks.anomalies.unseen import Unseen
from market_pipeline.anomalies.anomaly import Anomaly, Severity

_SHOWN = 20
_LISTED = ("2022-11", "2023H1")  # files whose first episodes are listed by themselves


def alarms(measured: Alarms) -> Iterator[str]:
    """All tables of the section."""
    yield f"{measured.days:.0f} days of the market, {measured.coin_days:.0f} coin-days."
    yield ""
    yield from _return_periods(measured.told)
    yield from _realised(measured.realised)
    yield from _events(measured)
    yield from _rows(measured)
    yield from _own_jumps(measured)
    yield from _beginnings(measured.beginnings)
    yield from _ranking(measured)


def unseen(measured: Unseen) -> Iterator[str]:
    """What depends on the priors, with those of the other files."""
    yield from _return_periods(measured.told)
    yield from _realised(measured.realised)
    yield from _beginnings(measured.beginnings)


def cadences(measured: Cadences) -> Iterator[str]:
    """All tables of the section on simulated markets."""
    yield f"{measured.years} years of hourly quotes:"
    yield ""
    yield from _return_periods(measured.told)
    rows = [
        [name, f"{one.large_rows:.3f}", str(one.repeated), f"{one.market_rows:.3f}", f"{one.alarms:.2f}"]
        for name, one in measured.hourly.items()
    ]
    head = ["hourly quotes", "large_move rows a coin-day", "of them within 3 hours of another"]
    yield from table([*head, "market rows a day", "alarms a day"], rows)
    head = ["daily closes", *measured.daily]
    yield from table(head, [["alarms a coin-year", *(f"{rate:.1f}" for rate in measured.daily.values())]])
    stable = [
        [name, ", ".join(f"{count} {kind}" for kind, count in sorted(found.items())) or "none"]
        for name, found in measured.stable.items()
    ]
    yield from table(["nine days of a stablecoin", "alarms"], stable)


def _return_periods(told: dict[tuple[str, float], Ratio]) -> Iterator[str]:
    names = list(dict.fromkeys(name for name, _ in told))
    head = ["realised / told: once in or rarer than", *(f"{days:g} days" for days in alarm_measures.TOLD)]
    yield from table(head, [[name, *(_ratio(told[name, days]) for days in alarm_measures.TOLD)] for name in names])


def _realised(realised: dict[tuple[str, float, str], Ratio]) -> Iterator[str]:
    files = list(dict.fromkeys(file for _, _, file in realised))
    rows = [
        [f"{column} < {nominal:g}", *(_ratio(realised[column, nominal, file]) for file in files)]
        for column in P_VALUES
        for nominal in alarm_measures.NOMINAL
    ]
    yield from table(["realised / nominal", *(file.removesuffix("_5min.csv.gz") for file in files)], rows)


def _events(measured: Alarms) -> Iterator[str]:
    rows = [
        [row.title, f"{row.episodes_a_day:.2f}", f"{row.hits} of {row.events}", ", ".join(row.missed) or "none"]
        for row in measured.noticed
    ]
    yield from table(["known events noticed by", "episodes of the market a day", "events", "missed"], rows)
    hits, possible = measured.pairs
    events_here = measured.noticed[0].events
    rivals = [
        [row.title, f"{row.episodes_a_day:.2f}", f"{row.events} of {events_here}", f"{row.pairs} of {possible}"]
        for row in measured.rivals
    ]
    yield from table(["alarms", "episodes of the market a day", "events", "event-coin pairs"], rivals)
    head = ["event-coin pairs by large_move_score", *(f"{rate:g} per coin-day" for rate in events.RATES)]
    yield from table(head, [[f"of {possible}", *map(str, hits)]])


def _rows(measured: Alarms) -> Iterator[str]:
    wrong, market_rows, times = measured.wrong
    repeated, moves = measured.repeats
    shown = f" ({', '.join(times[:_SHOWN])})" if times else ""
    yield f"Market rows with the wrong direction: {wrong} of {market_rows}{shown}."
    yield f"Jump and large-move alarms that repeat one of two other coins at the same time: {repeated} of {moves}."
    yield ""
    rows = []
    for name, (count, under) in measured.small.items():
        rows.append([name, str(count), *(f"{each} ({each / max(count, 1):.0%})" for each in under)])
    yield from table(["moves smaller than", "alarms", *(f"{limit:.1%}" for limit in alarm_measures.SMALL)], rows)
    kinds = sorted({kind for kind, _ in measured.rates})
    severities = [severity.value for severity in Severity]
    cells = [[kind, *(_rate(measured, [kind], [one]) for one in severities), _rate(measured, [kind], severities)]
             for kind in kinds]
    cells.append(["all", *(_rate(measured, kinds, [one]) for one in severities), _rate(measured, kinds, severities)])
    yield from table(["alarms a day", *severities, "all"], cells)


def _rate(measured: Alarms, kinds: list[str], severities: list[str]) -> str:
    return f"{sum(measured.rates.get((kind, one), 0.0) for kind in kinds for one in severities):.3f}"


def _own_jumps(measured: Alarms) -> Iterator[str]:
    if measured.peers is None:
        return
    found = measured.peers.recalls["idiosyncratic", "residual_score", 10]
    head = ["own jumps at 10 per 10,000", *(f"{size:g} sigma" for size in peers.SIZES)]
    yield from table(head, [["residual_score", *(recall(*pair) for pair in found)]])


def _beginnings(every: Sequence[Beginning]) -> Iterator[str]:
    means = (sum(column) / len(every) for column in zip(*((b.new, b.hourly, b.with_past) for b in every), strict=True))
    rows = [
        [
            one.file.removesuffix("_5min.csv.gz"),
            f"{one.new:.2f}",
            f"{one.hourly:.2f}",
            f"{one.with_past:.2f}",
            *(f"{rate / one.with_past:.2f}" if one.with_past else "" for rate in (one.new, one.hourly)),
        ]
        for one in (*every, Beginning("mean", *means))
    ]
    head = ["alarms a day, first four weeks", "no past (a)", "hourly past (b)", "whole past (c)", "a / c", "b / c"]
    yield from table(head, rows)


def _ranking(measured: Alarms) -> Iterator[str]:
    possible, share = measured.noticed[0].events, measured.days / alarm_measures.BAR_DAYS
    rows = [
        [f"first {count} of {alarm_measures.BAR_DAYS:,} days", *_held(measured, round(count * share), possible)]
        for count in alarm_measures.FIRST
    ]
    rows.append(["0.17 a day", *_held(measured, round(0.17 * measured.days), possible)])
    yield from table(["episodes of the market by importance", "episodes here", "known events in them"], rows)
    yield from _listing("the whole", measured.ranked)
    for file in _LISTED:
        yield from _listing(file, [entry for entry in measured.ranked if entry.file.startswith(file)])


def _held(measured: Alarms, entries: int, possible: int) -> tuple[str, str]:
    return str(entries), f"{alarm_measures.held(measured.ranked, entries)} of {possible}"


def _listing(title: str, ranked: Sequence[Entry]) -> Iterator[str]:
    cells = [
        [str(place), f"{top.timestamp:%Y-%m-%d %H:%M}", top.severity, _told_of(top), "; ".join(entry.events)]
        for place, entry in enumerate(ranked[:_SHOWN], 1)
        for top in [entry.rows[0]]
    ]
    if cells:
        yield from table([f"first of {title}", "time (UTC)", "severity", "headline", "known event"], cells)


def _told_of(row: Anomaly) -> str:
    return row.headline or f"{row.symbol} {row.kind} {row.move:+.1%}"


def _ratio(ratio: Ratio) -> str:
    return f"{ratio.ratio:.2f} ± {ratio.error:.2f} ({ratio.found})"
