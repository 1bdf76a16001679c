"""Cutting coin ids into requests."""

from urllib.parse import quote

from hypothesis import given
from hypothesis import strategies as st

from market_pipeline.coingecko.batching import id_batches

URL = "https://pro-api.coingecko.com/api/v3"


def test_five_coins_are_one_request() -> None:
    assert list(id_batches(["bitcoin", " ethereum ", "bitcoin"], URL)) == [("bitcoin", "ethereum")]


def test_no_coins_are_no_request() -> None:
    assert list(id_batches([], URL)) == []


def test_a_request_names_at_most_250_coins() -> None:
    assert [len(batch) for batch in id_batches([f"c{n}" for n in range(501)], URL)] == [250, 250, 1]


@given(st.lists(st.text("abcdefghij0123456789-._é", min_size=1, max_size=100), unique=True, max_size=300))
def test_every_coin_is_in_one_batch_and_each_batch_fits_a_url(coin_ids: list[str]) -> None:
    found = list(id_batches(coin_ids, URL))
    assert [coin_id for batch in found for coin_id in batch] == coin_ids
    parameters = "/simple/price?ids=&vs_currencies=usd&precision=full&include_last_updated_at=true"
    for batch in found:
        assert len(batch) <= 250
        assert len(URL + parameters) + len(quote(",".join(batch), safe="")) <= 6_000
