"""Redaction of secrets: the only place that knows what they look like.

A known secret is hidden in every spelling. Unknown ones are hidden by shape: passwords in URLs, CoinGecko keys, and
values that follow the name of a header or parameter that carries a secret.
"""

import json
import os
import re
from base64 import b64encode
from collections.abc import Iterable, Mapping
from datetime import datetime
from functools import lru_cache
from math import isfinite
from numbers import Integral, Real
from typing import TYPE_CHECKING, Any
from urllib.parse import quote, quote_plus, unquote

from market_pipeline.core.clock import iso

if TYPE_CHECKING:
    from market_pipeline.settings import Settings


HIDDEN = "[hidden]"

# (needle, pattern, replacement): a pattern is tried only where its needle occurs in the lower-cased text. All
# quantifiers are bounded or anchored: the text is untrusted (ReDoS).
SHAPES = [
    # The password ends at the last @, as it may contain others; a port is not a password.
    ("://", re.compile(r"(?<=://)([^\s/:@]{0,64}):(?!\*\*\*@)(?!\d+(?:[/?#\s]|$))\S{1,256}@"), rf"\1:{HIDDEN}@"),
    ("cg-", re.compile(r"(?<![Xx]-)CG-[A-Za-z0-9_\-]{6,}"), HIDDEN),
    (
        "cg",
        re.compile(
            r"(x[-_]cg[-_](?:\w{1,9}[-_])?api[-_]key(?:\W{0,3}[=:]|%3D|['\"],)\s*(?:b?['\"])?)[^\s'\"&,;)\]}]+",
            re.IGNORECASE,
        ),
        rf"\1{HIDDEN}",
    ),
    (
        "authorization",
        re.compile(
            r"(authorization(?:['\"]?\s*[=:]|['\"],)\s*(?:b?['\"])?(?:\w+\s+)?)[^\s'\",;)\]}]+", re.IGNORECASE
        ),
        rf"\1{HIDDEN}",
    ),
    # An English word after "bearer" has no digit and is shorter.
    (
        "bearer",
        re.compile(r"(bearer\s+)(?=[^\s'\",;]*\d|[^\s'\",;]{16})[A-Za-z0-9._~+/\-]{4,}=*", re.IGNORECASE),
        rf"\1{HIDDEN}",
    ),
    ("basic", re.compile(r"(basic\s+)(?=\S*[\d=])[A-Za-z0-9+/]{8,}=*", re.IGNORECASE), rf"\1{HIDDEN}"),
    (
        "password",
        re.compile(
            r"(password(?:=|['\"]: ?))('(?:[^'\\]|\\.)*'|\"(?:[^\"\\]|\\.)*\"|[^\s'\"&,;)]+)", re.IGNORECASE
        ),
        rf"\1{HIDDEN}",
    ),
]

# The names of fields, headers and parameters whose values are secret.
SECRET_NAME = re.compile(
    r"passw|passphrase|secret|api[-_]?key|authorization|cookie|(^|[-_])token$|^pwd$", re.IGNORECASE
)

# Every document that holds such a shape or name contains one of these.
SUSPICIOUS = (
    "://", "cg-", "cg_", "authorization", "bearer", "basic", "passw", "passphrase", "secret", "api_key", "api-key",
    "apikey", "cookie", "token", "pwd",
)


def spellings(secret: str) -> set[str]:
    """Return `secret` as URLs (also nested), JSON, Python's repr and libpq write it."""
    return {
        secret,
        quote(secret),
        quote(secret, safe=""),
        quote(quote(secret, safe=""), safe=""),
        quote(secret, safe=" +"),
        quote_plus(secret),
        json.dumps(secret)[1:-1],
        json.dumps(secret)[1:-1].replace("/", "\\/"),
        json.dumps(secret, ensure_ascii=False)[1:-1],
        repr(secret)[1:-1],
        secret.replace("\\", "\\\\").replace("'", "\\'"),
    }


# A shorter secret occurs in nearly every text; it is hidden only by shape.
_SHORTEST = 4
# A secret that is short, or made of letters and as short as a word, is hidden only as a whole word.
_SHORT = 8
_WORD_LENGTH = 16
_DEEPEST = 8


