"""Recorded prices, replayed at the present time. A `Feed`."""

import csv
import gzip
import math
from bisect import bisect_right
from collections.abc import Iterable, Iterator, Mapping
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import TextIO

from market_pipeline.core.clock import DAY, Clock, utc_now
from market_pipeline.simulator.feed import publication_moments

_COLUMNS = ["symbol", "timestamp", "price"]


class RecordedPrices:
    """The prices of a `symbol,timestamp,price` file (.csv or .csv.gz), shifted by whole days so that they play now.

    The file's last full day plays today (by `clock`, at construction), so that the whole file is history and today has
    live prices. Before the file's first price a coin does not exist yet. After its last price the quotes stay as they
    are and grow old, as if the source were dead.

    `coin_ids` maps the symbols of the file to CoinGecko ids; other symbols are not served. ValueError names the line of
    the file that cannot be used, or what is missing in it.
    """

    def __init__(self, path: str | Path, coin_ids: Mapping[str, str], clock: Clock = utc_now) -> None:
        self._series = _read(Path(path), coin_ids)
        first = min(times[0] for times, _ in self._series.values())
        last = max(times[-1] for times, _ in self._series.values())
        # A price at midnight closes the day before it.
        today = clock().astimezone(timezone.utc).date()
        self._shift = today - max(first.date(), last.date() - DAY)

    @property
    def coin_ids(self) -> tuple[str, ...]:
        """The CoinGecko ids that are served."""
        return tuple(self._series)

    def plays_at(self, recorded: datetime) -> datetime:
        """Return when the prices recorded at `recorded` play."""
        return recorded + self._shift

    def recorded_at(self, playing: datetime) -> datetime:
        """Return the moment of the file that plays at `playing`: the inverse of `plays_at`."""
        return playing - self._shift

    def quote(self, coin_id: str, at: datetime) -> tuple[float, datetime] | None:
        """Return the last recorded price that has played by `at`, and when it did, to the second."""
        found = self._last(coin_id, at)
        if found is None:
            return None
        recorded, price = found
        played = self.plays_at(recorded)
        return price, played.replace(microsecond=0)

    def points(
        self, coin_id: str, start: datetime, end: datetime, step: timedelta
    ) -> list[tuple[datetime, float]]:
        """Return at each moment of publication the last price that had played by then.

        Moments without one in the `step` before them are left out, so gaps of the file stay gaps.
        """
        times, _ = self._series[coin_id]
        start = max(start, self.plays_at(times[0]))
        end = min(end, self.plays_at(times[-1]) + step)
        points = []
        for moment in publication_moments(coin_id, start, end, step):
            found = self._last(coin_id, moment)
            if found is not None and moment - self.plays_at(found[0]) < step:
                points.append((moment, found[1]))
        return points

    def _last(self, coin_id: str, at: datetime) -> tuple[datetime, float] | None:
        times, prices = self._series[coin_id]
        index = bisect_right(times, self.recorded_at(at)) - 1
        return None if index < 0 else (times[index], prices[index])


Series = tuple[list[datetime], list[float]]


def _read(path: Path, coin_ids: Mapping[str, str]) -> dict[str, Series]:
    """Read the (times, prices) of each coin, ascending in time."""
    rows: dict[str, dict[datetime, float]] = {}
    try:
        with _open(path) as file:
            for symbol, at, price in _rows(file, path):
                if symbol in coin_ids:
                    rows.setdefault(coin_ids[symbol], {})[at] = price
    except (EOFError, gzip.BadGzipFile) as error:
        raise ValueError(f"{path} is not a whole gzip file: {error}") from None
    if not rows:
        raise ValueError(f"{path} has no prices of {', '.join(coin_ids) or 'any symbol'}.")
    ordered = {coin_id: dict(sorted(series.items())) for coin_id, series in rows.items()}
    return {coin_id: (list(series), list(series.values())) for coin_id, series in ordered.items()}


def _open(path: Path) -> TextIO:
    if path.suffix == ".gz":
        return gzip.open(path, "rt", encoding="utf-8", newline="")
    return path.open(encoding="utf-8", newline="")


def _rows(lines: Iterable[str], path: Path) -> Iterator[tuple[str, datetime, float]]:
    reader = csv.reader(lines)
    header = next(reader, None)
    if header != _COLUMNS:
        raise ValueError(f"{path} must begin with the line {','.join(_COLUMNS)}.")
    for number, row in enumerate(reader, start=2):
        try:
            symbol, text, amount = row
            at, price = datetime.fromisoformat(text.replace("Z", "+00:00")), float(amount)
        except ValueError:
            raise ValueError(f"{path}, line {number}: {row} is not {','.join(_COLUMNS)}.") from None
        if at.tzinfo is None or not (math.isfinite(price) and price > 0):
            raise ValueError(
                f"{path}, line {number}: {text} must name its time zone (Z) and {amount} must be above 0."
            )
        yield symbol, at, price
