"""Paths: the price of one coin, or the median of the coins' prices, between two times."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from market_pipeline.anomalies.rules.score_table import Positions, ScoreTable
from market_pipeline.anomalies.series import Floats


@dataclass(frozen=True, eq=False)
class CoinPath:
    """The price of a coin by its number; `misprints` has the positions of bad prints, which it leaves out."""

    table: ScoreTable
    code: int
    misprints: Positions

    def since(self, start: int, end: int) -> tuple[Positions, Floats]:
        """Return the times from the last quote at or before `start` to `end`, and the log moves since it."""
        table = self.table
        first, past = int(table.starts[self.code]), int(table.starts[self.code + 1])
        moments = table.moments[first:past]
        low = max(int(np.searchsorted(moments, start, side="right")) - 1, 0)
        high = max(int(np.searchsorted(moments, end, side="right")), low + 1)
        positions = np.arange(first + low, first + high)
        if len(self.misprints):
            kept = positions[~np.isin(positions, self.misprints)]
            positions = kept if len(kept) else positions
        logs = np.log(table["price"][positions])
        return table.moments[positions], logs - logs[0]


@dataclass(frozen=True, eq=False)
class MarketPath:
    """The median log price of the coins that are quoted at both ends, since the start."""

    table: ScoreTable

    def since(self, start: int, end: int) -> tuple[Positions, Floats]:
        """Return the times from `start` to `end`, and the median log moves since `start`; zeros if unknown."""
        table = self.table
        first, last = table.latest(start), table.latest(end)
        coins = np.flatnonzero((first >= 0) & (last > first) & table.is_live(last, end))
        if not len(coins):
            return np.array([start, end]), np.zeros(2)
        spans = [table.moments[first[code] + 1 : last[code] + 1] for code in coins]
        moments = np.unique(np.concatenate([np.array([start]), *spans]))
        moves = np.empty((len(coins), len(moments)))
        for row, code in enumerate(coins):
            positions = np.arange(first[code], last[code] + 1)
            place = np.searchsorted(table.moments[positions], moments, side="right") - 1
            logs = np.log(table["price"][positions])
            moves[row] = logs[place] - logs[0]
        return moments, np.median(moves, axis=0)
