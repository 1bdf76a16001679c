"""From a request to what is delivered: faults, access, endpoint, in this order. No sockets."""

from dataclasses import dataclass, replace
from datetime import timedelta
from typing import Literal

from market_pipeline.simulator import error_answers as errors
from market_pipeline.simulator.access import PLAN_LIMITS, MinuteLimit, Plan, Usage, refusal, sent_key
from market_pipeline.simulator.corruptions import corrupt_listing, corrupt_points, corrupt_quotes
from market_pipeline.simulator.endpoints import COINS_LIST, BadRequest, coins_of, document_of, range_coin
from market_pipeline.simulator.faults import LISTING_ONLY, POINTS_ONLY, QUOTES_ONLY, VALUES, Fault, FaultBook
from market_pipeline.simulator.feed import Feed
from market_pipeline.simulator.messages import Answer, Document, Request, json_answer

_CACHED = {"Cache-Control": "max-age=30, public, must-revalidate, s-maxage=60"}


@dataclass(frozen=True)
class Delivery:
    """An answer and how it reaches the client: after `wait` seconds, whole, or cut before or in the body."""

    answer: Answer
    wait: float = 0.0
    cut: Literal["before", "middle"] | None = None


@dataclass(frozen=True)
class Responder:
    """Answers requests for one feed under one plan."""

    feed: Feed
    plan: Plan
    limit: MinuteLimit | None
    faults: FaultBook
    usage: Usage

    def respond(self, request: Request) -> Delivery:
        """Decide what `request` gets."""
        delivery = self._deliver(request)
        if delivery.answer.status == 200:
            self.usage.spend()
        return delivery

    def _deliver(self, request: Request) -> Delivery:
        fault = self.faults.take_whole(request.path, coins_of(request))
        if fault is None:
            return Delivery(self._answer(request))
        if replaced := self._replacement(request, fault):
            return Delivery(replaced)
        answer = self._answer(request)
        match fault.kind:
            case "truncated_json":
                return Delivery(replace(answer, body=answer.body[: len(answer.body) // 2]))
            case "hang":
                return Delivery(answer, wait=fault.duration)
        return Delivery(answer, cut="before" if fault.kind == "cut" else "middle")

    def _replacement(self, request: Request, fault: Fault) -> Answer | None:
        """Return the answer that takes the place of the endpoint's, None for faults that change that one."""
        match fault.kind:
            case "status":
                return self._with_wait(errors.by_status(fault.status, fault.code, request.time), request, fault)
            case "throttled":
                return self._with_wait(errors.throttled(), request, fault)
            case "redirect":
                return errors.redirect(sent_key(request))
            case "echo":
                return errors.echo(sent_key(request))
            case "html":
                return errors.page(200, "CoinGecko")
            case "error_body":
                error = Answer(200, errors.by_status(429, None, request.time).body)
                return self._with_wait(error, request, fault)
            case "empty_object":
                return json_answer({})
        return None

    def _answer(self, request: Request) -> Answer:
        if refused := refusal(request, self.plan, self.limit):
            return refused
        try:
            document = document_of(request, self.feed, self.plan, self.usage)
        except BadRequest as error:
            return error.answer
        if isinstance(document, dict):
            self._corrupt(request, document)
        elif request.path.rstrip("/") == COINS_LIST:
            for fault in self.faults.take_kinds(LISTING_ONLY, request.path, self.feed.coin_ids):
                document = corrupt_listing(document, fault)
        return json_answer(document, headers=_CACHED)

    def _corrupt(self, request: Request, document: Document) -> None:
        coin_ids = coins_of(request)
        if not coin_ids:
            return
        is_history = range_coin(request) is not None
        kinds = VALUES | (POINTS_ONLY if is_history else QUOTES_ONLY)
        for fault in self.faults.take_kinds(kinds, request.path, coin_ids):
            (corrupt_points if is_history else corrupt_quotes)(document, fault, request.time)

    def _with_wait(self, answer: Answer, request: Request, fault: Fault) -> Answer:
        """Add the headers that request the wait of `fault`."""
        headers: dict[str, str] = {}
        if fault.retry_after is not None:
            headers["Retry-After"] = str(fault.retry_after)
        if fault.reset_after is not None:
            limit = self.limit.requests if self.limit else PLAN_LIMITS[self.plan]
            headers |= errors.rate_limit_headers(limit, request.time + timedelta(seconds=fault.reset_after))
        return errors.with_headers(answer, headers)
