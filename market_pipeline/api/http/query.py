"""What the parameters of endpoints that have some may look like: each once, none unknown, nothing almost right."""

import re
from collections import Counter
from datetime import date
from typing import Annotated, Any

from fastapi import Path, Request
from pydantic import BaseModel, BeforeValidator, ConfigDict, Field
from pydantic_core import PydanticCustomError

from market_pipeline.api.http.problems import ApiProblem


class Parameters(BaseModel):
    """Base of the query parameters of an endpoint."""

    model_config = ConfigDict(extra="forbid", frozen=True)


async def each_once(request: Request) -> None:
    """Refuse a request that names a parameter twice: nobody could say which one is meant."""
    given = Counter(name for name, _ in request.query_params.multi_items())
    if twice := sorted(name for name, times in given.items() if times > 1):
        raise invalid("query." + twice[0], "is given more than once; give it once")


def invalid(where: str, what: str) -> ApiProblem:
    """The problem that the parameter at `where` (as in query.limit) cannot be used, in the common form."""
    return ApiProblem(422, "invalid-request", f"{where}: {what}", errors=[{"where": where, "what": what}])


def _digits(given: Any) -> Any:
    """pydantic would take 1_0 and 10.0 for 10 as well."""
    if isinstance(given, str) and not re.fullmatch("-?[0-9]{1,18}", given):
        raise PydanticCustomError("form", "write a whole number in digits")
    return given


def _true_or_false(given: Any) -> Any:
    """pydantic would take yes, on and 1 as well."""
    if isinstance(given, str) and given not in ("true", "false"):
        raise PydanticCustomError("form", "write true or false")
    return given


def _day(given: Any) -> Any:
    """pydantic would take seconds since 1970, and midnights, as well."""
    if isinstance(given, str) and not re.fullmatch("[0-9]{4}-[0-9]{2}-[0-9]{2}", given):
        raise PydanticCustomError("form", "write a day as in 2026-11-23")
    return given


Whole = Annotated[int, BeforeValidator(_digits)]
Flag = Annotated[bool, BeforeValidator(_true_or_false)]
Day = Annotated[date, BeforeValidator(_day)]

CursorText = Annotated[
    str,
    Field(
        pattern="^[A-Za-z0-9_-]+$", max_length=200,
        description="`next_cursor` of the page before, as it was given: the next page begins behind it.",
    ),
]

SymbolInPath = Annotated[
    str, Path(description="A symbol that is collected here, in upper or lower case.", examples=["BTC"])
]
