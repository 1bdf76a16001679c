"""Validate refused points again by the rules of this version; accepted ones leave the quarantine and are scored."""

from collections import Counter
from collections.abc import Iterator
from datetime import date, timedelta

import click

from market_pipeline.anomalies import PAST_DAYS
from market_pipeline.commands.dagster_runs import recorded_runs
from market_pipeline.commands.start import command_settings, confirmed, database_of
from market_pipeline.core.clock import utc_now
from market_pipeline.core.symbols import Coin
from market_pipeline.core.wording import counted
from market_pipeline.dagster_instance.home import checked_home
from market_pipeline.dagster_instance.instance_storage import storage_of
from market_pipeline.pipeline.names import SCORE_DAYS
from market_pipeline.pipeline.replay import Verdicts, apply, load_refusals, revalidate
from market_pipeline.prices.quotes import Reason
from market_pipeline.prices.windows import plan_repairs
from market_pipeline.settings import Settings
from market_pipeline.storage.engine import Database
from market_pipeline.storage.schema.migrate import check_schema


def execute(
    reason: Reason | None, symbol: str | None, first: date | None, last: date | None, *, dry_run: bool, yes: bool
) -> int:
    """Return 0, or 1 if the anomalies of the days concerned could not be recomputed."""
    settings = command_settings()
    click.echo(f"DAGSTER_HOME is {checked_home(storage_of(settings))}.")
    database = database_of(settings)
    check_schema(database)
    found = load_refusals(database, reason=reason, symbol=symbol, first=first, last=last)
    verdicts = revalidate(found, utc_now())
    click.echo(f"{counted(len(found), 'refused point')} in quarantine.")
    for line in _lines(verdicts):
        click.echo(f"  {line}")
    if not verdicts.accepted and not verdicts.renamed:
        click.echo("Nothing changes.")
        return 0
    if dry_run or not confirmed(yes):
        return 0
    written = apply(database, verdicts)
    moved, changed = counted(len(verdicts.accepted), "point"), counted(written, "price")
    click.echo(f"{moved} moved to raw_prices, {changed} new or changed.")
    return _score(settings, database, verdicts)


def _lines(verdicts: Verdicts) -> Iterator[str]:
    """Describe what becomes of them, by the reason of the refusal."""
    accepted = Counter(refusal.reason.value for refusal, _ in verdicts.accepted)
    yield from (f"{number:,} refused for {reason}: accepted now" for reason, number in accepted.items())
    renamed = Counter((old.reason.value, new.reason.value) for old, new in verdicts.renamed)
    for (old, new), number in renamed.items():
        yield f"{number:,} refused for {old}: refused for {new} now"
    same = Counter(refusal.reason.value for refusal in verdicts.unchanged)
    yield from (f"{number:,} refused for {reason}: unchanged" for reason, number in same.items())
    if verdicts.unreadable:
        yield f"{len(verdicts.unreadable):,} unchanged: the stored part of the answer is truncated or holds no point"


def _score(settings: Settings, database: Database, verdicts: Verdicts) -> int:
    """Compute the anomalies of the days that the moved points belong to, lead up to or follow."""
    symbols, coins = settings.catalogue.symbols, set(settings.catalogue)
    moved = {
        quote.timestamp.date()
        for _, quote in verdicts.accepted
        if Coin(quote.symbol, quote.coin_id) in coins
    }
    days = {day + timedelta(days=n) for day in moved for n in range(-1, PAST_DAYS + 1)}
    # A price of one coin is a part of the market of the others.
    concerned = [(day, symbol) for day in days if _has_partition(settings, day) for symbol in symbols]
    repairs = plan_repairs(concerned, symbols)
    if not repairs:
        return 0
    with recorded_runs(settings, database) as runs:
        for part in repairs:
            end = runs.execute(SCORE_DAYS, part)
            if not end.success:
                click.echo(f"The anomalies of {part} could not be computed: {end.reason.rstrip('.')}.")
                click.echo("Materialize price_anomalies of these partitions in the UI once the cause is corrected.")
                return 1
    click.echo(f"Anomalies computed again for {counted(sum(part.partitions for part in repairs), 'partition')}.")
    return 0


def _has_partition(settings: Settings, when: date) -> bool:
    now = utc_now()
    return settings.first_day(now) <= when <= now.date()