class Masker:
    """Hide `secrets` and whatever looks like one."""

    def __init__(self, secrets: Iterable[str] = ()) -> None:
        self.secrets = frozenset(secret for secret in secrets if len(secret) >= _SHORTEST)
        spelt = {spelling: _is_like_a_word(secret) for secret in self.secrets for spelling in spellings(secret)}
        longest_first = sorted(spelt, key=len, reverse=True)
        self._needles = _cases(longest_first)
        self._in_json = _cases(json.dumps(spelling)[1:-1] for spelling in longest_first).union(SUSPICIOUS)
        alternatives = (_alternative(spelling, spelt[spelling]) for spelling in longest_first)
        self._known = re.compile("|".join(alternatives), re.IGNORECASE)

    def text(self, text: str) -> str:
        """Return `text` with every secret hidden."""
        lowered = text.lower()
        if _any_in(self._needles, text, lowered):
            text = self._known.sub(HIDDEN, text)
        for needle, shape, replacement in SHAPES:
            if needle in lowered:
                text = shape.sub(replacement, text)
        return text

    def may_be_in(self, document: str) -> bool:
        """Return whether the JSON `document` may hold a secret. Cheap; False is certain."""
        return _any_in(self._in_json, document, document.lower())

    def plain(self, value: object, depth: int = 0) -> Any:
        """Return `value` as plain JSON with every secret hidden; values nested too deeply become text."""
        if value is None or isinstance(value, (bool, int)):
            return value
        if isinstance(value, str):
            return self.text(value)
        if isinstance(value, float):
            return value if isfinite(value) else str(value)
        try:
            if depth < _DEEPEST and isinstance(value, Mapping):
                return {self.text(str(name)): self.named(name, value[name], depth + 1) for name in value}
            if depth < _DEEPEST and isinstance(value, (list, tuple, set, frozenset)):
                return [self.plain(item, depth + 1) for item in value]
            return self._other(value)
        except Exception as error:  # an object's own code may raise anything, and another thread may change it
            return f"<{type(value).__name__} that cannot be shown: {type(error).__name__}>"

    def named(self, name: object, value: object, depth: int = 0) -> Any:
        """Return `plain(value)`, or `HIDDEN` if `name` is that of a secret."""
        if isinstance(value, (str, bytes)) and value and SECRET_NAME.search(str(name)):
            return HIDDEN
        return self.plain(value, depth)

    def _other(self, value: object) -> Any:
        # NumPy registers its numbers with these ABCs.
        if isinstance(value, Integral):
            return int(value)
        if isinstance(value, Real):
            return self.plain(float(value))
        if isinstance(value, datetime) and value.tzinfo:
            return iso(value)
        return self.text(value.decode("utf-8", "backslashreplace") if isinstance(value, bytes) else str(value))


def _cases(spelt: Iterable[str]) -> frozenset[str]:
    """Return each spelling as it is and in lower case."""
    return frozenset(case for spelling in spelt for case in (spelling, spelling.lower()))


def _any_in(needles: Iterable[str], text: str, lowered: str) -> bool:
    for needle in needles:
        if needle in lowered or needle in text:
            return True
    return False


def _is_like_a_word(secret: str) -> bool:
    return len(secret) < (_WORD_LENGTH if secret.isalpha() else _SHORT)


def _alternative(spelling: str, alone: bool) -> str:
    if not alone:
        return re.escape(spelling)
    # An escape before it, such as %3D or \n, ends in a letter or digit as well.
    return rf"(?:(?<!\w)|(?<=%[0-9a-f]{{2}})|(?<=\\[nrt])){re.escape(spelling)}(?!\w)"


def secrets_of(settings: "Settings") -> list[str]:
    """Return the secrets that `settings` hold."""
    heartbeat = settings.alert_heartbeat_url
    urls = [*settings.alert_receivers, *([heartbeat.get_secret_value()] if heartbeat else [])]
    return [*_named_secrets(settings).values(), *(part for url in urls for part in secret_parts(url))]


_SHORTEST_PART = 6
# Names in the paths of webhooks.
_ORDINARY = frozenset({"webhook", "webhooks", "services", "notify", "alerts", "message", "messages", "incoming"})


