"""`market-pipeline chart`: a picture in a file, or a sentence why there is none."""

import logging
import resource
from datetime import date, datetime, timedelta, timezone
from xml.etree import ElementTree

import numpy as np
import pytest
from PIL import Image
from sqlalchemy import text
from sqlalchemy.engine import make_url

from market_pipeline.anomalies.detect import detect_days
from market_pipeline.commands.chart import span_of
from market_pipeline.commands.main import main
from market_pipeline.core.columns import Columns
from market_pipeline.pipeline.score import anomaly_rows
from market_pipeline.storage.engine import Database
from market_pipeline.storage.rows.write import upsert
from market_pipeline.storage.schema.migrate import migrate
from market_pipeline.storage.schema.tables import price_anomalies, raw_prices
from market_pipeline_tests.builders import coin_id

FIRST, DAY_OF_JUMP = date(2026, 5, 1), date(2026, 5, 12)
NOON = datetime(2026, 5, 12, 12, tzinfo=timezone.utc)


@pytest.fixture(scope="module")
def prices():
    """Two weeks of three coins every quarter of an hour; SOL falls by a fifth at noon of the 12th."""
    rng = np.random.default_rng(11)
    times = np.datetime64("2026-05-01", "us") + np.arange(14 * 96) * np.timedelta64(15, "m")
    walks = 100 * np.exp(np.cumsum(0.002 * rng.standard_normal((3, len(times))), axis=1))
    walks[2, times >= np.datetime64("2026-05-12T12:00")] *= 0.8
    return Columns(
        {
            "symbol": np.repeat(np.array(["BTC", "ETH", "SOL"], dtype=object), len(times)),
            "timestamp": np.tile(times, 3),
            "price": walks.ravel(),
        }
    )


