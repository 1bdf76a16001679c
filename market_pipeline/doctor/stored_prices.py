"""Stored prices: whether they are fresh, scored and complete, which coin they are of, and what was refused."""

from collections import Counter
from collections.abc import Iterator
from datetime import datetime, timedelta

from market_pipeline.core.clock import DAY, iso
from market_pipeline.core.program import command
from market_pipeline.core.slices import Slice
from market_pipeline.core.wording import some, span
from market_pipeline.doctor.context import Diagnosis, DoctorContext, fail, ok, warn
from market_pipeline.pipeline.conditions import scores_condition
from market_pipeline.pipeline.facts import PriceFacts, price_facts
from market_pipeline.pipeline.missing_days import absences_of, days_with_absences, gappy_days
from market_pipeline.pipeline.other_coins import other_coins
from market_pipeline.prices.quotes import FUTURE_TOLERANCE, Reason
from market_pipeline.storage.queries.counts import refusals_by_reason
from market_pipeline.storage.queries.integrity import quotes_in_future
from market_pipeline.storage.queries.latest import coin_names

_PAST_DAYS = timedelta(days=30)
_STRETCHES_SHOWN = 3


def examine_freshness(context: DoctorContext) -> Iterator[Diagnosis]:
    """Judge each symbol by the age of its newest quote."""
    now = context.clock()
    yield from _future_quotes(context, now)
    prices = _prices(context, now)
    stale = set(prices.stale)
    for symbol, newest in prices.newest.items():
        name = f"newest {symbol}"
        if newest is None:
            yield warn(name, "no quote is stored yet", f"`{command('run')}` collects them.", age_seconds=None)
            continue
        age = max(0.0, (now - newest).total_seconds())
        if symbol in stale:
            remedy = "See daemons, schedules and runs below; if no other symbol is stale, its id in MARKET_SYMBOLS."
            yield warn(name, f"{span(age)} old, older than the last tick but one", remedy, age_seconds=round(age))
        else:
            yield ok(name, f"{span(age)} old", age_seconds=round(age))


def _future_quotes(context: DoctorContext, now: datetime) -> Iterator[Diagnosis]:
    today = [Slice(symbol, now.date(), now.date()) for symbol in context.settings.catalogue.symbols]
    found = quotes_in_future(context.database, today, now)
    if found.count:
        where = some((f"{symbol} {count}" for symbol, count in found.by_symbol.items()), 10)
        limit = iso((now + FUTURE_TOLERANCE).replace(microsecond=0))
        yield fail(
            "future quotes",
            f"another program stored quotes dated after {limit}: {where}; nothing is scored until that time",
            "If the clocks above are right, find the other program that writes to raw_prices and delete these rows.",
            future_quotes=found.count,
        )


def examine_scores(context: DoctorContext) -> Iterator[Diagnosis]:
    """Check that the newest quotes were searched for anomalies."""
    now = context.clock()
    prices = _prices(context, now)
    ages = {symbol: round((now - at).total_seconds()) for symbol, at in prices.scored.items() if at}
    numbers = {f"scored_age_seconds_{symbol}": age for symbol, age in ages.items()}
    if prices.unscored:
        condition = scores_condition(prices)
        yield fail("scores", condition.detail, condition.remedy, **numbers)
    elif not ages:
        yield ok("scores", "nothing was scored yet", **numbers)
    else:
        yield ok("scores", f"the newest scored quotes are {span(min(ages.values()))} old", **numbers)


