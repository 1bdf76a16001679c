"""The IO manager's contract: one round trip and one replacement per database, its refusals once."""

from collections.abc import Callable
from datetime import date, datetime, timedelta, timezone
from typing import Any

import dagster as dg
import numpy as np
import pandas as pd
import pytest
from sqlalchemy import Table, text

from market_pipeline.core.columns import Columns
from market_pipeline.defs.io_manager import DatabaseIOManager, Scored
from market_pipeline.defs.partitions import SINGLE_RUN, lead_mapping, partition_key, price_partitions, range_tags
from market_pipeline.storage.db_errors import SchemaMismatch, WriteFailed
from market_pipeline.storage.engine import Database
from market_pipeline.storage.queries.scores import scored_until
from market_pipeline.storage.schema import tables
from market_pipeline.storage.schema.migrate import VERSION_TABLE
from market_pipeline_tests.builders import anomalies_of, anomaly_row, price_row, prices_of, stored_rows

FIRST = date(2024, 3, 1)
SYMBOLS = ("ADA", "BTC", "ETH")
PARTITIONS = price_partitions(FIRST, SYMBOLS)
Key = tuple[int, str]


def day(number: int) -> date:
    return FIRST + timedelta(days=number)


def times(*keys: Key) -> list[tuple[str, datetime]]:
    """A time every six hours of each (day, symbol)."""
    start = datetime(2024, 3, 1, tzinfo=timezone.utc)
    return [(symbol, start + timedelta(days=number, hours=hour)) for number, symbol in keys for hour in (0, 6, 12, 18)]


def prices(*keys: Key, price: float = 100.0) -> Columns:
    return prices_of(*(price_row(symbol, price=price, timestamp=when) for symbol, when in times(*keys)))


def frame(*keys: Key) -> pd.DataFrame:
    return prices(*keys).to_frame()


def anomalies(*keys: Key) -> Columns:
    return anomalies_of(*(anomaly_row(symbol, timestamp=when) for symbol, when in times(*keys)))


@pytest.fixture
def io(sqlite_database: Database) -> DatabaseIOManager:
    """The IO manager on an empty SQLite file."""
    return DatabaseIOManager(sqlite_database)


Stored = Callable[[Table], list[tuple[str, datetime]]]


def stored_in(database: Database) -> Stored:
    return lambda table: [(row["symbol"], row["timestamp"]) for row in stored_rows(database, table)]


@pytest.fixture
def stored(sqlite_database: Database) -> Stored:
    return stored_in(sqlite_database)


def key_range(first: Key, last: Key) -> dict[str, Any]:
    keys = [str(partition_key(day(number), symbol)) for number, symbol in (first, last)]
    return {"asset_partitions_def": PARTITIONS, "asset_partition_key_range": dg.PartitionKeyRange(*keys)}


def output(asset: str, mode: str | None, *span: Key) -> dg.OutputContext:
    partitions = key_range(span[0], span[-1]) if span else {}
    metadata = {"write_mode": mode} if mode else {}
    return dg.build_output_context(asset_key=asset, definition_metadata=metadata, **partitions)


def loaded(io: DatabaseIOManager, first: Key, last: Key, kind: type = pd.DataFrame) -> Any:
    """What a reader of the partitions `first`..`last` gets."""
    context = dg.build_input_context(
        asset_key=dg.AssetKey("raw_prices"), dagster_type=dg.PythonObjectDagsterType(kind), **key_range(first, last)
    )
    return io.load_input(context)


def test_what_an_asset_returns_is_what_the_next_one_gets(database: Database) -> None:
    """As Columns or as a DataFrame, by symbol and time whatever the order of a range's partition keys."""
    io = DatabaseIOManager(database)
    io.handle_output(output("raw_prices", "upsert"), prices(*((n, s) for s in SYMBOLS for n in range(3))))
    io.handle_output(output("raw_prices", "upsert"), frame((3, "BTC"), (3, "ADA")))
    columns, found = (loaded(io, (2, "ADA"), (3, "BTC"), kind) for kind in (Columns, pd.DataFrame))
    assert isinstance(columns, Columns) and str(found["timestamp"].dtype) == "datetime64[us, UTC]"
    expected = times((2, "ADA"), (3, "ADA"), (2, "BTC"), (3, "BTC"))
    assert list(zip(found["symbol"], found["timestamp"], strict=True)) == expected
    assert list(zip(columns["symbol"], columns.datetimes("timestamp"), strict=True)) == expected
    assert found["price"].tolist() == columns["price"].tolist() == [100.0] * 16


