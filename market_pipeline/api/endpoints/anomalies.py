"""Flagged quotes, newest or most important first, one of them, and the marks that people give them."""

import re
from collections.abc import Sequence
from dataclasses import replace
from typing import Annotated, Literal

from fastapi import APIRouter, Depends, Path, Query, Request, Response
from pydantic import Field

from market_pipeline.anomalies.anomaly import Kind, Scope, Severity
from market_pipeline.api.change_limits import ChangeLimits
from market_pipeline.api.http import cursor
from market_pipeline.api.http.negotiation import JSON
from market_pipeline.api.http.problems import READ_ONLY, ApiProblem, problems
from market_pipeline.api.http.query import CursorText, Flag, Parameters, Whole, each_once, not_before
from market_pipeline.api.http.responses import cached, next_page, not_cached
from market_pipeline.api.http.times import Moment
from market_pipeline.api.models.anomalies import (
    AnomalyPage,
    GivenMark,
    MarkDocument,
    OneAnomaly,
    one_as_json,
    page_as_json,
)
from market_pipeline.api.service import UNSUPPORTED, Service, ServiceOf, from_state
from market_pipeline.core.clock import iso
from market_pipeline.logs import get_logger
from market_pipeline.storage.queries.anomaly_marks import delete_mark, save_mark
from market_pipeline.storage.queries.anomaly_pages import (
    AnomalyFilter,
    Row,
    anomalies_page,
    anomaly,
    event_members,
    important_page,
)

logger = get_logger(__name__)

router = APIRouter(tags=["anomalies"], dependencies=[Depends(each_once)])

_ID = re.compile("[0-9a-f]{32}", re.ASCII)
_UNKNOWN_CURSOR = (404, "There is no page after the cursor 'abc'.")
_UNKNOWN = (404, "There is no anomaly with the id 0123456789abcdef0123456789abcdef.")
_NO_JSON = f"Send the mark as {JSON}, as Content-Type says."
_INVALID = (422, "query.limit: Input should be less than or equal to 1000")


class PageOfAnomalies(Parameters):
    """Which anomalies, and how many of them."""

    limit: Whole = Field(100, ge=1, le=1000, description="Maximum number of rows.")
    kind: Kind | None = Field(None, description="Only this kind.")
    severity: Severity | None = Field(None, description="Only this severity.")
    scope: Scope | None = Field(None, description="Only this scope.")
    mark: Literal["real", "noise", "expected", "none"] | None = Field(
        None, description="Only rows with this mark; none: only those without a mark."
    )
    since: Moment | None = Field(
        None,
        description="Quotes from this time on: RFC 3339 with an offset or Z, or a day (its midnight UTC).",
        examples=["2026-11-22T12:00:00Z"],
    )
    until: Annotated[Moment | None, not_before("since")] = Field(
        None, description="Quotes before this time, written as `since`."
    )
    alarms_only: Flag = Field(
        False,
        description="Only alarms: no rows that a market event, a bad tick or a rarer row of the same "
        "quote represents.",
    )
    sort: Literal["time", "importance"] = Field(
        "time", description="Newest first, or most important first; rows without an importance come last."
    )
    cursor: CursorText | None = None

    @property
    def filter(self) -> AnomalyFilter:
        """The filter of the query."""
        kind, severity, scope = (each and each.value for each in (self.kind, self.severity, self.scope))
        return AnomalyFilter(self.since, self.until, kind, severity, scope, self.mark, self.alarms_only)


class PageOfItsAnomalies(PageOfAnomalies):
    """Which anomalies of one symbol."""

    market_moves: Flag = Field(
        False,
        description="Also moves of the whole market that the symbol is a member of; each is stored once, under the "
        "coin that had moved most when it began.",
    )


@router.get(
    "/anomalies",
    summary="Anomalies of all symbols",
    response_model=AnomalyPage,
    responses=problems(unknown_cursor=_UNKNOWN_CURSOR, invalid_request=_INVALID),
)
def anomalies(request: Request, page: Annotated[PageOfAnomalies, Query()], service: ServiceOf) -> Response:
    """List flagged quotes of the symbols that are collected here.

    They are sorted by time, newest first, then by symbol and kind; with sort=importance the most important come first.
    """
    return _page(request, service, service.catalogue.symbols, page)


@router.get(
    "/anomalies/{symbol_or_id}",
    summary="Anomalies of one symbol, or one anomaly",
    response_model=AnomalyPage | OneAnomaly,
    responses=problems(
        unsupported_symbol=UNSUPPORTED,
        unknown_anomaly=_UNKNOWN,
        unknown_cursor=_UNKNOWN_CURSOR,
        invalid_request=_INVALID,
    ),
)
def anomalies_of(
    request: Request,
    symbol_or_id: Annotated[
        str,
        Path(
            description="A symbol that is collected here, in upper or lower case, or the id of an anomaly: "
            "32 hexadecimal digits in lower case.",
            examples=["BTC"],
        ),
    ],
    page: Annotated[PageOfItsAnomalies, Query()],
    service: ServiceOf,
) -> Response:
    """List the flagged quotes of a symbol, sorted as those of all symbols, or return one anomaly by its id.

    One anomaly comes with the rows that it represents; the parameters have no effect then.
    """
    if _ID.fullmatch(symbol_or_id):
        return _one(request, service, symbol_or_id)
    symbol = service.symbol(symbol_or_id)
    if page.market_moves:
        return _page(request, service, service.catalogue.symbols, page, symbol)
    return _page(request, service, [symbol], page)


