"""Secrets are hidden however they are spelt; ordinary text stays as it is."""

import json
import time
from collections.abc import Callable, Iterator
from datetime import datetime, timezone
from typing import Any
from urllib.parse import quote, quote_plus

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from sqlalchemy.engine import URL

from market_pipeline.logs.redaction import HIDDEN, Masker, secrets_of
from market_pipeline.settings import load_settings
from market_pipeline_tests.canaries import KEY, PASSWORD, PASSWORD_IN_URL, heard

ODD = ['Kanarienvogel"quoted"', "Kanarienvogel\\back\\slash", "Kanarienvogel'apo'", "Kanarienvogel mit Leerzeichen",
       "Kanarienvogel\tTab\nZeile", "Kanarienvögel-ÄΣ", "Kanarienvogel%41%", "Kanarienvogel+{}[]$^.*",
       "鳥鳥鳥鳥Kanarienvogel"]


@pytest.mark.parametrize("secret", [KEY, PASSWORD, *ODD])
def test_a_secret_is_hidden_in_every_spelling(secret: str) -> None:
    spelt = [
        secret, secret.upper(), quote(secret), quote(secret, safe=""), quote_plus(secret), json.dumps(secret),
        repr(secret),
        json.dumps(secret, ensure_ascii=False), quote(secret, safe="").lower(), json.dumps({"a": [secret]}),
        str(URL.create("postgresql", "me", secret, "host").render_as_string(hide_password=False)),
        f"x{secret}y", f"password={secret}!", f"/{secret}/", quote(quote(secret, safe=""), safe=""),
        json.dumps(secret).replace("/", "\\/"),
    ]
    for text in spelt:
        shown = Masker([secret]).text(f"before {text} after")
        assert heard("text", shown) == [], shown
        assert shown.startswith("before ") and shown.endswith(" after") and HIDDEN in shown


@given(st.text(min_size=8, max_size=40), st.text(max_size=20), st.text(max_size=20))
@example("0" * 8, "0", "0")
@example("password=", "", "password=")
def test_whatever_a_password_consists_of_it_is_hidden(password: str, before: str, after: str) -> None:
    shown = Masker([password]).text(f"{before} {password} {after}")
    assert password not in shown.replace(HIDDEN, "\0") or password in HIDDEN


@pytest.mark.parametrize(("text", "shown"), [
    (f"postgresql+psycopg2://me:{PASSWORD_IN_URL}@host:5432/prices", f"postgresql+psycopg2://me:{HIDDEN}@host:5432/prices"),
    (f"postgresql://me:{PASSWORD}@host/prices is down", f"postgresql://me:{HIDDEN}@host/prices is down"),
    (f"proxy http://:{PASSWORD_IN_URL}@proxy:3128", f"proxy http://:{HIDDEN}@proxy:3128"),
    (f"http://me:{PASSWORD_IN_URL}@[::1]:80/x", f"http://me:{HIDDEN}@[::1]:80/x"),
    (f"the key {KEY} is unknown", f"the key {HIDDEN} is unknown"),
    (f"/ping?x_cg_pro_api_key={KEY[3:]}&a=1", f"/ping?x_cg_pro_api_key={HIDDEN}&a=1"),
    (f"/ping?x_cg_demo_api_key={KEY[3:]}", f"/ping?x_cg_demo_api_key={HIDDEN}"),
    ("{'x-cg-pro-api-key': 'Kanarienvogel7'}", f"{{'x-cg-pro-api-key': '{HIDDEN}'}}"),
    ("X-CG-DEMO-API-KEY: Kanarienvogel7", f"X-CG-DEMO-API-KEY: {HIDDEN}"),
    ("url=h%3Fx_cg_pro_api_key%3DKanarienvogel7", f"url=h%3Fx_cg_pro_api_key%3D{HIDDEN}"),
    ("[('x-cg-pro-api-key', 'Kanarienvogel')]", f"[('x-cg-pro-api-key', '{HIDDEN}')]"),
    ("{b'x-cg-pro-api-key': b'Kanarienvogel'}", f"{{b'x-cg-pro-api-key': b'{HIDDEN}'}}"),
    ("Authorization: Bearer Kanarienvogel", f"Authorization: Bearer {HIDDEN}"),
    ("[(b'authorization', b'Bearer Kanarienvogel')]", f"[(b'authorization', b'Bearer {HIDDEN}')]"),
    ("{'authorization': 'Bearer Kanarienvogel'}", f"{{'authorization': 'Bearer {HIDDEN}'}}"),
    ("sent Bearer Kanarienvogel7== to it", f"sent Bearer {HIDDEN} to it"),
    ("bearer Kanarienvogel-Kanarienvogel.", f"bearer {HIDDEN}"),
    ("Basic S2FuYXJpZW52b2dlbDpLYW5hcmll", f"Basic {HIDDEN}"),
    ("host=db password=Kanarienvogel7 user=me", f"host=db password={HIDDEN} user=me"),
    (r"password='Kanarien\'vogel 7' user=me", f"password={HIDDEN} user=me"),
    ('{"password": "Kanarien vogel", "a": 1}', f'{{"password": {HIDDEN}, "a": 1}}'),
    ("{'password': 'Kanarienvogel'}", f"{{'password': {HIDDEN}}}"),
])
def test_what_looks_like_a_secret_is_hidden_though_nobody_knows_it(text: str, shown: str) -> None:
    assert Masker().text(text) == shown
    assert Masker().may_be_in(json.dumps({"message": text})), "the quick look must not pass it by"


