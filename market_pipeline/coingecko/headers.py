"""What every request says of itself: which program asks, and with which key."""

from __future__ import annotations

from typing import TYPE_CHECKING

from market_pipeline import __version__

if TYPE_CHECKING:
    from market_pipeline.settings import Plan

# CoinGecko refuses requests whose User-Agent does not describe the program.
USER_AGENT = (
    f"market-pipeline/{__version__} (+scheduled price collection; contact: the operator of this address)"
)

_KEY_HEADERS = {"demo": "x-cg-demo-api-key", "pro": "x-cg-pro-api-key"}


def request_headers(plan: Plan, api_key: str | None) -> dict[str, str]:
    """The headers of a request on `plan`; ValueError, never with the key in it, if they do not belong
    together."""
    return {"User-Agent": USER_AGENT, "Accept": "application/json", **_key_header(plan, api_key)}


def _key_header(plan: Plan, api_key: str | None) -> dict[str, str]:
    if plan == "keyless":
        if api_key:
            raise ValueError("the keyless plan sends no API key; set the plan to demo or pro")
        return {}
    if not api_key:
        raise ValueError(f"the {plan} plan needs an API key")
    if not (api_key.isascii() and api_key.isprintable() and " " not in api_key):
        raise ValueError("the API key holds a space or a character that cannot travel in a header")
    return {_KEY_HEADERS[plan]: api_key}
