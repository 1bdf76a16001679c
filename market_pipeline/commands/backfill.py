"""`market-pipeline backfill`: bring past days up to date, after saying what that takes.

What is missing is measured from the stored prices, before the plan and again before each run: it can
be interrupted and started again at any time, and what is complete is never asked for. For what CoinGecko gave no
prices it is asked again in due time, or at once with `--again`.
"""

import argparse
from datetime import date, datetime

from market_pipeline.budget.status import budget_status
from market_pipeline.coingecko.client import reach_of
from market_pipeline.commands.backfill_plan import InputError, Plan, oldest_day, reachable_span
from market_pipeline.commands.backfill_work import Backfill, complete, report
from market_pipeline.commands.start import command_settings, confirmed, say
from market_pipeline.core.clock import utc_now
from market_pipeline.core.symbols import Catalogue
from market_pipeline.dagster_instance.home import current_home
from market_pipeline.settings import Settings
from market_pipeline.storage.engine import Database
from market_pipeline.storage.schema.migrate import migrate


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """What the command takes."""
    parser.add_argument("--from", dest="first", type=day, required=True, metavar="DATE", help="first UTC day")
    parser.add_argument("--to", dest="last", type=day, required=True, metavar="DATE", help="last UTC day")
    parser.add_argument("--symbols", default="", metavar="A,B", help="only these (default: all collected)")
    parser.add_argument("--dry-run", action="store_true", help="say what it would take and stop")
    parser.add_argument(
        "--again", action="store_true", help="ask now for what CoinGecko was asked before and gave no prices"
    )
    parser.add_argument("--yes", action="store_true", help="do not ask")


def day(text: str) -> date:
    """A day as it is written on the command line."""
    if not text.strip():
        raise argparse.ArgumentTypeError("the day is missing; write it as 2026-01-31")
    try:
        return datetime.strptime(text.strip(), "%Y-%m-%d").date()
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r} is not a day; write it as 2026-01-31") from None


def execute(options: argparse.Namespace) -> int:
    """0 if all is stored or proven to be absent in the end, 1 if not, 130 after Ctrl-C."""
    settings = command_settings()
    say(f"DAGSTER_HOME is {current_home()}.")
    work = _work(settings, options)
    for note in work.span.notes:
        say(note)
    if work.span.first > work.span.last:
        say("None of the days asked for can be filled now.")
        is_beyond_reach = options.last < work.span.first
        return 1 if is_beyond_reach and not options.dry_run else 0
    missing = work.missing(work.span.first, work.span.last)
    plan = Plan(len(missing), work.repairs(missing), budget_status(settings, work.database))
    for line in plan.lines() if plan.repairs else ():
        say(line)
    if options.dry_run and not plan.repairs:
        report(work)
    if options.dry_run or (plan.repairs and not confirmed(options.yes)):
        return 0
    return complete(work, plan)


def _work(settings: Settings, options: argparse.Namespace) -> Backfill:
    catalogue = _chosen(settings.catalogue, options.symbols)
    reach = reach_of(settings.coingecko_plan)
    span = reachable_span(
        options.first, options.last, history_start=settings.history_start, reach=reach, now=utc_now()
    )
    database = Database(settings.database, settings.catalogue.ids)
    # It may be the first command of all.
    migrate(database)
    return Backfill(settings, database, catalogue, span, lambda: oldest_day(reach, utc_now()), options.again)


def _chosen(catalogue: Catalogue, text: str) -> Catalogue:
    """The coins of `catalogue` that `text` names, all if it names none."""
    try:
        named = {catalogue.validate_symbol(symbol) for symbol in text.split(",") if symbol.strip()}
    except ValueError as error:
        raise InputError(str(error)) from None
    return Catalogue([coin for coin in catalogue if coin.symbol in named]) if named else catalogue
