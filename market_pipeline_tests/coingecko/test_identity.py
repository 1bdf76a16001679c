"""Configured coins against CoinGecko's list: what is wrong, and which id probably replaced theirs."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from market_pipeline.coingecko.identity import Identity, compare, suggested_symbols
from market_pipeline.coingecko.models import ListedCoin
from market_pipeline.core.symbols import Coin, parse_catalogue

BTC, MATIC = Coin("BTC", "bitcoin"), Coin("MATIC", "matic-network")
LISTED = [
    ListedCoin("bitcoin", "btc", "Bitcoin"),
    ListedCoin("ethereum", "eth", "Ethereum"),
    ListedCoin("polygon-matic-network", "matic", "Polygon"),
    ListedCoin("bridged-something", "matic", "Bridged MATIC"),
    ListedCoin("one-x", "x", "One X"),
    ListedCoin("another-x", "x", "Another X"),
]


def one(coin: Coin, listed: list[ListedCoin] = LISTED, before: Identity | None = None) -> Identity:
    (identity,) = compare([coin], listed, {coin: before} if before else None)
    return identity


def known(coin: Coin, ticker: str, name: str) -> Identity:
    return Identity(coin.symbol, coin.coin_id, True, ticker, name, None, None)


def test_a_listed_coin_has_no_problem_even_under_a_symbol_of_ones_own() -> None:
    assert one(BTC) == known(BTC, "BTC", "Bitcoin")
    assert one(Coin("ETHER", "ethereum")).problem is None


@pytest.mark.parametrize("before", [None, known(BTC, "XBT", "Bitcoin")])
def test_a_well_known_coin_under_another_ticker_is_a_problem_until_it_is_corrected(before: Identity | None) -> None:
    problem = one(BTC, [ListedCoin("bitcoin", "xbt", "Bitcoin")], before).problem
    assert problem and "now calls bitcoin XBT (Bitcoin); it was BTC before" in problem


def test_a_ticker_that_changed_is_a_problem() -> None:
    ether = Coin("ETHER", "ethereum")
    identity = one(ether, before=known(ether, "ETC", "Ethereum"))
    assert identity.listed and identity.likely_id is None
    assert identity.problem and "it was ETC before" in identity.problem


@pytest.mark.parametrize(
    ("coin", "ticker", "likely"),
    [
        (MATIC, None, "polygon-matic-network"),  # of two with its ticker the one whose id contains the old one
        (Coin("ETH", "ethereum-old"), None, "ethereum"),  # the only one with its ticker
        (Coin("MINE", "ether-of-old"), "ETH", "ethereum"),  # by the ticker that it was listed with
        (Coin("X", "the-x"), None, None),  # two with its ticker and nothing that distinguishes them
        (Coin("X", "x"), None, None),  # both ids contain it
        (Coin("Y", "ethereum-2"), None, None),  # an id alone is not enough
    ],
)
def test_the_successor_has_the_same_ticker_and_is_the_only_candidate(
    coin: Coin, ticker: str | None, likely: str | None
) -> None:
    identity = one(coin, before=known(coin, ticker, "Name") if ticker else None)
    assert (identity.listed, identity.likely_id, identity.listed_symbol) == (False, likely, ticker)
    assert identity.problem and ("no longer lists" if ticker else "does not list") in identity.problem
    assert ("Remove it or find its new id" in identity.problem) is (likely is None)


def test_a_successor_that_is_collected_already_means_a_merger() -> None:
    polygon = Coin("POL", "polygon-matic-network")
    _, identity = compare([polygon, MATIC], LISTED)
    assert identity.problem
    assert "merged into polygon-matic-network (Polygon), which is collected as POL" in identity.problem


@pytest.mark.parametrize(
    ("symbols", "suggested"),
    [
        ("BTC,MATIC=matic-network", "BTC,MATIC=polygon-matic-network"),
        ("MATIC=matic-network,POL=polygon-matic-network", "POL=polygon-matic-network"),
        ("X=xxxxxx,BTC", "X=xxxxxx,BTC"),
        ("ETH=ethereums", "ETH"),
    ],
)
def test_the_suggested_line_can_be_used_as_it_is(symbols: str, suggested: str) -> None:
    coins = list(parse_catalogue(symbols))
    assert suggested_symbols(coins, compare(coins, LISTED)) == suggested
    parse_catalogue(suggested)


@given(
    st.lists(st.tuples(st.from_regex(r"[A-Z0-9]{1,5}", fullmatch=True),
                       st.from_regex(r"[a-z0-9_][a-z0-9-]{0,9}", fullmatch=True)),
             unique_by=(lambda pair: pair[0], lambda pair: pair[1]), min_size=1, max_size=6),
    st.lists(st.builds(ListedCoin, st.text(max_size=8), st.text(max_size=4), st.text(max_size=8))),
)
def test_every_coin_gets_a_verdict_and_the_suggested_line_can_be_read(
    pairs: list[tuple[str, str]], listed: list[ListedCoin]
) -> None:
    coins = [Coin(*pair) for pair in pairs]
    ids = {entry.coin_id for entry in listed}
    identities = compare(coins, listed)
    assert [(identity.symbol, identity.coin_id) for identity in identities] == pairs
    for identity in identities:
        assert identity.listed is (identity.coin_id in ids)
        assert identity.listed or identity.problem
        assert identity.likely_id is None or identity.likely_id in ids
    suggested_symbols(coins, identities)
