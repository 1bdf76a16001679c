"""Commands over prices and anomalies: fill, look, correct."""

from datetime import date, datetime, timedelta, timezone
from pathlib import Path

import click

from market_pipeline.commands.cli.parameters import (
    day,
    demo_option,
    examples,
    moment,
    notice,
    yes_option,
)
from market_pipeline.prices.quotes import Reason


@click.command(
    epilog=examples(
        "backfill --days 30",
        "backfill --days 30 --demo",
        "backfill --from 2026-01-01 --to 2026-06-30 --dry-run",
        "backfill --from 2026-11-01 --to 2026-11-07 --symbols BTC,ETH --yes",
    )
)
@click.option("--days", type=click.IntRange(1, 10_000), metavar="N", help="So many past days, instead of --from.")
@click.option("--from", "first", type=day, metavar="DATE", help="First UTC day.")
@click.option("--to", "last", type=day, metavar="DATE", help="Last UTC day, included.  [default: yesterday]")
@click.option("--symbols", default="", metavar="A,B", help="Only these symbols.  [default: all that are collected]")
@click.option("--dry-run", is_flag=True, help="Print the plan and stop.")
@click.option("--again", is_flag=True, help="Also request at once what CoinGecko did not have before.")
@demo_option
@yes_option
def backfill(
    days: int | None, first: date | None, last: date | None, symbols: str, dry_run: bool, again: bool, yes: bool
) -> int:
    """Fill past days with the fewest requests.

    Prints how many partitions (a day of a symbol each), requests, credits and minutes it takes, and asks before it
    starts. It can be interrupted at any time; the same command continues where it stopped. Complete days
    are not requested.

    The exit code is 1 if days are still incomplete, unless CoinGecko is proven to lack the prices.
    """
    if (days is None) == (first is None):
        raise click.UsageError("write either --days 30, or --from 2026-01-01 (and --to)")
    yesterday = datetime.now(timezone.utc).date() - timedelta(days=1)
    last = last or max(first or yesterday, yesterday)
    first = first or last - timedelta(days=(days or 1) - 1)
    with notice():
        from market_pipeline.commands.backfill import execute

    return execute(first, last, symbols, dry_run=dry_run, again=again, yes=yes)


@click.command(
    epilog=examples(
        "chart BTC",
        "chart BTC --from 2026-10-01 --to 2026-10-08 --out chart.png",
        "chart BTC --from 2026-10-01T12:00 --to 2026-10-01T18:00+02:00 --out chart.svg",
    )
)
@click.argument("symbol")
@click.option(
    "--from", "start", type=moment, metavar="TIME",
    help="First UTC day or time, ISO 8601.  [default: a day before --to]",
)
@click.option(
    "--to", "end", type=moment, metavar="TIME",
    help="Last UTC day or time; a day is drawn to its end.  [default: now]",
)
@click.option(
    "--out", type=click.Path(dir_okay=False, path_type=Path), metavar="FILE",
    help="A .png or .svg file, replaced if it exists.  [default: SYMBOL.png]",
)
@demo_option
@click.option("--theme", type=click.Choice(["light", "dark"]), default="light", show_default=True)
def chart(
    symbol: str, start: date | datetime | None, end: date | datetime | None, out: Path | None, theme: str
) -> int:
    """Draw one symbol: prices, expected band, anomalies."""
    with notice():
        from market_pipeline.commands.chart import execute

    return execute(symbol, start, end, out, theme)


