"""Strict query parameters: each at most once, none unknown, no lenient forms (1_0, yes, seconds for days)."""

import re
from collections import Counter
from datetime import date
from typing import Annotated, Any

from fastapi import Path, Request
from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, ValidationInfo
from pydantic_core import PydanticCustomError
from typing_extensions import LiteralString

from market_pipeline.api.http.problems import ApiProblem


class Parameters(BaseModel):
    """Base of the query parameters of an endpoint."""

    model_config = ConfigDict(extra="forbid", frozen=True)


async def each_once(request: Request) -> None:
    """Refuse a request that has a parameter twice: it is ambiguous."""
    given = Counter(name for name, _ in request.query_params.multi_items())
    if twice := sorted(name for name, times in given.items() if times > 1):
        raise invalid("query." + twice[0], "is given more than once; give it once")


def invalid(where: str, what: str) -> ApiProblem:
    """Return the problem of the parameter at `where` (as in query.limit), in the form that FastAPI's have."""
    return ApiProblem(422, "invalid-request", f"{where}: {what}", errors=[{"where": where, "what": what}])


def _form(pattern: str, remedy: LiteralString) -> BeforeValidator:
    """Refuse text of another form, which pydantic would convert."""

    def check(given: Any) -> Any:
        if isinstance(given, str) and not re.fullmatch(pattern, given):
            raise PydanticCustomError("form", remedy)
        return given

    return BeforeValidator(check)


def not_before(start: str) -> AfterValidator:
    """Refuse an end that lies before the parameter `start`: an empty answer would look like one without data."""

    def check(end: Any, info: ValidationInfo) -> Any:
        begin = info.data.get(start)
        if begin is not None and end is not None and end < begin:
            raise PydanticCustomError("order", "is before `{start}`; swap them", {"start": start.strip("_")})
        return end

    return AfterValidator(check)


Whole = Annotated[int, _form("-?[0-9]{1,18}", "write a whole number in digits")]
Flag = Annotated[bool, _form("true|false", "write true or false")]
Day = Annotated[date, _form("[0-9]{4}-[0-9]{2}-[0-9]{2}", "write a day as in 2026-11-23")]

CursorText = Annotated[
    str,
    Field(
        pattern="^[A-Za-z0-9_-]+$", max_length=200,
        description="`next_cursor` of the previous page, unchanged: the next page begins after it.",
    ),
]

SymbolInPath = Annotated[
    str, Path(description="A symbol that is collected here, in upper or lower case.", examples=["BTC"])
]
