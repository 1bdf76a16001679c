"""The session of `requests` that everything is sent through, without what the library does unasked."""

from collections.abc import Mapping
from urllib.parse import urlsplit

import requests
from requests.auth import AuthBase

from market_pipeline.coingecko.connection import ca_setting
from market_pipeline.coingecko.deadline import DeadlineAdapter


def session_for(base_url: str, headers: Mapping[str, str]) -> requests.Session:
    """A session for addresses below `base_url` that sends `headers` with every request."""
    session = _Session()
    for scheme in ("http://", "https://"):
        session.mount(scheme, DeadlineAdapter())
    session.auth = _NoCredentials()
    # The proxy of the environment leads out of this machine, where loopback is someone else.
    session.trust_env = urlsplit(base_url).hostname not in ("127.0.0.1", "localhost", "::1")
    if not session.trust_env and (authorities := ca_setting()):
        session.verify = authorities[1]
    session.headers.update(headers)
    return session


class _Session(requests.Session):
    """A session that does not even look where a redirect leads: reading that address can fail, and on
    the way there the library reads the whole body, however large."""

    def get_redirect_target(self, resp: requests.Response) -> None:
        return None


class _NoCredentials(AuthBase):
    """Keeps requests from adding what a .netrc file says about this host."""

    def __call__(self, request: requests.PreparedRequest) -> requests.PreparedRequest:
        return request
