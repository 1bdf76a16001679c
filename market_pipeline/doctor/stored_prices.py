"""Are the stored prices fresh and complete, and what was refused?"""

from collections import Counter
from collections.abc import Iterator, Sequence
from datetime import datetime, timedelta

from market_pipeline.core.clock import DAY, iso
from market_pipeline.core.slices import Slice
from market_pipeline.core.wording import some, span
from market_pipeline.doctor.context import Finding, Subject, fail, not_examined, ok, warn
from market_pipeline.pipeline.conditions import of_scores
from market_pipeline.pipeline.facts import price_facts
from market_pipeline.pipeline.missing_days import absences_of, days_with_absences, gappy_days
from market_pipeline.pipeline.other_coins import other_coins
from market_pipeline.prices.freshness import oldest_fresh
from market_pipeline.prices.quotes import FUTURE_TOLERANCE, Reason
from market_pipeline.storage.engine import Database
from market_pipeline.storage.queries.counts import refusals_by_reason
from market_pipeline.storage.queries.integrity import quotes_in_future
from market_pipeline.storage.queries.latest import coin_names, newest_quote_times

_LOOKED_BACK = timedelta(days=30)
_STRETCHES_SHOWN = 3


def examine_freshness(subject: Subject) -> Iterator[Finding]:
    """One finding a symbol: when its newest quote was true at the source."""
    if subject.settings is None or subject.database is None:
        yield not_examined("newest quotes", "database")
        return
    now, symbols = subject.clock(), subject.settings.catalogue.symbols
    oldest = oldest_fresh(subject.settings.collect_cron, now)
    yield from _future(subject.database, symbols, now)
    for symbol, newest in newest_quote_times(subject.database, symbols, now).items():
        name = f"newest {symbol}"
        if newest is None:
            yield warn(name, "no quote is stored yet", "`market-pipeline run` collects them.", age_seconds=None)
            continue
        age = (now - newest).total_seconds()
        detail = f"{span(age)} old" if age >= 0 else f"{span(-age)} in the future"
        if newest >= oldest:
            yield ok(name, detail, age_seconds=round(age))
        else:
            yield warn(
                name, f"{detail}, older than the last tick but one",
                "See the daemons, schedules and runs below; one symbol alone: its id in MARKET_SYMBOLS.",
                age_seconds=round(age),
            )


def _future(database: Database, symbols: Sequence[str], now: datetime) -> Iterator[Finding]:
    found = quotes_in_future(database, [Slice(symbol, now.date(), now.date()) for symbol in symbols], now)
    if found.count:
        where = some((f"{symbol} {count}" for symbol, count in found.by_symbol.items()), 10)
        limit = iso((now + FUTURE_TOLERANCE).replace(microsecond=0))
        yield fail(
            "future quotes", f"another writer has stored quotes dated after {limit}: {where}; nothing is scored until "
            "their time has come",
            "If the clocks above are right, find what else writes to raw_prices and delete these rows.",
            future_quotes=found.count,
        )


def examine_scores(subject: Subject) -> Iterator[Finding]:
    """Whether anomalies were looked for in the newest quotes."""
    if subject.settings is None or subject.database is None:
        yield not_examined("scores", "database")
        return
    now = subject.clock()
    symbols = subject.settings.catalogue.symbols
    prices = price_facts(subject.database, symbols, subject.settings.collect_cron, now)
    ages = {symbol: round((now - at).total_seconds()) for symbol, at in prices.scored.items() if at}
    numbers = {f"scored_age_seconds_{symbol}": age for symbol, age in ages.items()}
    if prices.unscored:
        found = of_scores(prices)
        yield fail("scores", found.detail, found.remedy, **numbers)
    elif not ages:
        yield ok("scores", "nothing was scored yet", **numbers)
    else:
        yield ok("scores", f"the newest scored quotes are {span(min(ages.values()))} old", **numbers)


