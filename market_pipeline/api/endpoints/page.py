"""The web page: static files that call the endpoints, with the token that the user entered."""

from pathlib import Path
from typing import Annotated
from urllib.parse import urlsplit

from fastapi import APIRouter, Request, Response
from fastapi import Path as InPath

from market_pipeline.api.http.problems import ApiProblem
from market_pipeline.api.http.responses import cached
from market_pipeline.api.service import ServiceOf

_FOLDER = Path(__file__).parents[1] / "static"
_PAGE = "page.html"
_MEDIA_TYPES = {
    ".html": "text/html; charset=utf-8",
    ".css": "text/css; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".svg": "image/svg+xml",
}
# In memory: the page is served even while every thread waits for the database, and reports that.
_FILES = {file.name: file.read_bytes() for file in _FOLDER.iterdir() if file.suffix in _MEDIA_TYPES}
# Only its own files, and nothing inline: markup in a stored explanation stays text.
_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)

PAGE_PATHS = frozenset({"/", *(f"/page/{name}" for name in _FILES)})

router = APIRouter(include_in_schema=False)


@router.get("/")
async def page(request: Request) -> Response:
    """Return the page."""
    return _file(request, _PAGE)


@router.get("/page/{name}")
async def part_of_page(request: Request, name: Annotated[str, InPath(max_length=100)]) -> Response:
    """Return a script, the style or the icon of the page."""
    return _file(request, name)


@router.get("/page-settings.json")
async def page_settings(service: ServiceOf) -> dict[str, str]:
    """Return the settings that the page needs."""
    source = urlsplit(service.settings.base_url)
    official = (source.hostname or "").endswith(".coingecko.com")
    return {
        "dagster_ui_url": service.settings.dagster_ui_url,
        # A simulator's prices look like real ones.
        "other_source": "" if official else source.netloc,
    }


def _file(request: Request, name: str) -> Response:
    if name not in _FILES:
        raise ApiProblem(404, "not-found", f"The page has no file {name!r}.")
    media_type = _MEDIA_TYPES[Path(name).suffix]
    return cached(request, _FILES[name], media_type, {"Content-Security-Policy": _POLICY})
