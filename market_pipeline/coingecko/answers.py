"""What an answer means: a JSON document, or one of the errors with a verdict. Pure functions.

The status alone does not decide: errors arrive with status 200, HTML arrives instead of JSON, 401 is also the answer to
a date too far in the past, and the error code is in one of several places.
"""

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timezone
from email.utils import parsedate_to_datetime
from functools import cached_property
from typing import Any, TypeGuard, TypeVar

from market_pipeline.coingecko.errors import (
    BadAnswer,
    Banned,
    CoinGeckoError,
    RateLimited,
    RequestRefused,
    ServerFailed,
    TransientError,
)
from market_pipeline.coingecko.untrusted_text import clean_document, clean_text, decode

# By status and CoinGecko's error code.
_REFUSALS = {
    (400, 10010): "this is a Pro key on the public host; set COINGECKO_PLAN=pro and no COINGECKO_BASE_URL.",
    (400, 10011): "this is a Demo key on the Pro host; set COINGECKO_PLAN=demo and no COINGECKO_BASE_URL.",
    (400, 10012): "the request names more items than this plan allows in one request; collect fewer coins "
                  "(MARKET_SYMBOLS) or use a paid plan.",
    (401, 10002): "the API key is missing or unknown; check COINGECKO_API_KEY (the whole key, CG-...) and "
                  "COINGECKO_PLAN.",
    (401, 10005): "this plan does not include the endpoint; get a Pro key and set COINGECKO_PLAN=pro.",
    (401, 10012): "the requested days are older than this plan's history (365 days without a paid plan); set "
                  "HISTORY_START later or use a paid plan. The key is not the problem.",
    (401, None): "the API key is not accepted; check COINGECKO_API_KEY and COINGECKO_PLAN.",
    (403, None): "the request is forbidden: this key's plan does not include it, or a proxy on the way to "
                 "CoinGecko refuses it; check COINGECKO_PLAN and the proxy.",
    (404, None): "CoinGecko does not know this coin id or path; check the id in MARKET_SYMBOLS (the API id "
                 "on the coin's page) and COINGECKO_BASE_URL (CoinGecko's ends in /api/v3).",
    (407, None): "the proxy requires a user and a password; add them to its address in HTTP_PROXY or "
                 "HTTPS_PROXY.",
    (414, None): "the request is too long for a server on the way; collect fewer coins (MARKET_SYMBOLS).",
    (422, None): "a parameter is invalid: this program and the API disagree; look for a newer version.",
}
_NO_USER_AGENT = ("CoinGecko refuses requests without a User-Agent; this program sends one, so a proxy "
                  "removes it: configure the proxy to pass the header on.")
_REDIRECTED = ("the server redirects, and redirects are not followed because the key would be sent along; "
               "check COINGECKO_BASE_URL.")
_REFUSED = "the request is refused; the body says why."
_LIMITED = ("too many requests from this key or address; collect less often, or get a Demo key and set "
            "COINGECKO_PLAN=demo.")
# The same answer comes when the month's credits are used up, and then no waiting helps.
STILL_LIMITED = ("still too many requests after more than a minute of waiting: the credits of this month may "
                 "be used up (they renew with the UTC month), or other programs use the same key or address. "
                 "See the usage on CoinGecko's developer dashboard; collect less often or use a larger plan.")
_BANNED = ("Cloudflare has temporarily blocked this address after too many requests; stop everything that "
           "sends requests from it, wait {}, then collect less often.")
_WALLED = ("Cloudflare refuses this address permanently by a rule (its error {}); use another address or no VPN.")
_FAILED = "the server or its edge failed; the next run tries again."
_NO_JSON = "{} arrived instead of JSON; a proxy or a wrong COINGECKO_BASE_URL may be the cause."

_USER_AGENT = re.compile(r"user.?agent", re.IGNORECASE)

