"""The results as Markdown tables, one function per section."""

from collections.abc import Iterator, Sequence

from benchmarks.anomalies import events, feeds, peers
from benchmarks.anomalies.adherence import Adherence
from benchmarks.anomalies.events import Hits
from benchmarks.anomalies.feeds import Found
from benchmarks.anomalies.latency import Latency
from benchmarks.anomalies.peers import Peers
from benchmarks.anomalies.synthetic import Outcome
from benchmarks.anomalies.throughput import Speed
from benchmarks.anomalies.worlds import JUMP_SIZES, World

Cells = Sequence[str]


def table(head: Cells, rows: Sequence[Cells]) -> Iterator[str]:
    """A Markdown table: the first column to the left, the others to the right, padded to read as text."""
    widths = [max(len(row[i]) for row in (head, *rows)) for i in range(len(head))]
    yield _row(head, widths)
    rules = ["-" * (widths[0] + 2), *("-" * (width + 1) + ":" for width in widths[1:])]
    yield "|" + "|".join(rules) + "|"
    for row in rows:
        yield _row(row, widths)
    yield ""


def world(one: World, outcomes: Sequence[Outcome], rate: int) -> Iterator[str]:
    jumps = outcomes[0].recalls[rate].jumps
    yield f"**{one.title}, {rate} false alarm{'s' if rate > 1 else ''} per 10,000 quotes**"
    yield f"({one.series} series of {one.length:,} quotes, {jumps:,} jumps)"
    yield ""
    rows = []
    for outcome in outcomes:
        found = outcome.recalls[rate]
        cells = [recall(*pair) for pair in zip(found.recalls, found.errors, strict=True)]
        rows.append([outcome.title, *cells, f"{found.f1:.2f}"])
    yield from table(["detector", *(f"{size:g} sigma" for size in JUMP_SIZES), "F1"], rows)


def live_feed(found: Sequence[Found], budget: int) -> Iterator[str]:
    yield f"**Budget of {budget} alarms per 10,000 quotes**"
    yield ""
    rows = [[one.title, *(recall(*pair) for pair in one.recalls[budget])] for one in found]
    yield from table(["detector", *(f"{size:g} sigma" for size in feeds.SIZES)], rows)


def hits(title: str, rows: Sequence[Hits], per: str) -> Iterator[str]:
    head = [title, *(f"{rate:g} per {per}" for rate in events.RATES)]
    yield from table(head, [[row.title, *(f"{hit} of {row.possible}" for hit in row.hits)] for row in rows])


def idiosyncratic(measured: Peers) -> Iterator[str]:
    head = ["jump", "score", "budget", *(f"{size:g} sigma" for size in peers.SIZES)]
    rows = [
        [kind, score, str(budget), *(recall(*pair) for pair in recalls)]
        for (kind, score, budget), recalls in measured.recalls.items()
    ]
    yield from table(head, rows)
    for kind, (right, found) in measured.scopes.items():
        number = measured.jumps[kind]
        yield f"Of {number:,} {kind} jumps {found:,} were found by a score at 10 per 10,000;"
        yield f"the scope of {right:,} of these reads `{kind}`."
        yield ""


def adherence(rows: Sequence[Adherence]) -> Iterator[str]:
    head = ["detector", "nominal", "rows", "alarms", "expected", "realised / nominal"]
    head += ["lowest to highest coin", "months within x1.5", "within chance (95%)", "farthest month"]
    cells = []
    for row in rows:
        ratios = [coin.ratio for coin in row.coins]
        within = sum(1 / 1.5 <= month.ratio <= 1.5 for month in row.months)
        by_chance = sum(month.by_chance for month in row.months)
        farthest = max(row.months, key=lambda month: abs(month.alarms - month.expected))
        cells.append([
            row.title, f"{row.nominal:g}", f"{row.rows:,}", f"{row.alarms:,}",
            f"{row.nominal * row.rows:.0f}", f"{row.ratio:.2f} ± {row.error:.2f}",
            f"{min(ratios):.2f} to {max(ratios):.2f}", f"{within} of {len(row.months)}",
            f"{by_chance} of {len(row.months)}",
            f"{farthest.name}: {farthest.alarms} for {farthest.expected:.1f}",
        ])
    yield from table(head, cells)


def throughput(rows: Sequence[Speed]) -> Iterator[str]:
    cells = [[row.title, f"{row.rows:,}", f"{row.seconds:.3f}", f"{row.millions:.3f}"] for row in rows]
    yield from table(["method", "rows", "CPU seconds", "million rows/s"], cells)


def latencies(rows: Sequence[Latency]) -> Iterator[str]:
    cells = [[row.title, str(row.symbols), f"{row.seconds:.3f}"] for row in rows]
    yield from table(["one day scored", "symbols", "CPU seconds"], cells)


def recall(share: float, error: float) -> str:
    """A share with its standard error."""
    return f"{share:.2f} ± {error:.2f}"


def _row(cells: Cells, widths: Sequence[int]) -> str:
    padded = [cell.rjust(width) for cell, width in zip(cells, widths, strict=True)]
    return "| " + " | ".join([cells[0].ljust(widths[0]), *padded[1:]]) + " |"
