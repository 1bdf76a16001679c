"""The web pages: static files that call the endpoints, with the token that the user entered."""

import re
from pathlib import Path
from typing import Annotated
from urllib.parse import urlsplit

from fastapi import APIRouter, Request, Response
from fastapi import Path as InPath

from market_pipeline.api.endpoints.packaged import PACKAGED_PATHS
from market_pipeline.api.http.problems import ApiProblem
from market_pipeline.api.http.responses import cached
from market_pipeline.api.service import ServiceOf
from market_pipeline.core.program import command

_FOLDER = Path(__file__).parents[1] / "static"
_PAGE, _SYMBOL_PAGE, _GUIDE = "page.html", "symbol.html", "docs.html"
_MEDIA_TYPES = {
    ".html": "text/html; charset=utf-8",
    ".css": "text/css; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".svg": "image/svg+xml",
}
# In memory: a page is served even while every thread waits for the database, and reports that.
_FILES = {file.name: file.read_bytes() for file in _FOLDER.iterdir() if file.suffix in _MEDIA_TYPES}
# Only files of this server, and nothing inline: markup in a stored explanation stays text.
_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
# The icons of Swagger UI are in its style.
_GUIDE_POLICY = _POLICY.replace("img-src 'self'", "img-src 'self' data:")
_SYMBOL_PATH = re.compile("/symbols/[^/]+")

PAGE_PATHS = frozenset({"/", "/docs", *(f"/page/{name}" for name in _FILES), *PACKAGED_PATHS})

router = APIRouter(include_in_schema=False)


def is_page(path: str) -> bool:
    """Return whether `path` is a page or a part of one, which hold no data."""
    return path in PAGE_PATHS or _SYMBOL_PATH.fullmatch(path) is not None


@router.get("/")
async def page(request: Request) -> Response:
    """Return the page of all symbols."""
    return _file(request, _PAGE)


@router.get("/symbols/{symbol}")
async def symbol_page(request: Request, symbol: str) -> Response:
    """Return the page of a symbol; its script reports a symbol that is not collected."""
    return _file(request, _SYMBOL_PAGE)


@router.get("/docs")
async def guide(request: Request) -> Response:
    """Return the page with which to read and try the endpoints."""
    return _file(request, _GUIDE, _GUIDE_POLICY)


@router.get("/page/{name}")
async def part_of_page(request: Request, name: Annotated[str, InPath(max_length=100)]) -> Response:
    """Return a script, a style or the icon of the pages."""
    return _file(request, name)


@router.get("/page-settings.json")
async def page_settings(service: ServiceOf) -> dict[str, str]:
    """Return the settings that the pages need."""
    source = urlsplit(service.settings.base_url)
    official = (source.hostname or "").endswith(".coingecko.com")
    serving = dict.fromkeys(f"`{command(line)}`" for line in ("run", "serve"))
    return {
        "serving": " or ".join(serving),
        "dagster_ui_url": service.settings.dagster_ui_url,
        # A simulator's prices look like real ones.
        "other_source": "" if official else source.netloc,
    }


def _file(request: Request, name: str, policy: str = _POLICY) -> Response:
    if name not in _FILES:
        raise ApiProblem(404, "not-found", f"The pages have no file {name!r}.")
    media_type = _MEDIA_TYPES[Path(name).suffix]
    return cached(request, _FILES[name], media_type, {"Content-Security-Policy": policy})