@pytest.mark.parametrize("text", [
    "GET /simple/price: status 200 in 143 ms (attempt 1)",
    "Serving at http://127.0.0.1:8000/prices/BTC?limit=100 and http://localhost:3000.",
    "http://127.0.0.1:8000/users/me@example.com", "https://host:443?at=@home", "mail me@example.com: done",
    "postgresql+psycopg2://me:***@host/prices", "sqlite:////data/prices.db",
    "without authorization, the server", 'the "password", it said',
    "the bearer of good news", "Bearer authentication is needed", "a basic understanding, Basic auth", "CG-short",
    "set COINGECKO_API_KEY (the whole key, CG-...) and COINGECKO_PLAN", "header x-cg-demo-api-key is missing",
    "a password is needed", "password authentication failed for user",
    "9,600 prices of BTC, 2026-11-23|BTC...2026-11-23|DOT",
    "", " ", "a", "ünïcödé ✓",
])
def test_ordinary_text_stays_as_it_is(text: str) -> None:
    assert Masker(["", "a", "1", "abc", PASSWORD, KEY]).text(text) == text


def test_a_password_that_is_a_word_is_hidden_where_it_stands_alone() -> None:
    masker = Masker(["postgres", "pass"])
    assert masker.text("postgresql passes compass; the password is postgres or 'pass'") == (
        f"postgresql passes compass; the password is {HIDDEN} or '{HIDDEN}'"
    )
    for quoted in ("password%3Dpostgres%26", json.dumps("a line\npostgres"), "%2fpostgres"):
        assert "postgres" not in masker.text(quoted)


def test_of_secrets_within_secrets_the_longest_is_hidden() -> None:
    assert Masker(["Kanarien", "Kanarienvogel7", "vogel77"]).text("Kanarienvogel7!") == f"{HIDDEN}!"


class Failing:
    def __str__(self) -> str:
        raise ArithmeticError(PASSWORD)


class FailingMap(dict[str, Any]):
    def __iter__(self) -> Iterator[str]:
        raise LookupError(PASSWORD)


def test_values_become_plain_and_without_secrets_at_any_depth() -> None:
    value = {
        "text": f"x {PASSWORD}", PASSWORD: 1, "list": [KEY, (PASSWORD, {"deep": {KEY}})], "bytes": PASSWORD.encode(),
        "error": ValueError(PASSWORD), "password": "1", "API_TOKEN": "short", "headers": {"Cookie": "a=b"},
        "token": "", "tokens": 5, "nothing": None, "yes": True, "float": 1.5, "nan": float("nan"),
        "time": datetime(2026, 11, 23, tzinfo=timezone.utc), "numpy": [np.int64(3), np.float64(2.5)], "bad": Failing(),
        "map": FailingMap(a=1),
    }
    plain = Masker([PASSWORD, KEY]).plain(value)
    assert heard("plain", json.dumps(plain, allow_nan=False)) == []
    assert plain["list"] == [HIDDEN, [HIDDEN, {"deep": [HIDDEN]}]]
    assert (plain["password"], plain["API_TOKEN"], plain["headers"]) == (HIDDEN, HIDDEN, {"Cookie": HIDDEN})
    assert (plain["token"], plain["tokens"], plain["nothing"], plain["yes"]) == ("", 5, None, True)
    assert (plain["float"], plain["nan"], plain["numpy"]) == (1.5, "nan", [3, 2.5])
    assert plain["time"] == "2026-11-23T00:00:00Z"
    assert plain["bad"] == "<Failing that cannot be shown: ArithmeticError>"
    assert plain["map"] == "<FailingMap that cannot be shown: LookupError>"


def test_what_is_too_deep_or_contains_itself_ends_as_text() -> None:
    endless: list[Any] = []
    endless.append(endless)
    deep: Any = PASSWORD
    for _ in range(50):
        deep = [deep]
    assert heard("plain", json.dumps(Masker([PASSWORD]).plain({"a": endless, "b": deep}))) == []


@pytest.mark.parametrize("secret", [KEY, PASSWORD, *ODD])
@pytest.mark.parametrize("wrap", [str, repr, json.dumps, lambda text: repr(repr(text)), quote_plus])
def test_a_document_beyond_suspicion_holds_no_secret(secret: str, wrap: Callable[[str], str]) -> None:
    """The quick look at a finished line must find whatever the thorough one would hide."""
    masker, document = Masker([secret]), {"message": wrap(secret)}
    if masker.plain(document) != document:
        assert masker.may_be_in(json.dumps(document))
    assert not masker.may_be_in(json.dumps({"message": "Wrote 5 rows", "logger": "market_pipeline.defs.io_manager"}))


def test_the_secrets_of_settings_are_all_there_are() -> None:
    settings = load_settings(
        None, database_url=f"postgresql://me:{PASSWORD_IN_URL}@host/x", coingecko_plan="demo", coingecko_api_key=KEY,
        api_token="a-token-of-16-letters",
    )
    assert sorted(secrets_of(settings)) == sorted([KEY, PASSWORD, "a-token-of-16-letters"])
    assert secrets_of(load_settings(None, database_url="sqlite:///x.db", coingecko_plan="keyless")) == []


def test_long_hostile_text_takes_no_time() -> None:
    """No pattern may try the same letters again and again: what others say goes through all of them."""
    hostile = ["://" * 20_000, "://a:" + "b" * 200_000, "password='" + "\\'" * 50_000, "x_cg_" * 40_000,
               'password": "' + "\\x" * 50_000, "authorization\"," * 10_000,
               "authorization" + " " * 100_000, "bearer " * 30_000, "basic " + "A" * 200_000, "CG-" * 60_000]
    masker = Masker([KEY, PASSWORD])
    started = time.process_time()
    for text in hostile:
        masker.text(text)
    assert time.process_time() - started < 10
