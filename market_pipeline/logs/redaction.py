"""Keeping secrets out of words: of log lines, of the doctor's report, of whatever drivers and servers say.

Hidden is what is known to be a secret, however it is spelt, and what looks like one: passwords in
addresses, CoinGecko's keys, and whatever follows the name of a header or parameter that carries one.
"""

import json
import re
from collections.abc import Iterable, Mapping
from datetime import datetime
from math import isfinite
from numbers import Integral, Real
from typing import TYPE_CHECKING, Any
from urllib.parse import quote, quote_plus

from market_pipeline.core.clock import iso

if TYPE_CHECKING:
    from market_pipeline.settings import Settings


HIDDEN = "[hidden]"

# Nothing is repeated without a limit after an open beginning: what others say may be long and mean ill.
# By the letters without which it cannot be there, in lower case: looking for those first costs little.
SHAPES = [
    # The password ends with the last @, since it may hold others; a port is no password.
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
    # A word that follows in plain English has no digit and is not that long.
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
]  # fmt: skip

# The names of fields, headers and parameters whose values are secret.
SECRET_NAME = re.compile(
    r"passw|passphrase|secret|api[-_]?key|authorization|cookie|(^|[-_])token$|^pwd$", re.IGNORECASE
)

# One of these stands in every document that holds such a shape or name.
SUSPICIOUS = (
    "://", "cg-", "cg_", "authorization", "bearer", "basic", "passw", "passphrase", "secret", "api_key", "api-key",
    "apikey", "cookie", "token", "pwd",
)  # fmt: skip


def spellings(secret: str) -> set[str]:
    """`secret` as it stands in addresses and those within them, in JSON, in Python's own form and for libpq."""
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


# What is shorter is a part of nearly every text; it is hidden only where its place shows what it is.
_SHORTEST = 4
# A secret that is short, or made of letters and as short as a word, is hidden only where it stands alone.
_SHORT = 8
_WORD_LENGTH = 16
_DEEPEST = 8


class Masker:
    """Hides `secrets` and whatever looks like one."""

    def __init__(self, secrets: Iterable[str] = ()) -> None:
        self.secrets = frozenset(secret for secret in secrets if len(secret) >= _SHORTEST)
        spelt = {spelling: _is_like_a_word(secret) for secret in self.secrets for spelling in spellings(secret)}
        longest_first = sorted(spelt, key=len, reverse=True)
        self._needles = _cases(longest_first)
        self._in_json = _cases(json.dumps(spelling)[1:-1] for spelling in longest_first).union(SUSPICIOUS)
        alternatives = (_alternative(spelling, spelt[spelling]) for spelling in longest_first)
        self._known = re.compile("|".join(alternatives), re.IGNORECASE)

    def text(self, text: str) -> str:
        """`text` with every secret hidden."""
        lowered = text.lower()
        if _any_in(self._needles, text, lowered):
            text = self._known.sub(HIDDEN, text)
        for needle, shape, replacement in SHAPES:
            if needle in lowered:
                text = shape.sub(replacement, text)
        return text

    def may_be_in(self, document: str) -> bool:
        """Whether the JSON `document` could hold a secret; False is certain, and costs little to know."""
        return _any_in(self._in_json, document, document.lower())

    def plain(self, value: object, depth: int = 0) -> Any:
        """`value` as JSON can hold it, with every secret hidden; what lies too deep becomes text."""
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
        except Exception as error:  # whatever an object's own code may raise, or another thread that changes it
            return f"<{type(value).__name__} that cannot be shown: {type(error).__name__}>"

    def named(self, name: object, value: object, depth: int = 0) -> Any:
        """`value` as `plain` has it, hidden as a whole if its `name` says that it is secret."""
        if isinstance(value, (str, bytes)) and value and SECRET_NAME.search(str(name)):
            return HIDDEN
        return self.plain(value, depth)

    def _other(self, value: object) -> Any:
        # NumPy's numbers are registered so.
        if isinstance(value, Integral):
            return int(value)
        if isinstance(value, Real):
            return self.plain(float(value))
        if isinstance(value, datetime) and value.tzinfo:
            return iso(value)
        return self.text(value.decode("utf-8", "backslashreplace") if isinstance(value, bytes) else str(value))


def _cases(spelt: Iterable[str]) -> frozenset[str]:
    """As it is and in lower case, which is not the same for every letter."""
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
    # What quotes a character before it ends in letters or digits as well: %3D, \n.
    return rf"(?:(?<!\w)|(?<=%[0-9a-f]{{2}})|(?<=\\[nrt])){re.escape(spelling)}(?!\w)"


def secrets_of(settings: "Settings") -> list[str]:
    """The secrets that `settings` hold."""
    return list(_named_secrets(settings).values())


def too_short_to_hide(settings: "Settings") -> str | None:
    """A sentence that names the secrets that cannot be hidden in logs and errors; None if all can be."""
    short = [name for name, secret in _named_secrets(settings).items() if len(secret) < _SHORTEST]
    if not short:
        return None
    return (
        f"{' and '.join(short)} has fewer than {_SHORTEST} characters, too few to distinguish it from ordinary text: "
        "logs and errors may show it"
    )


def _named_secrets(settings: "Settings") -> dict[str, str]:
    secrets = {
        "COINGECKO_API_KEY": settings.coingecko_api_key and settings.coingecko_api_key.get_secret_value(),
        "API_TOKEN": settings.api_token and settings.api_token.get_secret_value(),
        "the password in DATABASE_URL": settings.database.password,
    }
    return {name: str(secret) for name, secret in secrets.items() if secret}


_masker = Masker()


def masker() -> Masker:
    """Hides what this process knows to be secret."""
    return _masker


def keep_secret(secrets: Iterable[str]) -> None:
    """Hide `secrets` from now on, beside those known before."""
    global _masker
    _masker = Masker({*_masker.secrets, *secrets})
