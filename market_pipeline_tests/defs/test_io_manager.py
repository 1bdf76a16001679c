"""The IO manager's contract, every case on SQLite and on PostgreSQL."""

from datetime import date, datetime, timedelta, timezone
from typing import Any

import dagster as dg
import numpy as np
import pandas as pd
import pytest
from sqlalchemy import select, text

from market_pipeline.core.columns import Columns
from market_pipeline.defs.io_manager import DatabaseIOManager
from market_pipeline.defs.partitions import SINGLE_RUN, lead_mapping, partition_key, price_partitions, range_tags
from market_pipeline.storage.db_errors import SchemaMismatch, WriteFailed
from market_pipeline.storage.schema import tables
from market_pipeline.storage.schema.migrate import VERSION_TABLE
from market_pipeline_tests.builders import coin_id

FIRST = date(2024, 3, 1)
SYMBOLS = ("ADA", "BTC", "ETH")
PARTITIONS = price_partitions(FIRST, SYMBOLS)


def day(number: int) -> date:
    return FIRST + timedelta(days=number)


def prices(*keys: tuple[int, str], price: float = 100.0, hours: int = 6) -> pd.DataFrame:
    """A price every `hours` hours of each (day, symbol)."""
    rows = [
        (symbol, datetime(2024, 3, 1, tzinfo=timezone.utc) + timedelta(days=number, hours=hour))
        for number, symbol in keys
        for hour in range(0, 24, hours)
    ]
    frame = pd.DataFrame(rows, columns=["symbol", "timestamp"])
    frame["timestamp"] = pd.to_datetime(frame["timestamp"], utc=True)
    frame["coin_id"] = [coin_id(symbol) for symbol in frame["symbol"]]
    return frame.assign(price=price, source="simple_price", ingested_at=frame["timestamp"])


def anomalies(frame: pd.DataFrame) -> pd.DataFrame:
    """An anomaly at every price of `frame`."""
    names = [f"{symbol} {when}" for symbol, when in zip(frame["symbol"], frame["timestamp"])]
    texts = {"kind": "jump", "scope": "unknown", "severity": "watch", "direction": "up"}
    texts |= {"calibration": "prior", "quality_flags": "", "detector_version": "1", "explanation": "It rose."}
    numbers = {"price_before": 1.0, "price_after": 2.0, "move": 1.0, "elapsed_seconds": 60.0}
    numbers |= {"horizon_minutes": 1.0, "score": 6.0, "threshold": 5.0, "hour_factor": 1.0}
    numbers |= {"quotes_used": 9, "stale_minutes": 0.0}
    times = ("timestamp_before", "detected_at", "episode_first", "episode_peak", "episode_last")
    empty = [column.name for column in tables.price_anomalies.columns if column.nullable]
    return frame[["symbol", "timestamp"]].assign(
        coin_id=[coin_id(symbol) for symbol in frame["symbol"]],
        id=names,
        episode_id=names,
        **texts,
        **numbers,
        **{name: frame["timestamp"] for name in times},
        **dict.fromkeys(empty),
    )


@pytest.fixture
def io(database):
    """The IO manager on an empty database."""
    return DatabaseIOManager(database)


@pytest.fixture
def stored(database):
    def rows(table: Any = tables.raw_prices) -> list[tuple[str, datetime]]:
        with database.reading() as connection:
            found = connection.execute(
                select(table.c.symbol, table.c.timestamp).order_by(*table.primary_key.columns)
            )
            return [tuple(row) for row in found]

    return rows


def run(io: DatabaseIOManager, assets: Any, first: date, last: date, symbols: Any = SYMBOLS) -> Any:
    """One run of `assets` over a range of days and symbols."""
    with dg.DagsterInstance.ephemeral() as instance:
        return dg.materialize(
            assets if isinstance(assets, list) else [assets],
            resources={"io_manager": io},
            tags=range_tags(first, last, symbols),
            instance=instance,
        )


def output(asset: str, mode: str | None, *keys: tuple[int, str]) -> dg.OutputContext:
    span = [str(partition_key(day(number), symbol)) for number, symbol in (keys[0], keys[-1])] if keys else []
    return dg.build_output_context(
        asset_key=asset,
        definition_metadata={"write_mode": mode} if mode else {},
        **(
            {"asset_partitions_def": PARTITIONS, "asset_partition_key_range": dg.PartitionKeyRange(*span)}
            if keys
            else {}
        ),
    )


def loaded(
    io: DatabaseIOManager,
    first: tuple[int, str],
    last: tuple[int, str],
    kind: type = pd.DataFrame,
    **more: Any,
) -> Any:
    """What a reader of the partitions `first`..`last` gets."""
    context = dg.build_input_context(
        asset_key=dg.AssetKey("raw_prices"),
        asset_partitions_def=PARTITIONS,
        asset_partition_key_range=dg.PartitionKeyRange(
            *(str(partition_key(day(n), s)) for n, s in (first, last))
        ),
        dagster_type=dg.PythonObjectDagsterType(kind),
        **more,
    )
    return io.load_input(context)


