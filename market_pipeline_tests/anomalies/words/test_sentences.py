"""The words of all kinds, as a person reads them in an alarm: `sentences.txt` has examples of each.

After a change of wording run with UPDATE_SENTENCES=1 and read the difference.
"""

from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import date, datetime, timedelta, timezone
from math import nan
from pathlib import Path

import pytest

from market_pipeline.anomalies.anomaly import Scope
from market_pipeline.anomalies.words import formatting, sentences
from market_pipeline.anomalies.words.rarity import OWN, POOLED, PRIOR, Rarity, rarity_words
from market_pipeline.anomalies.words.sentences import LONGEST_HEADLINE, Move, OtherCoins, Silence
from market_pipeline_tests.builders import check_sentences

FILE = Path(__file__).with_name("sentences.txt")
AT = datetime(2023, 6, 10, 4, 10, tzinfo=timezone.utc)
LATER = AT + timedelta(minutes=10)
UNKNOWN, ALONE = Rarity(nan), OtherCoins(Scope.UNKNOWN)
OWN_DAYS = Rarity(12.3, OWN, 90.0, 412, "5-minute")
SINCE = Rarity(900.0, OWN, 786.0, 1_096, "5-minute", 786.0, date(2022, 8, 5))
LONG = "A2345678901234567890"

Pair = tuple[str, str]


def move(change: float = -0.152, minutes: float = 5.0, start: datetime = AT, expected: float = nan) -> Move:
    return Move("SOL", change, 18.32, 18.32 * (1 + change), start, start + timedelta(minutes=minutes), expected)


def others(scope: Scope, median: float, leader: float = nan, share: float = nan) -> OtherCoins:
    return OtherCoins(scope, "BTC", leader, median, 4, share)


def told(moved: Move, beside: OtherCoins, rarity: Rarity) -> Pair:
    return sentences.move_headline(moved, beside, rarity), sentences.move_explanation(moved, beside, rarity)


def market(moved: Move, members: list[tuple[str, float]], coins: int, rarity: Rarity) -> Pair:
    headline = sentences.market_headline(moved, *members[0], rarity)
    return headline, sentences.market_explanation(moved, members, coins, rarity)


def bad_tick(moved: Move, share: float, back: datetime, price: float) -> Pair:
    return (
        sentences.bad_tick_headline(moved, back, price), sentences.bad_tick_explanation(moved, share, back, price)
    )


def unchanged(price: float, end: datetime, expected: float, *symbols: str) -> Pair:
    silence = Silence(symbols, AT, end, 15)
    explanation = sentences.unchanged_explanation(silence, price, 1_500, expected)
    return sentences.unchanged_headline(silence, price), explanation


def missing(end: datetime, *symbols: str) -> Pair:
    silence = Silence(symbols, AT, end, 25)
    return sentences.missing_quotes_headline(silence), sentences.missing_quotes_explanation(silence)


def moves() -> Iterator[tuple[str, Pair]]:
    usual, hours = move(expected=0.0035), move(minutes=240, expected=0.0183)
    alone = others(Scope.IDIOSYNCRATIC, -0.0166, -0.015, 0.1)
    yield "jump", told(usual, alone, OWN_DAYS)
    yield "jump with the market", told(usual, others(Scope.MARKET, -0.071, -0.08, 0.8), SINCE)
    yield "jump, partly the market's", told(usual, others(Scope.MIXED, -0.04, -0.035, 0.35), OWN_DAYS)
    yield "jump, market unknown", told(usual, replace(ALONE, leader_move=0.01, median=0.01, coins=1), UNKNOWN)
    yield "jump, nothing known", told(move(), ALONE, UNKNOWN)
    yield "jump, pooled", told(usual, ALONE, Rarity(40.0, POOLED, 90.0, 2_060, "hourly"))
    yield "jump, prior", told(usual, ALONE, Rarity(1_200.0, PRIOR, 3.0, 0, "5-minute"))
    yield "large move", told(hours, others(Scope.MARKET, -0.031, -0.028), Rarity(90.0, OWN, 412.0, 96, "hourly"))
    yield "large move, beyond memory", told(hours, alone, replace(SINCE, last_day=None))
    yield "large move, daily", told(move(0.31, 1440, expected=0.04), ALONE, replace(OWN_DAYS, cadence="daily"))
    yield "idiosyncratic", told(move(0.021), others(Scope.IDIOSYNCRATIC, 0.001, 0.001, 0.05), OWN_DAYS)
    # The share counts standard deviations: the scope decides what is said.
    yield "idiosyncratic beside a wild market", told(usual, others(Scope.IDIOSYNCRATIC, -0.12, -0.1, 0.9), OWN_DAYS)
    yield "market's, but the others stood", told(usual, others(Scope.MARKET, 0.0001, 0.0002, 0.1), OWN_DAYS)
    beside = others(Scope.IDIOSYNCRATIC, 0.0012, 0.001, 0.02)
    threshold = sentences.threshold_headline(move(0.0613), beside, 0.05)
    yield "user threshold", (threshold, sentences.move_explanation(move(0.0613), beside, UNKNOWN))
    overnight = move(minutes=360, start=AT + timedelta(hours=18), expected=0.03)
    gap = sentences.gap_headline(overnight, OWN_DAYS)
    yield "gap move", (gap, sentences.move_explanation(overnight, ALONE, OWN_DAYS))


