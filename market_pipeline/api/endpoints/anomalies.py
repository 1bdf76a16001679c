"""Flagged quotes, newest first, and one of them with its explanation."""

import re
from collections.abc import Sequence
from typing import Annotated

from fastapi import APIRouter, Depends, Path, Query, Request, Response
from pydantic import Field

from market_pipeline.anomalies.anomaly import Kind, Scope, Severity
from market_pipeline.api.http import cursor
from market_pipeline.api.http.negotiation import JSON
from market_pipeline.api.http.problems import ApiProblem, problems
from market_pipeline.api.http.query import CursorText, Flag, Parameters, Whole, each_once
from market_pipeline.api.http.responses import cached, next_page
from market_pipeline.api.http.times import Moment
from market_pipeline.api.models.anomalies import AnomalyPage, OneAnomaly, one_as_json, page_as_json
from market_pipeline.api.service import UNSUPPORTED, Service, ServiceOf
from market_pipeline.storage.queries.anomaly_pages import AnomalyFilter, anomalies_page, anomaly, event_members

router = APIRouter(tags=["anomalies"], dependencies=[Depends(each_once)])

_ID = re.compile("[0-9a-f]{32}", re.ASCII)
_UNKNOWN_CURSOR = (404, "There is no page after the cursor 'abc'.")
_INVALID = (422, "query.limit: Input should be less than or equal to 1000")


class PageOfAnomalies(Parameters):
    """Which anomalies, and how many of them."""

    limit: Whole = Field(100, ge=1, le=1000, description="Maximum number of rows.")
    kind: Kind | None = Field(None, description="Only this kind.")
    severity: Severity | None = Field(None, description="Only this severity.")
    scope: Scope | None = Field(None, description="Only this scope.")
    since: Moment | None = Field(
        None,
        description="Quotes from this time on: RFC 3339 with an offset or Z, or a day (its midnight UTC).",
        examples=["2026-11-22T12:00:00Z"],
    )
    alarms_only: Flag = Field(
        False,
        description="Only alarms: no rows that a market event, a bad tick or a rarer row of the same "
        "quote represents.",
    )
    cursor: CursorText | None = None

    @property
    def filter(self) -> AnomalyFilter:
        """The filter of the query."""
        kind, severity, scope = (each and each.value for each in (self.kind, self.severity, self.scope))
        return AnomalyFilter(self.since, kind, severity, scope, self.alarms_only)


@router.get(
    "/anomalies",
    summary="Anomalies of all symbols, newest first",
    response_model=AnomalyPage,
    responses=problems(unknown_cursor=_UNKNOWN_CURSOR, invalid_request=_INVALID),
)
def anomalies(request: Request, page: Annotated[PageOfAnomalies, Query()], service: ServiceOf) -> Response:
    """List flagged quotes of the symbols that are collected here, newest first, then by symbol and kind."""
    return _page(request, service, service.catalogue.symbols, page)


@router.get(
    "/anomalies/{symbol_or_id}",
    summary="Anomalies of one symbol, or one anomaly",
    response_model=AnomalyPage | OneAnomaly,
    responses=problems(
        unsupported_symbol=UNSUPPORTED,
        unknown_anomaly=(404, "There is no anomaly with the id 0123456789abcdef0123456789abcdef."),
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
    page: Annotated[PageOfAnomalies, Query()],
    service: ServiceOf,
) -> Response:
    """List the flagged quotes of a symbol, newest first, or return one anomaly by its id.

    One anomaly comes with its explanation and the rows that it represents; the parameters have no effect then.
    """
    if _ID.fullmatch(symbol_or_id):
        return _one(request, service, symbol_or_id)
    return _page(request, service, [service.symbol(symbol_or_id)], page)


def _page(request: Request, service: Service, symbols: Sequence[str], page: PageOfAnomalies) -> Response:
    after = None if page.cursor is None else cursor.decode_anomaly(page.cursor)
    found = anomalies_page(service.database, symbols, page.filter, after, page.limit)
    next_cursor = None if found.end is None else cursor.encode_anomaly(found.end)
    return cached(request, page_as_json(found.rows, next_cursor), JSON, next_page(request, cursor=next_cursor))


def _one(request: Request, service: Service, id_: str) -> Response:
    """Answer with one anomaly; if its symbol is no longer collected, it is unknown, as in the list."""
    row, symbols = anomaly(service.database, id_), service.catalogue.symbols
    if row is None or row.symbol not in symbols:
        raise ApiProblem(404, "unknown-anomaly", f"There is no anomaly with the id {id_}.")
    members = [member for member in event_members(service.database, id_) if member.symbol in symbols]
    return cached(request, one_as_json(row, members), JSON)
