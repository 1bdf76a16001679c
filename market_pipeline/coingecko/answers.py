"""What an answer means: either a JSON document, or one of the errors with a verdict.

The status alone does not tell: errors come under 200, HTML comes where JSON should be, 401 is also
the answer to a date too far back, and the error code sits in one of several places. Pure functions.
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
from market_pipeline.coingecko.untrusted_text import cleaned, decoded, hide

_REFUSALS = {
    (400, 10010): "this is a Pro key on the public host; set COINGECKO_PLAN=pro and no COINGECKO_BASE_URL.",
    (400, 10011): "this is a Demo key on the Pro host; set COINGECKO_PLAN=demo and no COINGECKO_BASE_URL.",
    (400, 10012): "the request asks for more items than this plan allows in one request; collect fewer coins "
                  "(MARKET_SYMBOLS) or use a paid plan.",
    (401, 10002): "the API key is missing or unknown; check COINGECKO_API_KEY (the whole key, CG-...) and "
                  "COINGECKO_PLAN.",
    (401, 10005): "this plan does not include the endpoint; get a Pro key and set COINGECKO_PLAN=pro.",
    (401, 10012): "the days asked for are older than this plan reaches (365 days without a paid plan); set "
                  "HISTORY_START later or use a paid plan. The key is not the problem.",
    (401, None): "the API key is not accepted; check COINGECKO_API_KEY and COINGECKO_PLAN.",
    (403, None): "the request is forbidden: this key's plan does not include it, or something between here "
                 "and CoinGecko refuses it; check COINGECKO_PLAN and the proxy.",
    (404, None): "CoinGecko does not know this coin id or path; check the id in MARKET_SYMBOLS (the API id "
                 "on the coin's page) and COINGECKO_BASE_URL (CoinGecko's ends in /api/v3).",
    (407, None): "the proxy asks for a user and a password; write them into its address in HTTP_PROXY or "
                 "HTTPS_PROXY.",
    (414, None): "the request is too long for a server on the way; collect fewer coins (MARKET_SYMBOLS).",
    (422, None): "a parameter cannot be read: this program and the API disagree; look for a newer version.",
}
_NO_USER_AGENT = ("CoinGecko refuses requests without a User-Agent; this program sends one, so a proxy "
                  "removes it: let the proxy pass the header on.")
_REDIRECTED = ("the server points elsewhere, and redirects are not followed because the key would travel "
               "along; check COINGECKO_BASE_URL.")
_REFUSED = "the request is refused; the body says why."
LIMITED = ("too many requests from this key or address; collect less often, or get a Demo key and set "
           "COINGECKO_PLAN=demo.")
# The same answer comes when the month's credits are gone, which no waiting mends.
STILL_LIMITED = ("still too many requests after more than a minute of waiting: the credits of this month may "
                 "be used up (they renew with the UTC month), or other programs use the same key or address. "
                 "See the usage on CoinGecko's developer dashboard; collect less often or use a larger plan.")
BANNED = ("Cloudflare has blocked this address for a while because it asked too often; stop everything that "
          "asks from it, wait {}, then collect less often.")
WALLED = ("Cloudflare refuses this address (its error {}), by a rule and not for a while; ask from another "
          "address or without a VPN.")
FAILED = "the server or the edge before it failed; the next run asks again."
NO_JSON = "{} came where JSON was expected; a proxy or a wrong COINGECKO_BASE_URL may be the cause."

_USER_AGENT = re.compile(r"user.?agent", re.IGNORECASE)


def of_refusal(status: int, code: int | None, body: str) -> str:
    """The verdict on an answer with a status from 300 to 499 and CoinGecko's error code, if any."""
    if status < 400:
        return _REDIRECTED
    if status == 403 and _USER_AGENT.search(body):
        return _NO_USER_AGENT
    return _REFUSALS.get((status, code)) or _REFUSALS.get((status, None), _REFUSED)


# The budget keeps no pause for longer; then one request finds out whether it still holds.
LONGEST_SECONDS = 3_600.0
# Longer numbers mean nothing that could be waited for.
_SECONDS = re.compile(r"\d{1,12}(\.\d+)?", re.ASCII)


def asked_wait(headers: Mapping[str, str], now: datetime) -> float | None:
    """Seconds the server asks to wait from its answer on, or None where it says nothing that can be read.

    `Retry-After` holds seconds or an HTTP date; `x-ratelimit-reset` holds the time at which the
    limit starts anew as `2025-07-25 14:54:00 +0000`, an HTTP date or UNIX seconds. The longer wait
    counts when both are there. Times are measured against the server's own `Date`, or against `now`,
    our clock, where the answer has none. `headers` must look names up in any case.
    """
    sent = server_time(headers) or now
    waits = [
        wait
        for wait in (
            _retry_after(headers.get("Retry-After", "").strip(), sent),
            _until_reset(headers.get("x-ratelimit-reset", "").strip(), sent),
        )
        if wait is not None
    ]
    return max(waits, default=None)


def is_sane(wait: float | None) -> TypeGuard[float]:
    """Whether `wait` is one that can be kept instead of a rule of our own."""
    return wait is not None and 0 < wait <= LONGEST_SECONDS


def server_time(headers: Mapping[str, str]) -> datetime | None:
    """When the server says it sent the answer, to the second; None where it does not say."""
    return _read_date(headers.get("Date", "").strip())


def _retry_after(text: str, now: datetime) -> float | None:
    if _SECONDS.fullmatch(text):
        return float(text)
    return _seconds_until(_read_date(text), now)


