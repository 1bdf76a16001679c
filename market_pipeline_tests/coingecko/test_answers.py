"""From status, headers and body to a document or to one kind of error."""

import json
from base64 import b64encode
from datetime import datetime, timezone
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from requests.structures import CaseInsensitiveDict

from market_pipeline.coingecko.answers import HttpAnswer, error_code, read_answer
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
def test_a_body_without_an_error_code_has_none(body: Any) -> None:
    assert error_code(body) is None


@pytest.mark.parametrize(
    ("status", "body", "kind", "affects_all", "words"),
    [
        (400, {"error_code": 10010}, RequestRefused, True, "Pro key on the public host"),
        (400, {"error_code": 10011}, RequestRefused, True, "Demo key on the Pro host"),
        (400, {"error_code": 10012}, RequestRefused, False, "more items"),
        (401, {"status": {"error_code": 10002}}, RequestRefused, True, "COINGECKO_API_KEY"),
        (401, {"status": {"error_code": 10005}}, RequestRefused, True, "COINGECKO_PLAN=pro"),
        (401, {"error": {"status": {"error_code": 10012}}}, RequestRefused, False, "HISTORY_START"),
        (401, {"error": "who are you"}, RequestRefused, True, "not accepted"),
        (403, {"status": {"error_message": "add a User-Agent"}}, RequestRefused, True, "a proxy removes it"),
        (403, {"status": {"error_code": 403}}, RequestRefused, True, "this key's plan does not include it"),
        (404, {"error": "coin not found"}, RequestRefused, False, "MARKET_SYMBOLS"),
        (414, "<html>", RequestRefused, False, "fewer coins"),
        (418, "I'm a teapot", RequestRefused, False, "the body says why"),
        (422, {"error": "Missing parameter vs_currencies"}, RequestRefused, False, "parameter"),
        (301, "", RequestRefused, False, "redirects are not followed"),
        (429, {"status": {"error_code": 429}}, RateLimited, True, "Demo key"),
        (408, "", ServerFailed, False, "the next run"),
        (500, {"status": 500, "error": "Internal Server Error"}, ServerFailed, False, "the next run"),
        (504, "<html>504</html>", ServerFailed, False, "the next run"),
        (520, "<html>520</html>", ServerFailed, False, "the next run"),
        (403, "error code: 1020", Banned, True, "permanently by a rule"),
        (403, {"title": "Error 1010", "error_code": 1010}, Banned, True, "(its error 1010)"),
        (429, {"title": "Error 1015", "error_code": 1015}, Banned, True, "wait an hour"),
        (530, "error code: 1016", ServerFailed, False, "the next run"),
        (429, "error code: 1015", Banned, True, "wait an hour"),
        (429, "Throttled", Banned, True, "wait an hour"),
        (200, "error code: 1015", Banned, True, "blocked"),
        (204, "", BadAnswer, False, "none of the documented"),
        (200, "", BadAnswer, False, "an empty body"),
        (200, "<!DOCTYPE html><p>hello", BadAnswer, False, "a web page (HTML)"),
        (200, '{"bitcoin":{"usd":1', BadAnswer, False, "truncated"),
        (200, b"\xff\xfe\xfa", BadAnswer, False, "unreadable"),
        (200, "[" * 100_000, BadAnswer, False, "unreadable"),
        (200, "1" * 5_000, BadAnswer, False, "unreadable"),
        (200, {"status": {"error_code": 429}}, RateLimited, True, "Demo key"),
        (200, {"status": {"error_code": 10012}}, BadAnswer, False, "under status 200"),
        (200, {"error": "coin not found"}, BadAnswer, False, "under status 200"),
    ],
)
def test_each_answer_is_classified_with_a_verdict(
    status: int, body: Any, kind: type[CoinGeckoError], affects_all: bool, words: str
) -> None:
    error = refused(status, body)
    assert type(error) is kind
    assert error.affects_all is affects_all
    assert words in error.verdict


def test_an_error_carries_all_that_is_needed_to_act() -> None:
    error = refused(429, {"status": {"error_code": 429, "error_message": "y" * 900}}, {"retry-after": "7"})
    assert isinstance(error, RateLimited)
    assert (error.status, error.endpoint, error.attempts, error.error_code) == (429, "/simple/price", 2, 429)
    assert error.retry_after == 7
    message = str(error)
    assert message.startswith("GET /simple/price answered 429 (error code 429) on attempt 2: too many")
    assert "asks to wait 7 s" in message
    assert 300 < message.count("y") < 520
    assert len(error.body) == 500


@pytest.mark.parametrize(
    ("asked", "pause", "words"),
    [
        ("30", 30, "asked to wait 30 s"),
        ("3600", 3_600, "asked to wait 3600 s"),
        ("0", BAN_SECONDS, "our rule is an hour"),
        ("86400", BAN_SECONDS, "our rule is an hour"),
        ("soon", BAN_SECONDS, "our rule is an hour"),
    ],
)
@pytest.mark.parametrize("body", ["Throttled", "error code: 1015"])
def test_the_servers_own_number_ends_a_block_where_it_is_sane(
    asked: str, pause: float, words: str, body: str
) -> None:
    error = refused(429, body, {"retry-after": asked})
    seconds, reason = cool_down_after(error)
    assert (type(error), seconds) == (Banned, pause)
    assert words in reason
    assert ("wait an hour" if pause == BAN_SECONDS and asked != "3600" else f"wait {asked} s") in error.verdict


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


@pytest.mark.parametrize("encoding", ["utf-8", "utf-16", "utf-16-le", "utf-32-be"])
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
    try:
        read_answer(answer(status, body))
    except CoinGeckoError as error:
        assert isinstance(error, (TransientError, PermanentError))
    else:
        assert status == 200
