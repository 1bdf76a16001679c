"""Make untrusted text safe to store, log and show.

Servers and libraries repeat what they were sent, the key included, and send characters that a database rejects or a
terminal interprets.
"""

import json
import re
from typing import Any

from market_pipeline.logs.redaction import without_secret

# Bounded: the text is untrusted (ReDoS).
_USER_INFO = re.compile(r"//\S{0,256}@")
# After the status a proxy may write anything, such as the credentials that it rejects.
_TUNNEL = re.compile(r"(Tunnel connection failed: \d+).*", re.DOTALL)


def decode(body: bytes) -> str:
    """Return the text of `body` in the Unicode encoding that it begins with; unreadable bytes become U+FFFD."""
    return body.decode(json.detect_encoding(body), "replace")


def clean_text(text: str, secret: str | None) -> str:
    r"""Return `text` without `secret`, without the credentials of a URL, and without a proxy's own text.

    White space stays; other unprintable characters are escaped: `\x00`.
    """
    text = _TUNNEL.sub(r"\1", _USER_INFO.sub("//", text))
    return _escape(without_secret(text, secret), " \t\r\n")


def clean_document(document: Any, secret: str | None) -> Any:
    """Return the JSON `document` without `secret` and with unprintable characters escaped, in names too.

    Raises RecursionError if it is nested too deeply.
    """
    if isinstance(document, str):
        return _escape(without_secret(document, secret), " ")
    if isinstance(document, list):
        return [clean_document(item, secret) for item in document]
    if isinstance(document, dict):
        return {clean_document(name, secret): clean_document(item, secret) for name, item in document.items()}
    return document


def _escape(text: str, allowed: str) -> str:
    """Return `text` with unprintable characters as Python writes them, except those in `allowed`."""
    if text.isprintable():
        return text
    return "".join(
        char if char.isprintable() or char in allowed else char.encode("unicode_escape").decode()
        for char in text
    )