def secret_parts(url: str) -> set[str]:
    """Return what may be a secret in the URL of a receiver: all of it, its user, password, path and parameters.

    Where the place of the host has no dot, as in slack://token/token, it is a token, too.
    """
    rest = url.partition("://")[2]
    location, _, query = rest.partition("?")
    place, _, path = location.partition("/")
    login, _, host = place.rpartition("@")
    parts = [*login.split(":"), *path.split("/"), *(value.partition("=")[2] for value in query.split("&"))]
    name = host.partition(":")[0]
    if "." not in name and name.lower() != "localhost" and not host.startswith("["):
        parts += [host, *host.split(":")]
    found = {spelt for part in parts for spelt in (part, unquote(part)) if spelt.lower() not in _ORDINARY}
    secret = {part for part in found if len(part) >= _SHORTEST_PART}
    return {url, rest, *secret} if secret else set()


def too_short_to_hide(settings: "Settings") -> str | None:
    """Return a sentence that names the secrets too short to be hidden in logs and errors, or None."""
    short = [name for name, secret in _named_secrets(settings).items() if len(secret) < _SHORTEST]
    if not short:
        return None
    return (
        f"{' and '.join(short)} has fewer than {_SHORTEST} characters, too few to distinguish it from ordinary text: "
        "logs and errors may show it"
    )


def _named_secrets(settings: "Settings") -> dict[str, str]:
    dagster_url = settings.dagster_database_url and settings.dagster_database
    secrets = {
        "COINGECKO_API_KEY": settings.coingecko_api_key and settings.coingecko_api_key.get_secret_value(),
        "API_TOKEN": settings.api_token and settings.api_token.get_secret_value(),
        "the password in DATABASE_URL": settings.database.password,
        "the password in DAGSTER_DATABASE_URL": dagster_url and dagster_url.password,
        # libpq reads it where a URL has none.
        "PGPASSWORD": os.environ.get("PGPASSWORD"),
        "the password in CELERY_BROKER_URL": settings.celery_broker_password,
    }
    return {name: str(secret) for name, secret in secrets.items() if secret}


_masker = Masker()


def masker() -> Masker:
    """Return the masker of this process."""
    return _masker


def keep_secret(secrets: Iterable[str]) -> None:
    """Hide `secrets` from now on, in addition to those known before."""
    global _masker
    _masker = Masker({*_masker.secrets, *secrets})


# A shorter secret occurs in ordinary words; only its exact form is removed.
_SHORTEST_ENCODED = 8


def without_secret(text: str, secret: str | None) -> str:
    """Return untrusted `text` with `secret` hidden in whatever encoding it is repeated, mixed ones included."""
    # No encoding is shorter than the secret itself.
    if not secret or len(text) < len(secret):
        return text
    if len(secret) < _SHORTEST_ENCODED:
        return text.replace(secret, HIDDEN)
    return _encodings(secret).sub(HIDDEN, text)


@lru_cache
def _encodings(secret: str) -> re.Pattern[str]:
    """Match `secret` with each character plain or escaped for JSON, a URL or HTML, and in hex and base64."""
    # The remains of UTF-16 that was read in another encoding.
    plain = r"(?:\x00|\\{1,4}u0000|%00){0,3}".join(_encoded(char) for char in secret)
    return re.compile("|".join([plain, secret.encode().hex(), *_base64(secret)]), re.IGNORECASE)


def _encoded(char: str) -> str:
    code, digits = ord(char), f"{ord(char):02x}"
    return (
        rf"(?:{re.escape(char)}|\\{{1,4}}(?:u00|x|u\{{0{{0,4}}){digits}\}}?"
        rf"|%(?:25){{0,3}}{digits}|&\#(?:0{{0,5}}{code}|x0{{0,5}}{digits});?)"
    )


def _base64(secret: str) -> list[str]:
    """Return the base64 of `secret` at each of the three places of a group where it may begin."""
    found = []
    for offset in range(3):
        encoded = b64encode(bytes(offset) + secret.encode()).decode()
        certain = encoded[-(-offset * 8 // 6) : (offset + len(secret)) * 8 // 6]
        found += [re.escape(certain), re.escape(certain.replace("+", "-").replace("/", "_"))]
    return found