def examine_gaps(subject: Subject) -> Iterator[Finding]:
    """The past days of the last month that are not complete, by symbol."""
    if subject.settings is None or subject.database is None:
        yield not_examined("gaps", "database")
        return
    settings, now = subject.settings, subject.clock()
    first = max(now.date() - _LOOKED_BACK, settings.history_start)
    gaps = gappy_days(subject.database, settings.catalogue, first, now.date() - DAY, now)
    missing = [one for one in gaps if not one.explained]
    by_symbol = Counter(one.symbol for one in missing)
    numbers = {f"incomplete_days_{symbol}": by_symbol[symbol] for symbol in settings.catalogue.symbols}
    if not missing:
        yield ok("gaps", f"every past day since {first} is complete", **numbers)
        return
    days = sorted(one.day for one in missing)
    again = "" if all(one.due for one in missing) else " --again"
    counts = some((f"{symbol} {count}" for symbol, count in by_symbol.items()), 10)
    yield warn(
        "gaps", f"days with gaps since {first}: {counts}",
        "`market-pipeline run` fills them within the budget; now: "
        f"`market-pipeline backfill --from {days[0]} --to {days[-1]}{again}`.",
        **numbers,
    )


def examine_absences(subject: Subject) -> Iterator[Finding]:
    """The stretches for which the source gave no prices: since when, by which evidence, when it is asked again."""
    if subject.settings is None or subject.database is None:
        yield not_examined("absent at the source", "database")
        return
    settings, now = subject.settings, subject.clock()
    days = days_with_absences(subject.database, settings.catalogue, settings.history_start, now.date() - DAY, now)
    found = absences_of(days)
    unproven = sum(not absence.proven for absence in found)
    numbers = {"stretches": len(found), "unproven": unproven}
    if not found:
        yield ok("absent at the source", "nothing is believed to be absent", **numbers)
        return
    shown = " ".join(map(str, found[:_STRETCHES_SHOWN]))
    more = len(found) - _STRETCHES_SHOWN
    detail = f"{len(found)} in all, {unproven} not proven: {shown}" + (f" And {more:,} more." if more > 0 else "")
    if not unproven:
        yield ok("absent at the source", detail, **numbers)
        return
    first, last = min(one.day for one in days), max(one.day for one in days)
    yield warn(
        "absent at the source", detail,
        "`market-pipeline run` asks again for days of the last 90 when the time named has come; now: "
        f"`market-pipeline backfill --from {first} --to {last} --again`.",
        **numbers,
    )


def examine_coins(subject: Subject) -> Iterator[Finding]:
    """Which coin each symbol stands for, and what is stored under another id."""
    if subject.settings is None or subject.database is None:
        yield not_examined("coins", "database")
        return
    settings, database = subject.settings, subject.database
    names = coin_names(database)
    named = [f"{coin.symbol} is {names[coin.symbol]}" for coin in settings.catalogue if coin.symbol in names]
    unknown = [coin.symbol for coin in settings.catalogue if coin.symbol not in names]
    if unknown:
        named.append(f"not asked yet of CoinGecko (a run of past days does): {some(unknown)}")
    yield ok("coins", some(named, 50))
    others = other_coins(database, settings.catalogue, settings.history_start, subject.clock())
    for other in others:
        name, numbers = f"former {other.symbol}", {"prices": other.prices, "missing_days": len(other.missing)}
        if other.missing:
            yield warn(name, str(other), f"{other.remedy[0].upper()}{other.remedy[1:]}.", **numbers)
        else:
            yield ok(name, str(other), **numbers)


def examine_refusals(subject: Subject) -> Iterator[Finding]:
    """What was refused in the last 24 hours, by reason."""
    if subject.database is None:
        yield not_examined("refused rows", "database")
        return
    counts = refusals_by_reason(subject.database, subject.clock() - DAY)
    if not counts:
        yield ok("refused rows", "none in the last 24 hours", refused=0)
        return
    yield warn(
        "refused rows",
        "in the last 24 hours: " + some((f"{count} {reason}" for reason, count in counts.items()), 10),
        "Once this machine's clock is right, `market-pipeline replay` accepts what was refused for clock_behind."
        if Reason.CLOCK_BEHIND.value in counts
        else "Look at them in the asset rejected_prices: each has its reason and the payload.",
        refused=sum(counts.values()), **{f"refused_{reason}": count for reason, count in counts.items()},
    )
