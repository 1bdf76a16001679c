"""`market-pipeline chart`: a picture in a file, written whole or not at all."""

import re
import resource
from collections.abc import Sequence
from datetime import date, datetime, timedelta, timezone
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import pytest
from PIL import Image
from sqlalchemy import text
from sqlalchemy.engine import make_url

from market_pipeline.anomalies.detect import detect_days
from market_pipeline.commands.chart import alarm_lines, span_of
from market_pipeline.commands.main import main
from market_pipeline.core.columns import Columns
from market_pipeline.pipeline.score import anomaly_rows
from market_pipeline.storage.engine import Database
from market_pipeline.storage.rows.write import upsert
from market_pipeline.storage.schema.migrate import migrate
from market_pipeline.storage.schema.tables import price_anomalies, raw_prices
from market_pipeline_tests.builders import anomalies_of, anomaly_row, coin_id

DAY_OF_JUMP = date(2026, 5, 12)
NOON = datetime(2026, 5, 12, 12, tzinfo=timezone.utc)
Capture = pytest.CaptureFixture[str]


@pytest.fixture(scope="module")
def template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A database with two weeks of three coins every quarter of an hour; SOL falls by a fifth at noon of the 12th."""
    file = tmp_path_factory.mktemp("template") / "prices.db"
    rng = np.random.default_rng(11)
    times = np.datetime64("2026-05-01", "us") + np.arange(14 * 96) * np.timedelta64(15, "m")
    walks = 100 * np.exp(np.cumsum(0.002 * rng.standard_normal((3, len(times))), axis=1))
    walks[2, times >= np.datetime64("2026-05-12T12:00")] *= 0.8
    symbols = np.repeat(np.array(["BTC", "ETH", "SOL"], dtype=object), len(times))
    prices = Columns({"symbol": symbols, "timestamp": np.tile(times, 3), "price": walks.ravel()})
    coins = np.array([coin_id(symbol) for symbol in symbols], dtype=object)
    source = np.full(len(prices), "market_chart", dtype=object)
    rows = Columns({**prices.arrays, "coin_id": coins, "source": source, "ingested_at": prices["timestamp"]})
    database = Database(make_url(f"sqlite:///{file}"))
    migrate(database)
    upsert(database, raw_prices, rows)
    found = detect_days(prices, [(DAY_OF_JUMP, "SOL")], lambda day: None)
    upsert(database, price_anomalies, anomaly_rows(database, found))
    database.dispose()
    return file


@pytest.fixture
def folder(inside: Path, template: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder in which nothing but the picture is written."""
    monkeypatch.setenv("DATABASE_URL", f"sqlite:///{template}")
    return inside


def chart(*more: str, symbol: str = "SOL", start: str = "2026-05-12", end: str = "2026-05-12", out: str) -> int:
    return main(["chart", symbol, "--from", start, "--to", end, "--out", out, *more])


def words_in(path: Path) -> list[str]:
    root = ElementTree.parse(path).getroot()
    return [element.text or "" for element in root.iter("{http://www.w3.org/2000/svg}text")]


def test_the_file_has_the_name_of_the_symbol_where_none_is_given(folder: Path) -> None:
    assert main(["chart", "sol", "--from", "2026-05-12", "--to", "2026-05-12"]) == 0
    assert (folder / "SOL.png").is_file()


def test_a_day_with_its_flagged_moves_is_drawn(folder: Path, capsys: Capture) -> None:
    before = set(folder.iterdir())
    assert chart(out="chart.svg") == 0
    words = words_in(folder / "chart.svg")
    assert {"SOL", "large move", "US dollars, 2026-05-12 00:00 to 2026-05-13 00:00 UTC"} <= set(words)
    assert any(text.startswith("\N{MINUS SIGN}") and " in " in text and text.endswith(" min") for text in words)
    written, *lines = capsys.readouterr().out.splitlines()
    assert written == "chart.svg: SOL, 96 quotes."
    assert any(re.match(r"2026-05-12 12:00 (watch|alert|critical): SOL (alone )?fell 20% ", line) for line in lines)
    assert set(folder.iterdir()) - before == {folder / "chart.svg"}


