"""The symbol catalogue and what MARKET_SYMBOLS may say."""

import pytest

from market_pipeline.core.symbols import Coin, as_setting, parse_catalogue, parse_stored


def test_the_default_symbols_are_known_by_name() -> None:
    catalogue = parse_catalogue("BTC,ETH,SOL,ADA,DOT")
    assert catalogue.symbols == ("BTC", "ETH", "SOL", "ADA", "DOT")
    assert catalogue.coin("DOT") == Coin("DOT", "polkadot")


def test_a_further_coin_is_written_with_its_coingecko_id() -> None:
    assert list(parse_catalogue("btc, pepe=pepe")) == [Coin("BTC", "bitcoin"), Coin("PEPE", "pepe")]


def test_symbols_are_accepted_as_coingecko_has_them() -> None:
    written = "FIGR_HELOC=figure-heloc,USDC.E=bridged-usdc,1INCH=1inch,BTC"
    catalogue = parse_catalogue(written)
    assert catalogue.symbols == ("FIGR_HELOC", "USDC.E", "1INCH", "BTC")
    assert as_setting(catalogue) == written


def test_a_simulated_coin_is_another_than_the_real_one_and_is_asked_for_alike() -> None:
    (coin,) = parse_catalogue("BTC").simulated
    assert (coin.coin_id, coin.source_id) == ("simulated:bitcoin", "bitcoin")
    assert coin.with_source_id("bitcoin-2") == Coin("BTC", "simulated:bitcoin-2")
    assert as_setting([coin]) == "BTC", "settings know real ids only"
    with pytest.raises(ValueError, match="is not a CoinGecko id"):
        parse_catalogue("BTC=simulated:bitcoin")


def test_what_is_stored_may_be_named_with_any_id() -> None:
    assert parse_stored(" btc ") == ("BTC", None)
    assert parse_stored("BTC=simulated:bitcoin") == ("BTC", "simulated:bitcoin")


@pytest.mark.parametrize("written", ["btc", " BTC ", "Btc"])
def test_symbols_are_trimmed_and_upper_cased(written: str) -> None:
    assert parse_catalogue("BTC").validate_symbol(written) == "BTC"


def test_an_unsupported_symbol_is_refused_with_the_supported_ones() -> None:
    with pytest.raises(ValueError, match=r"^Unsupported symbol: 'DOGE'.*BTC, ETH"):
        parse_catalogue("BTC,ETH").validate_symbol("DOGE")


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("", "name at least one"),
        (" , ", "name at least one"),
        ("BTC,XRP", "Unsupported symbol: 'XRP'.*XRP=<id>"),
        ("BTC,btc", "symbol named twice: BTC"),
        ("BTC,XBT=bitcoin", "CoinGecko id named twice: bitcoin"),
        ("PEPE=", "'' is not a CoinGecko id"),
        ("PEPE=Pepe Coin", "is not a CoinGecko id"),
        ("B|C=bitcoin", "is not a symbol"),
        ("A...B=bitcoin/../x", "is not a CoinGecko id"),
    ],
)
def test_an_entry_that_cannot_be_used_is_named(text: str, complaint: str) -> None:
    """A `|` or a slash in a name would change partition keys and request paths."""
    with pytest.raises(ValueError, match=complaint):
        parse_catalogue(text)
