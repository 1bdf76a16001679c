"""Draw the prices of one symbol, with the expected band and the anomalies, into a file."""

import os
from contextlib import suppress
from datetime import date, datetime
from pathlib import Path

import click

from market_pipeline.anomalies.anomaly import alarm_mask, by_importance, headline_of
from market_pipeline.charts.canvas import to_png, to_svg
from market_pipeline.charts.symbol_chart import draw_chart
from market_pipeline.charts.theme import THEMES
from market_pipeline.commands.start import command_settings, database_of
from market_pipeline.core.clock import DAY, iso, start_of_day, utc_now
from market_pipeline.core.columns import Columns
from market_pipeline.core.program import command
from market_pipeline.core.symbols import Coin
from market_pipeline.core.wording import counted
from market_pipeline.pipeline.chart_rows import stored_anomalies, stored_scores
from market_pipeline.pipeline.other_coins import stored_ids
from market_pipeline.storage.engine import Database
from market_pipeline.storage.queries.coverage import first_days
from market_pipeline.storage.queries.latest import latest_quotes
from market_pipeline.storage.schema.migrate import check_schema

_MOST_ALARMS = 5


def execute(
    symbol: str, start: date | datetime | None, end: date | datetime | None, out: Path | None, theme: str
) -> int:
    """Draw and write the file; return 0. Refuse first what cannot be drawn or written."""
    settings = command_settings()
    try:
        symbol = settings.catalogue.validate_symbol(symbol)
    except ValueError as error:
        raise click.UsageError(str(error)) from None
    out = out or Path(f"{symbol}.png")
    _require_target(out)
    begin, end = span_of(start, end, utc_now())
    database = database_of(settings)
    check_schema(database)
    begin, scores = _scores(database, settings.catalogue.coin(symbol), begin, end)
    anomalies = stored_anomalies(database, symbol, settings.catalogue.symbols, begin, end)
    canvas = draw_chart(scores, anomalies, symbol, begin, end, THEMES[theme])
    _write_whole(out, to_svg(canvas) if out.suffix.lower() == ".svg" else to_png(canvas))
    click.echo(f"{out}: {symbol}, {counted(len(scores), 'quote')}.")
    for line in alarm_lines(anomalies, symbol):
        click.echo(line)
    return 0


def alarm_lines(anomalies: Columns, symbol: str) -> list[str]:
    """Return the headlines of the most important alarms that concern `symbol`, and how many more there are."""
    alarms = by_importance(anomalies.where(alarm_mask(anomalies)))
    texts = (alarms[name] for name in ("symbol", "members", "severity", "headline", "explanation"))
    lines = [
        f"{at:%Y-%m-%d %H:%M} {severity}: {headline_of(headline, explanation)}"
        for at, own, members, severity, headline, explanation in zip(alarms.datetimes("timestamp"), *texts, strict=True)
        if symbol in (own, *(members or "").split(","))
    ]
    more = [f"{counted(len(lines) - _MOST_ALARMS, 'more alarm')}."] if len(lines) > _MOST_ALARMS else []
    return lines[:_MOST_ALARMS] + more


def _scores(database: Database, coin: Coin, start: datetime, end: datetime) -> tuple[datetime, Columns]:
    """Return the scores from `start` to `end`, and where they begin; refuse a span without any."""
    symbol = coin.symbol
    newest = latest_quotes(database, [symbol], utc_now()).get(symbol)
    if newest is None:
        raise click.UsageError(without_quotes(database, coin))
    first_day = first_days(database, [symbol])[symbol]
    begins = start_of_day(first_day)
    if start < begins < end:
        click.echo(f"Nothing is stored of {symbol} before {first_day}; the picture begins there.")
        start = begins
    scores = stored_scores(database, [symbol], start, end) if start >= begins else None
    if not scores:
        raise click.UsageError(
            f"{symbol} has no quotes from {iso(start)} to {iso(end)}; there are some from {first_day} to "
            f"{iso(newest.timestamp.replace(microsecond=0))}"
        )
    return start, scores


def without_quotes(database: Database, coin: Coin) -> str:
    """Say that no quotes of `coin` are stored, and what to do."""
    others = [coin_id for coin_id in stored_ids(database, coin.symbol) if coin_id != coin.coin_id]
    if others:
        stored = f"{coin.symbol} has no quotes of {coin.coin_id}, only of {', '.join(others)}"
        return f"{stored}; `{command('doctor')}` explains how to use them"
    collecting = " or ".join(f"`{command(line)}`" for line in ("run", "backfill --days 30"))
    return f"{coin.symbol} has no quotes yet; collect some with {collecting}"


def span_of(
    start: date | datetime | None, end: date | datetime | None, now: datetime
) -> tuple[datetime, datetime]:
    """Return the first and the last moment to draw, at most `now`: a date means the whole day.

    Without `end` it is `now`, without `start` a day before the end. Raises UsageError if nothing is between them.
    """
    end = now if end is None else end
    if isinstance(end, datetime):
        last = min(end, now)
    else:
        last = now if end >= now.date() else start_of_day(end) + DAY
    start = last - DAY if start is None else start
    first = start if isinstance(start, datetime) else start_of_day(start)
    if first >= now:
        raise click.UsageError(f"--from {_as_given(start)} is in the future; it is {iso(now.replace(microsecond=0))}")
    if first >= last:
        remedy = "" if start == end else "; swap them"
        raise click.UsageError(f"--from {_as_given(start)} is not before --to {_as_given(end)}{remedy}")
    return first, last


def _as_given(when: date | datetime) -> str:
    return iso(when) if isinstance(when, datetime) else str(when)


def _write_whole(path: Path, content: bytes) -> None:
    """Write `content` to `path` atomically: until then an existing file stays as it is."""
    part = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        part.write_bytes(content)
        part.replace(path)
    except OSError as error:
        raise click.UsageError(f"{path} cannot be written: {error.strerror}") from None
    finally:
        with suppress(OSError):
            part.unlink()


def _require_target(path: Path) -> None:
    if path.suffix.lower() not in (".png", ".svg"):
        raise click.UsageError(f"--out {path} must end in .png or .svg")
    if not path.parent.is_dir():
        raise click.UsageError(f"there is no folder {path.parent} for --out; create it first")
    if not os.access(path.parent, os.W_OK):
        raise click.UsageError(f"the folder {path.parent} cannot be written to; choose another for --out")
