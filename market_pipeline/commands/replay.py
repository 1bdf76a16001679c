"""`market-pipeline replay`: refused points judged again by today's rules; prices leave the quarantine."""

import argparse
from collections import Counter
from collections.abc import Iterator
from datetime import date, timedelta

from market_pipeline.anomalies import LEAD_DAYS
from market_pipeline.commands.backfill import day
from market_pipeline.commands.backfill_plan import counted
from market_pipeline.commands.start import command_settings, confirmed, say
from market_pipeline.core.clock import utc_now
from market_pipeline.core.symbols import Coin
from market_pipeline.dagster_instance.home import current_home
from market_pipeline.pipeline.replay import Verdicts, apply, load_refusals, revalidate
from market_pipeline.prices.quotes import Reason
from market_pipeline.prices.windows import plan_repairs
from market_pipeline.settings import Settings
from market_pipeline.storage.engine import Database
from market_pipeline.storage.schema.migrate import check_schema


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """What the command takes; each narrows down which refused points are looked at."""
    reasons = [reason.value for reason in Reason]
    parser.add_argument("--reason", choices=reasons, help="only what was refused for this")
    parser.add_argument("--symbol", type=str.upper, help="only this symbol, e.g. BTC")
    parser.add_argument("--from", dest="first", type=day, metavar="DATE", help="only from this UTC day on")
    parser.add_argument("--to", dest="last", type=day, metavar="DATE", help="only up to this UTC day")
    parser.add_argument("--dry-run", action="store_true", help="say what would become of them and stop")
    parser.add_argument("--yes", action="store_true", help="do not ask")


def execute(options: argparse.Namespace) -> int:
    """0, or 1 if the anomalies of the days concerned could not be computed again."""
    settings = command_settings()
    say(f"DAGSTER_HOME is {current_home()}.")
    database = Database(settings.database, settings.catalogue.ids)
    check_schema(database)
    found = load_refusals(
        database,
        reason=Reason(options.reason) if options.reason else None,
        symbol=options.symbol,
        first=options.first,
        last=options.last,
    )
    verdicts = revalidate(found, utc_now())
    say(f"{counted(len(found), 'refused point')} in quarantine.")
    for line in _lines(verdicts):
        say(f"  {line}")
    if not verdicts.accepted and not verdicts.renamed:
        say("Nothing changes.")
        return 0
    if options.dry_run or not confirmed(options.yes):
        return 0
    written = apply(database, verdicts)
    moved, changed = counted(len(verdicts.accepted), "point"), counted(written, "price")
    say(f"{moved} moved to raw_prices, {changed} new or changed.")
    return _score(settings, verdicts)


def _lines(verdicts: Verdicts) -> Iterator[str]:
    """What becomes of them, by the reason they were refused for."""
    accepted = Counter(refusal.reason.value for refusal, _ in verdicts.accepted)
    yield from (f"{number:,} refused for {reason} are prices now" for reason, number in accepted.items())
    renamed = Counter((old.reason.value, new.reason.value) for old, new in verdicts.renamed)
    for (old, new), number in renamed.items():
        yield f"{number:,} refused for {old} are refused for {new} now"
    same = Counter(refusal.reason.value for refusal in verdicts.unchanged)
    yield from (f"{number:,} stay refused for {reason}" for reason, number in same.items())
    if verdicts.unreadable:
        yield f"{len(verdicts.unreadable):,} stay: the kept part of the answer is cut or holds no point"


def _score(settings: Settings, verdicts: Verdicts) -> int:
    """Compute the anomalies of the days that the moved points belong to or lead up to."""
    from market_pipeline.commands.dagster_runs import recorded_runs
    from market_pipeline.pipeline.names import SCORE_DAYS

    symbols, coins = settings.catalogue.symbols, set(settings.catalogue)
    moved = {
        quote.timestamp.date()
        for _, quote in verdicts.accepted
        if Coin(quote.symbol, quote.coin_id) in coins
    }
    days = {day + timedelta(days=n) for day in moved for n in range(LEAD_DAYS + 1)}
    # A price of one coin is a part of the market of the others.
    concerned = [(day, symbol) for day in days if _has_partition(settings, day) for symbol in symbols]
    repairs = plan_repairs(concerned, symbols)
    if not repairs:
        return 0
    with recorded_runs(settings) as runs:
        for part in repairs:
            ended = runs.execute(SCORE_DAYS, part)
            if not ended.success:
                say(f"The anomalies of {part} could not be computed: {ended.reason.rstrip('.')}.")
                say("Materialize price_anomalies of these partitions in the UI once the cause is mended.")
                return 1
    say(f"Anomalies computed again for {counted(sum(part.partitions for part in repairs), 'partition')}.")
    return 0


def _has_partition(settings: Settings, when: date) -> bool:
    return settings.history_start <= when <= utc_now().date()