def test_an_upsert_touches_what_it_holds(io: DatabaseIOManager, stored: Stored) -> None:
    io.handle_output(output("raw_prices", "upsert"), prices((0, "BTC")))
    io.handle_output(output("raw_prices", "upsert"), prices((0, "BTC"), (1, "BTC")))
    assert len(stored(tables.raw_prices)) == 8


def test_a_replacement_touches_exactly_the_partitions_of_the_run(database: Database) -> None:
    io, stored = DatabaseIOManager(database), stored_in(database)
    everything = anomalies(*((n, s) for s in SYMBOLS for n in range(4)))
    io.handle_output(output("price_anomalies", "replace", (0, "ADA"), (3, "ETH")), everything)
    before = stored(tables.price_anomalies)
    assert len(before) == 48
    io.handle_output(output("price_anomalies", "replace", (1, "ADA"), (2, "BTC")), anomalies())
    gone = {(symbol, day(n)) for symbol in ("ADA", "BTC") for n in (1, 2)}
    assert stored(tables.price_anomalies) == [row for row in before if (row[0], row[1].date()) not in gone]


@pytest.mark.parametrize("scale", [1, 100], ids=["mapped to all symbols", "mapped to its own symbol"])
def test_the_run_of_a_range_passes_the_days_around_it_on(
    sqlite_database: Database, stored: Stored, scale: int
) -> None:
    """Both assets, a real run: the mapping of the anomalies, and a replacement of exactly the run's days."""
    seen: list[Columns] = []

    @dg.asset(partitions_def=PARTITIONS, backfill_policy=SINGLE_RUN, metadata={"write_mode": "upsert"})
    def raw_prices() -> pd.DataFrame:
        return frame(*((n, s) for s in SYMBOLS for n in range(12)))

    @dg.asset(
        partitions_def=PARTITIONS,
        backfill_policy=SINGLE_RUN,
        metadata={"write_mode": "replace"},
        ins={
            "raw_prices": dg.AssetIn(
                partition_mapping=lead_mapping(SYMBOLS * scale),
                metadata={"columns": ["timestamp", "symbol"], "days_after": 1, "of_all_symbols": True},
            )
        },
    )
    def price_anomalies(raw_prices: Columns) -> Columns:
        seen.append(raw_prices)
        return anomalies((9, "ADA"), (9, "BTC"))

    with dg.DagsterInstance.ephemeral() as instance:
        assert dg.materialize(
            [raw_prices, price_anomalies],
            resources={"io_manager": DatabaseIOManager(sqlite_database)},
            tags=range_tags(day(9), day(9), SYMBOLS[:2]),
            instance=instance,
        ).success
    assert list(seen[0].arrays) == ["timestamp", "symbol"]
    assert set(seen[0]["symbol"]) == set(SYMBOLS), "those of the others are the market"
    assert {moment.date() for moment in seen[0].datetimes("timestamp")} == {day(n) for n in range(1, 11)}
    assert stored(tables.price_anomalies) == times((9, "ADA"), (9, "BTC"))


@pytest.mark.parametrize("kind", [pd.DataFrame, Columns])
def test_no_partitions_at_all_are_no_rows_of_the_right_types(io: DatabaseIOManager, kind: type) -> None:
    """Dagster asks so when a mapping leads to no partition."""
    context = dg.build_input_context(
        asset_key=dg.AssetKey("raw_prices"),
        dagster_type=dg.PythonObjectDagsterType(kind),
        **key_range((0, "ADA"), (0, "ADA")),
    )
    context._asset_partitions_subset = PARTITIONS.empty_subset()
    found = io.load_input(context)
    assert isinstance(found, kind) and len(found) == 0 and found["price"].dtype == np.float64


