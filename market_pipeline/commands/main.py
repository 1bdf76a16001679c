"""The command line: what can be typed, its help, and the exit code.

What a command does is in the module of its name, which is imported when the command runs: `--help` and refused
arguments must not wait for Dagster, SQLAlchemy and NumPy.
"""

import ipaddress
import logging
import os
import shutil
import sys
import uuid
from collections.abc import Sequence
from datetime import date, datetime, timezone
from pathlib import Path

import click

from market_pipeline.commands.ports import API_PORT, HOST, UI_PORT
from market_pipeline.logs import bound
from market_pipeline.prices.quotes import Reason

PROGRAM = "market-pipeline"

_PORT = click.IntRange(1, 65_535)
_WIDEST = 120


def day(text: str) -> date:
    """Parse a UTC day."""
    try:
        return datetime.strptime(text.strip(), "%Y-%m-%d").date()
    except ValueError:
        raise click.BadParameter(f"{text!r} is not a day; write it as 2026-01-31") from None


def moment(text: str) -> date | datetime:
    """Parse a UTC day, or a time, which is UTC unless it has an offset."""
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
        raise click.BadParameter(message) from None


def address(text: str) -> str:
    """Parse an IP address of this machine, with or without brackets; `localhost` is 127.0.0.1."""
    try:
        return "127.0.0.1" if text.lower() == "localhost" else str(ipaddress.ip_address(text.strip("[]")))
    except ValueError:
        message = f"{text!r} is not an address; write 127.0.0.1, ::1, or 0.0.0.0 for all"
        raise click.BadParameter(message) from None


_ui_port = click.option(
    "--port", type=_PORT, default=UI_PORT, show_default=True, metavar="PORT", help="Port of the UI on 127.0.0.1."
)
_yes = click.option("--yes", is_flag=True, help="Do not ask for confirmation; required without a terminal.")


@click.group(context_settings={"help_option_names": ["-h", "--help"], "max_content_width": _WIDEST})
@click.version_option(package_name=PROGRAM)
def commands() -> None:
    """Cryptocurrency prices from CoinGecko: collect, check, store and watch them.

    Settings come from the environment or a .env file in the current folder; README.md lists them.
    """


@commands.command()
@_ui_port
def run(port: int) -> int:
    """Collect live prices, with the Dagster UI on this machine.

    Creates or updates the tables of DATABASE_URL first. Ctrl-C stops everything that was started.
    """
    from market_pipeline.commands.run import execute

    return execute(port)


@commands.command()
@_ui_port
def demo(port: int) -> int:
    """Try the pipeline without internet, on simulated prices.

    Starts UI and API, fills eight days of history into demo.db, then collects every minute. Ignores the
    environment and .env, except LOG_FORMAT.
    """
    from market_pipeline.commands.demo import execute

    return execute(port)


@commands.command()
@click.option(
    "--port", type=_PORT, default=API_PORT, show_default=True, metavar="PORT", help="Port of the API."
)
@click.option(
    "--host", type=address, default=HOST, show_default=True, metavar="ADDRESS",
    help="Address to listen on; any but loopback needs API_TOKEN.",
)
@click.option(
    "--workers", type=click.IntRange(1, 64), default=1, show_default=True, metavar="N",
    help="Number of server processes.",
)
@click.option(
    "--without-token", is_flag=True,
    help="Serve other addresses and host names without a token, as API_WITHOUT_TOKEN=true does.",
)
def serve(port: int, host: str, workers: int, without_token: bool) -> int:
    """Serve the HTTP API and its page.

    It runs beside `market-pipeline run`, alone, or on another machine.
    """
    from market_pipeline.commands.serve import execute

    return execute(port, host, workers, without_token)


