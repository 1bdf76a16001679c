"""Asking for many coins by several requests: what came is kept when one of them fails."""

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


def id_batches(coin_ids: Iterable[str], base_url: str) -> Iterator[tuple[str, ...]]:
    """The ids, trimmed and each once, in as few batches as fit 250 ids and 6,000 characters of URL."""
    room = URL_CHARACTERS - len(base_url) - _REST_OF_URL
    batch: list[str] = []
    length = 0
    for coin_id in dict.fromkeys(coin_id.strip() for coin_id in coin_ids):
        # The comma between two ids travels as three characters.
        size = len(quote(coin_id, safe="")) + 3
        if batch and (len(batch) == IDS_PER_REQUEST or length + size > room):
            yield tuple(batch)
            batch, length = [], 0
        batch.append(coin_id)
        length += size
    if batch:
        yield tuple(batch)


# From 250 ids to one. A server that refuses everything costs 17 requests.
_HALVINGS = 8
# Lists of so few ids are not refused for their length; the usual tick does not look for a limit.
_SHORT = 50
_TOO_LONG = (413, 414, 431)
_TOO_MANY_ITEMS = 10012


class RequestLength(Protocol):
    """How many ids a request may name, kept for other clients of the same account."""

    def load(self) -> int | None:
        """The number, None if no length was refused."""
        ...

    def save(self, most: int) -> None:
        """Keep `most`; raises nothing if that fails."""
        ...


class BatchedRequests:
    """Requests for lists of ids, each made by `ask`; belongs to one client, whose lists it learns to limit.

    A list that is refused is asked for again in halves. Where both are answered the list was too long,
    and no later request of this client, nor of others with the same `length`, names more ids than they
    did. A 400 may also be about one id:
    where one half is answered, the other is given up, because looking for that id would cost credits
    in every run.
    """

    def __init__(
        self, ask: Callable[[tuple[str, ...]], PriceAnswer], base_url: str, length: RequestLength | None = None
    ) -> None:
        self._ask_once = ask
        self._base_url = base_url
        self._length = length
        self._most = IDS_PER_REQUEST
        self._loaded = length is None
        self._halvings = 0
        self._outage = Outage()

    def ask(self, coin_ids: Iterable[str]) -> PriceAnswer:
        """Everything that came, with the error of each id that did not; raises the first if nothing came."""
        self._halvings = _HALVINGS
        self._outage = Outage()
        portions = list(id_batches(coin_ids, self._base_url))
        if not self._loaded and any(len(ids) > _SHORT for ids in portions):
            self._load()
        before = self._most
        answer = _joined([self._ask(batch) for batch in portions])
        if self._length and self._most < before:
            self._length.save(self._most)
        if answer.failures and not answer.points:
            raise next(iter(answer.failures.values()))
        return answer

    def _load(self) -> None:
        self._loaded = True
        if self._length:
            self._most = self._length.load() or self._most

    def _ask(self, ids: tuple[str, ...]) -> PriceAnswer:
        return self._resolved(ids, self._tried(ids))

    def _tried(self, ids: tuple[str, ...]) -> PriceAnswer | RequestRefused:
        """What came of one request, or the refusal of a list that can be shorter."""
        if self._outage.stopped:
            return _failed(ids, self._outage.stopped)
        if len(ids) > self._most:
            return _joined([self._ask(ids[at:at + self._most]) for at in range(0, len(ids), self._most)])
        try:
            answer = self._ask_once(ids)
        except CoinGeckoError as error:
            self._outage.note(error)
            if len(ids) > 1 and isinstance(error, RequestRefused) and _may_be_length(error):
                return error
            return _failed(ids, error)
        self._outage.note(None)
        return answer

    def _resolved(self, ids: tuple[str, ...], tried: PriceAnswer | RequestRefused) -> PriceAnswer:
        if isinstance(tried, PriceAnswer):
            return tried
        if not self._halvings:
            return _failed(ids, tried)
        self._halvings -= 1
        half = (len(ids) + 1) // 2
        halves = [(part, self._tried(part)) for part in (ids[:half], ids[half:])]
        refused = [came for _, came in halves if isinstance(came, RequestRefused)]
        if len(refused) == 1 and not _is_length(tried):
            return _joined([
                _failed(part, came) if isinstance(came, RequestRefused) else came for part, came in halves
            ])
        answer = _joined([self._resolved(part, came) for part, came in halves])
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
