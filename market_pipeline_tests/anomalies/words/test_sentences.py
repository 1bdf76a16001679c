"""The sentences of all kinds, as a person reads them in an alarm: `sentences.txt` has one of each.

After a change of wording run with UPDATE_SENTENCES=1 and read the difference.
"""

import os
from collections.abc import Callable, Iterator
from datetime import datetime, timedelta, timezone
from math import nan
from pathlib import Path

import pytest

from market_pipeline.anomalies.words import formatting, sentences
from market_pipeline.anomalies.words.sentences import Move, OtherCoins, Rarity

FILE = Path(__file__).parent / "sentences.txt"
AT = datetime(2023, 6, 10, 4, 10, tzinfo=timezone.utc)
ALONE = OtherCoins("BTC", nan, nan, 0, nan)
UNKNOWN = Rarity(nan, True)


def move(change: float = -0.152, minutes: float = 5.0, start: datetime = AT) -> Move:
    return Move("SOL", change, 18.32, 18.32 * (1 + change), start, start + timedelta(minutes=minutes))


def examples() -> Iterator[tuple[str, str]]:
    years, own = Rarity(4 * 365, True), OtherCoins("BTC", -0.015, -0.0166, 4, 0.9)
    later, peak = AT + timedelta(minutes=10), sentences.peak_words("SOL", -0.2, AT + timedelta(minutes=30), AT)
    yield "jump", sentences.move_sentence(move(), years, own)
    yield "jump of the market", sentences.move_sentence(move(), UNKNOWN, OtherCoins("BTC", -0.08, nan, 0, 0.2))
    yield "jump, short history", sentences.move_sentence(move(), Rarity(12, False), ALONE)
    yield "jump, nothing known", sentences.move_sentence(move(), UNKNOWN, ALONE)
    yield "jump, one other coin", sentences.move_sentence(move(), UNKNOWN, OtherCoins("BTC", 0.01, 0.01, 1, nan))
    yield "user threshold", sentences.threshold_sentence(move(0.0613), 0.025, UNKNOWN, ALONE)
    yield "large move", sentences.large_sentence(move(minutes=240), 0.0183, Rarity(90, True), ALONE)
    yield "large move, usual unknown", sentences.large_sentence(move(minutes=240), nan, UNKNOWN, ALONE)
    alone = OtherCoins("BTC", 0.001, nan, 0, 0.95)
    yield "idiosyncratic", sentences.own_sentence(move(0.021), Rarity(5, True), alone)
    overnight = move(minutes=360, start=AT + timedelta(hours=18))
    yield "gap move", sentences.gap_sentence(overnight, Rarity(40, True), ALONE)
    yield "bad tick below", sentences.bad_tick_sentence(move(), 0.97, later, 18.24)
    yield "bad tick above", sentences.bad_tick_sentence(move(0.152), 1.1, later, 18.24)
    yield "stale feed, no quotes", sentences.missing_quotes_sentence("SOL", AT, AT + timedelta(minutes=45), 25)
    yield "stale feed, unchanged", sentences.unchanged_sentence(move(0.0, 40), 9, 0.006)
    yield "market move", sentences.market_sentence(move(), ["SOL", "BTC", "ETH"], 8, Rarity(100, True), "")
    yield "market move, later peak", sentences.market_sentence(move(0.152), list("ABCDEFG"), 8, UNKNOWN, peak)


def test_each_kind_has_its_sentence() -> None:
    text = "".join(f"{name}:\n    {sentence}\n" for name, sentence in examples())
    if os.environ.get("UPDATE_SENTENCES"):
        FILE.write_text(text)
    assert text == FILE.read_text()


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
        (formatting.format_percent, 0.0018, "0.18%"),
        (formatting.format_percent, 25.0, "2,500%"),
        (formatting.format_percent, 1e7, "1.0e+09%"),
        (formatting.format_percent, 1e-9, "less than 0.0001%"),
        (formatting.format_signed, -0.0153, "-1.5%"),
        (formatting.format_signed, 0.0018, "+0.18%"),
        (formatting.format_ratio, 8.34, "8.3"),
        (formatting.format_ratio, 1250.0, "1,250"),
        (formatting.format_ratio, 3e7, "3.0e+07"),
        (formatting.format_frequency, 0.2, "several times a day"),
        (formatting.format_frequency, 0.9, "once a day"),
        (formatting.format_frequency, 12.3, "once in 12 days"),
        (formatting.format_frequency, 90, "once in 3 months"),
        (formatting.format_frequency, 400, "once a year"),
        (formatting.format_frequency, 4 * 365, "once in 4 years"),
        (formatting.format_frequency, 1e9, "less than once in 1,000 years"),
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
    ("start", "seconds", "text"),
    [
        ("2023-06-10T04:10+00:00", 300, "2023-06-10 04:10-04:15 UTC"),
        ("2023-06-10T04:10:05+00:00", 40, "2023-06-10 04:10:05-04:10:45 UTC"),
        ("2023-06-10T23:58+00:00", 300, "2023-06-10 23:58 to 2023-06-11 00:03 UTC"),
        ("2023-06-11T01:58+02:00", 60, "2023-06-10 23:58-23:59 UTC"),
    ],
)
def test_intervals_are_in_utc_and_repeat_the_date_only_across_midnight(start: str, seconds: int, text: str) -> None:
    first = datetime.fromisoformat(start)
    assert formatting.format_interval(first, first + timedelta(seconds=seconds)) == text