@commands.command()
@click.option(
    "--concurrency", type=click.IntRange(1, 64), default=4, show_default=True, metavar="N",
    help="Runs at once; more than the background lane allows, so that no tick waits.",
)
def worker(concurrency: int) -> int:
    """Execute runs that a daemon on another machine queues, through Celery.

    docs/celery.md has the set-up. SIGTERM lets the current runs end; a run that is killed is started again elsewhere.
    """
    from market_pipeline.commands.worker import execute

    return execute(concurrency)


@commands.command(
    epilog="\b\nExamples:\n"
    "  market-pipeline backfill --from 2026-01-01 --to 2026-06-30 --dry-run\n"
    "  market-pipeline backfill --from 2026-11-01 --to 2026-11-07 --symbols BTC,ETH --yes"
)
@click.option("--from", "first", type=day, required=True, metavar="DATE", help="First UTC day.")
@click.option("--to", "last", type=day, required=True, metavar="DATE", help="Last UTC day, included.")
@click.option("--symbols", default="", metavar="A,B", help="Only these symbols.  [default: all that are collected]")
@click.option("--dry-run", is_flag=True, help="Print the plan and stop.")
@click.option("--again", is_flag=True, help="Also request at once what CoinGecko did not have before.")
@_yes
def backfill(first: date, last: date, symbols: str, dry_run: bool, again: bool, yes: bool) -> int:
    """Fill past days with the fewest requests.

    Prints how many partitions (a day of a symbol each), requests, credits and minutes it takes, and asks before it
    starts. It can be interrupted at any time; the same command continues where it stopped. Complete days
    are not requested.

    The exit code is 1 if days are still incomplete, unless CoinGecko is proven to lack the prices.
    """
    from market_pipeline.commands.backfill import execute

    return execute(first, last, symbols, dry_run=dry_run, again=again, yes=yes)


@commands.command(
    epilog="\b\nExample, after this machine's clock was corrected:\n"
    "  market-pipeline replay --reason clock_behind --from 2026-11-23"
)
@click.option("--reason", type=click.Choice([one.value for one in Reason]), help="Only points refused for this reason.")
@click.option("--symbol", type=str.upper, metavar="SYMBOL", help="Only this symbol, e.g. BTC.")
@click.option("--from", "first", type=day, metavar="DATE", help="Only from this UTC day on.")
@click.option("--to", "last", type=day, metavar="DATE", help="Only up to this UTC day.")
@click.option("--dry-run", is_flag=True, help="Print the result and change nothing.")
@_yes
def replay(
    reason: str | None, symbol: str | None, first: date | None, last: date | None, dry_run: bool, yes: bool
) -> int:
    """Validate refused prices again by the rules of this version.

    Those that pass leave the quarantine, and the anomalies of their days are recomputed.
    """
    from market_pipeline.commands.replay import execute

    return execute(Reason(reason) if reason else None, symbol, first, last, dry_run=dry_run, yes=yes)


@commands.command(
    epilog="\b\nExamples:\n"
    "  market-pipeline rename BTC XBT\n"
    "  market-pipeline rename DOT=polkadot DOT=polkadot-2"
)
@click.argument("old")
@click.argument("new")
@_yes
def rename(old: str, new: str, yes: bool) -> int:
    """Move the stored rows of a coin to another symbol or coin id.

    OLD is the symbol under which it is stored, e.g. BTC, or with the coin id BTC=bitcoin. NEW is the new symbol, or
    the same one with another coin id.
    """
    from market_pipeline.commands.rename import execute

    return execute(old, new, yes=yes)


