"""Asking for many coins by several requests: what came is kept when one of them fails."""

from collections.abc import Callable, Iterable

from market_pipeline.coingecko.batches import IDS_PER_REQUEST, batches
from market_pipeline.coingecko.errors import CoinGeckoError, RequestRefused
from market_pipeline.coingecko.models import PriceAnswer
from market_pipeline.coingecko.outage import Outage

# Enough to find one id among 250. A server that refuses everything costs 17 requests.
_HALVINGS = 8
# What is said of a list that is too long, or that holds an id which cannot be read.
_OF_THE_LIST = (400, 413, 414, 431)


class Portions:
    """Requests for lists of ids, each made by `ask`; belongs to one client, whose lists it learns to limit.

    A list that is refused is asked for again in halves. Where both are answered the list was too long,
    and no later request of this client names more ids than they did.
    """

    def __init__(self, ask: Callable[[tuple[str, ...]], PriceAnswer], base_url: str) -> None:
        self._ask_once = ask
        self._base_url = base_url
        self._most = IDS_PER_REQUEST
        self._halvings = 0
        self._outage = Outage()

    def ask(self, coin_ids: Iterable[str]) -> PriceAnswer:
        """Everything that came, with the error of each id that did not; raises the first if nothing came."""
        self._halvings = _HALVINGS
        self._outage = Outage()
        answer = _joined([self._ask(batch) for batch in batches(coin_ids, self._base_url)])
        if answer.failures and not answer.points:
            raise next(iter(answer.failures.values()))
        return answer

    def _ask(self, ids: tuple[str, ...]) -> PriceAnswer:
        if self._outage.stopped:
            return _failed(ids, self._outage.stopped)
        if len(ids) > self._most:
            return self._in_parts(ids, self._most)
        try:
            answer = self._ask_once(ids)
        except CoinGeckoError as error:
            if len(ids) > 1 and _is_of_the_list(error) and self._halvings:
                self._halvings -= 1
                return self._halved(ids)
            self._outage.note(error)
            return _failed(ids, error)
        self._outage.note(None)
        return answer

    def _halved(self, ids: tuple[str, ...]) -> PriceAnswer:
        half = (len(ids) + 1) // 2
        answer = self._in_parts(ids, half)
        if not answer.failures:
            self._most = min(self._most, half)
        return answer

    def _in_parts(self, ids: tuple[str, ...], most: int) -> PriceAnswer:
        return _joined([self._ask(ids[start:start + most]) for start in range(0, len(ids), most)])


def _is_of_the_list(error: CoinGeckoError) -> bool:
    return isinstance(error, RequestRefused) and error.status in _OF_THE_LIST and not error.affects_all


def _failed(ids: tuple[str, ...], error: CoinGeckoError) -> PriceAnswer:
    return PriceAnswer((), (), dict.fromkeys(ids, error))


def _joined(answers: list[PriceAnswer]) -> PriceAnswer:
    return PriceAnswer(
        tuple(point for answer in answers for point in answer.points),
        tuple(coin_id for answer in answers for coin_id in answer.unasked),
        {coin_id: error for answer in answers for coin_id, error in answer.failures.items()},
    )
