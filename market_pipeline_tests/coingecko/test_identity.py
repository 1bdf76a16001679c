"""Configured coins against CoinGecko's list: what is wrong, and which id probably took over."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from market_pipeline.coingecko.identity import Identity, compare, suggested_symbols
from market_pipeline.coingecko.models import ListedCoin
from market_pipeline.core.symbols import Coin, parse_catalogue

BTC, MATIC = Coin("BTC", "bitcoin"), Coin("MATIC", "matic-network")
BITCOIN = ListedCoin("bitcoin", "btc", "Bitcoin")
LISTED = [
    BITCOIN,
    ListedCoin("ethereum", "eth", "Ethereum"),
    ListedCoin("polygon-matic-network", "matic", "Polygon"),
    ListedCoin("bridged-something", "matic", "Bridged MATIC"),
    ListedCoin("wrapped-bitcoin", "wbtc", "Wrapped Bitcoin"),
]


def one(coin: Coin, listed: list[ListedCoin] = LISTED, before: Identity | None = None) -> Identity:
    (identity,) = compare([coin], listed, {coin: before} if before else None)
    return identity


def known(coin: Coin, ticker: str, name: str) -> Identity:
    return Identity(coin.symbol, coin.coin_id, True, ticker, name, None, None)


def test_a_listed_coin_is_well() -> None:
    assert one(BTC) == known(BTC, "BTC", "Bitcoin")


def test_a_symbol_of_ones_own_is_no_problem() -> None:
    assert one(Coin("ETHER", "ethereum")).problem is None


def test_a_well_known_coin_under_another_ticker_is_one_at_once() -> None:
    """BTC and bitcoin belong together whatever was seen before, so it is told until it is mended."""
    listed = [ListedCoin("bitcoin", "xbt", "Bitcoin")]
    for before in (None, known(BTC, "XBT", "Bitcoin")):
        problem = one(BTC, listed, before).problem
        assert problem and "now calls bitcoin XBT (Bitcoin); it was BTC before" in problem


def test_a_ticker_that_changed_is_a_problem() -> None:
    ether = Coin("ETHER", "ethereum")
    identity = one(ether, before=known(ether, "ETC", "Ethereum"))
    assert identity.listed and identity.likely_id is None
    assert identity.problem and "it was ETC before" in identity.problem


def test_of_the_coins_with_its_ticker_the_one_that_is_most_alike_took_over() -> None:
    identity = one(MATIC, before=known(MATIC, "MATIC", "Polygon"))
    assert not identity.listed
    assert identity.likely_id == "polygon-matic-network"
    assert identity.problem == (
        "CoinGecko no longer lists the id matic-network among its active coins; probably it is now "
        "polygon-matic-network (Polygon), with the same ticker."
    )
    assert (identity.listed_symbol, identity.listed_name) == ("MATIC", "Polygon")


def test_an_id_that_was_never_listed_is_not_said_to_be_gone() -> None:
    problem = one(MATIC).problem
    assert problem and problem.startswith("CoinGecko does not list the id matic-network")


@pytest.mark.parametrize(
    ("coin", "name", "likely"),
    [
        (Coin("B", "bitcoins"), None, "bitcoin"),
        (Coin("X", "xxxxxx"), "Wrapped Bitcoin (old)", "wrapped-bitcoin"),
        (Coin("X", "xxxxxx"), None, None),
    ],
)
def test_without_such_a_ticker_a_name_much_alike_is_named_or_none(
    coin: Coin, name: str | None, likely: str | None
) -> None:
    before = known(coin, coin.symbol, name) if name else None
    identity = one(coin, before=before)
    assert identity.likely_id == likely
    assert identity.problem
    assert ("by its name" if likely else "none that it lists is alike") in identity.problem


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
        ("A=ethereums,ETH", "ETH"),
        ("ETH=ethereums", "ETH"),
    ],
)
def test_the_suggested_line_can_be_used_as_it_is(symbols: str, suggested: str) -> None:
    coins = list(parse_catalogue(symbols))
    assert suggested_symbols(coins, compare(coins, LISTED)) == suggested
    parse_catalogue(suggested)


def test_two_coins_with_the_same_likely_id_are_not_both_suggested() -> None:
    coins = list(parse_catalogue("A=ethereum1,B=ethereum2"))
    assert suggested_symbols(coins, compare(coins, LISTED)) == "A=ethereum"


@given(
    st.lists(st.tuples(st.from_regex(r"[A-Z0-9]{1,5}", fullmatch=True),
                       st.from_regex(r"[a-z0-9_][a-z0-9-]{0,9}", fullmatch=True)),
             unique_by=(lambda pair: pair[0], lambda pair: pair[1]), min_size=1, max_size=6),
    st.lists(st.builds(ListedCoin, st.text(max_size=8), st.text(max_size=4), st.text(max_size=8))),
)
def test_whatever_is_listed_each_coin_gets_a_verdict_and_the_line_can_be_read(
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
