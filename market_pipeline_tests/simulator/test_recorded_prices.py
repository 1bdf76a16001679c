"""RecordedPrices: recorded prices that play now."""

import gzip
from datetime import datetime, timedelta, timezone
from pathlib import Path

import pytest

from market_pipeline.core.clock import DAY
from market_pipeline.simulator.feed import FIVE_MINUTES, HOUR
from market_pipeline.simulator.recorded_prices import RecordedPrices

NOW = datetime(2026, 11, 23, 12, 0, 30, tzinfo=timezone.utc)
FIRST = datetime(2022, 11, 1, tzinfo=timezone.utc)
REAL_PRICES = Path(__file__).parents[3] / "shared" / "prices" / "2022-11_5min.csv.gz"


def frozen() -> datetime:
    return NOW


def write_prices(path: Path, days: int = 3, symbols: tuple[str, ...] = ("BTC",)) -> Path:
    """Prices at the end of each five minutes of `days` days from 2022-11-01 on: 1, 2, 3, ..."""
    lines = ["symbol,timestamp,price"]
    for number in range(1, days * 288 + 1):
        at = (FIRST + number * FIVE_MINUTES).strftime("%Y-%m-%dT%H:%M:%SZ")
        lines += [f"{symbol},{at},{number}" for symbol in symbols]
    text = "\n".join(lines) + "\n"
    if path.suffix == ".gz":
        with gzip.open(path, "wt") as file:
            file.write(text)
    else:
        path.write_text(text)
    return path


@pytest.fixture
def replay(tmp_path: Path) -> RecordedPrices:
    return RecordedPrices(write_prices(tmp_path / "prices.csv"), {"BTC": "bitcoin"}, clock=frozen)


def test_the_last_full_day_of_the_file_plays_today(replay: RecordedPrices) -> None:
    """The price stamped 2022-11-04T00:00 closes the 3rd, it does not begin a fourth day."""
    assert replay.plays_at(datetime(2022, 11, 3, tzinfo=timezone.utc)).date() == NOW.date()
    assert replay.plays_at(FIRST).date() == NOW.date() - 2 * DAY


def test_the_hour_of_the_day_is_kept_and_the_two_mappings_are_inverse(replay: RecordedPrices) -> None:
    recorded = datetime(2022, 11, 2, 17, 5, tzinfo=timezone.utc)
    assert replay.plays_at(recorded).time() == recorded.time()
    assert replay.recorded_at(replay.plays_at(recorded)) == recorded


def test_a_quote_is_the_last_price_played_with_its_own_time(replay: RecordedPrices) -> None:
    """12:00:30 is past the bar that ends at 12:00 of the third day: number 2 * 288 + 144."""
    assert replay.quote("bitcoin", NOW) == (720.0, NOW.replace(second=0))


def test_five_minute_history_is_the_recorded_series(replay: RecordedPrices) -> None:
    points = replay.points("bitcoin", NOW - HOUR, NOW, FIVE_MINUTES)
    assert [price for _, price in points] == list(range(709, 721))
    quotes = [replay.quote("bitcoin", at) or pytest.fail("no quote") for at, _ in points]
    delays = [at - updated for (at, _), (_, updated) in zip(points, quotes, strict=True)]
    assert timedelta(0) <= min(delays) <= max(delays) < timedelta(seconds=90)


def test_history_covers_the_file_and_nothing_more(replay: RecordedPrices) -> None:
    points = replay.points("bitcoin", NOW - 30 * DAY, NOW + 30 * DAY, HOUR)
    assert len(points) == 72 and points[0][0] >= replay.plays_at(FIRST)
    assert replay.points("bitcoin", NOW - 30 * DAY, NOW - 20 * DAY, HOUR) == []


def test_before_its_first_price_a_coin_has_no_quote(replay: RecordedPrices) -> None:
    assert replay.quote("bitcoin", NOW - 30 * DAY) is None


