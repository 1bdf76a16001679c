"""GET /simple/price: the newest price of many coins in one answer."""

from collections.abc import Iterable

from market_pipeline.core.clock import DAY
from market_pipeline.simulator import coins
from market_pipeline.simulator.feed import Feed
from market_pipeline.simulator.messages import Document, Request
from market_pipeline.simulator.noise import name_key
from market_pipeline.simulator.parameters import flag, names_in, required, rounded


def simple_price(request: Request, feed: Feed) -> Document:
    """The answer's document, keyed by coin id in no useful order; coins and currencies that are not
    known are left out. US dollars are the only currency."""
    asked = _asked_coins(request, feed)
    currencies = names_in(required(request.query, "vs_currencies"))
    rounded(1.0, request.query.get("precision"))
    document: Document = {}
    for coin_id in sorted(set(asked) & set(feed.coin_ids), key=name_key):
        quote = feed.quote(coin_id, request.time)
        if quote is not None:
            document[coin_id] = _entry(request, feed, coin_id, quote[0], "usd" in currencies)
            if flag(request.query, "include_last_updated_at"):
                document[coin_id]["last_updated_at"] = int(quote[1].timestamp())
    return document


def named_coins(request: Request, feed: Feed) -> list[str]:
    """The coin ids that the request names, by `ids`, else `names`, else `symbols`; known or not."""
    query = request.query
    if query.get("ids"):
        return names_in(query["ids"])
    if query.get("names"):
        return _matching(feed.coin_ids, names_in(query["names"]), coins.name_of)
    return _matching(feed.coin_ids, names_in(query.get("symbols", "")), coins.symbol_of)


def _asked_coins(request: Request, feed: Feed) -> list[str]:
    if not any(request.query.get(name) for name in ("ids", "names", "symbols")):
        required(request.query, "ids")
    return named_coins(request, feed)


def _matching(coin_ids: Iterable[str], wanted: list[str], label: coins.Label) -> list[str]:
    lower = {text.lower() for text in wanted}
    return [coin_id for coin_id in coin_ids if label(coin_id).lower() in lower]


def _entry(request: Request, feed: Feed, coin_id: str, price: float, in_dollars: bool) -> Document:
    if not in_dollars:
        return {}
    entry: Document = {"usd": rounded(price, request.query.get("precision"))}
    if flag(request.query, "include_market_cap"):
        entry["usd_market_cap"] = coins.market_cap(coin_id, price)
    if flag(request.query, "include_24hr_vol"):
        entry["usd_24h_vol"] = coins.traded_volume(coin_id, price, request.time)
    if flag(request.query, "include_24hr_change"):
        before = feed.quote(coin_id, request.time - DAY)
        entry["usd_24h_change"] = None if before is None else 100 * (price / before[0] - 1)
    return entry