def test_what_an_asset_returns_is_what_the_next_one_gets(io):
    given = prices((0, "ADA"), (0, "BTC"))
    io.handle_output(output("raw_prices", "upsert"), given)
    frame = loaded(io, (0, "ADA"), (0, "BTC"))
    assert frame["timestamp"].tolist() == given["timestamp"].tolist()
    assert str(frame["timestamp"].dtype) == "datetime64[us, UTC]"
    columns = loaded(io, (0, "ADA"), (0, "BTC"), Columns)
    assert isinstance(columns, Columns)
    assert columns.to_frame()["price"].tolist() == frame["price"].tolist()


def test_an_upsert_touches_what_it_holds_and_says_how_much_changed(io, stored):
    io.handle_output(output("raw_prices", "upsert"), prices((0, "BTC")))
    context = output("raw_prices", "upsert")
    io.handle_output(context, prices((0, "BTC"), (1, "BTC")))
    assert context.consume_logged_metadata()["rows_written"].value == 4
    assert len(stored()) == 8


def test_a_replacement_touches_exactly_the_partitions_of_the_run(io, stored):
    everything = anomalies(prices(*((n, s) for s in SYMBOLS for n in range(4))))
    io.handle_output(output("price_anomalies", "replace", (0, "ADA"), (3, "ETH")), everything)
    before = stored(tables.price_anomalies)
    io.handle_output(output("price_anomalies", "replace", (1, "ADA"), (2, "BTC")), everything.iloc[:0])
    gone = {(symbol, day(n)) for symbol in ("ADA", "BTC") for n in (1, 2)}
    assert stored(tables.price_anomalies) == [row for row in before if (row[0], row[1].date()) not in gone]


def test_a_row_of_another_partition_is_refused_before_anything_changes(io, stored):
    io.handle_output(output("price_anomalies", "replace", (0, "BTC")), anomalies(prices((0, "BTC"))))
    with pytest.raises(
        ValueError, match="outside the partitions that are replaced, the first being BTC 2024-03-02"
    ):
        io.handle_output(
            output("price_anomalies", "replace", (0, "BTC")), anomalies(prices((0, "BTC"), (1, "BTC")))
        )
    assert len(stored(tables.price_anomalies)) == 4


def test_a_write_that_the_database_refuses_leaves_everything_as_it_was(io, stored):
    io.handle_output(output("raw_prices", "upsert"), prices((0, "BTC")))
    with pytest.raises(WriteFailed, match="raw_prices"):
        io.handle_output(
            output("raw_prices", "upsert"), pd.concat([prices((1, "BTC")), prices((2, "BTC"), price=-1.0)])
        )
    assert len(stored()) == 4


def test_ranges_of_days_and_symbols_are_read_whatever_the_order_of_their_keys(io):
    """Dagster hands the keys of a range run over as a set."""
    io.handle_output(output("raw_prices", "upsert"), prices(*((n, s) for s in SYMBOLS for n in range(5))))
    frame = loaded(io, (1, "ADA"), (3, "BTC"))
    assert len(frame) == 2 * 3 * 4
    assert frame["symbol"].tolist() == ["ADA"] * 12 + ["BTC"] * 12
    assert frame["timestamp"].dt.date.min() == day(1)
    assert frame["timestamp"].dt.date.max() == day(3)
    assert frame.equals(frame.sort_values(["symbol", "timestamp"]))


def test_the_run_of_a_range_hands_eight_days_of_all_symbols_on(io, stored):
    """Both assets, real runs: the mapping of the anomalies, and a replacement of exactly the run's days."""
    seen: list[pd.DataFrame] = []

    @dg.asset(partitions_def=PARTITIONS, backfill_policy=SINGLE_RUN, metadata={"write_mode": "upsert"})
    def raw_prices(context: dg.AssetExecutionContext) -> pd.DataFrame:
        return prices(*((n, s) for s in SYMBOLS for n in range(10)))

    @dg.asset(
        partitions_def=PARTITIONS,
        backfill_policy=SINGLE_RUN,
        metadata={"write_mode": "replace"},
        ins={
            "raw_prices": dg.AssetIn(
                partition_mapping=lead_mapping(), metadata={"columns": ["timestamp", "symbol"]}
            )
        },
    )
    def price_anomalies(raw_prices: pd.DataFrame) -> pd.DataFrame:
        seen.append(raw_prices)
        own = raw_prices["symbol"].isin(SYMBOLS[:2]) & (raw_prices["timestamp"].dt.date == day(9))
        return anomalies(raw_prices[own])

    assert run(io, [raw_prices, price_anomalies], day(9), day(9), SYMBOLS[:2]).success
    assert list(seen[0].columns) == ["timestamp", "symbol"]
    assert set(seen[0]["symbol"]) == set(SYMBOLS), "those of the others tell the market"
    assert seen[0]["timestamp"].dt.date.unique().tolist() == [day(n) for n in range(2, 10)]
    assert stored(tables.price_anomalies) == [
        row for row in stored() if row[1].date() == day(9) and row[0] != "ETH"
    ]