@commands.command(
    epilog="\b\nExamples:\n"
    "  market-pipeline chart BTC --from 2026-10-01 --to 2026-10-08 --out chart.png\n"
    "  market-pipeline chart BTC --from 2026-10-01T12:00 --to 2026-10-01T18:00+02:00 --out chart.svg"
)
@click.argument("symbol")
@click.option("--from", "start", type=moment, required=True, metavar="TIME", help="First UTC day or time, ISO 8601.")
@click.option(
    "--to", "end", type=moment, required=True, metavar="TIME", help="Last UTC day or time; a day is drawn to its end."
)
@click.option(
    "--out", type=click.Path(dir_okay=False, path_type=Path), required=True, metavar="FILE",
    help="A .png or .svg file, replaced if it exists.",
)
@click.option("--theme", type=click.Choice(["light", "dark"]), default="light", show_default=True)
def chart(symbol: str, start: date | datetime, end: date | datetime, out: Path, theme: str) -> int:
    """Draw one symbol with its expected band and its anomalies."""
    from market_pipeline.commands.chart import execute

    return execute(symbol, start, end, out, theme)


@commands.command(
    epilog="\b\nExamples:\n"
    "  market-pipeline mark 0123456789abcdef0123456789abcdef noise --note \"The exchange had a glitch.\"\n"
    "  market-pipeline mark 0123456789abcdef0123456789abcdef none"
)
@click.argument("anomaly_id", metavar="ID")
@click.argument("given", metavar="MARK", type=click.Choice(["real", "noise", "expected", "none"]))
@click.option("--note", default="", metavar="TEXT", help="Why: one line of at most 300 characters.")
def mark(anomaly_id: str, given: str, note: str) -> int:
    """Mark an anomaly as real, noise or expected.

    ID is the id of the anomaly, as the API shows it. MARK is real, noise, expected, or none to remove the mark. Noise
    on a feed problem keeps its quotes out of later calibrations.
    """
    from market_pipeline.commands.mark import execute

    return execute(anomaly_id, given, note)


@commands.command()
def watch() -> int:
    """Watch the pipeline, and send alerts to ALERT_URLS.

    `run` and `demo` start it by themselves. Where Dagster's processes run one by one, run it beside them, or on another
    machine. Several may run: one works, the others take over if it stops.
    """
    from market_pipeline.commands.watch import execute

    return execute()


@commands.command("alert-test")
def alert_test() -> int:
    """Send a test message to each receiver in ALERT_URLS.

    The exit code is 1 if one does not accept it.
    """
    from market_pipeline.commands.alerts import test

    return test()


@commands.command()
def alerts() -> int:
    """List open and recent alerts, receivers and snoozes."""
    from market_pipeline.commands.alerts import show

    return show()


@commands.command(
    epilog="\b\nExamples:\n"
    "  market-pipeline snooze BTC large_move --for 2h\n"
    "  market-pipeline snooze '*' credits-low --for 3d\n"
    "  market-pipeline snooze BTC '*' --off"
)
@click.argument("symbol")
@click.argument("kind")
@click.option("--for", "length", metavar="TIME", help="How long: 30m, 2h, 3d.")
@click.option("--off", is_flag=True, help="End it now.")
def snooze(symbol: str, kind: str, length: str | None, off: bool) -> int:
    """Send no alerts about a symbol and kind for a time.

    SYMBOL is one that is collected, KIND that of an anomaly or condition, as `alerts` lists them; '*' is any. What
    still lasts when the time is over is told then.
    """
    from market_pipeline.commands.alerts import KINDS, parse_length
    from market_pipeline.commands.alerts import snooze as execute

    if (length is None) != off:
        raise click.UsageError("write either --for with a length of time, or --off")
    if kind not in ("*", *KINDS):
        raise click.BadParameter(f"{kind!r} is not a kind; those are {', '.join(KINDS)}, or '*' for all")
    return execute(symbol.upper(), kind, None if length is None else parse_length(length))


@commands.command()
@click.option("--dry-run", is_flag=True, help="Print what would be deleted and change nothing.")
def retention(dry_run: bool) -> int:
    """Delete old runs from Dagster's storage, as is done every night.

    A run goes if it ended more than RUNS_KEEP_DAYS ago and every materialization and check in it has a newer
    successor. If RAW_PRICES_KEEP_DAYS is set, older prices are thinned to one an hour.
    """
    from market_pipeline.commands.retention import execute

    return execute(dry_run=dry_run)