# The longest pause that the budget observes; then one request finds out whether the limit still holds.
LONGEST_SECONDS = 3_600.0
# Longer numbers are no usable wait.
_SECONDS = re.compile(r"\d{1,12}(\.\d+)?", re.ASCII)

# /coins/list has some 20,000 objects, every other answer fewer.
_MOST_PARTS = 100_000
# CoinGecko's own error codes have five digits.
_CODES = 1_000_000
_TOO_MANY_REQUESTS = 429
# Cloudflare's own error codes: too many requests, and the address, country or program refused by a rule.
_TOO_FAST = 1015
_BAN_CODES = {1006, 1007, 1008, 1009, 1010, 1012, _TOO_FAST, 1020}
_BAN = re.compile(
    rf"error code: (?P<code>{'|'.join(map(str, sorted(_BAN_CODES)))})\b"
    r"|used Cloudflare to restrict access|\A\s*Throttled\s*\Z",
    re.IGNORECASE,
)

_Kind = TypeVar("_Kind", bound=CoinGeckoError)


@dataclass(frozen=True)
class HttpAnswer:
    """One complete HTTP answer, received at `received_at` (aware, UTC) to attempt number `attempt`.

    `headers` must be case-insensitive; `secret` is removed from everything made of the body.
    """

    endpoint: str
    attempt: int
    status: int
    headers: Mapping[str, str]
    body: bytes
    received_at: datetime
    secret: str | None = None

    @cached_property
    def text(self) -> str:
        """The decoded body."""
        return decode(self.body)


def read_answer(answer: HttpAnswer) -> Any:
    """Return the cleaned JSON document in `answer`; raise the fitting CoinGeckoError if it holds none."""
    document, problem = _parse(answer)
    code = error_code(document)
    if ban := _ban(answer, code, problem):
        raise ban
    if answer.status != 200:
        raise _failure(answer, code)
    if problem:
        raise _error(BadAnswer, answer, _NO_JSON.format(problem))
    if code == _TOO_MANY_REQUESTS:
        raise _error(RateLimited, answer, _LIMITED, code)
    if code is not None or (isinstance(document, dict) and isinstance(document.get("error"), str)):
        raise _error(BadAnswer, answer, "the answer is an error under status 200; the next run tries again.", code)
    return document


def error_code(document: Any) -> int | None:
    """Return CoinGecko's error code from any of the places where it occurs, None if there is none."""
    places = [document]
    if isinstance(document, dict):
        inner = document.get("error")
        places += [document.get("status"), inner, inner.get("status") if isinstance(inner, dict) else None]
    codes = [place.get("error_code") for place in places if isinstance(place, dict)]
    return next((code for code in codes if type(code) is int and 0 <= code < _CODES), None)


def requested_wait(headers: Mapping[str, str], now: datetime) -> float | None:
    """Return how many seconds after the answer the server asks to wait, None if it names no readable time.

    `Retry-After` holds seconds or an HTTP date; `x-ratelimit-reset` holds the time of renewal as
    `2025-07-25 14:54:00 +0000`, an HTTP date or UNIX seconds. The longer wait counts. Times are measured
    against the server's own `Date`, or against `now`, our clock, if it sends none. `headers` must be
    case-insensitive.
    """
    sent_at = server_time(headers) or now
    after = headers.get("Retry-After", "").strip()
    wait = float(after) if _SECONDS.fullmatch(after) else _seconds_until(_read_date(after), sent_at)
    reset = _seconds_until(_read_reset(headers.get("x-ratelimit-reset", "").strip()), sent_at)
    return max((seconds for seconds in (wait, reset) if seconds is not None), default=None)


def is_sane(wait: float | None) -> TypeGuard[float]:
    """Return whether `wait` may replace our own rule."""
    return wait is not None and 0 < wait <= LONGEST_SECONDS


def server_time(headers: Mapping[str, str]) -> datetime | None:
    """Return when the server sent the answer, to the second; None if it does not say."""
    return _read_date(headers.get("Date", "").strip())


