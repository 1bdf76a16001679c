"""Whole numbers, some of which may be missing, through every way in and out of both databases."""

import numpy as np
import pandas as pd
import pytest
from sqlalchemy import text

from market_pipeline.core.columns import Columns
from market_pipeline.core.slices import Slice
from market_pipeline.storage.rows.read import read_columns, read_frame
from market_pipeline.storage.rows.write import replace, upsert
from market_pipeline.storage.schema.tables import price_anomalies
from market_pipeline_tests.builders import START, anomalies_of, anomaly_row

pytestmark = pytest.mark.usefixtures("path")


def part():
    return [Slice("BTC", START.date(), START.date())]


@pytest.mark.parametrize("known", [(3, None, 0), (None, None, 7), (None, None, None), (1, 2, 3)])
def test_whole_numbers_come_back_whole_and_missing_ones_missing(database, given, stored, known):
    rows = [anomaly_row(minutes=n, peers_moved=peers, quotes_used=n) for n, peers in enumerate(known)]
    replace(database, price_anomalies, given(anomalies_of(*rows)), part())
    found = stored(database, price_anomalies)
    assert [row["peers_moved"] for row in found] == list(known)
    assert all(isinstance(row["quotes_used"], int) for row in found)
    assert all(row["peers_moved"] is None or isinstance(row["peers_moved"], int) for row in found)
    for read in (
        read_columns(database, price_anomalies, part()),
        read_frame(database, price_anomalies, part()),
    ):
        assert read["quotes_used"].tolist() == [0, 1, 2] and read["quotes_used"].dtype == np.int64
        expected = [np.nan if peers is None else float(peers) for peers in known]
        assert read["peers_moved"].dtype == np.float64
        assert np.array_equal(read["peers_moved"].to_numpy() if isinstance(read, pd.DataFrame) else
                              read["peers_moved"], expected, equal_nan=True)
    with database.reading() as connection:
        integer = {"sqlite": "typeof(peers_moved)", "postgresql": "pg_typeof(peers_moved)::text"}
        asked = f"SELECT DISTINCT {integer[database.dialect]} FROM price_anomalies WHERE peers_moved >= 0"
        assert set(connection.execute(text(asked)).scalars()) <= {"integer"}


@pytest.mark.parametrize("dtype", ["Int64", "Int32", "float64", "object"])
def test_every_dtype_that_pandas_has_for_them_is_taken(database, stored, dtype):
    frame = anomalies_of(anomaly_row(minutes=0), anomaly_row(minutes=1)).to_frame()
    frame["peers_moved"] = pd.Series([4, None], dtype=dtype)
    frame["quotes_used"] = pd.Series([5, 6], dtype=dtype)
    upsert(database, price_anomalies, frame)
    found = stored(database, price_anomalies)
    assert [(row["peers_moved"], row["quotes_used"]) for row in found] == [(4, 5), (None, 6)]


@pytest.mark.parametrize(
    ("name", "value"), [("peers_moved", 1.5), ("peers_moved", np.inf), ("quotes_used", 0.1)]
)
def test_a_fraction_is_refused_by_column(database, given, stored, name, value):
    """SQLite would store it in an integer column."""
    columns = anomalies_of(anomaly_row())
    wrong = Columns({**columns.arrays, name: np.array([value])})
    with pytest.raises(ValueError, match=f"column {name} must hold whole numbers, not {value}"):
        upsert(database, price_anomalies, given(wrong))
    assert stored(database, price_anomalies) == []


def test_a_number_that_must_be_known_cannot_be_missing(database, given):
    columns = anomalies_of(anomaly_row())
    wrong = Columns({**columns.arrays, "quotes_used": np.array([np.nan])})
    with pytest.raises(ValueError, match="column quotes_used must hold whole numbers, not nan"):
        upsert(database, price_anomalies, given(wrong))
