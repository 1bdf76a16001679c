"""What the answers about anomalies look like: the columns of the table, whose comments describe them."""

import json
import math
from collections.abc import Callable, Sequence
from datetime import datetime
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, create_model
from sqlalchemy import Column, Double, Integer

from market_pipeline.anomalies.anomaly import Kind, Scope, Severity
from market_pipeline.api.http.times import text_of
from market_pipeline.storage.queries.anomaly_pages import Row
from market_pipeline.storage.schema.tables import price_anomalies
from market_pipeline.storage.schema.types import UtcTimestamp

_LISTS = {"members", "quality_flags"}
_CLOSED: dict[str, Any] = {
    "kind": Kind, "scope": Scope, "severity": Severity, "direction": Literal["up", "down", "none"],
    "members": list[str], "quality_flags": list[str],
}
_NO_LONGER_TEXT = {
    "members": "Symbols of a market event, the largest mover first; empty for other kinds.",
    "quality_flags": "What is to be known of the quality of the score, e.g. warm_up; empty if nothing.",
}


def _python_type(column: Column[Any]) -> Any:
    if column.name in _CLOSED:
        return _CLOSED[column.name]
    plain: Any = str
    if isinstance(column.type, UtcTimestamp):
        plain = datetime
    elif isinstance(column.type, Double):
        plain = float
    elif isinstance(column.type, Integer):
        plain = int
    return plain | None if column.nullable else plain


_FIELDS: dict[str, Any] = {
    column.name: (_python_type(column), Field(description=_NO_LONGER_TEXT.get(column.name, column.comment)))
    for column in price_anomalies.columns
}
AnomalyDocument = create_model("AnomalyDocument", __doc__="One flagged quote.", **_FIELDS)


class AnomalyPage(BaseModel):
    """Flagged quotes, newest first."""

    anomalies: list[AnomalyDocument]
    next_cursor: str | None = Field(
        description="Where the next page begins; null on the last one. A page of rare rows may be short, or "
        "empty, and still have a next one."
    )


class OneAnomaly(BaseModel):
    """One flagged quote, and those that it stands for."""

    model_config = ConfigDict(title="OneAnomaly")

    anomaly: AnomalyDocument
    members_of_event: list[AnomalyDocument] = Field(
        description="The rows that this one stands for, newest first: the moves of a market event, the legs of "
        "a bad tick, lesser rows of the same quote."
    )


def page_as_json(rows: Sequence[Row], next_cursor: str | None) -> bytes:
    """The document of `AnomalyPage`."""
    return _text({"anomalies": [_named(row) for row in rows], "next_cursor": next_cursor})


def one_as_json(row: Row, members: Sequence[Row]) -> bytes:
    """The document of `OneAnomaly`."""
    return _text({"anomaly": _named(row), "members_of_event": [_named(member) for member in members]})


def _text(document: object) -> bytes:
    return json.dumps(document, separators=(",", ":")).encode()


def _named(row: Row) -> dict[str, object]:
    return {name: write(value) for (name, write), value in zip(_WRITERS, row, strict=True)}


def _as_it_is(value: Any) -> Any:
    return value


def _time(value: int | None) -> str | None:
    return None if value is None else text_of(value)


def _number(value: float | None) -> float | None:
    return value if value is not None and math.isfinite(value) else None


def _list(value: str | None) -> list[str]:
    return value.split(",") if value else []


def _writer(column: Column[Any]) -> Callable[[Any], object]:
    if column.name in _LISTS:
        return _list
    if isinstance(column.type, UtcTimestamp):
        return _time
    return _number if isinstance(column.type, (Double, Integer)) else _as_it_is


_WRITERS = [(column.name, _writer(column)) for column in price_anomalies.columns]
