"""Moves of the market on demand, on top of any feed: what an anomaly looks like to the pipeline.

With a file they outlive the process: a simulator that is started again goes on from the prices it has served.
"""

import json
import threading
from collections.abc import Callable
from dataclasses import asdict, dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

from market_pipeline.simulator.feed import Feed

_TAKES = timedelta(minutes=2)
_LARGEST = 90.0


@dataclass(frozen=True)
class Move:
    """A move by `percent` that begins at `at` and takes two minutes; of one coin, or of all (None)."""

    at: datetime
    percent: float
    coin: str | None = None

    def factor(self, coin_id: str, moment: datetime) -> float:
        """Return what the price of a coin is multiplied by at `moment`."""
        if moment <= self.at or self.coin not in (None, coin_id):
            return 1.0
        return 1.0 + self.percent / 100 * min(1.0, (moment - self.at) / _TAKES)


class MovedFeed:
    """A `Feed` with moves, those of the lines of `file` first. Thread-safe.

    Raises ValueError for a line that is not a move.
    """

    def __init__(self, feed: Feed, file: Path | None = None) -> None:
        self._feed = feed
        self._file = file
        self._moves = _stored_moves(file) if file and file.exists() else ()
        self._adding = threading.Lock()

    def add(self, move: Move) -> None:
        """Let the market move, after the move is stored."""
        with self._adding:
            if self._file:
                with self._file.open("a", encoding="utf-8") as lines:
                    lines.write(json.dumps({**asdict(move), "at": move.at.isoformat()}) + "\n")
            self._moves = (*self._moves, move)

    @property
    def coin_ids(self) -> tuple[str, ...]:
        """The CoinGecko ids that are served."""
        return self._feed.coin_ids

    def quote(self, coin_id: str, at: datetime) -> tuple[float, datetime] | None:
        """Return the newest (price, moment it was true) known at `at`."""
        found = self._feed.quote(coin_id, at)
        return found if found is None else (self._moved(coin_id, *found), found[1])

    def points(
        self, coin_id: str, start: datetime, end: datetime, step: timedelta
    ) -> list[tuple[datetime, float]]:
        """Return the published (moment, price) pairs of `start`..`end`."""
        found = self._feed.points(coin_id, start, end, step)
        return [(moment, self._moved(coin_id, price, moment)) for moment, price in found]

    def _moved(self, coin_id: str, price: float, moment: datetime) -> float:
        for move in self._moves:
            price *= move.factor(coin_id, moment)
        return float(f"{price:.10g}") if self._moves else price


def _stored_moves(file: Path) -> tuple[Move, ...]:
    try:
        documents = [json.loads(line) for line in file.read_text(encoding="utf-8").splitlines()]
        return tuple(Move(datetime.fromisoformat(one["at"]), one["percent"], one["coin"]) for one in documents)
    except (ValueError, KeyError, TypeError) as error:
        raise ValueError(f"{file} has a line that is not a move ({error}); delete the file") from None


def parse_move(document: Any, now: Callable[[], datetime]) -> Move:
    """Parse `{"percent": -8}`, with `"coin": "bitcoin"` if only one moves; ValueError says what is wrong."""
    if not isinstance(document, dict) or set(document) - {"percent", "coin"}:
        raise ValueError('a move is a JSON object such as {"percent": -8, "coin": "bitcoin"}, the coin being optional')
    percent, coin = document.get("percent"), document.get("coin")
    if not isinstance(percent, (int, float)) or isinstance(percent, bool) or not 0 < abs(percent) <= _LARGEST:
        raise ValueError(f"percent {percent!r} is not a number from -{_LARGEST:.0f} to {_LARGEST:.0f}, but for 0")
    if coin is not None and not isinstance(coin, str):
        raise ValueError(f"coin {coin!r} is not the id of a coin")
    return Move(now(), float(percent), coin)