@pytest.mark.parametrize(
    ("context", "rows", "complaint"),
    [
        (output("raw_prices", "upsert"), None, "raw_prices stores Columns or a DataFrame, not NoneType"),
        (output("raw_prices", "upsert"), {"symbol": []}, "raw_prices stores Columns or a DataFrame, not dict"),
        (output("raw_prices", None), prices(), "raw_prices must have write_mode upsert or replace, not None"),
        (output("raw_prices", "append"), prices(), "raw_prices must have write_mode upsert or replace, not 'append'"),
        (output("price_anomalies", "replace"), anomalies(), "price_anomalies is replaced by partitions"),
        (output("prises", "upsert"), prices(), r"asset prises has no table; the tables are .*raw_prices"),
        (
            output("raw_prices", "upsert"),
            frame((0, "BTC")).rename(columns={"price": "prise"}),
            r"missing: \['price'\], unknown: \['prise'\]",
        ),
        (
            output("price_anomalies", "replace", (0, "BTC")),
            anomalies((0, "BTC"), (1, "BTC")),
            "outside the partitions that are replaced, the first being BTC 2024-03-02",
        ),
    ],
)
def test_what_cannot_be_stored_is_refused_before_anything_changes(
    io: DatabaseIOManager, stored: Stored, context: dg.OutputContext, rows: Any, complaint: str
) -> None:
    io.handle_output(output("price_anomalies", "replace", (0, "BTC")), anomalies((0, "BTC")))
    with pytest.raises((TypeError, ValueError), match=complaint):
        io.handle_output(context, rows)
    assert stored(tables.raw_prices) == [] and len(stored(tables.price_anomalies)) == 4


def test_a_write_that_the_database_refuses_leaves_everything_as_it_was(database: Database) -> None:
    io, stored = DatabaseIOManager(database), stored_in(database)
    io.handle_output(output("raw_prices", "upsert"), prices((0, "BTC")))
    rows = [*times((1, "BTC")), ("BTC", datetime(2024, 3, 9, tzinfo=timezone.utc))]
    bad = prices_of(*(price_row(s, price=-1.0 if when.day == 9 else 1.0, timestamp=when) for s, when in rows))
    with pytest.raises(WriteFailed, match="raw_prices"):
        io.handle_output(output("raw_prices", "upsert"), bad)
    assert len(stored(tables.raw_prices)) == 4


def test_rows_that_are_not_stored_do_not_count_as_scored(io: DatabaseIOManager, sqlite_database: Database) -> None:
    context, rows = output("price_anomalies", "replace", (0, "BTC")), anomalies((0, "BTC"))
    newest = {"BTC": rows.datetimes("timestamp")[-1]}
    with pytest.raises(ValueError, match="outside the partitions"):
        io.handle_output(context, Scored(anomalies((1, "BTC")), newest))
    assert scored_until(sqlite_database, ["BTC"]) == {"BTC": None}
    io.handle_output(context, Scored(rows, newest))
    assert scored_until(sqlite_database, ["BTC"]) == newest


def test_a_reader_without_partitions_is_refused_with_the_remedy(io: DatabaseIOManager) -> None:
    kind = dg.PythonObjectDagsterType(pd.DataFrame)
    context = dg.build_input_context(asset_key=dg.AssetKey("raw_prices"), dagster_type=kind)
    with pytest.raises(ValueError, match="raw_prices is read by partitions: give the reader partitions"):
        io.load_input(context)


def test_a_schema_of_another_version_stops_reading_and_writing(
    io: DatabaseIOManager, sqlite_database: Database
) -> None:
    with sqlite_database.writing() as connection:
        connection.execute(text(f"UPDATE {VERSION_TABLE} SET version_num = '0000'"))
    with pytest.raises(SchemaMismatch, match="market-pipeline migrate"):
        io.handle_output(output("raw_prices", "upsert"), prices((0, "BTC")))
    with pytest.raises(SchemaMismatch, match="market-pipeline migrate"):
        loaded(io, (0, "BTC"), (0, "BTC"))
