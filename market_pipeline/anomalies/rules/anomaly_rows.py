"""From a candidate to the row that is stored: every column of `Anomaly`."""

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
from market_pipeline.anomalies.rules.flags import log_move, move_between, simple_return
from market_pipeline.anomalies.rules.peers import present_volatility, slow_volatility
from market_pipeline.anomalies.rules.score_table import MICROSECONDS, ScoreTable, to_time
from market_pipeline.anomalies.rules.stale_feeds import usual_gap
from market_pipeline.anomalies.words.narration import narrate

PERSISTED = "persisted"
REVERTED = "reverted"

_CONFIRMED = (Kind.JUMP, Kind.LARGE_MOVE, Kind.GAP_MOVE, Kind.MARKET_MOVE)
_MINUTE = 60 * MICROSECONDS
# An hour less what an hourly quote may come early.
_FIRST_LOOK = 58 * _MINUTE
_LAST_LOOK = 240 * _MINUTE
_HALF = 0.5
_LITTLE = 0.3


@dataclass(frozen=True)
class Confirmation:
    """The verdict and the position of the quote that decided."""

    verdict: str
    at: int


def confirm(table: ScoreTable, candidate: Candidate) -> Confirmation | None:
    """The confirmation of a move by later quotes of its symbol; None while it is open."""
    if candidate.kind not in _CONFIRMED:
        return None
    moment = int(table.moments[candidate.at])
    move = log_move(table, candidate.before, candidate.at)
    for position in range(table.first_from(candidate.at, moment + _FIRST_LOOK), table.end_of(candidate.at)):
        left = log_move(table, candidate.before, position) / move
        late = int(table.moments[position]) >= moment + _LAST_LOOK
        if left >= _HALF:
            return Confirmation(PERSISTED, position)
        if left < _LITTLE or late:
            return Confirmation(REVERTED, position)
    return None


_SECONDS_PER_DAY = 86_400.0


def severity_of(p: float, settings: DetectionSettings) -> Severity:
    """By the calibrated probability per quote; watch where it is not known."""
    if p < settings.critical_p:
        return Severity.CRITICAL
    return Severity.ALERT if p < settings.alert_p else Severity.WATCH


def expected_every_days(p: float, gap_seconds: float) -> float:
    """Once in how many days a quote with this probability comes, at one quote every `gap_seconds`.

    NaN where either is not known.
    """
    return gap_seconds / _SECONDS_PER_DAY / p if p > 0 else math.nan


# Kinds that compare with the volatility of weeks rather than with that of the moment.
_SLOW = (Kind.LARGE_MOVE, Kind.MARKET_MOVE)
_ORDINARY_FLAGS = ("first", "stale")
_UNKNOWN = MarketContext(Scope.UNKNOWN)