def _until_reset(text: str, now: datetime) -> float | None:
    if _SECONDS.fullmatch(text):
        try:
            return _seconds_until(datetime.fromtimestamp(float(text), timezone.utc), now)
        except (OverflowError, ValueError, OSError):
            return None
    try:
        return _seconds_until(datetime.strptime(text, "%Y-%m-%d %H:%M:%S %z"), now)
    except ValueError:
        return _seconds_until(_read_date(text), now)


def _read_date(text: str) -> datetime | None:
    """`Fri, 25 Jul 2025 14:54:00 GMT` as an aware time, None for anything else."""
    try:
        moment = parsedate_to_datetime(text)
    except (ValueError, TypeError, IndexError, OverflowError):
        return None
    return moment if moment.tzinfo else moment.replace(tzinfo=timezone.utc)


def _seconds_until(moment: datetime | None, now: datetime) -> float | None:
    return None if moment is None else max(0.0, (moment - now).total_seconds())


_Kind = TypeVar("_Kind", bound=CoinGeckoError)

# /coins/list holds some 20,000 objects, every other answer fewer.
MOST_PARTS = 100_000
# CoinGecko's own error codes have five digits.
_CODES = 1_000_000
_LIMITED = 429
# Cloudflare's own error codes: too many requests, and the address, country or program refused by a rule.
_TOO_FAST = 1015
_BAN_CODES = {1006, 1007, 1008, 1009, 1010, 1012, _TOO_FAST, 1020}
_BAN = re.compile(
    rf"error code: (?P<code>{'|'.join(map(str, sorted(_BAN_CODES)))})\b"
    r"|used Cloudflare to restrict access|\A\s*Throttled\s*\Z",
    re.IGNORECASE,
)


@dataclass(frozen=True)
class Answer:
    """One HTTP answer, complete, with `received_at` in UTC and the number of the attempt it answers.

    `headers` must look names up in any case; `secret` is kept out of whatever is made of the body.
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
        """The body, decoded."""
        return decoded(self.body)


def read_answer(answer: Answer) -> Any:
    """The JSON document in `answer`, cleaned; raises the CoinGeckoError that fits if it holds none."""
    document, problem = _parse(answer)
    if ban := _ban(answer, document, problem):
        raise ban
    if answer.status != 200:
        raise _failure(answer, error_code(document))
    if problem:
        raise _error(BadAnswer, answer, NO_JSON.format(problem))
    if _is_error_body(document):
        code = error_code(document)
        if code == _LIMITED:
            raise _transient(RateLimited, answer, LIMITED, code)
        raise _error(BadAnswer, answer, "an error came under status 200; the next run asks again.", code)
    return document


def error_code(document: Any) -> int | None:
    """CoinGecko's error code in any of the places where it is found, None if there is none."""
    places = [document]
    if isinstance(document, dict):
        inner = document.get("error")
        places += [document.get("status"), inner, inner.get("status") if isinstance(inner, dict) else None]
    codes = [place.get("error_code") for place in places if isinstance(place, dict)]
    return next((code for code in codes if type(code) is int and 0 <= code < _CODES), None)


def _parse(answer: Answer) -> tuple[Any, str]:
    """The document and "", or None and what the body is instead."""
    # An empty object takes two bytes to send and 64 to keep.
    if answer.text.count("{") + answer.text.count("[") > MOST_PARTS:
        return None, f"a text of more than {MOST_PARTS} parts"
    try:
        return cleaned(json.loads(answer.text), answer.secret), ""
    except (ValueError, RecursionError):
        start = answer.text.lstrip()[:1]
        what = "a web page (HTML)" if start == "<" else "an unreadable or cut text"
        return None, what if start else "an empty body"


def _is_error_body(document: Any) -> bool:
    return isinstance(document, dict) and (
        error_code(document) is not None or isinstance(document.get("error"), str)
    )


def _ban(answer: Answer, document: Any, problem: str) -> Banned | None:
    """What Cloudflare says instead of CoinGecko: a page, a line of text, or JSON of its own."""
    code = error_code(document)
    if problem:
        found = _BAN.search(_text(answer))
        if found is None:
            return None
        code = int(found["code"]) if found["code"] else None
    elif code not in _BAN_CODES:
        return None
    wait = asked_wait(answer.headers, answer.received_at)
    if code not in (None, _TOO_FAST):
        return _error(Banned, answer, WALLED.format(code), code, wait)
    how_long = f"{wait:.0f} s as it asks" if is_sane(wait) else "an hour"
    return _error(Banned, answer, BANNED.format(how_long), code, wait)


def _failure(answer: Answer, code: int | None) -> CoinGeckoError:
    if answer.status == _LIMITED:
        return _transient(RateLimited, answer, LIMITED, code)
    if answer.status == 408 or answer.status >= 500:
        return _transient(ServerFailed, answer, FAILED, code)
    if answer.status < 300:
        return _error(BadAnswer, answer, "this status is none of the documented ones.", code)
    return _error(RequestRefused, answer, of_refusal(answer.status, code, _text(answer)), code)


def _transient(
    kind: type[TransientError], answer: Answer, verdict: str, code: int | None
) -> TransientError:
    wait = asked_wait(answer.headers, answer.received_at)
    asked = "" if wait is None else f" The server asks to wait {wait:.0f} s."
    return _error(kind, answer, verdict + asked, code, wait)


def _error(
    kind: type[_Kind], answer: Answer, verdict: str, code: int | None = None, wait: float | None = None
) -> _Kind:
    return kind(
        verdict, endpoint=answer.endpoint, attempts=answer.attempt, status=answer.status,
        error_code=code, body=_text(answer), retry_after=wait,
    )


def _text(answer: Answer) -> str:
    """The start of the body, long enough for an error page to name its cause."""
    return " ".join(hide(answer.text[:20_000], answer.secret).split())
