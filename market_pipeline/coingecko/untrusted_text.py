"""Making text that others choose fit to be stored, logged and shown.

Servers and libraries repeat what they were sent, the key included, in whatever spelling; and they send
characters that a database refuses or a terminal obeys.
"""

import json
import logging
import re
from base64 import b64encode
from functools import lru_cache
from typing import Any

from urllib3.exceptions import HeaderParsingError

from market_pipeline.logs.redaction import HIDDEN

# Bounded, because the text is untrusted.
_USER_INFO = re.compile(r"//\S{0,256}@")
# After the status a proxy may say what it likes, such as the credentials that it refuses.
_TUNNEL = re.compile(r"(Tunnel connection failed: \d+).*", re.DOTALL)
# A shorter key is found in ordinary words; it is hidden only as it is.
_SHORTEST = 8


def decoded(body: bytes) -> str:
    """The text of `body` in whichever Unicode encoding it begins; what cannot be read becomes U+FFFD."""
    return body.decode(json.detect_encoding(body), "replace")


def hide(text: str, secret: str | None) -> str:
    """`text` without `secret`, without the user and password of an address and without a proxy's words.

    White space stays; other characters that do not print are escaped: `\\x00`.
    """
    text = _TUNNEL.sub(r"\1", _USER_INFO.sub("//", text))
    return _escaped(_without(text, secret), " \t\r\n")


def cleaned(document: Any, secret: str | None) -> Any:
    """The JSON `document` without `secret`, and with every character that does not print escaped, in names
    too. RecursionError if it is nested too deeply."""
    if isinstance(document, str):
        return _escaped(_without(document, secret), " ")
    if isinstance(document, list):
        return [cleaned(item, secret) for item in document]
    if isinstance(document, dict):
        return {cleaned(name, secret): cleaned(item, secret) for name, item in document.items()}
    return document


def _escaped(text: str, kept: str) -> str:
    """`text` with the characters that do not print as Python writes them, those in `kept` as they are."""
    if text.isprintable():
        return text
    return "".join(
        char if char.isprintable() or char in kept else char.encode("unicode_escape").decode()
        for char in text
    )


def _without(text: str, secret: str | None) -> str:
    # No spelling is shorter than the secret itself.
    if not secret or len(text) < len(secret):
        return text
    if len(secret) < _SHORTEST:
        return text.replace(secret, HIDDEN)
    return _spellings(secret).sub(HIDDEN, text)


@lru_cache
def _spellings(secret: str) -> re.Pattern[str]:
    """`secret` with each character as it is or escaped for JSON, an address or HTML, and in hex and base64."""
    # What is left of UTF-16 that was taken for another encoding.
    plain = r"(?:\x00|\\{1,4}u0000|%00){0,3}".join(_spelt(char) for char in secret)
    return re.compile("|".join([plain, secret.encode().hex(), *_base64(secret)]), re.IGNORECASE)


def _spelt(char: str) -> str:
    code, digits = ord(char), f"{ord(char):02x}"
    return (
        rf"(?:{re.escape(char)}|\\{{1,4}}(?:u00|x|u\{{0{{0,4}}){digits}\}}?"
        rf"|%(?:25){{0,3}}{digits}|&\#(?:0{{0,5}}{code}|x0{{0,5}}{digits});?)"
    )


def _base64(secret: str) -> list[str]:
    """What base64 makes of `secret` wherever it stands: it may begin at any of three places of a group."""
    found = []
    for offset in range(3):
        encoded = b64encode(bytes(offset) + secret.encode()).decode()
        certain = encoded[-(-offset * 8 // 6) : (offset + len(secret)) * 8 // 6]
        found += [re.escape(certain), re.escape(certain.replace("+", "-").replace("/", "_"))]
    return found


class _NoHeaders(logging.Filter):
    """Drops the warning in which urllib3 quotes headers that it cannot read."""

    def filter(self, record: logging.LogRecord) -> bool:
        return not (record.exc_info and isinstance(record.exc_info[1], HeaderParsingError))


logging.getLogger("urllib3.connection").addFilter(_NoHeaders())
