"""Addresses of the API's pages, for links from elsewhere."""

from datetime import date
from urllib.parse import quote


def symbol_page(api_url: str, symbol: str, day: date | None = None) -> str:
    """Return the address of the page of `symbol`; with `day` (UTC) its chart shows that day.

    `api_url` is the setting of that name, which has no trailing slash.
    """
    page = f"{api_url}/symbols/{quote(symbol, safe='')}"
    return page if day is None else f"{page}?day={day.isoformat()}"
