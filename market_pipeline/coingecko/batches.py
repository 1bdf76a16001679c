"""Cutting a list of coin ids into requests that the server will read. Pure."""

from collections.abc import Iterable, Iterator
from urllib.parse import quote

IDS_PER_REQUEST = 250
# Servers refuse URLs from about 8,000 characters on.
URL_CHARACTERS = 6_000
# The path and the other parameters of /simple/price.
_REST_OF_URL = 150


def batches(coin_ids: Iterable[str], base_url: str) -> Iterator[tuple[str, ...]]:
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
