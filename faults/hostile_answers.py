"""Hostile answers: every fault of the simulator, mutations of good and of recorded answers, random bytes.

Real requests over real sockets, through the whole collection into both databases. Promised: nothing invalid is stored,
each failure is one of the errors of `coingecko.errors`, and memory, open files and threads stay flat.
"""

import gc
import itertools
import json
import math
import random
from collections import Counter
from collections.abc import Iterator, Mapping
from datetime import datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Any

from sqlalchemy import text

from benchmarks.figures import Figure
from benchmarks.world import COINS, MARKET
from faults import mutations, process
from faults.hostile_server import Bytes, Give, hostile_server
from faults.mutations import Reply
from faults.options import Options
from faults.stores import Store, stores
from market_pipeline.coingecko import errors
from market_pipeline.coingecko.client import CoinGeckoClient
from market_pipeline.coingecko.request_budget import Grant
from market_pipeline.coingecko.retries import RetryPolicy
from market_pipeline.core.clock import DAY, utc_now
from market_pipeline.core.slices import DayOfSymbol
from market_pipeline.core.symbols import KNOWN_COINS, parse_catalogue
from market_pipeline.pipeline.collect import collect, store
from market_pipeline.prices.quotes import FUTURE_TOLERANCE, LARGEST_PRICE, Quote, Source
from market_pipeline.simulator.access import Usage
from market_pipeline.simulator.endpoints import BadRequest, document_of
from market_pipeline.simulator.faults import KINDS, LISTING_ONLY, Fault
from market_pipeline.simulator.messages import Request
from market_pipeline.simulator.server import Simulator
from market_pipeline.storage.engine import Database

# The recordings lie beside the checkout and are not part of the project.
_RECORDED = Path(__file__).parents[2] / "shared" / "coingecko" / "recorded"
_CATALOGUE = parse_catalogue(",".join(KNOWN_COINS)).simulated
# Nobody waits for a slow answer here; a real client has 30 s.
_POLICY = RetryPolicy(retries=1, longest_wait=1.0, idle=0.15, attempt=0.3, call=0.5)
_CRON = "*/5 * * * *"
_PAST_DAYS = 60
# Classes that only group others: an error of one of them has not been classified.
_GROUPS = (errors.CoinGeckoError, errors.TransientError, errors.PermanentError)
_SAMPLES = 40
_ENOUGH = 1_000

_INVALID = {
    "raw_prices": f"NOT (price > 0 AND price < {LARGEST_PRICE}) OR source NOT IN ('simple_price', 'market_chart')",
    "rejected_prices": "length(payload) > 2000 OR length(detail) > 2000",
}


