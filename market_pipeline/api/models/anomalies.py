"""The documents of anomalies: the columns of the table, whose comments describe them."""

import json
import math
from collections.abc import Callable, Sequence
from datetime import datetime
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, WithJsonSchema, create_model
from pydantic_core import PydanticCustomError
from sqlalchemy import Column, Double, Integer

from market_pipeline.anomalies.anomaly import Kind, Scope, Severity, headline_of
from market_pipeline.anomalies.marks import LONGEST_NOTE, NOTE_PATTERN, Mark, parse_note
from market_pipeline.api.http.times import text_of
from market_pipeline.storage.queries.anomaly_pages import COLUMNS, MARK_COLUMNS, Row
from market_pipeline.storage.schema.types import UtcTimestamp

_CHOICES: dict[str, Any] = {
    "kind": Kind, "scope": Scope, "severity": Severity, "direction": Literal["up", "down", "none"],
    "mark": Mark,
}
# Comma-separated text in the table.
_LISTS = {
    "members": "Symbols of a market event, the largest mover first; empty for other kinds.",
    "quality_flags": "Reservations about the quality of the score, e.g. warm_up; empty if none.",
}
_HEADLINE = "What happened, how much and when, in at most 140 characters; in older rows the explanation."


def _finite(value: float) -> float | None:
    return value if math.isfinite(value) else None


def _listed(value: str | None) -> list[str]:
    return value.split(",") if value else []


def _form(column: Column[Any]) -> tuple[Any, Callable[[Any], object]]:
    """Return the type of a column in the document, and the function that converts its values."""
    if column.name in _LISTS:
        return list[str], _listed
    forms = ((UtcTimestamp, datetime, text_of), (Double, float, _finite), (Integer, int, _finite))
    shown: Any = _CHOICES.get(column.name, str)
    convert: Callable[[Any], object] = str
    for stored, type_, function in forms:
        if isinstance(column.type, stored):
            shown, convert = type_, function
    if not column.nullable and column not in MARK_COLUMNS:
        return shown, convert
    return shown | None, lambda value: None if value is None else convert(value)


_DESCRIPTIONS = {**_LISTS, "headline": _HEADLINE}
_FORMS = {column.name: _form(column) for column in COLUMNS}
_FIELDS: dict[str, Any] = {
    column.name: (_FORMS[column.name][0], Field(description=_DESCRIPTIONS.get(column.name, column.comment)))
    for column in COLUMNS
}
AnomalyDocument = create_model("AnomalyDocument", __doc__="One flagged quote.", **_FIELDS)


class AnomalyPage(BaseModel):
    """Flagged quotes in the order that was requested."""

    anomalies: list[AnomalyDocument]
    next_cursor: str | None = Field(
        description="Where the next page begins; null on the last one. A page of rare rows may be short, or "
        "empty, and still have a next one."
    )


class OneAnomaly(BaseModel):
    """One flagged quote, and those that it represents."""

    model_config = ConfigDict(title="OneAnomaly")

    anomaly: AnomalyDocument
    members_of_event: list[AnomalyDocument] = Field(
        description="The rows that this one represents, newest first: the moves of a market event, the legs of "
        "a bad tick, lesser rows of the same quote."
    )


def _note(given: str | None) -> str | None:
    try:
        return None if given is None else parse_note(given)
    except ValueError as error:
        raise PydanticCustomError("note", "{why}", {"why": str(error)}) from None


_NOTE_SCHEMA = {"anyOf": [{"type": "string", "maxLength": LONGEST_NOTE, "pattern": NOTE_PATTERN}, {"type": "null"}]}


class GivenMark(BaseModel):
    """What a person says of an anomaly."""

    model_config = ConfigDict(
        extra="forbid", json_schema_extra={"example": {"mark": "noise", "note": "The exchange had a glitch."}}
    )

    mark: Mark = Field(
        description="real; noise: not worth an alarm, or a mistake of the source; expected: known beforehand."
    )
    note: Annotated[str | None, AfterValidator(_note), WithJsonSchema(_NOTE_SCHEMA)] = Field(
        None, description="Why, for those who read it later: one line of text without control characters."
    )


class MarkDocument(BaseModel):
    """The mark of an anomaly as it is stored."""

    id: str = Field(description="Id of the anomaly.")
    mark: Mark = Field(description="real, noise or expected.")
    note: str | None = Field(description="The note; null if there is none.")
    marked_at: datetime = Field(description="When it was first marked so, UTC.")


def page_as_json(rows: Sequence[Row], next_cursor: str | None) -> bytes:
    """Write the document of `AnomalyPage`."""
    return _json({"anomalies": [_document(row) for row in rows], "next_cursor": next_cursor})


def one_as_json(row: Row, members: Sequence[Row]) -> bytes:
    """Write the document of `OneAnomaly`."""
    return _json({"anomaly": _document(row), "members_of_event": [_document(member) for member in members]})


def _json(document: object) -> bytes:
    return json.dumps(document, separators=(",", ":")).encode()


def _document(row: Row) -> dict[str, object]:
    document = {name: convert(value) for (name, (_, convert)), value in zip(_FORMS.items(), row, strict=True)}
    return {**document, "headline": headline_of(row.headline, row.explanation)}
