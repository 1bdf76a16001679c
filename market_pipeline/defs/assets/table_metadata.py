"""What the UI shows of a table asset: its columns with units, its table, its owners and kinds."""

from collections.abc import Mapping, Sequence
from typing import Any

import dagster as dg
from sqlalchemy import Table

GROUP = "market_data"
OWNERS = ["team:market-data"]


def column_schema(table: Table) -> dg.TableSchema:
    """The table's columns; descriptions are the columns' comments."""
    return dg.TableSchema(
        columns=[
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
        ],
        constraints=dg.TableConstraints(
            other=[
                str(c.sqltext)
                for c in sorted(table.constraints, key=lambda c: str(c.name))
                if hasattr(c, "sqltext")
            ]
        ),
    )


def table_metadata(table: Table, write_mode: str) -> dict[str, Any]:
    """Definition metadata of an asset that is stored in `table`."""
    return {
        "write_mode": write_mode,
        "dagster/table_name": table.name,
        "dagster/column_schema": column_schema(table),
    }


def lineage(columns: Mapping[str, Sequence[str]]) -> dg.TableColumnLineage:
    """Which columns each column is made from, named `asset.column`."""
    return dg.TableColumnLineage(
        {column: [_column_dep(source) for source in sources] for column, sources in columns.items()}
    )


def _column_dep(source: str) -> dg.TableColumnDep:
    asset, _, column = source.partition(".")
    return dg.TableColumnDep(asset_key=dg.AssetKey(asset), column_name=column)


def records_table(records: Sequence[Mapping[str, Any]]) -> dg.TableMetadataValue | dg.TextMetadataValue:
    """A few rows as a metadata table; every value as text that a person can read."""
    if not records:
        return dg.MetadataValue.text("none")
    return dg.MetadataValue.table(
        records=[dg.TableRecord({name: _cell(value) for name, value in row.items()}) for row in records]
    )


def _cell(value: Any) -> str | int | float | bool | None:
    return value if isinstance(value, (str, int, float, bool, type(None))) else str(value)