def test_a_reader_annotated_columns_gets_columns(io):
    got: list[Any] = []

    @dg.asset(partitions_def=PARTITIONS, backfill_policy=SINGLE_RUN, metadata={"write_mode": "upsert"})
    def raw_prices() -> pd.DataFrame:
        return prices((0, "BTC"))

    @dg.asset(partitions_def=PARTITIONS, backfill_policy=SINGLE_RUN)
    def reader(raw_prices: Columns) -> None:
        got.append(raw_prices)

    assert run(io, [raw_prices, reader], FIRST, FIRST).success
    assert isinstance(got[0], Columns)
    assert len(got[0]) == 4


def test_days_before_the_first_partition_are_no_rows(io):
    """At the start of history the window holds fewer keys."""
    assert len(loaded(io, (0, "BTC"), (0, "BTC"))) == 0
    assert loaded(io, (0, "BTC"), (0, "BTC")).dtypes["price"] == np.float64


@pytest.mark.parametrize("kind", [pd.DataFrame, Columns])
def test_no_partitions_at_all_are_no_rows_of_the_right_types(io, kind):
    """Dagster asks so when a mapping leads to no partition."""
    context = dg.build_input_context(
        asset_key=dg.AssetKey("raw_prices"),
        asset_partitions_def=PARTITIONS,
        asset_partition_key_range=dg.PartitionKeyRange("2024-03-01|ADA", "2024-03-01|ADA"),
        dagster_type=dg.PythonObjectDagsterType(kind),
    )
    context._asset_partitions_subset = PARTITIONS.empty_subset()
    got = io.load_input(context)
    assert isinstance(got, kind)
    assert len(got) == 0
    assert got["price"].dtype == np.float64


@pytest.mark.parametrize("nothing", [None, [], "rows", {"symbol": []}])
def test_what_is_neither_columns_nor_a_frame_is_refused(io, nothing):
    with pytest.raises(
        TypeError, match=f"raw_prices stores Columns or a DataFrame, not {type(nothing).__name__}"
    ):
        io.handle_output(output("raw_prices", "upsert"), nothing)


@pytest.mark.parametrize("mode", [None, "append"])
def test_a_write_mode_that_does_not_exist_is_refused(io, stored, mode):
    with pytest.raises(ValueError, match="the metadata of raw_prices must have write_mode upsert or replace"):
        io.handle_output(output("raw_prices", mode), prices((0, "BTC")))
    assert stored() == []


def test_a_replacement_without_partitions_is_refused(io):
    with pytest.raises(ValueError, match="price_anomalies is replaced by partitions"):
        io.handle_output(output("price_anomalies", "replace"), anomalies(prices((0, "BTC"))))


def test_an_asset_without_a_table_is_refused_with_the_tables(io):
    with pytest.raises(ValueError, match="asset prises has no table; the tables are .*raw_prices"):
        io.handle_output(output("prises", "upsert"), prices((0, "BTC")))


def test_a_reader_without_partitions_is_refused_with_the_remedy(io):
    context = dg.build_input_context(
        asset_key=dg.AssetKey("raw_prices"), dagster_type=dg.PythonObjectDagsterType(pd.DataFrame)
    )
    with pytest.raises(ValueError, match="raw_prices is read by partitions: give the reader partitions"):
        io.load_input(context)


def test_missing_and_unknown_columns_are_named(io, stored):
    with pytest.raises(ValueError, match=r"missing: \['price'\], unknown: \['prise'\]"):
        io.handle_output(
            output("raw_prices", "upsert"), prices((0, "BTC")).rename(columns={"price": "prise"})
        )
    assert stored() == []


def test_naive_times_are_refused(io):
    frame = prices((0, "BTC"))
    frame["timestamp"] = frame["timestamp"].dt.tz_localize(None)
    with pytest.raises(ValueError, match="column timestamp has no time zone"):
        io.handle_output(output("raw_prices", "upsert"), frame)


def test_a_schema_of_another_version_stops_reading_and_writing(io, database):
    with database.writing() as connection:
        connection.execute(text(f"UPDATE {VERSION_TABLE} SET version_num = '0000'"))
    with pytest.raises(SchemaMismatch, match="market-pipeline migrate"):
        io.handle_output(output("raw_prices", "upsert"), prices((0, "BTC")))
    with pytest.raises(SchemaMismatch, match="market-pipeline migrate"):
        loaded(io, (0, "BTC"), (0, "BTC"))
