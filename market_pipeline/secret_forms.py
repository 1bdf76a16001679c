"""What a secret looks like in text: the spellings of one that is known, the shapes of those that are not."""

import json
import re
from urllib.parse import quote, quote_plus

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
