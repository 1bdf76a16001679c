"""Why no answer came: what an exception of the HTTP library means, and whether the request ever left.

A request that never left costs no credit. What only a person can mend is not asked again.
"""

import os
import re
import ssl
from collections.abc import Iterator
from traceback import walk_tb
from urllib.parse import urlsplit

import requests
import urllib3

from market_pipeline.coingecko.errors import BODY_LIMIT, CoinGeckoError, ConnectionFailed, Unreachable, Unsendable
from market_pipeline.coingecko.untrusted_text import hide

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


def connection_error(
    error: Exception, base_url: str, endpoint: str, attempt: int, secret: str | None
) -> CoinGeckoError:
    """The error that `error`, raised while a request below `base_url` was sent or answered, stands for."""
    causes = list(_chain(error))
    # The innermost cause may quote the server or the URL of a proxy.
    reason = " ".join(hide(str(causes[-1]), secret).split())[:BODY_LIMIT]
    if verdict := _remedy(causes, base_url, reason):
        return Unsendable(verdict, endpoint=endpoint, attempts=attempt)
    kind = Unreachable if any(_never_left(cause) for cause in causes) else ConnectionFailed
    return kind(
        f"no complete answer came ({type(error).__name__}: {reason}); check the network and "
        "COINGECKO_BASE_URL. The next run asks again.",
        endpoint=endpoint, attempts=attempt,
    )


def ca_setting() -> tuple[str, str] | None:
    """The variable that names a file or folder of certificate authorities, and what it names."""
    return next(((name, os.environ[name]) for name in CA_VARIABLES if os.environ.get(name)), None)


def _chain(error: BaseException) -> Iterator[BaseException]:
    cause: BaseException | None = error
    while cause is not None:
        yield cause
        cause = cause.__cause__ or cause.__context__


def _never_left(cause: BaseException) -> bool:
    """Whether `cause` shows that no connection was ready for the request."""
    if isinstance(cause, _NEVER_CONNECTED):
        return True
    return any(frame.f_code.co_name == "do_handshake" for frame, _ in walk_tb(cause.__traceback__))


def _remedy(causes: list[BaseException], base_url: str, reason: str) -> str | None:
    """What is wrong on this machine and what to change; None if waiting may help."""
    encrypted = urlsplit(base_url).scheme == "https"
    if encrypted and (trouble := _unreadable_authorities()):
        return trouble
    if untrusted := next((cause for cause in causes if isinstance(cause, ssl.SSLCertVerificationError)), None):
        return _untrusted(untrusted, base_url)
    proxy = _proxy_variable(base_url)
    if "SOCKS" in reason and isinstance(causes[0], requests.exceptions.InvalidSchema):
        return (
            f"{proxy or 'the proxy setting'} names a SOCKS proxy, and the package for those is not installed; "
            "install it with `pip install 'requests[socks]'`, or name another proxy."
        )
    if any(isinstance(cause, _UNUSABLE_ADDRESS) for cause in causes):
        return f"{proxy or 'COINGECKO_BASE_URL'} is not a usable address ({reason}); correct it."
    if _PROXY_LOGIN.search(reason):
        where = proxy or "the proxy setting"
        return f"the proxy in {where} asks for a user and a password (407); write them into its address."
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
        return f"{what}; check the clock of this machine, else its owner has to renew it."
    setting = ca_setting()
    if setting:
        return f"{what}; {setting[0]}={setting[1]} must hold the authority that signed it, or be unset."
    return (
        f"{what}; if a proxy or an authority of your own signs it, name the file with that authority's "
        f"certificate in {CA_VARIABLES[0]}, else check COINGECKO_BASE_URL."
    )


def _proxy_variable(base_url: str) -> str | None:
    """The variable of the environment that names the proxy for `base_url`."""
    scheme = urlsplit(base_url).scheme
    names = (f"{scheme}_proxy", f"{scheme.upper()}_PROXY", "all_proxy", "ALL_PROXY")
    return next((name for name in names if os.environ.get(name)), None)
