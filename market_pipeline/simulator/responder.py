"""From a request to what is delivered for it: faults, access, endpoint, in this order. No sockets."""

from dataclasses import dataclass
from datetime import timedelta
from typing import Literal

from market_pipeline.simulator import errors, header_leaks
from market_pipeline.simulator.access import PLAN_LIMITS, Plan, refusal, sent_key
from market_pipeline.simulator.corruptions import spoil_listing, spoil_points, spoil_quotes
from market_pipeline.simulator.fault_book import FaultBook
from market_pipeline.simulator.faults import LISTING_ONLY, POINTS_ONLY, QUOTES_ONLY, VALUES, Fault
from market_pipeline.simulator.feed import Feed
from market_pipeline.simulator.limits import MinuteLimit
from market_pipeline.simulator.messages import Answer, Document, Request, json_answer
from market_pipeline.simulator.parameters import BadParameter
from market_pipeline.simulator.routes import coins_of, document_of, is_chart, is_listing, is_simple_price
from market_pipeline.simulator.usage import Usage

_CACHED = {"Cache-Control": "max-age=30, public, must-revalidate, s-maxage=60"}


@dataclass(frozen=True)
class Delivery:
    """An answer and how it reaches the client: after `wait` seconds, whole, cut in the middle of the
    body, or not at all."""

    answer: Answer
    wait: float = 0.0
    cut: Literal["before", "middle"] | None = None


class Responder:
    """Answers requests for one feed under one plan."""

    def __init__(
        self, feed: Feed, plan: Plan, limit: MinuteLimit | None, faults: FaultBook, usage: Usage
    ) -> None:
        self._feed = feed
        self._plan = plan
        self._limit = limit
        self._faults = faults
        self._usage = usage

    def respond(self, request: Request) -> Delivery:
        """What `request` gets."""
        delivery = self._deliver(request)
        if delivery.answer.status == 200:
            self._usage.spend()
        return delivery

    def _deliver(self, request: Request) -> Delivery:
        fault = self._faults.take_whole(request.path, coins_of(request, self._feed))
        if fault is None:
            return Delivery(self._answer(request))
        match fault.kind:
            case "status":
                answer = errors.by_status(fault.status, fault.code, request.time)
                return Delivery(self._with_wait(answer, request, fault))
            case "throttled":
                return Delivery(self._with_wait(errors.throttled(), request, fault))
            case "redirect":
                return Delivery(header_leaks.redirect(sent_key(request)))
            case "echo":
                return Delivery(header_leaks.echo(sent_key(request)))
            case "html":
                return Delivery(errors.page(200, "CoinGecko"))
            case "error_body":
                error = Answer(200, errors.by_status(429, None, request.time).body)
                return Delivery(self._with_wait(error, request, fault))
            case "empty_object":
                return Delivery(json_answer({}))
        answer = self._answer(request)
        match fault.kind:
            case "truncated_json":
                half = answer.body[: len(answer.body) // 2]
                return Delivery(Answer(answer.status, half, answer.content_type, answer.headers))
            case "hang":
                return Delivery(answer, wait=fault.duration)
        return Delivery(answer, cut="before" if fault.kind == "cut" else "middle")

    def _answer(self, request: Request) -> Answer:
        if refused := refusal(request, self._plan, self._limit):
            return refused
        try:
            document = document_of(request, self._feed, self._plan, self._usage)
        except BadParameter as error:
            return error.answer
        if isinstance(document, dict):
            self._spoil(request, document)
        elif is_listing(request):
            for fault in self._faults.take_kinds(LISTING_ONLY, request.path, self._feed.coin_ids):
                document = spoil_listing(document, fault)
        return json_answer(document, headers=_CACHED)

    def _spoil(self, request: Request, document: Document) -> None:
        coin_ids = coins_of(request, self._feed)
        if is_simple_price(request):
            for fault in self._faults.take_kinds(VALUES | QUOTES_ONLY, request.path, coin_ids):
                spoil_quotes(document, fault, request.time)
        elif is_chart(request):
            for fault in self._faults.take_kinds(VALUES | POINTS_ONLY, request.path, coin_ids):
                spoil_points(document, fault, request.time)

    def _with_wait(self, answer: Answer, request: Request, fault: Fault) -> Answer:
        """`answer` with the headers that ask for the wait of `fault`."""
        if fault.retry_after is not None:
            answer = errors.retry_after(answer, str(fault.retry_after))
        if fault.reset_after is not None:
            limit = self._limit.requests if self._limit else PLAN_LIMITS[self._plan]
            reset = request.time + timedelta(seconds=fault.reset_after)
            answer = errors.rate_limit_headers(answer, limit, reset)
        return answer
