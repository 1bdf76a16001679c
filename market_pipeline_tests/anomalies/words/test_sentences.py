"""The sentence of a row, as a person reads it."""

from datetime import datetime, timedelta, timezone
from math import nan

import pytest

from market_pipeline.anomalies.words.sentences import (
    Move,
    OtherCoins,
    Rarity,
    bad_tick_sentence,
    gap_in_feed_sentence,
    gap_sentence,
    large_sentence,
    limit_sentence,
    market_sentence,
    move_sentence,
    own_sentence,
    peak_words,
    still_sentence,
)

AT = datetime(2023, 6, 10, 4, 10, tzinfo=timezone.utc)
ALONE = OtherCoins("BTC", nan, nan, 0, nan)
UNKNOWN = Rarity(nan, True)


def move(change=-0.152, minutes=5.0, symbol="SOL", start=AT):
    return Move(symbol, change, 18.32, 18.32 * (1 + change), start, start + timedelta(minutes=minutes))


def test_a_jump_says_what_happened_how_rare_it_is_and_whose_it_is():
    company = OtherCoins("BTC", -0.015, -0.0166, 4, 0.9)
    assert move_sentence(move(), Rarity(4 * 365, True), company) == (
        "SOL fell 15.2 % in 5 min (2023-06-10 04:10-04:15 UTC); a move this size over 5 min at this hour is "
        "expected once in 4 years given the last 90 days; BTC moved -1.5 % and the median of the 4 other "
        "coins -1.7 %, so by their usual moves 90 % of it is SOL's own."
    )


def test_a_move_of_the_market_is_said_to_be_the_markets():
    company = OtherCoins("BTC", -0.08, nan, 0, 0.2)
    assert move_sentence(move(), UNKNOWN, company) == (
        "SOL fell 15.2 % in 5 min (2023-06-10 04:10-04:15 UTC); "
        "BTC moved -8.0 %, so by their usual moves 80 % of it is the market's."
    )


def test_without_a_past_the_sentence_does_not_claim_one():
    assert move_sentence(move(), Rarity(12, False), ALONE).endswith(
        "; a move this size over 5 min at this hour is expected once in 12 days by a general law of rare "
        "moves, as its own past is too short to tell."
    )


def test_where_nothing_is_known_nothing_is_said():
    assert move_sentence(move(), UNKNOWN, ALONE) == "SOL fell 15.2 % in 5 min (2023-06-10 04:10-04:15 UTC)."
    company = OtherCoins("BTC", 0.01, 0.01, 1, nan)
    assert move_sentence(move(), UNKNOWN, company).endswith("; BTC moved +1.0 %.")


def test_the_two_point_rule_names_its_limit():
    sentence = limit_sentence(move(0.0613), 0.05, UNKNOWN, ALONE)
    assert sentence == "SOL rose 6.1 % in 5 min (2023-06-10 04:10-04:15 UTC), which reaches the 5 % limit."
    assert "the 2.5 % limit" in limit_sentence(move(0.0613), 0.025, UNKNOWN, ALONE)


def test_a_large_move_is_set_against_what_is_usual_over_its_time():
    assert large_sentence(move(minutes=240), 0.0183, UNKNOWN, ALONE) == (
        "SOL fell 15.2 % in 4 h (2023-06-10 04:10-08:10 UTC), "
        "8.3 times the 1.8 % that is usual over that time."
    )
    assert "more than is usual" in large_sentence(move(minutes=240), nan, UNKNOWN, ALONE)


def test_leaving_the_market_is_told_beside_the_market_first():
    assert own_sentence(move(0.021), Rarity(5, True), OtherCoins("BTC", 0.001, nan, 0, 0.95)) == (
        "SOL rose 2.1 % in 5 min (2023-06-10 04:10-04:15 UTC); BTC moved +0.10 %, so by their usual moves "
        "95 % of it is SOL's own; as much apart from the market is expected once in 5 days given the last 90 "
        "days."
    )


def test_nobody_knows_when_in_a_gap_the_price_moved():
    late = move(minutes=360, start=AT + timedelta(hours=18))
    assert gap_sentence(late, Rarity(40, True), ALONE) == (
        "SOL fell 15.2 % over a gap of 6 h without quotes (2023-06-10 22:10 to 2023-06-11 04:10 UTC); "
        "a move this size over 6 h is expected once in 40 days given the last 90 days."
    )


def test_a_bad_tick_says_what_undid_it():
    assert bad_tick_sentence(move(), 0.97, AT + timedelta(minutes=10), 18.24) == (
        "SOL was quoted at $15.54 (2023-06-10 04:10-04:15 UTC), 15.2 % below the quote before; "
        "5 min later it was $18.24, which undid 97.0 % of it, so it looks like a bad print."
    )
    assert "15.2 % above" in bad_tick_sentence(move(0.152), 1.1, AT + timedelta(minutes=10), 18.24)
    assert "undid 100 %" in bad_tick_sentence(move(0.152), 1.1, AT + timedelta(minutes=10), 18.24)


def test_a_stale_feed_says_for_how_long():
    assert gap_in_feed_sentence("SOL", AT, AT + timedelta(minutes=45), 25) == (
        "SOL had no quotes for 45 min (2023-06-10 04:10-04:55 UTC), "
        "longer than the 25 min after which its feed counts as standing still."
    )
    assert still_sentence(move(0.0, 40), 9, 0.006) == (
        "SOL stayed at exactly $18.32 for 40 min and 9 quotes (2023-06-10 04:10-04:50 UTC), "
        "although 0.60 % is usual over that time: its feed seems to stand still."
    )


@pytest.mark.parametrize(
    ("members", "names"),
    [
        (["SOL", "BTC", "ETH"], "3 of 8 coins (SOL, BTC, ETH)"),
        (list("ABCDEFG"), "7 of 8 coins (A, B, C, D, E and 2 more)"),
    ],
)
def test_a_market_event_names_its_members(members, names):
    peak = peak_words("SOL", -0.2, AT + timedelta(minutes=30), AT)
    assert market_sentence(move(), members, 8, Rarity(100, True), peak) == (
        f"The market fell: {names}, SOL by 15.2 % in 5 min (2023-06-10 04:10-04:15 UTC); most unusual at "
        "04:40 UTC, with SOL at -20.0 % since 04:10; a quote after such a move of the market is expected once in "
        "3 months given the last 90 days."
    )