def events() -> Iterator[tuple[str, Pair]]:
    falls = [("ADA", -0.12), ("SOL", -0.1), ("ETH", -0.081), ("BTC", -0.06), ("DOT", -0.055)]
    fall = move(-0.081, 40)
    pooled = Rarity(100.0, POOLED, 412.0, 60, "5-minute")
    yield "market move", market(fall, falls, 5, replace(SINCE, basis=POOLED))
    yield "market move, within memory", market(fall, falls[:3], 4, pooled)
    yield "market move, prior", market(fall, falls[:3], 4, Rarity(100.0, PRIOR))
    yield "market move over midnight", market(move(0.081, 1500), [("XRP", 0.2), ("ADA", 0.09)], 8, UNKNOWN)


def feeds() -> Iterator[tuple[str, Pair]]:
    yield "bad tick below", bad_tick(move(), 0.97, LATER, 18.24)
    yield "bad tick above", bad_tick(move(0.152), 1.1, LATER, 18.24)
    yield "stale feed, no quotes", missing(AT + timedelta(minutes=45), "SOL")
    yield "stale feed of all coins", missing(AT + timedelta(hours=3), "ADA", "BTC", "ETH", "SOL")
    yield "stale feed, unchanged", unchanged(18.32, AT + timedelta(minutes=40), 0.006, "SOL")
    yield "stale feed, several unchanged", unchanged(18.32, AT + timedelta(hours=2), nan, "SOL", "DOT")


def extremes() -> Iterator[tuple[str, Pair]]:
    """Long names, tiny prices and huge moves in one headline."""
    end = AT + timedelta(days=412, minutes=5)
    tiny = Move(LONG, -0.9999, 1.2345e-5, 1.2345e-9, AT, end, 0.0001)
    wild = Move(LONG, 1e12, 1.2e-12, 1.2, AT, end, 1e-9)
    rare = replace(SINCE, every_days=1e9, days=12_345.0, excesses=123_456, memory_days=12_345.0, last_day=None)
    frequent, own = replace(rare, every_days=0.1), others(Scope.IDIOSYNCRATIC, -0.0000012, 0.82, 0.4)
    yield "tiny price", told(tiny, own, rare)
    yield "huge move", told(wild, others(Scope.MARKET, 1e9, 1e12), frequent)
    yield "huge move beyond the market", told(wild, others(Scope.IDIOSYNCRATIC, 6e11, 1e12), rare)
    yield "huge move over a threshold", (sentences.threshold_headline(wild, own, 0.0123456), "")
    yield "huge move over a gap", (sentences.gap_headline(wild, rare), "")
    many = [(f"{LONG[:-2]}{number}", 25.0 + number) for number in range(10, 70)]
    yield "many members", market(wild, many, 250, rare)
    yield "bad tick of a tiny price", bad_tick(tiny, 0.7, end + timedelta(days=400), 1.2345e-5)
    yield "long silence", missing(end, *(name for name, _ in many))
    yield "long rest", unchanged(1.2345e-9, end, 1e-9, LONG)


def test_each_kind_has_its_headline_and_its_explanation() -> None:
    lines, ordinary = [], [*moves(), *events(), *feeds()]
    for number, (name, (headline, explanation)) in enumerate([*ordinary, *extremes()]):
        assert 20 < len(headline) <= LONGEST_HEADLINE, headline
        assert len(explanation) <= (280 if number < len(ordinary) else 320), explanation
        assert not {"nan", "inf", "None"} & set(f"{headline} {explanation}".split())
        lines += [f"{name}:", f"    {headline}", *([f"    {explanation}"] if explanation else [])]
    check_sentences(FILE, lines)