def test_the_most_important_alarms_of_the_coin_are_listed() -> None:
    """Those of market events among them, members' rows not."""
    event = anomaly_row("ADA", 9, "market_move", id="e", event_id="e", members="ADA,SOL", importance=2.0)
    rows = [anomaly_row("SOL", n, importance=0.1 * n, headline=f"SOL {n}.") for n in range(6)]
    others = [anomaly_row("BTC", 9), anomaly_row("SOL", 9, id="m", event_id="e", importance=3.0)]
    assert alarm_lines(anomalies_of(event, *rows, *others), "SOL") == [
        "2024-03-01 00:09 alert: BTC rose 6.0% in 5 min.",
        *(f"2024-03-01 00:0{n} alert: SOL {n}." for n in (5, 4, 3, 2)), "2 more alarms.",
    ]


@pytest.mark.parametrize(("theme", "paper"), [("light", (255, 255, 255)), ("dark", (0x14, 0x19, 0x1F))])
def test_a_png_has_the_paper_of_its_theme_and_replaces_what_was_there(
    folder: Path, theme: str, paper: Sequence[int]
) -> None:
    (folder / "Chart.PNG").write_text("old")
    assert chart("--theme", theme, symbol="sol", out="Chart.PNG") == 0
    with Image.open(folder / "Chart.PNG") as image:
        assert (image.format, image.width) == ("PNG", 1200)
        assert image.convert("RGB").getpixel((1, 1)) == paper


def test_times_may_be_given_to_the_minute_in_any_zone(folder: Path) -> None:
    assert chart(start="2026-05-12T10:00", end="2026-05-12T16:30:00+02:00", out="chart.svg") == 0
    assert "US dollars, 2026-05-12 10:00-14:30 UTC" in words_in(folder / "chart.svg")
    assert chart(start="2026-05-12T10:00Z", end="2026-05-12 14:30", out="chart.svg") == 0


def test_a_picture_begins_where_the_data_begins(folder: Path, capsys: Capture) -> None:
    assert chart(start="0001-01-01", end="9999-12-31", out="chart.svg") == 0
    assert "before 2026-05-01" in capsys.readouterr().out
    assert any(text.startswith("US dollars, 2026-05-01 00:00 to ") for text in words_in(folder / "chart.svg"))


def test_a_file_that_cannot_be_written_whole_leaves_the_old_one(folder: Path, template: Path, capsys: Capture) -> None:
    """A disk that is full, or here a limit on the size of files."""
    assert chart(out="chart.png") == 0
    old = (folder / "chart.png").read_bytes()
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    # While the database is open, the command needs no new file to read it.
    with Database(make_url(f"sqlite:///{template}")).reading() as connection:
        connection.execute(text("SELECT 1 FROM raw_prices"))
        resource.setrlimit(resource.RLIMIT_FSIZE, (4096, hard))
        try:
            code = chart(start="2026-05-10", out="chart.png")
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert code == 2
    assert "chart.png cannot be written: File too large" in capsys.readouterr().err
    assert (folder / "chart.png").read_bytes() == old and not list(folder.glob("*.part"))


def test_a_folder_that_cannot_be_written_to_is_refused_at_once(
    folder: Path, capsys: Capture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The superuser may write anywhere, so the answer of the system is replaced."""
    monkeypatch.setattr("os.access", lambda path, mode: False)
    assert chart(out="chart.svg") == 2
    assert "cannot be written to" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("start", "end", "expected"),
    [
        (NOON.date(), NOON.date(), (NOON - timedelta(hours=12), NOON)),
        (date(2026, 5, 11), date(2026, 5, 11), (NOON - timedelta(hours=36), NOON - timedelta(hours=12))),
        (NOON - timedelta(hours=1), NOON + timedelta(days=9), (NOON - timedelta(hours=1), NOON)),
        (None, None, (NOON - timedelta(days=1), NOON)),
        (None, date(2026, 5, 10), (NOON - timedelta(hours=60), NOON - timedelta(hours=36))),
    ],
)
def test_a_date_means_the_whole_day_and_the_future_is_not_drawn(
    start: date | datetime | None, end: date | datetime | None, expected: tuple[datetime, datetime]
) -> None:
    assert span_of(start, end, NOON) == expected