def figures(options: Options) -> Iterator[Figure]:
    """Half of the answers on each database."""
    count = options.count(10_000, 400)
    rng = options.random("hostile answers")
    yield Figure("recorded answers that mutations start from", len(_recordings()), "")
    with stores() as both:
        for place in both:
            yield from _on(place, count // 2, rng)


def _on(place: Store, count: int, rng: random.Random) -> Iterator[Figure]:
    found = _Found()
    database = place.database()
    kinds = itertools.cycle(sorted(KINDS))
    samples: list[tuple[float, int, int]] = []
    collections = 0
    with hostile_server(partial(_answers, rng.random())) as hostile, Simulator(MARKET, plan="pro") as simulator:
        while found.answers < count:
            if found.answers >= len(samples) * count / _SAMPLES:
                gc.collect()
                samples.append((process.resident_mib(), process.open_files(), process.threads()))
            collections += 1
            address = hostile
            if rng.random() < 0.25:
                address = simulator.base_url
                simulator.clear_faults()
                simulator.clear_requests()
                simulator.add_fault(_fault(next(kinds), rng))
            _attempt(database, address, rng, found)
    invalid = {table: _count(database, table, condition) for table, condition in _INVALID.items()}
    prices, refused = (_count(database, table, "true") for table in _INVALID)
    database.dispose()
    # A short run is over before the heap has its size.
    bar = 16 if count >= _ENOUGH else None
    memory, files, threads = (process.growth(series) for series in zip(*samples, strict=True))
    name = place.name
    yield Figure(f"{name}: hostile answers", found.answers, "", note=f"{collections:,} collections and calls")
    yield Figure(f"{name}: prices stored", prices, "", note=f"{refused:,} points refused and kept in quarantine")
    yield Figure(f"{name}: invalid rows stored", sum(invalid.values()) + len(found.invalid), "", 0, note=found.example)
    failures = ", ".join(f"{kind} {number:,}" for kind, number in found.failures.most_common())
    yield Figure(f"{name}: classified failures", found.failures.total(), "", note=failures)
    yield Figure(f"{name}: exceptions of other kinds", len(found.others), "", 0, note="; ".join(found.others[:3]))
    note = f"{samples[-1][0]:.0f} MiB at the end"
    yield Figure(f"{name}: memory, growth after warm-up", memory, "MiB", bar, note=note)
    yield Figure(f"{name}: open files, growth", files, "", 2)
    yield Figure(f"{name}: threads, growth", threads, "", 2)


class _Found:
    """What came of the answers."""

    def __init__(self) -> None:
        self.failures: Counter[str] = Counter()
        self.others: list[str] = []
        self.invalid: list[str] = []
        self.answers = 0

    @property
    def example(self) -> str:
        return self.invalid[0] if self.invalid else ""

    def classify(self, error: BaseException) -> None:
        if isinstance(error, errors.CoinGeckoError) and type(error) not in _GROUPS:
            self.failures[type(error).__name__] += 1
        else:
            self.others.append(f"{type(error).__name__}: {str(error)[:200]}")


class _Unlimited:
    """A budget without a limit: pauses that servers ask for would take hours."""

    def __init__(self, found: _Found) -> None:
        self._found = found

    def acquire(self, endpoint: str) -> Grant:
        return Grant(endpoint, utc_now(), 0.0)

    def settle(self, grant: Grant, outcome: str, cool_down: float | None = None, reason: str = "") -> None:
        if cool_down is not None and not 0 <= cool_down < math.inf:
            self._found.others.append(f"a pause of {cool_down} s after {outcome}")


def _attempt(database: Database, base_url: str, rng: random.Random, found: _Found) -> None:
    """Collect today, a past stretch, or call another endpoint; note what fails and what is stored."""
    with CoinGeckoClient(
        base_url, "pro", "CG-faults", _Unlimited(found), policy=_POLICY, sleep=lambda seconds: None
    ) as client:
        try:
            what = rng.random()
            if what < 0.85:
                _collect(database, client, rng, found)
            else:
                rng.choice((client.ping, client.key_info, client.coins_list))()
        # Every kind of exception is what is looked for.
        except Exception as error:
            found.classify(error)
        found.answers += client.requests_sent


def _collect(database: Database, client: CoinGeckoClient, rng: random.Random, found: _Found) -> None:
    now = utc_now()
    if rng.random() < 0.6:
        days = [(now.date(), symbol) for symbol in _CATALOGUE.symbols]
    else:
        first, length = now.date() - rng.randint(2, _PAST_DAYS) * DAY, rng.randint(1, 3)
        days = [(first + n * DAY, symbol) for symbol in rng.sample(_CATALOGUE.symbols, 2) for n in range(length)]
        days = [(day, symbol) for day, symbol in days if day < now.date()]
    arrival = collect(database, client, _CATALOGUE, days, now=now, run_id="faults", collect_cron=_CRON)
    store(database, arrival)
    for error in set(arrival.collected.failures.values()):
        found.classify(error)
    found.invalid += [str(quote) for quote in arrival.collected.quotes if not _is_valid(quote, days, now)]


def _is_valid(quote: Quote, days: list[DayOfSymbol], now: datetime) -> bool:
    """Return whether `quote` may be stored: of a coin and a time that were asked for, and a positive finite price."""
    if COINS.get(quote.symbol) != quote.coin_id or not 0 < quote.price < LARGEST_PRICE:
        return False
    if not now - timedelta(days=8_000) < quote.timestamp <= quote.ingested_at + FUTURE_TOLERANCE:
        return False
    asked = [day for day, symbol in days if symbol == quote.symbol]
    # The next midnight belongs to a window, and holes of the day before now are filled.
    span = (min(asked) - DAY, max(asked) + DAY) if asked else (now.date(), now.date())
    return quote.source is Source.LIVE or span[0] <= quote.timestamp.date() <= span[1]


def _count(database: Database, table: str, condition: str) -> int:
    with database.reading() as connection:
        return int(connection.execute(text(f"SELECT count(*) FROM {table} WHERE {condition}")).scalar_one())


def _fault(kind: str, rng: random.Random) -> Fault:
    about_a_coin = kind in {"wrong_id", *LISTING_ONLY} or rng.random() < 0.3
    return Fault(
        kind,
        times=rng.choice((1, None)),
        coin=rng.choice(list(KNOWN_COINS.values())) if about_a_coin else None,
        status=rng.choice((400, 401, 403, 404, 408, 413, 422, 429, 451, 500, 502, 503, 504, 520, 599)),
        retry_after=rng.choice((None, None, 0, 30, 10**9, "soon", "-5")),
        reset_after=rng.choice((None, 30.0, 1e8)),
        seconds=0.5 if kind == "hang" else rng.choice((None, 61.0, 1e8)),
        keyed_as=rng.choice(("ethereum", "another-coin", "\x00", "")),
    )


def _recordings() -> list[Reply]:
    files = sorted(_RECORDED.glob("*.json"))
    found = [json.loads(file.read_text(encoding="utf-8"))["response"] for file in files]
    # How the recorded answers were framed does not fit their text any more.
    framing = ("content-length", "transfer-encoding", "content-encoding", "connection")
    return [
        Reply(
            one["status"], one["body_text"].encode(),
            {name: value for name, value in (one["headers"] or {}).items() if name.lower() not in framing},
        )
        for one in found
    ]


def _answers(seed: float) -> Give:
    return _Answers(random.Random(seed)).give


class _Answers:
    """Gives each request an answer that is hostile in one way or another."""

    def __init__(self, rng: random.Random) -> None:
        self._rng = rng
        self._recordings = _recordings()
        self._bodies = [reply.body for reply in self._recordings] or [b'{"prices":[[0,1]]}']
        self._usage = Usage(500, 500_000)

    def give(self, path: str, query: Mapping[str, str]) -> Bytes:
        rng = self._rng
        if rng.random() < 0.15:
            return mutations.random_bytes(rng)
        good = self._good(path, query)
        if self._recordings and rng.random() < 0.5:
            good = self._recorded(path, query)
        way = rng.random()
        if way < 0.25:
            return mutations.other_headers(rng, good)
        if way < 0.45:
            return Reply(good.status, mutations.other_bytes(rng, good.body, self._bodies), good.headers).written()
        try:
            document = json.loads(good.body)
        except ValueError:
            return mutations.other_headers(rng, good)
        return Reply(good.status, mutations.other_values(rng, document), good.headers).written()

    def _good(self, path: str, query: Mapping[str, str]) -> Reply:
        """The simulator's answer, from which few mutations lead far into the collection."""
        try:
            document: Any = document_of(Request(utc_now(), "GET", path, query, {}, 100), MARKET, "pro", self._usage)
        except BadRequest as error:
            return Reply(error.answer.status, error.answer.body)
        return Reply(200, json.dumps(document).encode())

    def _recorded(self, path: str, query: Mapping[str, str]) -> Reply:
        """A recorded answer, as it is or brought to the coin and the time that were asked for."""
        reply = self._rng.choice(self._recordings)
        asked = query.get("ids", "").split(",")
        for coin_id in ("bitcoin", "ethereum"):
            body = reply.body.replace(f'"{coin_id}"'.encode(), f'"{asked[0]}"'.encode())
            reply = Reply(reply.status, body, reply.headers)
        if "to" not in query or self._rng.random() < 0.2:
            return reply
        try:
            document = json.loads(reply.body)
            newest = document["prices"][-1][0]
            shift = int(query["to"]) * 1_000 - newest
            document["prices"] = [[at + shift, price] for at, price in document["prices"]]
        except (ValueError, LookupError, TypeError):
            return reply
        return Reply(reply.status, json.dumps(document).encode(), reply.headers)
