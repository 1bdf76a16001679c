"""Content negotiation: the format of an answer by the client's Accept header."""

from collections.abc import Sequence
from functools import lru_cache

import mimeparse
from fastapi import Request

from market_pipeline.api.http.problems import ApiProblem

JSON = "application/json"
CSV = "text/csv"
ARROW = "application/vnd.apache.arrow.stream"


def format_for(request: Request, offered: Sequence[str]) -> str:
    """Return the format that the client prefers, by default the first; raise ApiProblem 406 if none is `offered`."""
    accepted = ", ".join(request.headers.getlist("accept"))
    found = _best(tuple(offered), accepted) if accepted.strip() else offered[0]
    if not found:
        raise ApiProblem(
            406, "not-acceptable", f"No answer has the format {accepted!r}; Accept may be {', '.join(offered)}.",
            {"Vary": "Accept"}, offered=list(offered),
        )
    return found


@lru_cache(maxsize=256)
def _best(offered: tuple[str, ...], accepted: str) -> str:
    try:
        # Among equals it returns the last.
        return str(mimeparse.best_match(offered[::-1], accepted.lower()))
    except mimeparse.MimeTypeParseException:
        return ""
