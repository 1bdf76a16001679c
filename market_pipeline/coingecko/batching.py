"""Request many coins in batches; when one batch fails, the results of the others remain."""

from collections.abc import Callable, Iterable, Iterator
from typing import Protocol
from urllib.parse import quote

from market_pipeline.coingecko.errors import CoinGeckoError, RequestRefused
from market_pipeline.coingecko.models import PriceAnswer
from market_pipeline.coingecko.outage import Outage

IDS_PER_REQUEST = 250
# Servers refuse URLs from about 8,000 characters on.
URL_CHARACTERS = 6_000
# The path and the other parameters of /simple/price.
_REST_OF_URL = 150

# From 250 ids to one. A server that refuses everything costs 17 requests.
_HALVINGS = 8
# Lists this short are not refused for their length: the usual tick does not load a limit.
_SHORT = 50
_TOO_LONG = (413, 414, 431)
_TOO_MANY_ITEMS = 10012


def id_batches(coin_ids: Iterable[str], base_url: str) -> Iterator[tuple[str, ...]]:
    """Yield the ids, trimmed and without repeats, in as few batches as fit 250 ids and 6,000 characters of URL."""
    room = URL_CHARACTERS - len(base_url) - _REST_OF_URL
    batch: list[str] = []
    length = 0
    for coin_id in dict.fromkeys(coin_id.strip() for coin_id in coin_ids):
        # The comma between two ids is sent as three characters.
        size = len(quote(coin_id, safe="")) + 3
        if batch and (len(batch) == IDS_PER_REQUEST or length + size > room):
            yield tuple(batch)
            batch, length = [], 0
        batch.append(coin_id)
        length += size
    if batch:
        yield tuple(batch)


class RequestLength(Protocol):
    """How many ids a request may name, shared by the clients of an account."""

    def load(self) -> int | None:
        """Return the number, None if no length was refused."""
        ...

    def save(self, most: int) -> None:
        """Store `most`. Best effort: raises nothing."""
        ...


class BatchedRequests:
    """Requests for lists of ids, each sent by `send`; learns for one client how long a list may be.

    A refused list is requested again in halves. If both succeed, the list was too long, and later requests
    of this client, and of others with the same `length`, name no more ids than a half. A 400 may also be
    about one id: if one half succeeds, the other is given up, because the search for that id would cost
    credits in every run.
    """

    def __init__(
        self, send: Callable[[tuple[str, ...]], PriceAnswer], base_url: str, length: RequestLength | None = None
    ) -> None:
        self._send = send
        self._base_url = base_url
        self._length = length
        self._most = IDS_PER_REQUEST
        self._loaded = length is None
        self._halvings = 0
        self._outage = Outage()

    def request(self, coin_ids: Iterable[str]) -> PriceAnswer:
        """Return all results, with the error of each id without one; raise the first error if there is none."""
        self._halvings = _HALVINGS
        self._outage = Outage()
        batches = list(id_batches(coin_ids, self._base_url))
        if self._length and not self._loaded and any(len(ids) > _SHORT for ids in batches):
            self._loaded = True
            self._most = self._length.load() or self._most
        before = self._most
        answer = _joined([self._resolve(ids, self._try(ids)) for ids in batches])
        if self._length and self._most < before:
            self._length.save(self._most)
        if answer.failures and not answer.points:
            raise next(iter(answer.failures.values()))
        return answer

    def _try(self, ids: tuple[str, ...]) -> PriceAnswer | RequestRefused:
        """Return the answer to one request, or the refusal of a list that can be shorter."""
        if self._outage.stopped:
            return _failed(ids, self._outage.stopped)
        if len(ids) > self._most:
            parts = [ids[at:at + self._most] for at in range(0, len(ids), self._most)]
            return _joined([self._resolve(part, self._try(part)) for part in parts])
        try:
            answer = self._send(ids)
        except CoinGeckoError as error:
            self._outage.note(error)
            if len(ids) > 1 and isinstance(error, RequestRefused) and _may_be_length(error):
                return error
            return _failed(ids, error)
        self._outage.note(None)
        return answer

    def _resolve(self, ids: tuple[str, ...], tried: PriceAnswer | RequestRefused) -> PriceAnswer:
        """Return the answer; after a refusal, request the halves of `ids`."""
        if isinstance(tried, PriceAnswer):
            return tried
        if not self._halvings:
            return _failed(ids, tried)
        self._halvings -= 1
        half = (len(ids) + 1) // 2
        halves = [(part, self._try(part)) for part in (ids[:half], ids[half:])]
        refused = [result for _, result in halves if isinstance(result, RequestRefused)]
        if len(refused) == 1 and not _is_length(tried):
            return _joined([
                _failed(part, result) if isinstance(result, RequestRefused) else result for part, result in halves
            ])
        answer = _joined([self._resolve(part, result) for part, result in halves])
        if not answer.failures:
            self._most = min(self._most, half)
        return answer


def _is_length(error: RequestRefused) -> bool:
    return error.status in _TOO_LONG or (error.status == 400 and error.error_code == _TOO_MANY_ITEMS)


def _may_be_length(error: RequestRefused) -> bool:
    return _is_length(error) or (error.status == 400 and not error.affects_all)


def _failed(ids: tuple[str, ...], error: CoinGeckoError) -> PriceAnswer:
    return PriceAnswer((), (), dict.fromkeys(ids, error))


def _joined(answers: list[PriceAnswer]) -> PriceAnswer:
    return PriceAnswer(
        tuple(point for answer in answers for point in answer.points),
        tuple(coin_id for answer in answers for coin_id in answer.unasked),
        {coin_id: error for answer in answers for coin_id, error in answer.failures.items()},
    )
