"""Facts are upserted on their key, what is derived is replaced by slices; each write is all or nothing."""

from contextlib import nullcontext
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy import select, update

from market_pipeline.core.clock import day_of_number
from market_pipeline.core.columns import Columns
from market_pipeline.core.slices import Slice, merge_days
from market_pipeline.prices.quotes import Source
from market_pipeline.storage.db_errors import WriteFailed
from market_pipeline.storage.engine import Database
from market_pipeline.storage.rows.read import read_columns
from market_pipeline.storage.rows.records import columns_of
from market_pipeline.storage.rows.write import BULK_FROM, checked_columns, distinct, replace, require_inside, upsert
from market_pipeline.storage.schema.operations_tables import price_revisions
from market_pipeline.storage.schema.tables import price_anomalies, raw_prices, rejected_prices
from market_pipeline_tests.builders import (
    START,
    anomalies_of,
    anomaly_row,
    at,
    price_row,
    prices_of,
    refusal_row,
    refusals_of,
    stored_rows,
)

DAY = 24 * 60
FIRST = START.date()
both_paths = pytest.mark.usefixtures("path")
small = st.integers(-3, 3)


@both_paths
def test_only_new_and_changed_rows_are_written_and_counted(database: Database) -> None:
    """A price stored again keeps the time and source of the first time."""
    rows = [price_row("ADA", 5, 0.4), price_row(minutes=0), price_row(minutes=5)]
    assert upsert(database, raw_prices, prices_of(*rows)) == 3
    assert upsert(database, raw_prices, prices_of(*rows)) == 0
    changed = price_row(minutes=5, price=101.0, source="market_chart", ingested_at=at(900))
    same = price_row(minutes=0, source="market_chart", ingested_at=at(900))
    new = price_row(minutes=10)
    assert upsert(database, raw_prices, prices_of(same, changed, new)) == 2
    assert upsert(database, raw_prices, prices_of()) == 0
    assert stored_rows(database, raw_prices) == [rows[0], rows[1], changed, new]


@both_paths
def test_of_equal_keys_in_one_write_the_last_counts(database: Database) -> None:
    rows = [price_row(minutes=5, price=1.0), price_row("ADA", price=3.0), price_row(minutes=5, price=2.0)]
    assert upsert(database, raw_prices, prices_of(*rows)) == 2
    assert stored_rows(database, raw_prices) == [rows[1], rows[2]]


@both_paths
def test_columns_that_decide_are_compared_even_if_they_are_missing(database: Database) -> None:
    """A refusal met again is the same row with the newest run; an unknown number may become known."""
    upsert(database, rejected_prices, refusals_of(refusal_row(1), refusal_row(2)))
    again = refusal_row(1, run_id="r2", refused_at=at(60))
    assert upsert(database, rejected_prices, refusals_of(again)) == 1
    assert stored_rows(database, rejected_prices) == [again, refusal_row(2)]
    upsert(database, price_anomalies, anomalies_of(anomaly_row(expected_move=None)))
    assert upsert(database, price_anomalies, anomalies_of(anomaly_row(expected_move=0.02, score=7.0))) == 1
    assert stored_rows(database, price_anomalies)[0]["expected_move"] == 0.02