class RowMaker:
    """Makes the rows of one score table."""

    def __init__(
        self,
        table: ScoreTable,
        calibration: Calibration | None,
        settings: DetectionSettings,
        episodes: Mapping[tuple[Kind, int], Episode],
    ) -> None:
        self._table = table
        self._calibrated_at = calibration.as_of if calibration else None
        self._settings = settings
        self._episodes = episodes
        self._version = version_of(PARAMETERS, settings)

    def row(self, candidate: Candidate) -> Anomaly:
        """The row of `candidate`."""
        table, at, before = self._table, candidate.at, candidate.before
        market = candidate.market or _UNKNOWN
        episode = self._episodes[candidate.kind, at]
        confirmation = confirm(table, candidate)
        deviation = self._deviation(candidate)
        expected = simple_return(deviation)
        every_days = expected_every_days(candidate.p, self._spacing(candidate))
        own_id = id_of(table, candidate.kind, at)
        seconds = table.seconds(before, at)
        return Anomaly(
            symbol=table.symbol(at),
            timestamp=table.time(at),
            kind=candidate.kind.value,
            id=own_id,
            episode_id=episode.id,
            event_id=own_id if candidate.kind is Kind.MARKET_MOVE else candidate.event_id,
            scope=market.scope.value,
            severity=severity_of(candidate.p, self._settings).value,
            direction=self._direction(candidate),
            detected_at=to_time(self._detected(candidate)),
            price_before=table.price(before),
            timestamp_before=table.time(before),
            price_after=table.price(at),
            move=move_between(table, before, at),
            elapsed_seconds=seconds,
            horizon_minutes=self._horizon(candidate, seconds),
            expected_move=_known(expected),
            score=candidate.score,
            threshold=candidate.threshold,
            z=self._z(candidate, deviation),
            p_raw=_known(candidate.p_raw),
            p_calibrated=_known(candidate.p),
            expected_every_days=_known(every_days),
            volatility_annual=_known(table.number("volatility", at)),
            volatility_percentile=_known(table.number("volatility_percentile", at)),
            hour_factor=table.number("hour_factor", at),
            market_z=_known(market.market_z),
            beta=_known(market.beta),
            residual_z=_known(market.residual_z),
            market_share=_known(market.share),
            peers_moved=None if math.isnan(market.market_z) else market.peers_moved,
            members=",".join(candidate.members) or None,
            quotes_used=int(table.number("quotes_used", at)),
            stale_minutes=table.number("stale_minutes", at),
            calibration=str(table.scores["calibration"][at]),
            calibrated_at=self._calibrated_at,
            quality_flags=self._quality(candidate),
            confirmation=confirmation.verdict if confirmation else None,
            confirmed_at=table.time(confirmation.at) if confirmation else None,
            confirmed_price=table.price(confirmation.at) if confirmation else None,
            episode_first=to_time(episode.first),
            episode_peak=to_time(episode.peak),
            episode_last=to_time(episode.last),
            detector_version=self._version,
            explanation=narrate(table, candidate, expected, every_days),
        )

    def _deviation(self, candidate: Candidate) -> float:
        """One standard deviation of the log return over the time of the candidate; NaN if not known."""
        table = self._table
        volatility = slow_volatility if candidate.kind in _SLOW else present_volatility
        with np.errstate(invalid="ignore", divide="ignore"):
            rate = float(volatility(table, np.array([candidate.at]))[0])
        # The scores know no shorter time than this either.
        seconds = max(table.seconds(candidate.before, candidate.at), 60 * PARAMETERS.shortest_interval)
        deviation = rate * math.sqrt(seconds)
        return deviation if math.isfinite(deviation) else math.nan

    def _spacing(self, candidate: Candidate) -> float:
        """The seconds for which one probability stands: moves over a long gap do not come at every quote."""
        usual = usual_gap(self._table, candidate.at)
        own = self._table.number("elapsed_seconds", candidate.at)
        return usual if candidate.kind in _SLOW else max(usual, own)

    def _z(self, candidate: Candidate, deviation: float) -> float | None:
        if candidate.kind is Kind.STALE_FEED or not deviation > 0:
            return None
        return _known(log_move(self._table, candidate.before, candidate.at) / deviation)

    def _horizon(self, candidate: Candidate, seconds: float) -> float:
        if candidate.kind is Kind.LARGE_MOVE:
            return self._table.number("large_move_horizon", candidate.at)
        return seconds / 60

    def _direction(self, candidate: Candidate) -> str:
        if candidate.kind is Kind.STALE_FEED:
            return "none"
        return "up" if self._table.price(candidate.at) > self._table.price(candidate.before) else "down"

    def _detected(self, candidate: Candidate) -> int:
        """The latest quote that it took, as a time."""
        moments = [int(self._table.moments[candidate.at]), candidate.market.seen if candidate.market else 0]
        if candidate.kind is Kind.BAD_TICK and candidate.until is not None:
            moments.append(int(self._table.moments[candidate.until]))
        return max(moments)

    def _quality(self, candidate: Candidate) -> str:
        flags = [flag for flag in self._table.quality(candidate.at) if flag not in _ORDINARY_FLAGS]
        return ",".join([*flags, *candidate.flags])


def _known(value: float) -> float | None:
    """None in place of what is not finite, as the database stores it."""
    return value if math.isfinite(value) else None
