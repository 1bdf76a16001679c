"""Keeping secrets out of words that others choose: servers and libraries repeat what they were sent."""

import logging
import re

from urllib3.exceptions import HeaderParsingError

from market_pipeline.secret_forms import HIDDEN

_USER_INFO = re.compile(r"//\S*@")
# After the status a proxy may say what it likes, such as the credentials that it refuses.
_TUNNEL = re.compile(r"(Tunnel connection failed: \d+).*", re.DOTALL)


def hide(text: str, secret: str | None) -> str:
    """`text` without `secret`, without the user and password of an address and without a proxy's words."""
    text = _TUNNEL.sub(r"\1", _USER_INFO.sub("//", text))
    return text.replace(secret, HIDDEN) if secret else text


def hide_in_body(body: bytes, secret: str | None) -> bytes:
    """The body of an answer without `secret`."""
    return body.replace(secret.encode(), HIDDEN.encode()) if secret else body


class _NoHeaders(logging.Filter):
    """Drops the warning in which urllib3 quotes headers that it cannot read."""

    def filter(self, record: logging.LogRecord) -> bool:
        return not (record.exc_info and isinstance(record.exc_info[1], HeaderParsingError))


logging.getLogger("urllib3.connection").addFilter(_NoHeaders())
