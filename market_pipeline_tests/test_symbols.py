"""The symbol catalogue and what MARKET_SYMBOLS may say."""

import pytest

from market_pipeline.symbols import Coin, parse_catalogue


def test_the_default_symbols_are_known_by_name():
    catalogue = parse_catalogue("BTC,ETH,SOL,ADA,DOT")
    assert catalogue.symbols == ("BTC", "ETH", "SOL", "ADA", "DOT")
    assert catalogue.coin("DOT") == Coin("DOT", "polkadot")


def test_a_further_coin_is_written_with_its_coingecko_id():
    assert list(parse_catalogue("btc, pepe=pepe")) == [Coin("BTC", "bitcoin"), Coin("PEPE", "pepe")]


@pytest.mark.parametrize("written", ["btc", " BTC ", "Btc"])
def test_symbols_are_trimmed_and_upper_cased(written):
    assert parse_catalogue("BTC").validate_symbol(written) == "BTC"


def test_an_unsupported_symbol_is_refused_with_the_supported_ones():
    with pytest.raises(ValueError, match="^Unsupported symbol: 'DOGE'.*BTC, ETH"):
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
def test_an_entry_that_cannot_be_used_is_named(text, complaint):
    """A `|` or a slash in a name would change partition keys and request paths."""
    with pytest.raises(ValueError, match=complaint):
        parse_catalogue(text)