def _page(
    request: Request, service: Service, symbols: Sequence[str], page: PageOfAnomalies, concerning: str | None = None
) -> Response:
    found = _by_importance if page.sort == "importance" else _by_time
    rows, next_cursor = found(service, symbols, replace(page.filter, concerning=concerning), page)
    return cached(request, page_as_json(rows, next_cursor), JSON, next_page(request, cursor=next_cursor))


def _by_time(
    service: Service, symbols: Sequence[str], wanted: AnomalyFilter, page: PageOfAnomalies
) -> tuple[list[Row], str | None]:
    after = None if page.cursor is None else cursor.decode_anomaly(page.cursor)
    found = anomalies_page(service.database, symbols, wanted, after, page.limit)
    return found.rows, None if found.end is None else cursor.encode_anomaly(found.end)


def _by_importance(
    service: Service, symbols: Sequence[str], wanted: AnomalyFilter, page: PageOfAnomalies
) -> tuple[list[Row], str | None]:
    after = None if page.cursor is None else cursor.decode_importance(page.cursor)
    rows, end = important_page(service.database, symbols, wanted, after, page.limit)
    return rows, None if end is None else cursor.encode_importance(end)


def _one(request: Request, service: Service, id_: str) -> Response:
    """Answer with one anomaly; if its symbol is no longer collected, it is unknown, as in the list."""
    row, symbols = anomaly(service.database, id_), service.catalogue.symbols
    if row is None or row.symbol not in symbols:
        raise _unknown(id_)
    members = [member for member in event_members(service.database, id_) if member.symbol in symbols]
    return cached(request, one_as_json(row, members), JSON)


async def _json_body(request: Request) -> None:
    """Refuse other formats: a form of another site can send those without asking the browser's permission."""
    media_type = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if media_type != JSON:
        raise ApiProblem(415, "unsupported-media-type", _NO_JSON)


AnomalyId = Annotated[
    str, Path(pattern="^[0-9a-f]{32}$", description="The id of an anomaly: 32 hexadecimal digits in lower case.")
]
LimitsOf = Annotated[ChangeLimits, from_state("change_limits")]
_CHANGE = problems(
    read_only=(403, READ_ONLY),
    unknown_anomaly=_UNKNOWN,
    too_many_requests=(429, "One client may send 100 changes in 60 s; try again in 7 s."),
    database_error=(500, "The database failed; the log has the reason under the trace id."),
    too_many_at_once=(503, "40 changes are in progress; try again in a second."),
    invalid_request=(422, "body.mark: Input should be 'real', 'noise' or 'expected'"),
)


@router.put(
    "/anomalies/{id}/mark",
    summary="Mark an anomaly as real, noise or expected",
    response_model=MarkDocument,
    dependencies=[Depends(_json_body)],
    responses=_CHANGE
    | problems(unsupported_media_type=(415, _NO_JSON), invalid_request=(400, "There was an error parsing the body")),
)
async def put_mark(request: Request, id: AnomalyId, given: GivenMark, limits: LimitsOf) -> Response:
    """Store what a person says of an anomaly; the last mark counts, and scoring its day again does not remove it.

    `noise` on a bad tick, a stale feed, or a jump whose price leapt back keeps those quotes out of later calibrations.
    """

    def save(service: Service) -> dict[str, object]:
        stored = save_mark(service.database, id, given.mark, given.note, service.clock())
        if stored is None:
            raise _unknown(id)
        logger.info("Marked as %s: %s of %s", stored.mark.value, stored.kind, iso(stored.timestamp))
        return {"id": id, "mark": stored.mark.value, "note": stored.note, "marked_at": iso(stored.marked_at)}

    return not_cached(await limits.run(request, save))


@router.delete(
    "/anomalies/{id}/mark", summary="Remove the mark of an anomaly", status_code=204, responses=_CHANGE
)
async def remove_mark(request: Request, id: AnomalyId, limits: LimitsOf) -> Response:
    """Remove the mark of an anomaly, if it has one."""

    def delete(service: Service) -> None:
        if not delete_mark(service.database, id):
            raise _unknown(id)
        logger.info("Mark of %s removed", id)

    await limits.run(request, delete)
    return Response(status_code=204)


def _unknown(id_: str) -> ApiProblem:
    return ApiProblem(404, "unknown-anomaly", f"There is no anomaly with the id {id_}.")
