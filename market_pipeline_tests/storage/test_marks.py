"""Marks: the last one counts, they survive the rows that they are about, and belong to a coin."""

import pytest

from market_pipeline.anomalies.anomaly import anomaly_id
from market_pipeline.anomalies.marks import Mark, MarkCounts
from market_pipeline.core.clock import to_microseconds
from market_pipeline.core.slices import Slice
from market_pipeline.core.symbols import Coin
from market_pipeline.storage.db_errors import WriteForbidden
from market_pipeline.storage.engine import Database
from market_pipeline.storage.queries.anomaly_marks import delete_mark, mark_counts, save_mark, without_noise
from market_pipeline.storage.queries.anomaly_pages import AnomalyFilter, anomalies_page, anomaly
from market_pipeline.storage.queries.rename import rename
from market_pipeline.storage.rows.write import replace
from market_pipeline.storage.schema.tables import anomaly_marks, price_anomalies
from market_pipeline_tests.builders import (
    START,
    anomalies_of,
    anomaly_row,
    at,
    price_row,
    prices_of,
    store,
    stored_rows,
)
from market_pipeline_tests.postgres import administering


def flagged(symbol: str = "BTC", minutes: float = 0, kind: str = "jump") -> str:
    return anomaly_id(symbol, to_microseconds(at(minutes)), kind)


def stored_anomaly(database: Database, symbol: str = "BTC", minutes: float = 0, kind: str = "jump") -> str:
    """Store an anomaly with the id of the detectors; return that."""
    id_ = flagged(symbol, minutes, kind)
    store(database, price_anomalies, anomaly_row(symbol, minutes, kind, id=id_, episode_id=id_))
    return id_


def test_the_last_mark_counts_and_the_same_again_changes_nothing(database: Database) -> None:
    id_ = stored_anomaly(database)
    assert save_mark(database, "0" * 32, Mark.REAL, None, at(1)) is None
    first = save_mark(database, id_, Mark.NOISE, "Ein Fehler 🐟", at(1))
    assert first is not None and first.anomaly_id == id_
    assert (first.mark, first.note, first.marked_at, first.kind) == (Mark.NOISE, "Ein Fehler 🐟", at(1), "jump")
    assert save_mark(database, id_, Mark.NOISE, "Ein Fehler 🐟", at(2)) == first
    last = save_mark(database, id_, Mark.REAL, None, at(3))
    assert last is not None and (last.mark, last.note, last.marked_at) == (Mark.REAL, None, at(3))
    assert len(stored_rows(database, anomaly_marks)) == 1
    assert delete_mark(database, id_) and delete_mark(database, id_), "the anomaly is there, marked or not"
    assert stored_rows(database, anomaly_marks) == [] and not delete_mark(database, "0" * 32)


def test_a_mark_survives_when_its_day_is_scored_again(database: Database) -> None:
    id_ = stored_anomaly(database)
    save_mark(database, id_, Mark.NOISE, None, at(1))
    day = [Slice("BTC", START.date(), START.date())]
    again = anomaly_row(id=id_, episode_id=id_, score=9.0, explanation="Other words.")
    replace(database, price_anomalies, anomalies_of(again), day)
    row = anomaly(database, id_)
    assert row is not None and (row.explanation, row.mark) == ("Other words.", "noise")
    replace(database, price_anomalies, anomalies_of(), day)
    assert anomaly(database, id_) is None and mark_counts(database) == [MarkCounts("jump", noise=1)]
    assert delete_mark(database, id_), "also where its anomaly is gone"


def test_a_mark_belongs_to_the_coin(database: Database) -> None:
    """After a wrong coin id was corrected the same id may be an anomaly of the other coin."""
    id_ = stored_anomaly(database)
    save_mark(database, id_, Mark.REAL, None, at(1))
    other = Database(database.url, {"BTC": "bitcoin-cash"})
    assert save_mark(other, id_, Mark.NOISE, None, at(2)) is None and mark_counts(other) == []
    store(database, price_anomalies, anomaly_row(id=id_, episode_id=id_, score=7.0, coin_id="bitcoin-cash"))
    row = anomaly(other, id_)
    assert row is not None and row.mark is None
    assert save_mark(other, id_, Mark.NOISE, None, at(2)) is not None
    assert mark_counts(other) == [MarkCounts("jump", noise=1)]
    assert mark_counts(database) == [MarkCounts("jump", real=1)]
    other.dispose()


