"""What an answer means: either a JSON document, or one of the errors with a verdict.

The status alone does not tell: errors come under 200, HTML comes where JSON should be, 401 is also
the answer to a date too far back, and the error code sits in one of several places. Pure functions.
"""

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from functools import cached_property
from typing import Any, TypeVar

from market_pipeline.coingecko import verdicts
from market_pipeline.coingecko.errors import (
    BadAnswer, Banned, CoinGeckoError, RateLimited, RequestRefused, ServerFailed, TransientError,
)
from market_pipeline.coingecko.hiding import cleaned, decoded, hide
from market_pipeline.coingecko.waits import asked_wait, is_sane

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
        raise _error(BadAnswer, answer, verdicts.NO_JSON.format(problem))
    if _is_error_body(document):
        code = error_code(document)
        if code == _LIMITED:
            raise _transient(RateLimited, answer, verdicts.LIMITED, code)
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
        return _error(Banned, answer, verdicts.WALLED.format(code), code, wait)
    how_long = f"{wait:.0f} s as it asks" if is_sane(wait) else "an hour"
    return _error(Banned, answer, verdicts.BANNED.format(how_long), code, wait)


def _failure(answer: Answer, code: int | None) -> CoinGeckoError:
    if answer.status == _LIMITED:
        return _transient(RateLimited, answer, verdicts.LIMITED, code)
    if answer.status == 408 or answer.status >= 500:
        return _transient(ServerFailed, answer, verdicts.FAILED, code)
    if answer.status < 300:
        return _error(BadAnswer, answer, "this status is none of the documented ones.", code)
    return _error(RequestRefused, answer, verdicts.of_refusal(answer.status, code, _text(answer)), code)


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