@pytest.fixture
def folder(tmp_path, monkeypatch, prices):
    """A folder with a database in it, in which the command is given."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("DATABASE_URL", f"sqlite:///{tmp_path / 'prices.db'}")
    monkeypatch.setattr(logging.getLogger("market_pipeline"), "handlers", [])
    database = Database(make_url(f"sqlite:///{tmp_path / 'prices.db'}"))
    migrate(database)
    count = len(prices)
    source = np.full(count, "market_chart", dtype=object)
    coins = np.array([coin_id(symbol) for symbol in prices["symbol"]], dtype=object)
    rows = Columns({**prices.arrays, "coin_id": coins, "source": source, "ingested_at": prices["timestamp"]})
    upsert(database, raw_prices, rows)
    found = detect_days(prices, [(DAY_OF_JUMP, "SOL")], lambda day: None)
    upsert(database, price_anomalies, anomaly_rows(database, found))
    database.dispose()
    return tmp_path


def chart(*arguments, symbol="SOL", start="2026-05-12", end="2026-05-12", out="chart.svg"):
    return main(["chart", symbol, "--from", start, "--to", end, "--out", str(out), *arguments])


def words_in(path):
    root = ElementTree.parse(path).getroot()
    return [element.text or "" for element in root.iter("{http://www.w3.org/2000/svg}text")]


def test_a_day_with_its_flagged_moves_is_drawn(folder, capsys):
    assert chart() == 0
    words = words_in(folder / "chart.svg")
    assert {"SOL", "large move", "US dollars, 2026-05-12 00:00 to 2026-05-13 00:00 UTC"} <= set(words)
    assert any(text.startswith("-") and text.endswith(" in 15 min") for text in words)
    said = capsys.readouterr().out
    assert said == "chart.svg: SOL, 96 quotes.\n"
    assert sorted(path.name for path in folder.iterdir() if "prices.db" not in path.name) == ["chart.svg"]


@pytest.mark.parametrize(("theme", "paper"), [("light", (255, 255, 255)), ("dark", (0x14, 0x19, 0x1F))])
def test_a_png_has_the_paper_of_its_theme_and_replaces_what_was_there(folder, theme, paper):
    (folder / "Chart.PNG").write_text("old")
    assert chart("--theme", theme, symbol="sol", out="Chart.PNG") == 0
    with Image.open(folder / "Chart.PNG") as image:
        assert (image.format, image.width) == ("PNG", 1200)
        assert image.convert("RGB").getpixel((1, 1)) == paper


def test_times_may_be_given_to_the_minute_in_any_zone(folder):
    assert chart(start="2026-05-12T10:00", end="2026-05-12T16:30:00+02:00") == 0
    assert "US dollars, 2026-05-12 10:00-14:30 UTC" in words_in(folder / "chart.svg")
    assert chart(start="2026-05-12T10:00Z", end="2026-05-12 14:30") == 0


def test_a_picture_begins_where_the_data_begins(folder, capsys):
    assert chart(start="0001-01-01", end="9999-12-31") == 0
    assert "Nothing is stored of SOL before 2026-05-01" in capsys.readouterr().out
    assert any(text.startswith("US dollars, 2026-05-01 00:00 to ") for text in words_in(folder / "chart.svg"))


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"symbol": "DOGE"}, "Supported are BTC, ETH, SOL"),
        ({"symbol": "ADA"}, "ADA has no quotes yet"),
        ({"start": "2026-05-13"}, "--from 2026-05-13T00:00:00Z is not before --to 2026-05-13T00:00:00Z"),
        ({"start": "2999-01-01", "end": "2999-01-02"}, "is in the future"),
        ({"start": "2026-04-01", "end": "2026-04-02"}, "are some from 2026-05-01 to 2026-05-14T23:45:00Z"),
        ({"start": "2026-05-16", "end": "2026-05-17"}, "SOL has no quotes from 2026-05-16T00:00:00Z"),
        ({"start": "2026-05-12T10:01", "end": "2026-05-12T10:14"}, "no quotes from 2026-05-12T10:01:00Z"),
        ({"out": "chart.gif"}, "must end in .png or .svg"),
        ({"out": "chart"}, "must end in .png or .svg"),
        ({"out": "nowhere/chart.png"}, "there is no folder nowhere"),
        ({"out": "folder.svg"}, "File 'folder.svg' is a directory"),
    ],
)
def test_what_cannot_be_drawn_is_said_before_anything_is_written(folder, capsys, given, said):
    (folder / "folder.svg").mkdir()
    assert chart(**given) == 2
    error = capsys.readouterr().err
    assert error.startswith("market-pipeline: ") and said in error
    assert not [path for path in folder.rglob("*") if not path.name.startswith(("prices.db", "folder.svg"))]


def test_prices_of_another_coin_are_named(folder, monkeypatch, capsys):
    monkeypatch.setenv("COINGECKO_BASE_URL", "http://127.0.0.1")
    assert chart() == 2
    assert "SOL has no quotes of simulated:solana, only of solana;" in capsys.readouterr().err


@pytest.mark.parametrize("text", ["yesterday", "2026-13-01", "", "0001-01-01T00:00+14:00"])
def test_what_is_no_time_is_refused_with_an_example(folder, capsys, text):
    assert chart(start=text) == 2
    assert "write it as 2026-01-31 or 2026-01-31T12:00 (UTC)" in capsys.readouterr().err


def test_a_database_without_tables_is_told_with_what_to_do(folder, capsys, monkeypatch):
    monkeypatch.setenv("DATABASE_URL", f"sqlite:///{folder / 'other.db'}")
    assert chart() == 2
    assert "run `market-pipeline migrate`" in capsys.readouterr().err


def test_a_file_that_cannot_be_written_whole_leaves_the_old_one(folder, capsys):
    """A disk that is full, or here a limit on the size of files."""
    assert chart(out="chart.png") == 0
    old = (folder / "chart.png").read_bytes()
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    # Whoever has the database open lets the command need no new file to read it.
    with Database(make_url(f"sqlite:///{folder / 'prices.db'}")).reading() as connection:
        connection.execute(text("SELECT 1 FROM raw_prices"))
        resource.setrlimit(resource.RLIMIT_FSIZE, (4096, hard))
        try:
            code = chart(start="2026-05-10", out="chart.png")
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert code == 2
    assert "chart.png cannot be written: File too large" in capsys.readouterr().err
    assert (folder / "chart.png").read_bytes() == old
    assert not [path for path in folder.iterdir() if path.name.endswith(".part")]


def test_a_folder_that_cannot_be_written_to_is_said_at_once(folder, capsys, monkeypatch):
    """The superuser may write anywhere, so what the system says is put in its place."""
    monkeypatch.setattr("os.access", lambda path, mode: False)
    assert chart() == 2
    assert "cannot be written to" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("start", "end", "expected"),
    [
        (NOON.date(), NOON.date(), (NOON - timedelta(hours=12), NOON)),
        (date(2026, 5, 11), date(2026, 5, 11), (NOON - timedelta(hours=36), NOON - timedelta(hours=12))),
        (NOON - timedelta(hours=1), NOON + timedelta(days=9), (NOON - timedelta(hours=1), NOON)),
    ],
)
def test_a_date_is_meant_whole_and_the_future_is_not_drawn(start, end, expected):
    assert span_of(start, end, NOON) == expected