@click.command(
    epilog=examples(
        "export --out prices",
        "export --symbols BTC,ETH --from 2026-01-01 --to 2026-06-30 --interval 1h --anomalies --out candles",
        "export --demo --format csv --out demo_prices",
    )
)
@click.option("--symbols", default="", metavar="A,B", help="Only these symbols.  [default: all that are collected]")
@click.option("--from", "start", type=moment, metavar="TIME", help="First UTC day or time.  [default: the first price]")
@click.option("--to", "end", type=moment, metavar="TIME", help="Last UTC day, included, or time.  [default: now]")
@click.option(
    "--interval", type=click.Choice(["raw", "1h", "1d"]), default="raw", show_default=True,
    help="Prices as they are stored, or candles of an hour or a day.",
)
@click.option("--format", "file_format", type=click.Choice(["parquet", "csv"]), default="parquet", show_default=True)
@click.option("--anomalies", is_flag=True, help="Export the anomalies of that time, too.")
@click.option(
    "--out", type=click.Path(path_type=Path), required=True, metavar="FOLDER", help="A new or an empty folder."
)
@demo_option
def export(
    symbols: str,
    start: date | datetime | None,
    end: date | datetime | None,
    interval: str,
    file_format: str,
    anomalies: bool,
    out: Path,
) -> int:
    """Write prices to Parquet or CSV files.

    A file for each symbol and year, in folders such as prices/symbol=BTC/year=2026, which DuckDB, polars and pandas
    read as one table. Memory does not grow with the number of rows. Nothing is left of an export that fails.
    """
    from market_pipeline.commands.export import execute

    return execute(symbols, start, end, interval, file_format, out, anomalies=anomalies)


@click.command(
    epilog=examples(
        'mark 0123456789abcdef0123456789abcdef noise --note "The exchange had a glitch."',
        "mark 0123456789abcdef0123456789abcdef none",
    )
)
@click.argument("anomaly_id", metavar="ID")
@click.argument("given", metavar="MARK", type=click.Choice(["real", "noise", "expected", "none"]))
@click.option("--note", default="", metavar="TEXT", help="Why: one line of at most 300 characters.")
@demo_option
def mark(anomaly_id: str, given: str, note: str) -> int:
    """Mark an anomaly as real, noise or expected.

    ID is the id of the anomaly, as the API shows it. MARK is real, noise, expected, or none to remove the mark. Noise
    on a feed problem keeps its quotes out of later calibrations.
    """
    from market_pipeline.commands.alerts import mark as execute

    return execute(anomaly_id, given, note)


@click.command(epilog=examples("replay --dry-run", "replay --reason clock_behind --from 2026-11-23"))
@click.option(
    "--reason", type=click.Choice([one.value for one in Reason]), metavar="REASON",
    help="Only points refused for this reason, e.g. zero_price.",
)
@click.option("--symbol", type=str.upper, metavar="SYMBOL", help="Only this symbol, e.g. BTC.")
@click.option("--from", "first", type=day, metavar="DATE", help="Only from this UTC day on.")
@click.option("--to", "last", type=day, metavar="DATE", help="Only up to this UTC day.")
@click.option("--dry-run", is_flag=True, help="Print the result and change nothing.")
@demo_option
@yes_option
def replay(
    reason: str | None, symbol: str | None, first: date | None, last: date | None, dry_run: bool, yes: bool
) -> int:
    """Validate refused prices by the rules of this version.

    Those that pass leave the quarantine, and the anomalies of their days are recomputed.
    """
    from market_pipeline.commands.replay import execute

    return execute(Reason(reason) if reason else None, symbol, first, last, dry_run=dry_run, yes=yes)


@click.command(epilog=examples("rename BTC XBT", "rename DOT=polkadot DOT=polkadot-2"))
@click.argument("old")
@click.argument("new")
@demo_option
@yes_option
def rename(old: str, new: str, yes: bool) -> int:
    """Move the rows of a coin to another symbol or coin id.

    OLD is the symbol under which it is stored, e.g. BTC, or with the coin id BTC=bitcoin. NEW is the new symbol, or
    the same one with another coin id.
    """
    from market_pipeline.commands.rename import execute

    return execute(old, new, yes=yes)


PRICES: tuple[click.Command, ...] = (backfill, chart, export, mark, replay, rename)
