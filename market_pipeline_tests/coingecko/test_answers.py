"""From status, headers and body to a document or to one kind of error."""

import json
from base64 import b64encode
from contextlib import suppress
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from requests.structures import CaseInsensitiveDict

from market_pipeline.coingecko.answers import HttpAnswer, error_code, read_answer, requested_wait, server_time
from market_pipeline.coingecko.errors import (
    BadAnswer,
    Banned,
    CoinGeckoError,
    PermanentError,
    RateLimited,
    RequestRefused,
    ServerFailed,
    TransientError,
)
from market_pipeline.coingecko.retries import BAN_SECONDS, cool_down_after
from market_pipeline_tests.builders import check_sentences

NOW = datetime(2026, 11, 23, 12, tzinfo=timezone.utc)


def answer(status: int, body: bytes | str | dict[str, Any], headers: dict[str, str] | None = None) -> HttpAnswer:
    if isinstance(body, dict):
        body = json.dumps(body)
    raw = body.encode() if isinstance(body, str) else body
    return HttpAnswer("/simple/price", 2, status, CaseInsensitiveDict(headers or {}), raw, NOW)


def refused(
    status: int, body: bytes | str | dict[str, Any], headers: dict[str, str] | None = None
) -> CoinGeckoError:
    with pytest.raises(CoinGeckoError) as caught:
        read_answer(answer(status, body, headers))
    return caught.value


def test_a_document_is_returned_as_it_came() -> None:
    assert read_answer(answer(200, '{"bitcoin":{"usd":7.682e-05}}')) == {"bitcoin": {"usd": 7.682e-05}}


def test_a_coin_may_be_called_status_or_error() -> None:
    document = {"status": {"usd": 1.5}, "error": {"usd": 2.5}}
    assert read_answer(answer(200, document)) == document


@pytest.mark.parametrize(
    "body",
    [
        {"error_code": 10012},
        {"error_code": 10012, "status": {"error_message": "too many"}},
        {"status": {"error_code": 10012}},
        {"error": {"error_code": 10012}},
        {"error": {"status": {"error_code": 10012}}},
    ],
)
def test_the_error_code_is_found_wherever_it_is(body: dict[str, Any]) -> None:
    assert error_code(body) == 10012


@pytest.mark.parametrize("body", [
    None, [], "x", {"error": "text"}, {"status": 500}, {"error_code": True}, {"error_code": 10**400},
])
def test_a_body_without_an_error_code_has_none(body: object) -> None:
    assert error_code(body) is None


ANSWERS: list[tuple[int, Any, type[CoinGeckoError], bool]] = [
    (400, {"error_code": 10010}, RequestRefused, True),
    (400, {"error_code": 10011}, RequestRefused, True),
    (400, {"error_code": 10012}, RequestRefused, False),
    (401, {"status": {"error_code": 10002}}, RequestRefused, True),
    (401, {"status": {"error_code": 10005}}, RequestRefused, True),
    (401, {"error": {"status": {"error_code": 10012}}}, RequestRefused, False),
    (401, {"error": "who are you"}, RequestRefused, True),
    (403, {"status": {"error_message": "add a User-Agent"}}, RequestRefused, True),
    (403, {"status": {"error_code": 403}}, RequestRefused, True),
    (404, {"error": "coin not found"}, RequestRefused, False),
    (414, "<html>", RequestRefused, False),
    (418, "I'm a teapot", RequestRefused, False),
    (422, {"error": "Missing parameter vs_currencies"}, RequestRefused, False),
    (301, "", RequestRefused, False),
    (429, {"status": {"error_code": 429}}, RateLimited, True),
    (408, "", ServerFailed, False),
    (500, {"status": 500, "error": "Internal Server Error"}, ServerFailed, False),
    (504, "<html>504</html>", ServerFailed, False),
    (520, "<html>520</html>", ServerFailed, False),
    (403, "error code: 1020", Banned, True),
    (403, {"title": "Error 1010", "error_code": 1010}, Banned, True),
    (429, {"title": "Error 1015", "error_code": 1015}, Banned, True),
    (530, "error code: 1016", ServerFailed, False),
    (429, "error code: 1015", Banned, True),
    (429, "Throttled", Banned, True),
    (200, "error code: 1015", Banned, True),
    (204, "", BadAnswer, False),
    (200, "", BadAnswer, False),
    (200, "<!DOCTYPE html><p>hello", BadAnswer, False),
    (200, '{"bitcoin":{"usd":1', BadAnswer, False),
    (200, b"\xff\xfe\xfa", BadAnswer, False),
    (200, "[" * 100_000, BadAnswer, False),
    (200, "1" * 5_000, BadAnswer, False),
    (200, {"status": {"error_code": 429}}, RateLimited, True),
    (200, {"status": {"error_code": 10012}}, BadAnswer, False),
    (200, {"error": "coin not found"}, BadAnswer, False),
]


