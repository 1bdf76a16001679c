"""Why no answer came: what an exception of the HTTP library means, and whether the request was sent.

A request that was not sent costs no credit. One that needs a change on this machine is not repeated.
"""

import os
import re
import ssl
from collections.abc import Iterator
from traceback import walk_tb
from urllib.parse import urlsplit

import requests
import urllib3

from market_pipeline.coingecko.errors import BODY_LIMIT, CoinGeckoError, ConnectionFailed, Misconfigured, Unreachable
from market_pipeline.coingecko.untrusted_text import clean_text

# Where the HTTP library looks for a file of certificate authorities, in its order.
CA_VARIABLES = ("REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE")

_NEVER_CONNECTED = (
    urllib3.exceptions.NewConnectionError,
    urllib3.exceptions.ConnectTimeoutError,
    urllib3.exceptions.ProxyError,
)
_UNUSABLE_ADDRESS = (
    requests.exceptions.InvalidSchema,
    requests.exceptions.InvalidURL,
    requests.exceptions.MissingSchema,
    urllib3.exceptions.LocationValueError,
)
_PROXY_LOGIN = re.compile("Tunnel connection failed: 407")

# OpenSSL's codes for a certificate that is not valid yet, or not any more.
_OUT_OF_DATE = (9, 10)


def network_error(
    error: Exception, base_url: str, endpoint: str, attempt: int, secret: str | None
) -> CoinGeckoError:
    """Return what `error`, raised while a request below `base_url` was sent or answered, means."""
    causes = list(_chain(error))
    # The innermost cause may quote the server or the URL of a proxy.
    reason = " ".join(clean_text(str(causes[-1]), secret).split())[:BODY_LIMIT]
    if verdict := _remedy(causes, base_url, reason):
        return Misconfigured(verdict, endpoint=endpoint, attempts=attempt)
    kind = Unreachable if any(_never_left(cause) for cause in causes) else ConnectionFailed
    return kind(
        f"no complete answer came ({type(error).__name__}: {reason}); check the network and "
        "COINGECKO_BASE_URL. The next run tries again.",
        endpoint=endpoint, attempts=attempt,
    )


def ca_setting() -> tuple[str, str] | None:
    """Return the variable that names a file or folder of certificate authorities, and its value."""
    return next(((name, os.environ[name]) for name in CA_VARIABLES if os.environ.get(name)), None)


def _chain(error: BaseException) -> Iterator[BaseException]:
    cause: BaseException | None = error
    while cause is not None:
        yield cause
        cause = cause.__cause__ or cause.__context__


def _never_left(cause: BaseException) -> bool:
    """Return whether `cause` shows that no connection was ready for the request."""
    if isinstance(cause, _NEVER_CONNECTED):
        return True
    return any(frame.f_code.co_name == "do_handshake" for frame, _ in walk_tb(cause.__traceback__))


def _remedy(causes: list[BaseException], base_url: str, reason: str) -> str | None:
    """Return what is wrong on this machine and how to correct it; None if waiting may help."""
    encrypted = urlsplit(base_url).scheme == "https"
    if encrypted and (trouble := _unreadable_authorities()):
        return trouble
    if untrusted := next((cause for cause in causes if isinstance(cause, ssl.SSLCertVerificationError)), None):
        return _untrusted(untrusted, base_url)
    proxy = _proxy_variable(base_url)
    if "SOCKS" in reason and isinstance(causes[0], requests.exceptions.InvalidSchema):
        return (
            f"{proxy or 'the proxy setting'} names a SOCKS proxy, and the package for it is not installed; "
            "install it with `pip install 'requests[socks]'`, or name another proxy."
        )
    if any(isinstance(cause, _UNUSABLE_ADDRESS) for cause in causes):
        return f"{proxy or 'COINGECKO_BASE_URL'} is not a usable address ({reason}); correct it."
    if _PROXY_LOGIN.search(reason):
        where = proxy or "the proxy setting"
        return f"the proxy in {where} requires a user and a password (407); add them to its address."
    return None


def _unreadable_authorities() -> str | None:
    setting = ca_setting()
    if setting is None:
        return None
    variable, path = setting
    folder = os.path.isdir(path)
    try:
        ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT).load_verify_locations(
            cafile=None if folder else path, capath=path if folder else None
        )
    except OSError as error:
        return (
            f"{variable} names {path}, which cannot be used as a file of certificate authorities "
            f"({error.strerror or error}); correct the path or unset the variable."
        )
    return None


def _untrusted(error: ssl.SSLCertVerificationError, base_url: str) -> str:
    host = urlsplit(base_url).hostname
    what = f"the certificate that {host} shows is not trusted ({error.verify_message})"
    if error.verify_code in _OUT_OF_DATE:
        return f"{what}; check the clock of this machine, else the owner of the certificate has to renew it."
    setting = ca_setting()
    if setting:
        return f"{what}; {setting[0]}={setting[1]} must hold the authority that signed it, or be unset."
    return (
        f"{what}; if a proxy or a private authority signs it, name the file with that authority's "
        f"certificate in {CA_VARIABLES[0]}, else check COINGECKO_BASE_URL."
    )


def _proxy_variable(base_url: str) -> str | None:
    """Return the environment variable that names the proxy for `base_url`."""
    scheme = urlsplit(base_url).scheme
    names = (f"{scheme}_proxy", f"{scheme.upper()}_PROXY", "all_proxy", "ALL_PROXY")
    return next((name for name in names if os.environ.get(name)), None)
