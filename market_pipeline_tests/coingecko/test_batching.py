"""How a list of coins, too long or with an id that is refused, becomes requests that are answered."""

from collections.abc import Callable
from urllib.parse import quote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from market_pipeline.coingecko.batching import BatchedRequests, id_batches
from market_pipeline.coingecko.errors import (
    BadAnswer,
    CoinGeckoError,
    RateLimited,
    RequestRefused,
    ServerFailed,
    SourceDown,
)
from market_pipeline.coingecko.models import PriceAnswer, RawPoint

URL = "https://pro-api.coingecko.com/api/v3"
COINS = tuple(f"coin-{n}" for n in range(300))
MANY = tuple(f"coin-{n}" for n in range(1_500))
Ids = tuple[str, ...]


def test_a_batch_names_each_coin_once_and_at_most_250() -> None:
    assert list(id_batches([], URL)) == []
    assert list(id_batches(["bitcoin", " ethereum ", "bitcoin"], URL)) == [("bitcoin", "ethereum")]
    assert [len(batch) for batch in id_batches([f"c{n}" for n in range(501)], URL)] == [250, 250, 1]


@given(st.lists(st.text("abcdefghij0123456789-._é", min_size=1, max_size=100), unique=True, max_size=300))
def test_every_coin_is_in_one_batch_and_each_batch_fits_a_url(coin_ids: list[str]) -> None:
    found = list(id_batches(coin_ids, URL))
    assert [coin_id for batch in found for coin_id in batch] == coin_ids
    parameters = "/simple/price?ids=&vs_currencies=usd&precision=full&include_last_updated_at=true"
    for batch in found:
        assert len(batch) <= 250
        assert len(URL + parameters) + len(quote(",".join(batch), safe="")) <= 6_000


class Server:
    """Answers lists of ids except those for which `trouble` returns an error."""

    def __init__(self, trouble: Callable[[Ids], CoinGeckoError | None]) -> None:
        self.lengths: list[int] = []
        self._trouble = trouble
        self.batched = BatchedRequests(self._answer, URL)

    def _answer(self, ids: Ids) -> PriceAnswer:
        self.lengths.append(len(ids))
        if error := self._trouble(ids):
            raise error
        return PriceAnswer(tuple(RawPoint(coin_id, 1.0, 1, "{}") for coin_id in ids), ())


def refusal(status: int, code: int | None = None) -> RequestRefused:
    return RequestRefused("no.", endpoint="/simple/price", attempts=1, status=status, error_code=code)


def failure(kind: type[CoinGeckoError] = ServerFailed) -> CoinGeckoError:
    return kind("it failed.", endpoint="/simple/price", attempts=4, status=503)


@pytest.mark.parametrize(("status", "code"), [(414, None), (400, None), (400, 10012), (413, None), (431, None)])
def test_later_requests_are_no_longer_than_one_that_was_answered(status: int, code: int | None) -> None:
    server = Server(lambda ids: refusal(status, code) if len(ids) > 100 else None)
    first = server.batched.request(COINS)
    assert server.lengths == [250, 125, 125, 63, 62, 63, 62, 50]
    server.lengths.clear()
    assert server.batched.request(COINS) == first
    assert server.lengths == [63, 63, 63, 61, 50]
    assert [point.coin_id for point in first.points] == list(COINS)


@pytest.mark.parametrize("bad", [0, 120, 249])
def test_a_refused_id_takes_its_half_with_it_and_limits_no_length(bad: int) -> None:
    """A tick costs two credits as before, although one of its requests is refused."""
    server = Server(lambda ids: refusal(400) if COINS[bad] in ids else None)
    lost = COINS[:125] if bad < 125 else COINS[125:250]
    for _ in range(2):
        answer = server.batched.request(COINS)
        assert tuple(answer.failures) == lost
        assert {point.coin_id for point in answer.points} == {*COINS} - {*lost}
        assert server.lengths == [250, 125, 125, 50]
        server.lengths.clear()


def test_several_refused_ids_take_their_own_parts_with_them() -> None:
    server = Server(lambda ids: refusal(400) if {COINS[0], COINS[249]} & {*ids} else None)
    answer = server.batched.request(COINS)
    assert server.lengths == [250, 125, 125, 63, 62, 63, 62, 50]
    assert tuple(answer.failures) == COINS[:63] + COINS[188:250]


@pytest.mark.parametrize(
    ("status", "code", "coins", "most"),
    [(400, None, 300, 18), (400, 10010, 50, 1), (401, None, 50, 1), (404, None, 50, 1), (422, None, 50, 1)],
)
def test_a_server_that_refuses_everything_costs_few_requests(
    status: int, code: int | None, coins: int, most: int
) -> None:
    """And only one where the refusal is not about the list."""
    server = Server(lambda ids: refusal(status, code))
    with pytest.raises(RequestRefused):
        server.batched.request(COINS[:coins])
    assert len(server.lengths) <= most


def test_three_failures_in_a_row_are_an_outage() -> None:
    server = Server(lambda ids: None if "coin-0" in ids else failure())
    answer = server.batched.request(MANY)
    assert server.lengths == [250] * 4
    assert len(answer.points) == 250
    assert isinstance(answer.failures["coin-999"], ServerFailed)
    not_sent = answer.failures["coin-1000"]
    assert isinstance(not_sent, SourceDown)
    assert "was not sent: 3 requests in a row had failed, the last one because it failed." in str(not_sent)


@pytest.mark.parametrize("kind", [ServerFailed, BadAnswer])
def test_a_failure_between_answers_is_no_outage(kind: type[CoinGeckoError]) -> None:
    server = Server(lambda ids: failure(kind) if {"coin-0", "coin-250", "coin-750"} & {*ids} else None)
    assert len(server.batched.request(MANY).points) == 750
    assert server.lengths == [250] * 6


def test_an_error_that_affects_all_ends_the_requests() -> None:
    server = Server(lambda ids: None if "coin-0" in ids else failure(RateLimited))
    answer = server.batched.request(MANY[:750])
    assert server.lengths == [250, 250]
    assert len(answer.points) == 250 and len(answer.failures) == 500