@pytest.mark.parametrize(("status", "body", "kind", "affects_all"), ANSWERS)
def test_each_answer_is_classified(
    status: int, body: Any, kind: type[CoinGeckoError], affects_all: bool
) -> None:
    error = refused(status, body)
    assert type(error) is kind
    assert error.affects_all is affects_all


def test_each_verdict_says_what_to_do() -> None:
    """What a person reads; two refusals with the same verdict could not be distinguished."""
    found = [(f"{status} {body!r:.60}", refused(status, body)) for status, body, _, _ in ANSWERS]
    refusals = [error.verdict for _, error in found if isinstance(error, RequestRefused)]
    assert len(refusals) == len(set(refusals))
    check_sentences(Path(__file__).with_name("sentences.txt"), [f"{what}: {error.verdict}" for what, error in found])


def test_an_error_carries_all_that_is_needed_to_act() -> None:
    error = refused(429, {"status": {"error_code": 429, "error_message": "y" * 900}}, {"retry-after": "7"})
    assert isinstance(error, RateLimited)
    assert (error.status, error.endpoint, error.attempts, error.error_code) == (429, "/simple/price", 2, 429)
    assert error.retry_after == 7
    message = str(error)
    assert message.startswith("GET /simple/price answered 429 (error code 429) on attempt 2: too many")
    assert 300 < message.count("y") < 520
    assert len(error.body) == 500


@pytest.mark.parametrize(
    ("requested", "pause", "words"),
    [
        ("30", 30, "asked to wait 30 s"),
        ("3600", 3_600, "asked to wait 3600 s"),
        ("0", BAN_SECONDS, "our rule is an hour"),
        ("86400", BAN_SECONDS, "our rule is an hour"),
        ("soon", BAN_SECONDS, "our rule is an hour"),
    ],
)
def test_the_servers_own_number_ends_a_block_where_it_is_sane(requested: str, pause: float, words: str) -> None:
    error = refused(429, "error code: 1015", {"retry-after": requested})
    seconds, reason = cool_down_after(error)
    assert (type(error), seconds) == (Banned, pause)
    assert words in reason
    assert ("wait an hour" if pause == BAN_SECONDS and requested != "3600" else f"wait {requested} s") in error.verdict


KEY = "CG-aB3dE5fG7hJ9kL1mN3pQ5rS7"
SPELT = {
    "as it is": KEY,
    "in lower case": KEY.lower(),
    "escaped for JSON": KEY.replace("-", "\\u002d").replace("a", "\\u0061"),
    "escaped twice": KEY.replace("-", "\\\\u002D"),
    "percent-encoded": "".join(f"%{ord(char):02X}" for char in KEY),
    "percent-encoded twice": KEY.replace("-", "%252d"),
    "escaped for HTML": KEY.replace("-", "&#45;").replace("a", "&#x61;"),
    "with zeros in between": "\\u0000".join(KEY),
    "in hex": KEY.encode().hex(),
    **{f"in base64 from {place}": b64encode((place + KEY).encode()).decode() for place in ("", "u", "u:")},
}


@pytest.mark.parametrize("encoding", ["utf-8", "utf-16-le"])
@pytest.mark.parametrize("spelt", SPELT)
def test_the_key_is_hidden_however_it_is_spelt(spelt: str, encoding: str) -> None:
    """In documents, in the names of their objects, and in the text of errors."""
    echo = SPELT[spelt]
    document = f'{{"bitcoin {echo}": ["x {echo} y"]}}'.encode(encoding)
    texts = [json.dumps(read_answer(HttpAnswer("/x", 1, 200, {}, document, NOW, KEY)))]
    for body in (f'{{"error": "no key like {echo}"}}', f"<p>{echo}", f'{{"error": "cut {echo}'):
        with pytest.raises(CoinGeckoError) as caught:
            read_answer(HttpAnswer("/x", 1, 401, {}, body.encode(encoding), NOW, KEY))
        texts.append(str(caught.value))
    assert [text for text in texts if "[hidden]" not in text or echo in text] == []
    assert texts[0].count("[hidden]") == 2


