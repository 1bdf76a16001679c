"""From a candidate to the stored row: every column of `Anomaly`, with severity and confirmation.

Confirmation tells whether a move still held an hour after its peak, or at the next quote where these are rarer. That
quote decides: `persisted` if at least half of the move is left, `reverted` if less than 30% is left. In between, the
next quotes decide by the same limits; the first one after 4 hours decides by the half alone. Without later quotes the
verdict stays open.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from market_pipeline.anomalies.anomaly import Anomaly, Kind, Scope, Severity
from market_pipeline.anomalies.calibration import Calibration
from market_pipeline.anomalies.parameters import PARAMETERS, DetectionSettings, version_of
from market_pipeline.anomalies.rules.candidate import Candidate, MarketContext, id_of
from market_pipeline.anomalies.rules.episodes import Episode
from market_pipeline.anomalies.rules.peers import present_volatility, slow_volatility
from market_pipeline.anomalies.rules.rarities import rarity_of
from market_pipeline.anomalies.rules.score_table import MICROSECONDS, MINUTE, ScoreTable, simple_return
from market_pipeline.anomalies.rules.severity import importance_of, outage_severity, severity_of
from market_pipeline.anomalies.scores.returns import FIRST, STALE
from market_pipeline.anomalies.series import cadence_of
from market_pipeline.anomalies.words.narration import narrate
from market_pipeline.core.clock import from_microseconds

_CONFIRMED = (Kind.JUMP, Kind.LARGE_MOVE, Kind.GAP_MOVE, Kind.MARKET_MOVE)
# An hour, less how early an hourly quote may come.
_FIRST_LOOK = 58 * MINUTE
_LAST_LOOK = 240 * MINUTE
_EARLY = 0.9
_HALF = 0.5
_LITTLE = 0.3
# Kinds that compare with the volatility of weeks rather than with the present one.
_SLOW = (Kind.LARGE_MOVE, Kind.MARKET_MOVE)


@dataclass(frozen=True)
class RowMaker:
    """Makes the rows of one score table."""

    table: ScoreTable
    calibration: Calibration | None
    settings: DetectionSettings
    alarms: Mapping[tuple[Kind, int], Episode]
    events: Mapping[str, Episode]

    def row(self, candidate: Candidate) -> Anomaly:
        """Return the row of `candidate`."""
        table, at, before, end = self.table, candidate.at, candidate.before, candidate.end
        market = candidate.market or MarketContext(Scope.UNKNOWN)
        episode = self.events.get(candidate.event_id or "") or self.alarms.get((candidate.kind, at))
        importance = self._importance(candidate)
        verdict, confirmed_by = _confirm(table, candidate)
        deviation = self._deviation(candidate)
        expected = simple_return(deviation)
        own_id = id_of(table, candidate.kind, at)
        rarity = rarity_of(table, self.calibration, candidate)
        story = narrate(table, candidate, expected, rarity)
        return Anomaly(
            symbol=table.symbol(at),
            timestamp=table.time(at),
            kind=candidate.kind.value,
            id=own_id,
            episode_id=episode.id if episode else own_id,
            event_id=own_id if candidate.kind is Kind.MARKET_MOVE else candidate.event_id,
            scope=market.scope.value,
            severity=self._severity(candidate, importance).value,
            importance=importance,
            direction=self._direction(candidate),
            detected_at=from_microseconds(self._detected(candidate)),
            price_before=table.price(before),
            timestamp_before=table.time(before),
            price_after=table.price(end),
            move=table.move(before, end),
            elapsed_seconds=table.seconds(before, end),
            horizon_minutes=self._horizon(candidate),
            expected_move=_known(expected),
            score=candidate.score,
            threshold=candidate.threshold,
            z=self._z(candidate, deviation),
            p_raw=_known(candidate.p_raw),
            p_calibrated=_known(candidate.p),
            expected_every_days=_known(candidate.days),
            volatility_annual=_known(table.number("volatility", at)),
            volatility_percentile=_known(table.number("volatility_percentile", at)),
            hour_factor=table.number("hour_factor", at),
            market_z=_known(market.market_z),
            market_move=_known(market.market_move),
            beta=_known(market.beta),
            residual_z=_known(market.residual_z),
            market_share=_known(market.share),
            peers_moved=None if math.isnan(market.market_z) else market.peers_moved,
            members=",".join(candidate.members) or None,
            quotes_used=int(table.number("quotes_used", at)),
            stale_minutes=table.number("stale_minutes", at),
            calibration=rarity.basis,
            cadence=rarity.cadence or self._cadence(at),
            calibration_days=rarity.days,
            calibration_excesses=rarity.excesses,
            calibrated_at=self.calibration.as_of if self.calibration else None,
            quality_flags=",".join(
                [*(flag for flag in table.quality(at) if flag not in (FIRST, STALE)), *candidate.flags]
            ),
            confirmation=verdict,
            confirmed_at=None if confirmed_by is None else table.time(confirmed_by),
            confirmed_price=None if confirmed_by is None else table.price(confirmed_by),
            episode_first=from_microseconds(min(episode.first, table.moment(at)) if episode else table.moment(at)),
            episode_peak=from_microseconds(episode.peak if episode else table.moment(end)),
            episode_last=from_microseconds(max(episode.last, table.moment(end)) if episode else table.moment(end)),
            detector_version=version_of(PARAMETERS, self.settings),
            headline=story.headline,
            explanation=story.explanation,
        )

    def _importance(self, candidate: Candidate) -> float:
        """Return the rank of the row; a feed problem ranks below every move."""
        if candidate.kind in (Kind.BAD_TICK, Kind.STALE_FEED):
            return 0.0
        if candidate.kind is Kind.MARKET_MOVE and candidate.market is not None:
            return importance_of(candidate.days, candidate.market.market_move, market_wide=True)
        move = self.table.move(candidate.before, candidate.end)
        return importance_of(candidate.days, move, market_wide=False)

    def _severity(self, candidate: Candidate, importance: float) -> Severity:
        if candidate.kind is Kind.STALE_FEED:
            return outage_severity(candidate.score, candidate.threshold)
        return severity_of(importance, self.settings)

    def _cadence(self, at: int) -> str | None:
        usual = self.table.usual_gap(at)
        return None if math.isnan(usual) else cadence_of(usual / 60)

    def _deviation(self, candidate: Candidate) -> float:
        """Return one standard deviation of the log return over the time of the move; NaN if unknown."""
        slow = candidate.kind in _SLOW or candidate.end != candidate.at
        with np.errstate(invalid="ignore", divide="ignore"):
            volatility = slow_volatility if slow else present_volatility
            rate = float(volatility(self.table, np.array([candidate.at]))[0])
        # As in the scores, at least the shortest interval.
        seconds = max(self.table.seconds(candidate.before, candidate.end), 60 * PARAMETERS.shortest_interval)
        deviation = rate * math.sqrt(seconds)
        return deviation if math.isfinite(deviation) else math.nan

    def _horizon(self, candidate: Candidate) -> float:
        if candidate.kind is Kind.LARGE_MOVE and candidate.end == candidate.at:
            return self.table.number("large_move_horizon", candidate.at)
        return self.table.seconds(candidate.before, candidate.end) / 60

    def _z(self, candidate: Candidate, deviation: float) -> float | None:
        if candidate.kind is Kind.STALE_FEED or not deviation > 0:
            return None
        return _known(self.table.log_move(candidate.before, candidate.end) / deviation)

    def _direction(self, candidate: Candidate) -> str:
        if candidate.kind is Kind.STALE_FEED:
            return "none"
        rise = self.table.price(candidate.end) - self.table.price(candidate.before)
        if candidate.kind is Kind.MARKET_MOVE and candidate.market is not None:
            rise = candidate.market.market_move
        return "up" if rise > 0 else "down"

    def _detected(self, candidate: Candidate) -> int:
        """Return the time of the latest quote that was needed."""
        moments = [self.table.moment(candidate.at), candidate.market.seen if candidate.market else 0]
        if candidate.kind is Kind.BAD_TICK and candidate.until is not None:
            moments.append(self.table.moment(candidate.until))
        return max(moments)


def _confirm(table: ScoreTable, candidate: Candidate) -> tuple[str | None, int | None]:
    """Return the verdict of later quotes and the position of the one that decided; None, None while open."""
    if candidate.kind not in _CONFIRMED:
        return None, None
    end = candidate.end
    moment = table.moment(end)
    move = table.log_move(candidate.before, end)
    usual = table.usual_gap(end)
    # As early as the next quote may come.
    look = _FIRST_LOOK if math.isnan(usual) else max(_FIRST_LOOK, int(_EARLY * usual * MICROSECONDS))
    for position in range(table.first_from(end, moment + look), table.end_of(end)):
        left = table.log_move(candidate.before, position) / move if move else 0.0
        if left >= _HALF:
            return "persisted", position
        if left < _LITTLE or table.moment(position) >= moment + _LAST_LOOK:
            return "reverted", position
    return None, None


def _known(value: float) -> float | None:
    """Return None for NaN and infinity, which the database does not store."""
    return value if math.isfinite(value) else None
