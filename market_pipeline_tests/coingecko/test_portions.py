"""How a list of coins that is too long, or holds an id that is refused, becomes requests that are answered."""

from collections.abc import Callable

import pytest

from market_pipeline.coingecko.batching import BatchedRequests
from market_pipeline.coingecko.errors import (
    BadAnswer,
    CoinGeckoError,
    RateLimited,
    RequestRefused,
    ServerFailed,
    SourceDown,
)
from market_pipeline.coingecko.models import PriceAnswer, RawPoint

URL = "https://api.coingecko.com/api/v3"
COINS = tuple(f"coin-{n}" for n in range(300))
Ids = tuple[str, ...]


class Server:
    """Answers lists of ids, but for those for which `trouble` returns an error."""

    def __init__(self, trouble: Callable[[Ids], CoinGeckoError | None]) -> None:
        self.asked: list[int] = []
        self._trouble = trouble
        self.portions = BatchedRequests(self._answer, URL)

    def _answer(self, ids: Ids) -> PriceAnswer:
        self.asked.append(len(ids))
        if error := self._trouble(ids):
            raise error
        return PriceAnswer(tuple(RawPoint(coin_id, 1.0, 1, "{}") for coin_id in ids), ())


def refusal(status: int, code: int | None = None) -> RequestRefused:
    return RequestRefused("no.", endpoint="/simple/price", attempts=1, status=status, error_code=code)


def transient(kind: type[CoinGeckoError] = ServerFailed) -> CoinGeckoError:
    return kind("it failed.", endpoint="/simple/price", attempts=4, status=503)


@pytest.mark.parametrize(("status", "code"), [(414, None), (400, None), (400, 10012), (413, None), (431, None)])
def test_a_length_that_was_answered_is_kept_for_the_later_requests(status: int, code: int | None) -> None:
    server = Server(lambda ids: refusal(status, code) if len(ids) > 100 else None)
    first = server.portions.request(COINS)
    assert server.asked == [250, 125, 125, 63, 62, 63, 62, 50]
    server.asked.clear()
    assert server.portions.request(COINS) == first
    assert server.asked == [63, 63, 63, 61, 50]
    assert [point.coin_id for point in first.points] == list(COINS)


@pytest.mark.parametrize("bad", [0, 120, 249])
def test_an_id_that_is_refused_takes_its_half_with_it_and_says_nothing_of_the_length(bad: int) -> None:
    """A tick costs two credits as before, although one of its requests is refused."""
    server = Server(lambda ids: refusal(400) if COINS[bad] in ids else None)
    lost = COINS[:125] if bad < 125 else COINS[125:250]
    for _ in range(2):
        answer = server.portions.request(COINS)
        assert tuple(answer.failures) == lost
        assert {point.coin_id for point in answer.points} == {*COINS} - {*lost}
        assert server.asked == [250, 125, 125, 50]
        server.asked.clear()


def test_several_ids_that_are_refused_take_their_own_parts_with_them() -> None:
    server = Server(lambda ids: refusal(400) if {COINS[0], COINS[249]} & {*ids} else None)
    answer = server.portions.request(COINS)
    assert server.asked == [250, 125, 125, 63, 62, 63, 62, 50]
    assert tuple(answer.failures) == COINS[:63] + COINS[188:250]


def test_a_server_that_refuses_everything_is_not_asked_for_each_coin() -> None:
    server = Server(lambda ids: refusal(400))
    with pytest.raises(RequestRefused):
        server.portions.request(COINS)
    assert len(server.asked) <= 18


@pytest.mark.parametrize(("status", "code"), [(400, 10010), (401, None), (404, None), (422, None)])
def test_a_refusal_that_is_not_about_the_list_is_not_asked_in_halves(status: int, code: int | None) -> None:
    server = Server(lambda ids: refusal(status, code))
    with pytest.raises(RequestRefused):
        server.portions.request(COINS[:50])
    assert server.asked == [50]


def test_three_failures_in_a_row_are_an_outage() -> None:
    coins = tuple(f"coin-{n}" for n in range(1_500))
    server = Server(lambda ids: None if "coin-0" in ids else transient())
    answer = server.portions.request(coins)
    assert server.asked == [250] * 4
    assert len(answer.points) == 250
    assert isinstance(answer.failures["coin-999"], ServerFailed)
    unasked = answer.failures["coin-1000"]
    assert isinstance(unasked, SourceDown)
    assert "was not sent: 3 requests in a row had failed, the last one because it failed." in str(unasked)


@pytest.mark.parametrize("kind", [ServerFailed, BadAnswer])
def test_a_failure_between_answers_is_no_outage(kind: type[CoinGeckoError]) -> None:
    coins = tuple(f"coin-{n}" for n in range(1_500))
    server = Server(lambda ids: transient(kind) if {"coin-0", "coin-250", "coin-750"} & {*ids} else None)
    assert len(server.portions.request(coins).points) == 750
    assert server.asked == [250] * 6


def test_an_error_that_affects_all_ends_the_asking() -> None:
    coins = tuple(f"coin-{n}" for n in range(750))
    server = Server(lambda ids: None if "coin-0" in ids else transient(RateLimited))
    answer = server.portions.request(coins)
    assert server.asked == [250, 250]
    assert len(answer.points) == 250 and len(answer.failures) == 500