def test_what_does_not_print_is_escaped_and_white_space_of_a_page_is_one_space() -> None:
    odd = '{"a\\u0000": "\\ud800 \\u202e \\n \\u00e9 \\ud83d\\ude00"}'
    assert read_answer(answer(200, odd)) == {"a\\x00": "\\ud800 \\u202e \\n \u00e9 \U0001f600"}
    assert refused(500, b"<p>\r\n one\x00 \x1b[31m \xff</p>").body == "<p> one\\x00 \\x1b[31m \ufffd</p>"


def test_a_text_of_more_parts_than_any_answer_has_is_not_even_parsed() -> None:
    assert "more than 100000 parts" in refused(200, "[" + "{}," * 100_000 + "{}]").verdict


@given(
    st.integers(200, 599),
    st.one_of(
        st.binary(),
        st.recursive(
            st.none() | st.booleans() | st.floats() | st.text() | st.integers(),
            lambda inner: st.lists(inner) | st.dictionaries(
                st.sampled_from(["status", "error", "error_code", "error_message"]) | st.text(), inner
            ),
        ).map(lambda value: json.dumps(value).encode()),
    ),
)
def test_whatever_comes_is_a_document_or_one_of_the_errors(status: int, body: bytes) -> None:
    with suppress(TransientError, PermanentError):
        read_answer(answer(status, body))
        assert status == 200


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [
        ({}, None),
        ({"retry-after": "60"}, 60),
        ({"Retry-After": " 2.5 "}, 2.5),
        ({"Retry-After": "Mon, 23 Nov 2026 12:00:30 GMT"}, 30),
        ({"Retry-After": "Mon, 23 Nov 2026 12:00:30"}, 30),
        ({"Retry-After": "Mon, 23 Nov 2026 11:00:00 GMT"}, 0),
        ({"Retry-After": "soon"}, None),
        ({"Retry-After": "-5"}, None),
        ({"Retry-After": "nan"}, None),
        ({"Retry-After": "9" * 300}, None),
        ({"x-ratelimit-reset": "2026-11-23 12:00:30 +0000"}, 30),
        ({"x-ratelimit-reset": "2026-11-23 14:00:30 +0200"}, 30),
        ({"x-ratelimit-reset": "Mon, 23 Nov 2026 12:00:30 GMT"}, 30),
        ({"x-ratelimit-reset": str(NOW.timestamp() + 12)}, 12),
        ({"x-ratelimit-reset": str(int(NOW.timestamp() * 1_000_000))}, None),
        ({"x-ratelimit-reset": "junk"}, None),
        ({"Retry-After": "10", "x-ratelimit-reset": "2026-11-23 12:00:30 +0000"}, 30),
        ({"Retry-After": "junk", "x-ratelimit-reset": "2026-11-23 12:00:30 +0000"}, 30),
        ({"Date": "Mon, 23 Nov 2026 15:00:00 GMT", "Retry-After": "Mon, 23 Nov 2026 15:00:30 GMT"}, 30),
        ({"Date": "Mon, 23 Nov 2026 11:00:00 GMT", "x-ratelimit-reset": "2026-11-23 11:00:30 +0000"}, 30),
        ({"Date": "today", "Retry-After": "Mon, 23 Nov 2026 12:00:30 GMT"}, 30),
    ],
)
def test_the_wait_that_a_server_asks_for_is_read(headers: dict[str, str], seconds: float | None) -> None:
    """A time is measured by the clock of the server that sends it; ours may be wrong by hours."""
    wait = requested_wait(CaseInsensitiveDict(headers), NOW)
    assert wait == (seconds if seconds is None else pytest.approx(seconds))


@pytest.mark.parametrize("text", ["", "soon", "Fri, 25 Jul 99999 14:53:30 GMT"])
def test_a_date_that_cannot_be_read_is_none(text: str) -> None:
    assert server_time(CaseInsensitiveDict({"Date": text})) is None


@given(st.text(), st.text(), st.text())
def test_no_header_raises(after: str, reset: str, date: str) -> None:
    headers = {"Retry-After": after, "x-ratelimit-reset": reset, "Date": date}
    wait = requested_wait(CaseInsensitiveDict(headers), NOW)
    assert wait is None or wait >= 0