def test_after_the_end_of_the_file_the_last_quote_grows_old(replay: RecordedPrices) -> None:
    price, updated = replay.quote("bitcoin", NOW + 5 * DAY) or pytest.fail("no quote")
    assert (price, updated) == (864.0, datetime(2026, 11, 24, tzinfo=timezone.utc))


def test_a_gap_in_the_file_stays_a_gap(tmp_path: Path) -> None:
    path = write_prices(tmp_path / "prices.csv", days=1)
    lines = path.read_text().splitlines()
    path.write_text("\n".join(lines[:100] + lines[160:]) + "\n")
    replay = RecordedPrices(path, {"BTC": "bitcoin"}, clock=frozen)
    day = replay.plays_at(FIRST)
    prices = [price for _, price in replay.points("bitcoin", day, day + DAY, FIVE_MINUTES)]
    assert 99.0 in prices and 100.0 not in prices and 160.0 in prices


def test_rows_in_any_order_and_unwanted_symbols_are_no_trouble(tmp_path: Path) -> None:
    path = write_prices(tmp_path / "prices.csv", days=1, symbols=("BTC", "DOGE"))
    header, *rows = path.read_text().splitlines()
    path.write_text("\n".join([header, *reversed(rows)]) + "\n")
    replay = RecordedPrices(path, {"BTC": "bitcoin", "ETH": "ethereum"}, clock=frozen)
    assert replay.coin_ids == ("bitcoin",)
    assert replay.quote("bitcoin", NOW) == (144.0, NOW.replace(second=0))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "must begin with the line symbol,timestamp,price"),
        ("time,price\n", "must begin with the line symbol,timestamp,price"),
        ("symbol,timestamp,price\n", "has no prices of BTC"),
        ("symbol,timestamp,price\nETH,2022-11-01T00:00:00Z,1\n", "has no prices of BTC"),
        ("symbol,timestamp,price\nBTC,2022-11-01T00:00:00Z\n", "line 2"),
        ("symbol,timestamp,price\nBTC,2022-11-01T00:00:00Z,1\nBTC,yesterday,1\n", "line 3"),
        ("symbol,timestamp,price\nBTC,2022-11-01T00:00:00,1\n", "must name its time zone"),
        ("symbol,timestamp,price\nBTC,2022-11-01T00:00:00Z,-1\n", "must be above 0"),
        ("symbol,timestamp,price\nBTC,2022-11-01T00:00:00Z,nan\n", "must be above 0"),
    ],
)
def test_a_file_that_cannot_be_used_is_refused_by_line(tmp_path: Path, text: str, message: str) -> None:
    path = tmp_path / "prices.csv"
    path.write_text(text)
    with pytest.raises(ValueError, match=message):
        RecordedPrices(path, {"BTC": "bitcoin"})


def test_a_cut_gzip_file_is_refused(tmp_path: Path) -> None:
    path = write_prices(tmp_path / "prices.csv.gz")
    path.write_bytes(path.read_bytes()[:-100])
    with pytest.raises(ValueError, match="not a whole gzip file"):
        RecordedPrices(path, {"BTC": "bitcoin"})


@pytest.mark.skipif(not REAL_PRICES.exists(), reason="the recorded prices are not here")
def test_real_prices_play_on_past_days() -> None:
    """The days that shook the market in November 2022 lie in the past, whole, with their hours."""
    replay = RecordedPrices(REAL_PRICES, {"BTC": "bitcoin", "SOL": "solana"}, clock=frozen)
    day = replay.plays_at(datetime(2022, 11, 9, tzinfo=timezone.utc)).date()
    assert day < NOW.date()
    midnight = datetime(day.year, day.month, day.day, tzinfo=timezone.utc)
    prices = [price for _, price in replay.points("solana", midnight, midnight + DAY, HOUR)]
    assert len(prices) == 24
    assert min(prices) < 0.75 * max(prices)