def test_pages_can_be_filtered_by_mark(database: Database) -> None:
    ids = {mark: stored_anomaly(database, minutes=number) for number, mark in enumerate((*Mark, "none"))}
    for mark in Mark:
        save_mark(database, ids[mark], mark, None, at(9))
    for mark, id_ in ids.items():
        page = anomalies_page(database, ["BTC", "ETH"], AnomalyFilter(mark=str(getattr(mark, "value", mark))), None, 9)
        assert [row.id for row in page.rows] == [id_]
    assert mark_counts(database) == [MarkCounts("jump", 1, 1, 1)]


def test_prices_of_marked_noise_are_left_out(database: Database) -> None:
    prices = prices_of(
        *(price_row("BTC", minute, price) for minute, price in ((0, 100.0), (5, 106.0), (10, 100.0))),
        *(price_row("ETH", minute, 50.0) for minute in (0, 5, 10)),
    )
    assert without_noise(database, prices) is prices and len(without_noise(database, prices_of())) == 0
    for symbol, mark in (("BTC", Mark.NOISE), ("ETH", Mark.REAL)):
        save_mark(database, stored_anomaly(database, symbol, 5, "bad_tick"), mark, None, at(1))
    save_mark(database, stored_anomaly(database, "BTC", 3 * 1440), Mark.NOISE, None, at(1))
    left = without_noise(database, prices)
    assert list(zip(left["symbol"].tolist(), left.datetimes("timestamp"), strict=True)) == [
        ("BTC", at(0)), ("BTC", at(10)), ("ETH", at(0)), ("ETH", at(5)), ("ETH", at(10)),
    ]


@pytest.mark.parametrize("new", [Coin("XBT", "bitcoin"), Coin("BTC", "bitcoin-2")])
def test_a_mark_follows_a_renamed_coin(database: Database, new: Coin) -> None:
    save_mark(database, stored_anomaly(database), Mark.REAL, "x", at(1))
    save_mark(database, stored_anomaly(database, minutes=5), Mark.NOISE, None, at(1))
    store(database, anomaly_marks, stored_rows(database, anomaly_marks)[0] | {
        "anomaly_id": flagged(new.symbol), "symbol": new.symbol, "coin_id": new.coin_id, "timestamp": at(0),
        "mark": "expected",
    })
    rename(database, Coin("BTC", "bitcoin"), new)
    rows = stored_rows(database, anomaly_marks)
    found = {(row["symbol"], row["coin_id"], row["anomaly_id"]): row["mark"] for row in rows}
    assert found == {
        (new.symbol, new.coin_id, flagged(new.symbol)): "expected",
        (new.symbol, new.coin_id, flagged(new.symbol, 5)): "noise",
    }, "a mark that has the new name already stays"


def test_a_role_that_may_only_read_sees_marks_and_gives_none(postgres_database: Database) -> None:
    id_ = stored_anomaly(postgres_database)
    save_mark(postgres_database, id_, Mark.REAL, None, at(1))
    with administering(postgres_database.url) as run:
        run("CREATE ROLE spectator LOGIN")
        run("GRANT SELECT ON ALL TABLES IN SCHEMA public TO spectator")
    spectator = Database(postgres_database.url.set(username="spectator"))
    by_default = Database(postgres_database.url.update_query_dict({"options": "-cdefault_transaction_read_only=on"}))
    for database, reason in ((spectator, "permission denied"), (by_default, "read-only transaction")):
        with pytest.raises(WriteForbidden, match=f"anomaly_marks: .*{reason}"):
            save_mark(database, id_, Mark.NOISE, None, at(2))
    with pytest.raises(WriteForbidden):
        delete_mark(spectator, id_)
    row = anomaly(spectator, id_)
    assert row is not None and row.mark == "real"
    for database in (spectator, by_default):
        database.dispose()