def _read_reset(text: str) -> datetime | None:
    try:
        if _SECONDS.fullmatch(text):
            return datetime.fromtimestamp(float(text), timezone.utc)
        return datetime.strptime(text, "%Y-%m-%d %H:%M:%S %z")
    except (OverflowError, ValueError, OSError):
        return _read_date(text)


def _read_date(text: str) -> datetime | None:
    """Read `Fri, 25 Jul 2025 14:54:00 GMT` as an aware time, anything else as None."""
    try:
        moment = parsedate_to_datetime(text)
    except (ValueError, TypeError, IndexError, OverflowError):
        return None
    return moment if moment.tzinfo else moment.replace(tzinfo=timezone.utc)


def _seconds_until(moment: datetime | None, now: datetime) -> float | None:
    return None if moment is None else max(0.0, (moment - now).total_seconds())


def _parse(answer: HttpAnswer) -> tuple[Any, str]:
    """Return the document and "", or None and what the body is instead."""
    # An empty object takes 2 bytes in the body and 64 in memory.
    if answer.text.count("{") + answer.text.count("[") > _MOST_PARTS:
        return None, f"a text of more than {_MOST_PARTS} parts"
    try:
        return clean_document(json.loads(answer.text), answer.secret), ""
    except (ValueError, RecursionError):
        start = answer.text.lstrip()[:1]
        what = "a web page (HTML)" if start == "<" else "an unreadable or truncated text"
        return None, what if start else "an empty body"


def _ban(answer: HttpAnswer, code: int | None, problem: str) -> Banned | None:
    """Return the error if Cloudflare answered instead of CoinGecko: with a page, a line of text or its own JSON."""
    if problem:
        found = _BAN.search(_body_text(answer))
        if found is None:
            return None
        code = int(found["code"]) if found["code"] else None
    elif code not in _BAN_CODES:
        return None
    if code not in (None, _TOO_FAST):
        return _error(Banned, answer, _WALLED.format(code), code)
    wait = requested_wait(answer.headers, answer.received_at)
    how_long = f"{wait:.0f} s as it asks" if is_sane(wait) else "an hour"
    return _error(Banned, answer, _BANNED.format(how_long), code)


def _failure(answer: HttpAnswer, code: int | None) -> CoinGeckoError:
    if answer.status == _TOO_MANY_REQUESTS:
        return _error(RateLimited, answer, _LIMITED, code)
    if answer.status == 408 or answer.status >= 500:
        return _error(ServerFailed, answer, _FAILED, code)
    if answer.status < 300:
        return _error(BadAnswer, answer, "this status is not documented.", code)
    if answer.status < 400:
        return _error(RequestRefused, answer, _REDIRECTED, code)
    if answer.status == 403 and _USER_AGENT.search(_body_text(answer)):
        return _error(RequestRefused, answer, _NO_USER_AGENT, code)
    by_code, by_status = _REFUSALS.get((answer.status, code)), _REFUSALS.get((answer.status, None))
    return _error(RequestRefused, answer, by_code or by_status or _REFUSED, code)


def _error(kind: type[_Kind], answer: HttpAnswer, verdict: str, code: int | None = None) -> _Kind:
    """Build the error; only what is transient or a ban has a wait, and the latter names it in its verdict."""
    wait = requested_wait(answer.headers, answer.received_at) if issubclass(kind, (TransientError, Banned)) else None
    if wait is not None and issubclass(kind, TransientError):
        verdict += f" The server asks to wait {wait:.0f} s."
    return kind(
        verdict,
        endpoint=answer.endpoint,
        attempts=answer.attempt,
        status=answer.status,
        error_code=code,
        body=_body_text(answer),
        retry_after=wait,
    )


def _body_text(answer: HttpAnswer) -> str:
    """Return the start of the body, long enough for an error page to name its cause."""
    return " ".join(clean_text(answer.text[:20_000], answer.secret).split())
