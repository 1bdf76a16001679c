"""CoinGecko's error answers: the status, the body in one of its five shapes, and the headers.

The texts were recorded or reported. Where only the code of an error is known, the message is ours.
"""

import math
from collections.abc import Mapping
from dataclasses import replace
from datetime import datetime, timezone
from http import HTTPStatus

from market_pipeline.simulator.messages import HTML_TYPE, TEXT_TYPE, Answer, json_answer

_PRICING = "https://www.coingecko.com/en/api/pricing"
_RATE_LIMIT = (
    f"You've exceeded the Rate Limit. Please visit {_PRICING} to subscribe to our API plans "
    "for higher rate limits."
)
_TIME_RANGE = (
    "Your request exceeds the allowed time range. Public API users are limited to querying historical data "
    "within the past 365 days. Upgrade to a paid plan to enjoy full historical data access: "
    f"{_PRICING}. "
)
_PRO_KEY_ON_PUBLIC_HOST = (
    "If you are using Pro API key, please change your root URL from api.coingecko.com to "
    "pro-api.coingecko.com Please refer here for more details: "
    "https://docs.coingecko.com/reference/introduction"
)
_DEMO_KEY_ON_PRO_HOST = (
    "If you are using Demo API key, please change your root URL from pro-api.coingecko.com to "
    "api.coingecko.com Please refer here for more details: "
    "https://docs.coingecko.com/v3.0.1/reference/introduction"
)
_USER_AGENT = (
    "Please add a descriptive User-Agent to your request. For higher rate limits & stable integration, "
    f"please subscribe to our API plans: {_PRICING} . If you think this is a mistake, please report here: "
    "https://forms.gle/3V2z8Mb3k2RMu5S2A"
)
_PRO_ONLY = f"This request is limited to PRO API subscribers. Please visit {_PRICING} to subscribe."
_TOO_MANY_ADDRESSES = (
    "Number of contract addresses in the request exceeds the allowed limit (10 addresses). "
    f"Upgrade to a paid plan: {_PRICING}"
)


def plain(status: int, message: str) -> Answer:
    """Return `{"error": message}`, the shape for wrong parameters and unknown coins."""
    return json_answer({"error": message}, status)


def incorrect_path() -> Answer:
    """Return the 404 for a path that is not served."""
    return plain(404, "Incorrect path. Please check https://www.coingecko.com/api/")


def throttled() -> Answer:
    """Return the edge's shortest refusal."""
    return Answer(429, b"Throttled", TEXT_TYPE)


def redirect(key: str) -> Answer:
    """Return a 302 to a closed port that repeats the key, as a careless server would."""
    target = f"http://127.0.0.1:9/moved?key={key}"
    body = f'<html><body>You are being <a href="{target}">redirected</a>.</body></html>'
    return Answer(302, body.encode(), HTML_TYPE, {"Location": target, "X-Key": key})


def echo(key: str) -> Answer:
    """Return a 401 that repeats the key."""
    body = {"status": {"error_code": 10002, "error_message": f"The API key {key} is unknown"}}
    return json_answer(body, 401, {"X-Key": key})


def by_status(status: int, code: int | None, now: datetime) -> Answer:
    """Return what CoinGecko (or the edge before it) answers with `status`.

    `code` is the error code in the body and selects one where a status has several: 10010, 10011 or 10012 under
    400; 10002, 10005 or 10012 under 401; 1015 and 1020 for the edge's own refusals, which are HTML or plain text.
    Without it the most common is taken.
    """
    answer = _coded(status, code or {400: 10010, 401: 10002}.get(status, status), now)
    return answer or plain(status, _phrase(status))


def _coded(status: int, code: int, now: datetime) -> Answer | None:
    match status, code:
        case 400, 10010:
            return _dated(status, code, _PRO_KEY_ON_PUBLIC_HOST, now)
        case 400, 10011:
            return _dated(status, code, _DEMO_KEY_ON_PRO_HOST, now)
        case 400, 10012:
            return _dated(status, code, _TOO_MANY_ADDRESSES, now)
        case 401, 10002:
            return _coded_status(status, code, "API Key Missing")
        case 401, 10005:
            return _coded_status(status, code, _PRO_ONLY)
        case 401, 10012:
            inner = {"timestamp": _stamp(now), "error_code": code, "error_message": _TIME_RANGE}
            return json_answer({"error": {"status": inner}}, status)
        case 403, 403:
            return _coded_status(status, code, _USER_AGENT)
        case 404, _:
            return plain(404, "coin not found")
        case 429, 429:
            return _coded_status(status, code, _RATE_LIMIT)
        case 500, 500:
            return json_answer({"status": 500, "error": "Internal Server Error"}, status)
        case (403 | 429), 1015:
            return Answer(status, b"error code: 1015", TEXT_TYPE)
        case (403 | 429), 1020:
            return page(status, "Access denied | api.coingecko.com used Cloudflare to restrict access")
        case (414 | 502 | 503 | 504 | 520 | 521 | 522 | 524), _:
            return page(status, f"api.coingecko.com | {status}: {_phrase(status)}")
    return None


def _phrase(status: int) -> str:
    """Return the reason phrase; some statuses (from 520 on) are the edge's own and not registered."""
    return HTTPStatus(status).phrase if status in set(HTTPStatus) else "Unknown Error"


def page(status: int, title: str) -> Answer:
    """Return an HTML page such as the edge serves."""
    head = f"<head>\n<title>{title}</title>\n</head>"
    body = f'<!DOCTYPE html>\n<html lang="en-US">\n{head}\n<body></body>\n</html>\n'
    return Answer(status, body.encode(), HTML_TYPE)


def with_headers(answer: Answer, headers: Mapping[str, str]) -> Answer:
    """Add headers to `answer`."""
    return replace(answer, headers={**answer.headers, **headers})


def rate_limit_headers(limit: int, reset: datetime) -> dict[str, str]:
    """Return the headers of a keyed 429: a whole UTC minute, at or after `reset`, in CoinGecko's own format."""
    minute = datetime.fromtimestamp(math.ceil(reset.timestamp() / 60) * 60, timezone.utc)
    return {
        "x-ratelimit-limit": str(limit),
        "x-ratelimit-remaining": "0",
        "x-ratelimit-reset": minute.strftime("%Y-%m-%d %H:%M:%S +0000"),
    }


def _coded_status(status: int, code: int, message: str) -> Answer:
    return json_answer({"status": {"error_code": code, "error_message": message}}, status)


def _dated(status: int, code: int, message: str, now: datetime) -> Answer:
    document = {"timestamp": _stamp(now), "error_code": code, "status": {"error_message": message}}
    return json_answer(document, status)


def _stamp(now: datetime) -> str:
    whole = now.replace(microsecond=now.microsecond // 1000 * 1000)
    return whole.astimezone(timezone.utc).isoformat(timespec="milliseconds")