def examine_gaps(context: DoctorContext) -> Iterator[Diagnosis]:
    """Count the incomplete past days of the last month by symbol."""
    database, settings, now = context.database, context.settings, context.clock()
    first = max(now.date() - _PAST_DAYS, settings.first_day(now))
    gaps = gappy_days(database, settings.catalogue, first, now.date() - DAY, now)
    missing = [one for one in gaps if not one.explained]
    by_symbol = Counter(one.symbol for one in missing)
    numbers = {f"incomplete_days_{symbol}": by_symbol[symbol] for symbol in settings.catalogue.symbols}
    if not missing:
        yield ok("gaps", f"every past day since {first} is complete", **numbers)
        return
    days = sorted(one.day for one in missing)
    again = "" if all(one.due for one in missing) else " --again"
    backfill = command(f"backfill --from {days[0]} --to {days[-1]}{again}")
    counts = some((f"{symbol} {count}" for symbol, count in by_symbol.items()), 10)
    remedy = f"`{command('run')}` fills them within the budget; to do it now: `{backfill}`."
    yield warn("gaps", f"days with gaps since {first}: {counts}", remedy, **numbers)


def examine_absences(context: DoctorContext) -> Iterator[Diagnosis]:
    """List the periods for which the source had no prices, with the evidence and the time of the next request."""
    name, database, settings, now = "absent at the source", context.database, context.settings, context.clock()
    days = days_with_absences(database, settings.catalogue, settings.first_day(now), now.date() - DAY, now)
    found = absences_of(days)
    unproven = sum(not absence.proven for absence in found)
    numbers = {"stretches": len(found), "unproven": unproven}
    if not found:
        yield ok(name, "no period is considered absent", **numbers)
        return
    shown = " ".join(map(str, found[:_STRETCHES_SHOWN]))
    more = len(found) - _STRETCHES_SHOWN
    detail = f"{len(found)} in all, {unproven} not proven: {shown}" + (f" And {more:,} more." if more > 0 else "")
    if unproven:
        first, last = min(one.day for one in days), max(one.day for one in days)
        backfill = command(f"backfill --from {first} --to {last} --again")
        remedy = f"`{command('run')}` requests days of the last 90 again at the time shown; to do it now: `{backfill}`."
        yield warn(name, detail, remedy, **numbers)
    else:
        yield ok(name, detail, **numbers)


def examine_coins(context: DoctorContext) -> Iterator[Diagnosis]:
    """Name the coin of each symbol, and what is stored under other coin ids."""
    database, settings = context.database, context.settings
    names = coin_names(database)
    coins = [f"{coin.symbol} is {names[coin.symbol]}" for coin in settings.catalogue if coin.symbol in names]
    if unknown := [coin.symbol for coin in settings.catalogue if coin.symbol not in names]:
        coins.append(f"not looked up yet (a run of past days does that): {some(unknown)}")
    yield ok("coins", some(coins, 50))
    now = context.clock()
    for other in other_coins(database, settings.catalogue, settings.first_day(now), now):
        name, numbers = f"former {other.symbol}", {"prices": other.prices, "missing_days": len(other.missing)}
        if other.missing:
            yield warn(name, str(other), f"{other.remedy[0].upper()}{other.remedy[1:]}.", **numbers)
        else:
            yield ok(name, str(other), **numbers)


def examine_refusals(context: DoctorContext) -> Iterator[Diagnosis]:
    """Count what was refused in the last 24 hours by reason."""
    counts = refusals_by_reason(context.database, context.clock() - DAY)
    if not counts:
        yield ok("refused rows", "none in the last 24 hours", refused=0)
        return
    remedy = "See the asset rejected_prices: it lists each with its reason and payload."
    if Reason.CLOCK_BEHIND.value in counts:
        replay = command("replay")
        remedy = f"Once this machine's clock is right, `{replay}` accepts what is refused as clock_behind."
    yield warn(
        "refused rows", f"in the last 24 hours: {some((f'{count} {reason}' for reason, count in counts.items()), 10)}",
        remedy, refused=sum(counts.values()), **{f"refused_{reason}": count for reason, count in counts.items()},
    )


def _prices(context: DoctorContext, now: datetime) -> PriceFacts:
    settings = context.settings
    return price_facts(context.database, settings.catalogue.symbols, settings.collect_cron, now)
