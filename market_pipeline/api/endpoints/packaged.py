"""Scripts and styles of other packages, served from their own files: no page loads anything from elsewhere."""

from functools import cache
from importlib.util import find_spec
from pathlib import Path

from anyio import to_thread
from fastapi import APIRouter, Request, Response

from market_pipeline.api.http.compression import accepts_gzip, gzipped
from market_pipeline.api.http.problems import ApiProblem
from market_pipeline.api.http.responses import cached
from market_pipeline.api.service import PackagedThreads

# The package, which is not imported, and the file in it.
_FILES = {
    "plotly.min.js": ("plotly", "package_data/plotly.min.js"),
    "swagger-ui-bundle.js": ("fastapi_offline", "static/swagger-ui-bundle.js"),
    "swagger-ui.css": ("fastapi_offline", "static/swagger-ui.css"),
}
_MEDIA_TYPES = {".css": "text/css; charset=utf-8", ".js": "text/javascript; charset=utf-8"}
# They are large and change only with an upgrade: requested again once a day, and answered by 304.
_CACHE = {"Cache-Control": "public, max-age=86400", "Vary": "Accept-Encoding"}

PACKAGED_PATHS = frozenset(f"/packaged/{name}" for name in _FILES)

router = APIRouter(include_in_schema=False)


@router.get("/packaged/{name}")
async def packaged(request: Request, name: str, threads: PackagedThreads) -> Response:
    """Return a script or a style of another package."""
    if name not in _FILES:
        raise ApiProblem(404, "not-found", f"The pages have no file {name!r}.")
    compress = accepts_gzip(request)
    # Not in one of the threads that may wait for the database.
    content = await to_thread.run_sync(_content, name, compress, limiter=threads)
    headers = {**_CACHE, "Content-Encoding": "gzip"} if compress else _CACHE
    return cached(request, content, _MEDIA_TYPES[Path(name).suffix], headers)


def _content(name: str, compress: bool) -> bytes:
    return _compressed(name) if compress else _file(name).read_bytes()


@cache
def _compressed(name: str) -> bytes:
    """Compress a file once in the life of the process."""
    return gzipped(_file(name).read_bytes())


def _file(name: str) -> Path:
    package, file = _FILES[name]
    spec = find_spec(package)
    # A requirement of this package, so it is there unless it was removed.
    if spec is None or not spec.submodule_search_locations:
        raise FileNotFoundError(f"the package {package} is not installed")
    return Path(next(iter(spec.submodule_search_locations))) / file
