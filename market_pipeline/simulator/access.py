"""Who may ask: the plan, the API key, the User-Agent and the minute limit."""

import math
from typing import Literal

from market_pipeline.simulator import errors
from market_pipeline.simulator.limits import MinuteLimit
from market_pipeline.simulator.messages import Answer, Request

Plan = Literal["keyless", "demo", "pro"]

# Requests per minute that each plan promises (keyless: the least that users report).
PLAN_LIMITS: dict[Plan, int] = {"keyless": 5, "demo": 30, "pro": 500}

DEMO_KEYS = ("x-cg-demo-api-key", "x_cg_demo_api_key")
PRO_KEYS = ("x-cg-pro-api-key", "x_cg_pro_api_key")

# The edge refuses longer request targets.
_LONGEST_TARGET = 8000


def refusal(request: Request, plan: Plan, limit: MinuteLimit | None) -> Answer | None:
    """The error that `request` gets before any endpoint sees it, or None.

    Under `demo` a request without a key is refused, although the real host would serve it as
    keyless: so that a forgotten key shows.
    """
    if request.length > _LONGEST_TARGET:
        return errors.by_status(414, None, request.time)
    if not request.headers.get("user-agent", "").strip():
        return errors.by_status(403, None, request.time)
    return _wrong_key(request, plan) or _over_the_limit(request, plan, limit)


def sent_key(request: Request) -> str:
    """The key that came with `request`, of whatever kind and wherever; '' if none did."""
    return _key(request, DEMO_KEYS) or _key(request, PRO_KEYS) or ""


def _wrong_key(request: Request, plan: Plan) -> Answer | None:
    """Any key of the right kind passes; a bogus one is what the fault 401 is for."""
    demo, pro = _key(request, DEMO_KEYS), _key(request, PRO_KEYS)
    if plan == "pro":
        if demo is not None and not pro:
            return errors.by_status(400, 10011, request.time)
        return None if pro else errors.by_status(401, 10002, request.time)
    if pro is not None:
        return errors.by_status(400, 10010, request.time)
    return errors.by_status(401, 10002, request.time) if plan == "demo" and not demo else None


def _key(request: Request, names: tuple[str, str]) -> str | None:
    """The key in the header or in the query: '' if it was sent empty, None if it was not sent."""
    header, parameter = names
    return request.headers.get(header, request.query.get(parameter))


def _over_the_limit(request: Request, plan: Plan, limit: MinuteLimit | None) -> Answer | None:
    free = limit.admit(request.time) if limit else None
    if limit is None or free is None:
        return None
    answer = errors.by_status(429, None, request.time)
    if plan == "keyless":
        return errors.retry_after(answer, str(max(1, math.ceil((free - request.time).total_seconds()))))
    return errors.rate_limit_headers(answer, limit.requests, free)