@both_paths
def test_a_changed_price_leaves_the_old_one_in_the_revisions(database: Database) -> None:
    """However it is changed; a write that fails or changes nothing leaves no revision."""
    def revisions() -> list[tuple[float, float]]:
        with database.reading() as connection:
            columns = price_revisions.c
            found = connection.execute(select(columns.price_before, columns.price_after).order_by(columns.id))
            return [(before, after) for before, after in found]

    upsert(database, raw_prices, prices_of(price_row(), price_row(minutes=5)))
    upsert(database, raw_prices, prices_of(price_row(ingested_at=at(60))))
    with pytest.raises(WriteFailed):
        upsert(database, raw_prices, prices_of(price_row(price=9.0), price_row(minutes=5, price=-1.0)))
    assert revisions() == []
    upsert(database, raw_prices, prices_of(price_row(price=101.0, source="market_chart", ingested_at=at(60))))
    upsert(database, raw_prices, prices_of(price_row(price=100.0)))
    with database.writing() as connection:
        connection.execute(update(raw_prices).where(raw_prices.c.timestamp == at(5)).values(price=99.0))
    assert revisions() == [(100.0, 101.0), (101.0, 100.0), (100.0, 99.0)]
    first = stored_rows(database, price_revisions)[0]
    del first["id"]
    assert first == {
        "symbol": "BTC", "coin_id": "bitcoin", "timestamp": at(0), "price_before": 100.0,
        "source_before": "simple_price", "ingested_before": at(1), "price_after": 101.0,
        "source_after": "market_chart", "ingested_after": at(60),
    }


