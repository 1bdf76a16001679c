"""What is stored of the coins' ids, and how rarely the list is requested."""

from collections.abc import Iterator
from datetime import datetime, timedelta, timezone

import pytest
from sqlalchemy import text

from market_pipeline.coingecko.answers import HttpAnswer, read_answer
from market_pipeline.coingecko.client import CoinGeckoClient
from market_pipeline.coingecko.identity import Identity, compare
from market_pipeline.coingecko.models import listed_coins
from market_pipeline.core.symbols import Coin, parse_catalogue
from market_pipeline.pipeline.coin_ids import load_identities, save_identities, verify_identities
from market_pipeline.simulator.faults import Fault
from market_pipeline.simulator.market_model import MarketModel
from market_pipeline.simulator.server import Simulator
from market_pipeline.storage.db_errors import WriteFailed
from market_pipeline.storage.engine import Database
from market_pipeline_tests.builders import generous_budget

NOW = datetime(2026, 11, 23, 12, tzinfo=timezone.utc)
BTC, ETH = Coin("BTC", "bitcoin"), Coin("ETH", "ethereum")


@pytest.fixture
def simulator() -> Iterator[Simulator]:
    with Simulator(MarketModel(["bitcoin", "ethereum"])) as running:
        yield running


@pytest.fixture
def client(simulator: Simulator, sqlite_database: Database) -> Iterator[CoinGeckoClient]:
    with CoinGeckoClient(simulator.base_url, "keyless", None, generous_budget(sqlite_database)) as plain:
        yield plain


def test_what_is_stored_comes_back(database: Database) -> None:
    identity = Identity("X", "old", False, "X", "Old", "it is gone", "new")
    save_identities(database, [identity], NOW)
    assert load_identities(database, [Coin("X", "old"), BTC]) == {Coin("X", "old"): (identity, NOW)}
    again = Identity("X", "old", True, "X", "Old", None, None)
    save_identities(database, [again], NOW + timedelta(days=1))
    assert load_identities(database, [Coin("X", "old")]) == {
        Coin("X", "old"): (again, NOW + timedelta(days=1))
    }


def test_a_name_that_no_database_takes_is_stored_escaped(database: Database) -> None:
    body = rb'[{"id":"bitcoin","symbol":"x\ud800","name":"Bit\u0000coin \udfff'+ b"n" * 200 + b'"}]'
    listed = listed_coins(read_answer(HttpAnswer("/coins/list", 1, 200, {}, body, NOW)))
    (found,) = compare([BTC], listed)
    save_identities(database, [found], NOW)
    assert load_identities(database, [BTC]) == {BTC: (found, NOW)}
    assert found.listed_name and found.problem
    assert found.listed_name.startswith(r"Bit\x00coin \udfffnnn") and len(found.listed_name) == 100
    assert r"calls bitcoin X\UD800" in found.problem


def test_a_day_passes_between_two_requests(sqlite_database: Database, client: CoinGeckoClient) -> None:
    moments = [timedelta(), timedelta(hours=23, minutes=59), timedelta(hours=24), timedelta(hours=25)]
    for after in moments:
        found = verify_identities(client, sqlite_database, parse_catalogue("BTC,ETH"), NOW + after)
        assert [identity.symbol for identity in found] == ["BTC", "ETH"]
    assert client.requests_sent == 2


def test_another_configuration_requests_it_at_once(sqlite_database: Database, client: CoinGeckoClient) -> None:
    verify_identities(client, sqlite_database, [BTC, ETH], NOW)
    verify_identities(client, sqlite_database, [ETH], NOW)
    assert client.requests_sent == 1, "fewer coins are known already"
    verify_identities(client, sqlite_database, [BTC, Coin("ETHER", "ethereum")], NOW)
    assert client.requests_sent == 2


def test_a_clock_that_went_back_does_not_make_the_list_last_for_ever(
    sqlite_database: Database, client: CoinGeckoClient
) -> None:
    verify_identities(client, sqlite_database, [BTC], NOW + timedelta(days=300))
    verify_identities(client, sqlite_database, [BTC], NOW)
    assert client.requests_sent == 2


def test_a_ticker_that_changed_since_is_noticed(
    sqlite_database: Database, client: CoinGeckoClient, simulator: Simulator
) -> None:
    ether = Coin("ETHER", "ethereum")
    verify_identities(client, sqlite_database, [ether], NOW)
    simulator.add_fault(Fault(kind="new_ticker", coin="ethereum", keyed_as="etx"))
    (identity,) = verify_identities(client, sqlite_database, [ether], NOW + timedelta(days=1))
    assert identity.problem and "ETX (Ethereum); it was ETH before" in identity.problem
    assert load_identities(sqlite_database, [ether])[ether][0] == identity


def test_a_refused_write_says_so(database: Database) -> None:
    with database.writing() as connection:
        connection.execute(text("DROP TABLE coin_identities"))
    with pytest.raises(WriteFailed, match="coin_identities"):
        save_identities(database, [Identity("X", "x", True, "X", "X", None, None)], NOW)
