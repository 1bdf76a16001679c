"""`market-pipeline chart`: the prices of one symbol as a picture, with what was expected and flagged."""

import argparse
import os
from contextlib import suppress
from datetime import date, datetime, timezone
from pathlib import Path

from market_pipeline.commands.backfill_plan import InputError, counted
from market_pipeline.commands.start import command_settings, say
from market_pipeline.core.clock import DAY, iso, start_of_day, utc_now
from market_pipeline.core.columns import Columns
from market_pipeline.core.symbols import Coin
from market_pipeline.pipeline.other_coins import stored_ids
from market_pipeline.storage.engine import Database
from market_pipeline.storage.queries.coverage import first_days
from market_pipeline.storage.queries.latest import latest_quotes
from market_pipeline.storage.schema.migrate import check_schema

_FORMATS = (".png", ".svg")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """What the command takes."""
    time = "DATE or DATETIME"
    parser.add_argument("symbol", help="which symbol, e.g. BTC")
    parser.add_argument(
        "--from", dest="start", type=moment, required=True, metavar="TIME", help=f"first UTC {time}, ISO 8601"
    )
    parser.add_argument(
        "--to", dest="end", type=moment, required=True, metavar="TIME",
        help=f"last UTC {time}; a date is drawn to its end",
    )  # fmt: skip
    parser.add_argument(
        "--out", type=Path, required=True, metavar="FILE", help="a .png or .svg, replaced if it exists"
    )
    parser.add_argument("--theme", choices=("light", "dark"), default="light", help="default light")


def moment(text: str) -> date | datetime:
    """A UTC day or an aware time as it is written on the command line; without an offset it is UTC."""
    text = text.strip()
    try:
        return datetime.strptime(text, "%Y-%m-%d").date()
    except ValueError:
        pass
    try:
        when = datetime.fromisoformat(text.upper().replace("Z", "+00:00"))
        return when.replace(tzinfo=when.tzinfo or timezone.utc).astimezone(timezone.utc)
    except (ValueError, OverflowError):
        message = f"{text!r} is not a time; write it as 2026-01-31 or 2026-01-31T12:00 (UTC)"
        raise argparse.ArgumentTypeError(message) from None


def execute(options: argparse.Namespace) -> int:
    """Draw and write the file; 0. Raises InputError, before any work, for what cannot be drawn or written."""
    _require_target(options.out)
    settings = command_settings()
    try:
        symbol = settings.catalogue.validate_symbol(options.symbol)
    except ValueError as error:
        raise InputError(str(error)) from None
    start, end = span_of(options.start, options.end, utc_now())
    database = Database(settings.database, settings.catalogue.ids)
    check_schema(database)

    from market_pipeline.charts.canvas import to_png, to_svg
    from market_pipeline.charts.symbol_chart import draw_chart
    from market_pipeline.charts.theme import THEMES
    from market_pipeline.pipeline.chart_rows import stored_anomalies

    start, scores = _scores(database, settings.catalogue.coin(symbol), start, end)
    anomalies = stored_anomalies(database, symbol, settings.catalogue.symbols, start, end)
    canvas = draw_chart(scores, anomalies, symbol, start, end, THEMES[options.theme])
    write_whole(options.out, to_svg(canvas) if options.out.suffix.lower() == ".svg" else to_png(canvas))
    say(f"{options.out}: {symbol}, {counted(len(scores), 'quote')}.")
    return 0


def _scores(database: Database, coin: Coin, start: datetime, end: datetime) -> tuple[datetime, Columns]:
    """The scores from `start` to `end`, or from when on anything is stored; InputError if there are none."""
    from market_pipeline.pipeline.chart_rows import stored_scores

    symbol = coin.symbol
    newest = latest_quotes(database, [symbol], utc_now()).get(symbol)
    if newest is None:
        others = [coin_id for coin_id in stored_ids(database, symbol) if coin_id != coin.coin_id]
        if others:
            raise InputError(
                f"{symbol} has no quotes of {coin.coin_id}, only of {', '.join(others)}; `market-pipeline doctor` "
                "says how to use them"
            )
        raise InputError(
            f"{symbol} has no quotes yet; collect some with `market-pipeline run` or "
            "`market-pipeline backfill`"
        )
    first_day = first_days(database, [symbol])[symbol]
    begins = start_of_day(first_day)
    if start < begins < end:
        say(f"Nothing is stored of {symbol} before {first_day}; the picture begins there.")
        start = begins
    scores = stored_scores(database, [symbol], start, end) if start >= begins else None
    if not scores:
        raise InputError(
            f"{symbol} has no quotes from {iso(start)} to {iso(end)}; there are some from {first_day} to "
            f"{iso(newest.timestamp)}"
        )
    return start, scores


def span_of(start: date | datetime, end: date | datetime, now: datetime) -> tuple[datetime, datetime]:
    """The times from which and to which is drawn: a date is meant whole, and nothing is known after `now`.

    Raises InputError if nothing is between them.
    """
    first = start if isinstance(start, datetime) else start_of_day(start)
    if first >= now:
        raise InputError(f"--from {iso(first)} is in the future; it is {iso(now.replace(microsecond=0))}")
    if isinstance(end, datetime):
        last = min(end, now)
    else:
        last = now if end >= now.date() else start_of_day(end) + DAY
    if first >= last:
        raise InputError(f"--from {iso(first)} is not before --to {iso(last)}")
    return first, last


def write_whole(path: Path, content: bytes) -> None:
    """Write `content` to `path` all at once: a file that was there stays as it is until then.

    Raises InputError if it cannot be written.
    """
    part = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        part.write_bytes(content)
        part.replace(path)
    except OSError as error:
        raise InputError(f"{path} cannot be written: {error.strerror}") from None
    finally:
        with suppress(OSError):
            part.unlink()


def _require_target(path: Path) -> None:
    if path.suffix.lower() not in _FORMATS:
        raise InputError(f"--out {path} must end in .png or .svg")
    if path.is_dir():
        raise InputError(f"--out {path} is a folder; name a file in it")
    if not path.parent.is_dir():
        raise InputError(f"there is no folder {path.parent} for --out; create it first")
    if not os.access(path.parent, os.W_OK):
        raise InputError(f"the folder {path.parent} cannot be written to; choose another for --out")
