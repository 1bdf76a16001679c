"""Answers that are compressed where the client accepts it: scripts of other packages, and charts."""

import gzip
import re

from fastapi import Request, Response

from market_pipeline.api.http.responses import cached

# With a weight of zero the client refuses it: https://www.rfc-editor.org/rfc/rfc9110#section-12.5.3
_GZIP = re.compile(r"\bgzip\b(?!\s{0,9};\s{0,9}q=0(\.0{0,3})?\s{0,9}(,|$))", re.IGNORECASE)
# Smaller levels gain little time, larger ones little size.
_LEVEL = 4


def accepts_gzip(request: Request) -> bool:
    """Return whether the client accepts gzip."""
    return _GZIP.search(request.headers.get("accept-encoding", "")) is not None


def gzipped(content: bytes) -> bytes:
    """Compress; equal content gives equal bytes, and so an equal ETag."""
    return gzip.compress(content, _LEVEL, mtime=0)


def compressed(request: Request, content: bytes, media_type: str) -> Response:
    """Answer as `cached` does, compressed if the client accepts that; each encoding has an ETag of its own."""
    headers = {"Vary": "Accept-Encoding"}
    if accepts_gzip(request):
        content, headers["Content-Encoding"] = gzipped(content), "gzip"
    return cached(request, content, media_type, headers)