def test_a_write_of_many_rows_takes_the_bulk_path_by_itself(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    from market_pipeline.storage.rows import bulk

    sizes: list[int] = []
    write = bulk.write

    def noted(database: Database, table: Any, columns: Columns, *given: Any, **how: Any) -> int:
        sizes.append(len(columns))
        return write(database, table, columns, *given, **how)

    monkeypatch.setattr(bulk, "write", noted)
    times = np.datetime64("2024-03-01", "us") + np.arange(BULK_FROM) * np.timedelta64(1, "s")
    template = prices_of(*[price_row()] * BULK_FROM)
    rows = Columns({**template.arrays, "timestamp": times, "price": 1.0 + np.arange(BULK_FROM) / 7})
    assert upsert(database, raw_prices, rows.take(np.arange(BULK_FROM - 1))) == BULK_FROM - 1
    assert upsert(database, raw_prices, rows) == 1
    assert sizes == [BULK_FROM]
    found = read_columns(database, raw_prices, [Slice("BTC", FIRST, FIRST)])
    assert found["price"].tolist() == rows["price"].tolist()


Grid = list[dict[str, Any]]


@pytest.fixture
def grid(database: Database) -> Grid:
    """An anomaly at the first and the last instant of four days of two symbols."""
    rows = [
        anomaly_row(symbol, day * DAY + offset)
        for symbol in ("ADA", "BTC") for day in range(4) for offset in (0, DAY - 1e-6 / 60)
    ]
    upsert(database, price_anomalies, anomalies_of(*rows))
    return rows


def days(*numbers: tuple[str, int]) -> list[Slice]:
    return merge_days([(FIRST + timedelta(days=number), symbol) for symbol, number in numbers])


@both_paths
def test_exactly_the_slices_are_replaced(database: Database, grid: Grid) -> None:
    """The days between them stay; no rows empty the slices, no slices change nothing."""
    slices = days(("BTC", 1), ("BTC", 3), ("ADA", 0))
    new = anomaly_row("BTC", DAY + 7)
    assert replace(database, price_anomalies, anomalies_of(new), slices) == 1
    inside = {("BTC", 1), ("BTC", 3), ("ADA", 0)}
    left = [row for row in grid if (row["symbol"], (row["timestamp"] - START).days) not in inside]
    assert stored_rows(database, price_anomalies) == sorted([*left, new], key=lambda r: (r["symbol"], r["timestamp"]))
    assert replace(database, price_anomalies, anomalies_of(), slices) == 0
    assert replace(database, price_anomalies, anomalies_of(), []) == 0
    assert stored_rows(database, price_anomalies) == left


@both_paths
def test_nothing_is_deleted_if_a_row_lies_outside_or_is_refused(database: Database, grid: Grid) -> None:
    for symbol, minutes in (("ETH", DAY), ("BTC", DAY - 1), ("BTC", 2 * DAY)):
        rows = anomalies_of(anomaly_row("BTC", DAY), anomaly_row(symbol, minutes))
        with pytest.raises(ValueError, match=f"1 rows .* first being {symbol} {at(minutes).date()}"):
            replace(database, price_anomalies, rows, days(("BTC", 1)))
    rows = anomalies_of(anomaly_row("BTC", DAY), anomaly_row("BTC", DAY + 5, direction="away"))
    with pytest.raises(WriteFailed, match="price_anomalies"):
        replace(database, price_anomalies, rows, days(("BTC", 0), ("BTC", 1)))
    assert stored_rows(database, price_anomalies) == grid


@both_paths
def test_a_table_with_days_is_replaced_by_the_day_a_row_is_filed_under(database: Database) -> None:
    """The time that a refused point claims may be any, or missing."""
    filed = [refusal_row(1, timestamp=None), refusal_row(2, day=FIRST + timedelta(days=1)), refusal_row(3, "ETH")]
    upsert(database, rejected_prices, refusals_of(*filed))
    new = refusal_row(4, timestamp=at(90 * DAY))
    assert replace(database, rejected_prices, refusals_of(new), days(("BTC", 0))) == 1
    assert stored_rows(database, rejected_prices) == [filed[1], filed[2], new]
    with pytest.raises(ValueError, match="outside the partitions"):
        replace(database, rejected_prices, refusals_of(filed[1]), days(("BTC", 0)))


@both_paths
@pytest.mark.parametrize("change", [
    {"price": price} for price in (0.0, -1.0, float("nan"), float("inf"), float("-inf"), 1e300)
] + [{"source": "guess"}, {"source": None}], ids=str)
def test_the_table_itself_refuses_what_is_no_price(database: Database, change: dict[str, Any]) -> None:
    with pytest.raises(WriteFailed, match="raw_prices"):
        upsert(database, raw_prices, prices_of(price_row(), price_row(minutes=5, **change)))
    assert stored_rows(database, raw_prices) == []


def with_array(rows: Columns, name: str, values: list[Any], dtype: Any = object) -> Columns:
    return Columns({**rows.arrays, name: np.array(values, dtype=dtype)})


@pytest.mark.parametrize(("rows", "name", "values", "dtype", "complaint"), [
    (prices_of(price_row()), "timestamp", [1], np.int64, "timestamp must be datetime64 in UTC"),
    (prices_of(price_row()), "timestamp", ["NaT"], "datetime64[us]", "timestamp of raw_prices is part of the key"),
    (prices_of(price_row()), "symbol", [None], object, "symbol of raw_prices is part of the key"),
    (prices_of(price_row()), "symbol", [5], object, "symbol must hold text, not 5"),
    (prices_of(price_row()), "price", ["1"], object, "price must hold numbers, not '1'"),
    (prices_of(price_row()), "price", [True], object, "price must hold numbers, not True"),
    (prices_of(price_row()), "price", [True], np.bool_, "price must hold numbers, not bool"),
    (refusals_of(refusal_row(1)), "day", ["2024-03-01"], object, "day must hold dates"),
    (refusals_of(refusal_row(1)), "day", [START], object, "day must hold dates"),
    (anomalies_of(anomaly_row()), "peers_moved", [1.5], float, "peers_moved must hold whole numbers, not 1.5"),
    (anomalies_of(anomaly_row()), "peers_moved", [np.inf], float, "peers_moved must hold whole numbers, not inf"),
    (anomalies_of(anomaly_row()), "quotes_used", [np.nan], float, "quotes_used must hold whole numbers, not nan"),
])
def test_a_value_of_another_type_is_refused_by_column(
    rows: Columns, name: str, values: list[Any], dtype: Any, complaint: str
) -> None:
    """SQLite would store a fraction in an integer column."""
    table = {6: raw_prices, 11: rejected_prices}.get(len(rows.arrays), price_anomalies)
    with pytest.raises(ValueError, match=complaint):
        checked_columns(table, with_array(rows, name, values, dtype))


def test_missing_and_unknown_columns_are_named_and_their_order_does_not_matter() -> None:
    arrays = prices_of(price_row()).arrays
    renamed = {("prise" if name == "price" else name): array for name, array in arrays.items()}
    with pytest.raises(ValueError, match=r"missing: \['price'\], unknown: \['prise'\]"):
        checked_columns(raw_prices, Columns(renamed))
    checked = checked_columns(raw_prices, Columns(dict(reversed(list(arrays.items())))))
    assert list(checked.arrays) == [column.name for column in raw_prices.columns]


def test_a_column_of_nothing_needs_no_type() -> None:
    """`DataFrame(columns=...)` is what an asset returns that found nothing."""
    nothing = Columns({column.name: np.empty(0, dtype=object) for column in price_anomalies.columns})
    assert len(checked_columns(price_anomalies, nothing)) == 0
    refusals = with_array(refusals_of(refusal_row(1)), "timestamp", [None])
    assert np.isnat(checked_columns(rejected_prices, refusals)["timestamp"]).all()
    anomalies = with_array(anomalies_of(anomaly_row()), "expected_move", [None])
    assert np.isnan(checked_columns(price_anomalies, anomalies)["expected_move"]).all()


@dataclass
class Price:
    symbol: str
    coin_id: str
    timestamp: object
    price: object
    source: Source
    ingested_at: object


def test_records_become_columns_and_are_refused_by_name() -> None:
    """Dataclasses and mappings alike; enum members become their values."""
    price = Price("BTC", "bitcoin", at(0), 100.0, Source.LIVE, at(1))
    assert columns_of(raw_prices, [price]).to_frame().equals(prices_of(price_row()).to_frame())
    with pytest.raises(ValueError, match=r"missing: \['price'\], unknown: \['prise'\]"):
        columns_of(raw_prices, [{("prise" if name == "price" else name): v for name, v in price_row().items()}])
    with pytest.raises(ValueError, match="not tuple"):
        columns_of(raw_prices, [("BTC",)])
    with pytest.raises(ValueError, match="no time zone"):
        prices_of(price_row(timestamp=START.replace(tzinfo=None)))


@given(st.lists(st.tuples(st.sampled_from("AB"), st.sampled_from("ab"), small)))
def test_the_last_row_of_each_key_stays_in_the_order_of_keys(keys: list[tuple[str, str, int]]) -> None:
    rows = prices_of(*(price_row(s, n, 1.0 + i, coin_id=c) for i, (s, c, n) in enumerate(keys)))
    last = {key: 1.0 + number for number, key in enumerate(keys)}
    assert distinct(raw_prices, rows)["price"].tolist() == [last[key] for key in sorted(last)]


@given(
    st.lists(st.tuples(st.sampled_from("ABC"), small), max_size=20),
    st.lists(st.tuples(st.sampled_from("ABD"), small, st.integers(0, 2)), max_size=4),
)
def test_rows_are_inside_exactly_if_a_slice_holds_their_day(
    rows: list[tuple[str, int]], slices: list[tuple[str, int, int]]
) -> None:
    parts = [Slice(symbol, day_of_number(first), day_of_number(first + more)) for symbol, first, more in slices]
    given_rows = [(symbol, day_of_number(number)) for symbol, number in rows]
    columns = Columns({
        "symbol": np.array([symbol for symbol, _ in given_rows], dtype=object),
        "timestamp": np.array([day for _, day in given_rows], dtype="datetime64[us]"),
    })
    outside = [
        (symbol, day) for symbol, day in given_rows
        if not any(part.symbol == symbol and part.first <= day <= part.last for part in parts)
    ]
    error = f"{len(outside)} rows .*{outside[0][0]} {outside[0][1]}" if outside else ""
    with pytest.raises(ValueError, match=error) if outside else nullcontext():
        require_inside(raw_prices, columns, parts)