@pytest.mark.parametrize(
    ("period", "known", "memory", "last", "text"),
    [
        (0.1, 90, 0, None, "several times a day"),
        (1.2, 90, 0, None, "about once a day"),
        (12.3, 90, 0, None, "about once in 12 days"),
        (60, 400, 400, None, "about once in 2 months"),
        (90, 90, 90, None, "about once in 3 months"),
        (364, 786, 0, None, "about once a year"),
        (700, 786, 0, None, "about once in 2 years"),
        (91, 90, 0, None, "rarer than once in 3 months"),
        (1e9, 412, 412, None, "rarer than anything in the last 412 days"),
        (1e9, 1_500, 1_500, None, "rarer than anything in the last 1,500 days"),
        (1e9, 365, 168, None, "rarer than anything in the last 168 days"),
        (1e9, 786, 20, None, "rarer than once in 2 years"),
        (1e9, 412, 412, date(2024, 8, 5), "rarer than anything since 5 Aug 2024"),
        (1e9, 412, 412, date(2024, 11, 5), "after a rarer one on that day"),
        (1e9, 1.5, 1, None, ""),
        (nan, 412, 412, date(2024, 8, 5), ""),
    ],
)
def test_no_period_is_longer_than_the_history_behind_it(
    period: float, known: float, memory: float, last: date | None, text: str
) -> None:
    assert rarity_words(period, known, memory, last, date(2024, 11, 5)) == text


@pytest.mark.parametrize(
    ("function", "value", "text"),
    [
        (formatting.format_price, 93171.541, "$93,171.54"),
        (formatting.format_price, 1.0, "$1.00"),
        (formatting.format_price, 0.35124, "$0.3512"),
        (formatting.format_price, 0.000012345, "$0.00001234"),
        (formatting.format_price, 1.5e-12, "$1.5e-12"),
        (formatting.format_price, 1e300, "$1e+300"),
        (formatting.format_percent, -0.0613, "6.1%"),
        (formatting.format_percent, 0.0996, "10%"),
        (formatting.format_percent, 0.00999, "1.0%"),
        (formatting.format_percent, 0.0018, "0.18%"),
        (formatting.format_percent, 25.0, "2,500%"),
        (formatting.format_percent, -0.99999, "99.9%"),
        (formatting.format_percent, 1e7, "1.0e+09%"),
        (formatting.format_percent, 1e-9, "less than 0.0001%"),
        (formatting.format_signed, -0.153, "\u221215%"),
        (formatting.format_signed, 0.0018, "+0.18%"),
        (formatting.format_ratio, 8.34, "8.3"),
        (formatting.format_ratio, 1250.0, "1,250"),
        (formatting.format_ratio, 3e7, "3.0e+07"),
        (formatting.format_duration, 0.001, "under 1 s"),
        (formatting.format_duration, 40, "40 s"),
        (formatting.format_duration, 290, "5 min"),
        (formatting.format_duration, 12_600, "3.5 h"),
        (formatting.format_duration, 7 * 86_400, "7 days"),
    ],
)
def test_numbers_show_the_digits_that_matter(function: Callable[[float], str], value: float, text: str) -> None:
    assert function(value) == text


@pytest.mark.parametrize(
    ("start", "seconds", "interval", "end"),
    [
        ("2023-06-10T04:10+00:00", 300, "2023-06-10 04:10-04:15 UTC", "04:15 UTC"),
        ("2023-06-10T04:10:05+00:00", 40, "2023-06-10 04:10:05-04:10:45 UTC", "04:10 UTC"),
        ("2023-06-10T23:58+00:00", 300, "2023-06-10 23:58 to 2023-06-11 00:03 UTC", "11 Jun 00:03 UTC"),
        ("2023-06-11T01:58+02:00", 60, "2023-06-10 23:58-23:59 UTC", "23:59 UTC"),
    ],
)
def test_intervals_are_in_utc_and_repeat_the_date_only_across_midnight(
    start: str, seconds: int, interval: str, end: str
) -> None:
    first = datetime.fromisoformat(start)
    last = first + timedelta(seconds=seconds)
    assert (formatting.format_interval(first, last), formatting.format_end(first, last)) == (interval, end)
