"""What an answer means: either a JSON document, or one of the errors with a verdict.

The status alone does not tell: errors come under 200, HTML comes where JSON should be, 401 is also
the answer to a date too far back, and the error code sits in one of several places. Pure functions.
"""

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from market_pipeline.coingecko.errors import (
    BadAnswer, Banned, CoinGeckoError, RateLimited, RequestRefused, ServerFailed, TransientError,
)
from market_pipeline.coingecko.waits import asked_wait

_BAN = re.compile(
    r"error code: 10(15|20)|used Cloudflare to restrict access|\A\s*Throttled\s*\Z", re.IGNORECASE
)

_VERDICTS = {
    (400, 10010): "this is a Pro key on the public host; set COINGECKO_PLAN=pro and no COINGECKO_BASE_URL.",
    (400, 10011): "this is a Demo key on the Pro host; set COINGECKO_PLAN=demo and no COINGECKO_BASE_URL.",
    (400, 10012): "the request asks for more items than this plan allows in one request.",
    (401, 10002): "the API key is missing or unknown; check COINGECKO_API_KEY and COINGECKO_PLAN.",
    (401, 10005): "this endpoint needs a paid plan; get a Pro key and set COINGECKO_PLAN=pro.",
    (401, 10012): "the days asked for are older than this plan reaches (365 days without a paid plan); set "
                  "HISTORY_START later or use a paid plan. The key is not the problem.",
    (401, None): "the API key is not accepted; check COINGECKO_API_KEY and COINGECKO_PLAN.",
    (403, None): "the request is forbidden: the User-Agent was removed on the way, or the plan does not "
                 "include it; check the proxy and COINGECKO_PLAN.",
    (404, None): "CoinGecko does not know this coin id or path; check the id in MARKET_SYMBOLS (the API id "
                 "on the coin's page) and COINGECKO_BASE_URL.",
    (422, None): "a parameter cannot be read: this program and the API disagree; look for a newer version.",
}
_REDIRECTED = ("the server points elsewhere, and redirects are not followed because the key would travel "
               "along; check COINGECKO_BASE_URL.")
_REFUSED = "the request is refused; the body says why."
_LIMITED = ("too many requests from this key or address; collect less often, or get a Demo key and set "
            "COINGECKO_PLAN=demo. If it lasts for minutes the credits of the month may be used up.")
_BANNED = "Cloudflare has blocked this address for a while; wait an hour, then collect less often."
_FAILED = "the server or the edge before it failed; the next run asks again."
_NO_JSON = "{} came where JSON was expected; a proxy or a wrong COINGECKO_BASE_URL may be the cause."


@dataclass(frozen=True)
class Answer:
    """One HTTP answer, complete, with `received_at` in UTC and the number of the attempt it answers.

    `headers` must look names up in any case.
    """

    endpoint: str
    attempt: int
    status: int
    headers: Mapping[str, str]
    body: bytes
    received_at: datetime


def read_answer(answer: Answer) -> Any:
    """The JSON document in `answer`; raises the CoinGeckoError that fits if it holds none."""
    document, problem = _parse(answer.body)
    if problem and _BAN.search(_text(answer)):
        raise _error(Banned, answer, _BANNED)
    if answer.status != 200:
        raise _failure(answer, error_code(document))
    if problem:
        raise _error(BadAnswer, answer, _NO_JSON.format(problem))
    if _is_error_body(document):
        verdict = "an error came under status 200; the next run asks again."
        raise _error(BadAnswer, answer, verdict, error_code(document))
    return document


def error_code(document: Any) -> int | None:
    """CoinGecko's error code in any of the places where it is found, None if there is none."""
    places = [document]
    if isinstance(document, dict):
        inner = document.get("error")
        places += [document.get("status"), inner, inner.get("status") if isinstance(inner, dict) else None]
    codes = [place.get("error_code") for place in places if isinstance(place, dict)]
    return next((code for code in codes if isinstance(code, int) and not isinstance(code, bool)), None)


def _parse(body: bytes) -> tuple[Any, str]:
    """The document and "", or None and what the body is instead."""
    try:
        return json.loads(body), ""
    except (ValueError, RecursionError):
        start = body.lstrip()[:1]
        what = "a web page (HTML)" if start == b"<" else "an unreadable or cut text"
        return None, what if start else "an empty body"


def _is_error_body(document: Any) -> bool:
    return isinstance(document, dict) and (
        error_code(document) is not None or isinstance(document.get("error"), str)
    )


def _failure(answer: Answer, code: int | None) -> CoinGeckoError:
    if answer.status == 429:
        return _transient(RateLimited, answer, _LIMITED, code)
    if answer.status == 408 or answer.status >= 500:
        return _transient(ServerFailed, answer, _FAILED, code)
    if answer.status < 300:
        return _error(BadAnswer, answer, "this status is none of the documented ones.", code)
    verdict = _REDIRECTED if answer.status < 400 else _REFUSED
    verdict = _VERDICTS.get((answer.status, code)) or _VERDICTS.get((answer.status, None), verdict)
    return _error(RequestRefused, answer, verdict, code)


def _transient(
    kind: type[TransientError], answer: Answer, verdict: str, code: int | None
) -> TransientError:
    wait = asked_wait(answer.headers, answer.received_at)
    asked = "" if wait is None else f" The server asks to wait {wait:.0f} s."
    return kind(
        verdict + asked, endpoint=answer.endpoint, attempts=answer.attempt, status=answer.status,
        error_code=code, body=_text(answer), retry_after=wait,
    )


def _error(
    kind: type[CoinGeckoError], answer: Answer, verdict: str, code: int | None = None
) -> CoinGeckoError:
    return kind(
        verdict, endpoint=answer.endpoint, attempts=answer.attempt, status=answer.status,
        error_code=code, body=_text(answer),
    )


def _text(answer: Answer) -> str:
    """The start of the body, long enough for an error page to name its cause."""
    return answer.body[:20_000].decode("utf-8", "replace")