@commands.command()
def migrate() -> None:
    """Create or update the tables of DATABASE_URL.

    Creates those of Dagster, too, if they are in PostgreSQL.
    """
    from market_pipeline.commands.migrate import execute

    execute()


@commands.command(
    "migrate-db",
    epilog="\b\nExample, with the target in DATABASE_URL:\n"
    "  market-pipeline migrate-db --from sqlite:///prices.db --partitions",
)
@click.option(
    "--from", "source", metavar="URL", help="The database to copy; it is only read.  [default: DATABASE_URL]"
)
@click.option("--to", "target", metavar="URL", help="An empty database.  [default: DATABASE_URL]")
@click.option("--partitions", is_flag=True, help="Also report the materialized partitions to Dagster's new storage.")
@_yes
def migrate_db(source: str | None, target: str | None, partitions: bool, yes: bool) -> int:
    """Copy all tables to another database, SQLite or PostgreSQL.

    Rows are counted and compared by digest, per table, symbol and year. The command can be interrupted at any time; the
    same command continues, and copies again what has changed in the source since. A password is better left to
    PGPASSWORD, ~/.pgpass or DATABASE_URL than written here, where other users see it.
    """
    from market_pipeline.commands.migrate_db import execute

    if source is None and target is None and not partitions:
        raise click.UsageError("name the other database with --from or --to")
    return execute(source, target, partitions=partitions, yes=yes)


@commands.command()
@_yes
def partition_prices(yes: bool) -> int:
    """Give raw_prices monthly partitions on PostgreSQL.

    Works while the pipeline runs. The table that was there is kept as raw_prices_before, which needs as much disk
    again until you drop it.
    """
    from market_pipeline.commands.partition_prices import execute

    return execute(yes=yes)


@commands.command()
@click.option("--json", "as_document", is_flag=True, help="Print one JSON document instead of lines.")
def doctor(as_document: bool) -> int:
    """Examine the installation and print what to do.

    Examines settings, database, API, budget, Dagster and stored data. The exit code is 1 if anything failed.
    """
    from market_pipeline.doctor.report import as_json, as_text, make_report

    # The report contains what would be logged on the way.
    logging.disable(logging.CRITICAL)
    try:
        report = make_report(Path.cwd(), os.environ)
    finally:
        logging.disable(logging.NOTSET)
    if as_document:
        click.echo(as_json(report), nl=False)
    else:
        coloured = sys.stdout.isatty() and "NO_COLOR" not in os.environ
        width = min(shutil.get_terminal_size((_WIDEST, 24)).columns, _WIDEST)
        click.echo(as_text(report, width, coloured), nl=False, color=coloured)
    return 1 if report.status == "fail" else 0


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command and return its exit code.

    0 if it went well, 1 if it failed, 2 with one explanation on standard error if it was refused before any work,
    130 if it was interrupted.
    """
    # Runs and requests bind ids of their own within this one.
    with bound(trace_id=str(uuid.uuid4())):
        try:
            return int(commands.main(arguments, PROGRAM, standalone_mode=False) or 0)
        except click.exceptions.NoArgsIsHelpError as error:
            error.show()
            return 2
        except click.ClickException as error:
            return _refused(error.format_message())
        except click.Abort:
            return 130
        except Exception as error:
            return _ended_by(error)


def _refused(message: str) -> int:
    click.echo(f"{PROGRAM}: {message}", err=True)
    return 2


def _ended_by(error: Exception) -> int:
    from market_pipeline.dagster_instance.home import HomeError
    from market_pipeline.settings import SettingsError
    from market_pipeline.storage.db_errors import StorageError

    if isinstance(error, (SettingsError, HomeError, StorageError)):
        return _refused(str(error))
    # Logged here, while the command's id is bound.
    sys.excepthook(type(error), error, error.__traceback__)
    return 1


if __name__ == "__main__":
    sys.exit(main())
