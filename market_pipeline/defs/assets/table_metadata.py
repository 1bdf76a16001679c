"""What the UI shows of assets: groups, owners and tags; of one that is stored in a table its columns with units."""

from collections.abc import Collection, Mapping, Sequence
from typing import Any

import dagster as dg
from sqlalchemy import CheckConstraint, Table

# The groups of the lineage, from the source to the people.
INGEST, QUALITY, DETECT, MONITOR = "ingest", "quality", "detect", "monitor"
OWNERS = ["team:market-data"]
# How often the automation renews an asset, to select by: `tag:renewed=tick`.
EVERY_TICK, EVERY_HOUR, EVERY_DAY = ({"renewed": how_often} for how_often in ("tick", "hour", "day"))

# Metadata names at most this many symbols, the first ones of MARKET_SYMBOLS: Dagster stores it with every
# materialization, which for 1,000 symbols would be half a megabyte a tick.
SHOWN_SYMBOLS = 50


def table_metadata(table: Table, write_mode: str) -> dict[str, Any]:
    """Return the definition metadata of an asset that is stored in `table`."""
    return {
        "write_mode": write_mode,
        "dagster/table_name": table.name,
        "dagster/column_schema": _column_schema(table),
    }


def _column_schema(table: Table) -> dg.TableSchema:
    """Return the columns of `table`, described by their comments."""
    columns = [
        dg.TableColumn(
            name=column.name,
            type=str(column.type.compile()),
            description=column.comment,
            constraints=dg.TableColumnConstraints(
                nullable=bool(column.nullable),
                unique=column.primary_key and len(table.primary_key) == 1,
                other=["primary key"] if column.primary_key else [],
            ),
        )
        for column in table.columns
    ]
    checks = [constraint for constraint in table.constraints if isinstance(constraint, CheckConstraint)]
    texts = [str(check.sqltext) for check in sorted(checks, key=lambda check: str(check.name))]
    return dg.TableSchema(columns=columns, constraints=dg.TableConstraints(other=texts))


def records_table(records: Sequence[Mapping[str, Any]]) -> dg.TableMetadataValue | dg.TextMetadataValue:
    """Return a few rows as a metadata table; values that Dagster cannot store become text."""
    if not records:
        return dg.MetadataValue.text("none")
    return dg.MetadataValue.table(
        records=[dg.TableRecord({name: _cell(value) for name, value in row.items()}) for row in records]
    )


def shown_note(symbols: Collection[str]) -> dict[str, str]:
    """Return a note for the metadata of an asset if it does not show all of `symbols`."""
    if len(symbols) <= SHOWN_SYMBOLS:
        return {}
    return {"symbols_shown": f"the first {SHOWN_SYMBOLS} of {len(symbols):,} in MARKET_SYMBOLS; the API has all"}


def _cell(value: Any) -> str | int | float | bool | None:
    return value if isinstance(value, str | int | float | bool | None) else str(value)
