"""From a finding to the row that is stored: every column of `Anomaly`."""

from __future__ import annotations

import math
from collections.abc import Mapping

import numpy as np

from market_pipeline.anomalies.anomaly import Anomaly, Kind, Scope
from market_pipeline.anomalies.calibration import Calibration
from market_pipeline.anomalies.detection_settings import DetectionSettings
from market_pipeline.anomalies.parameters import PARAMETERS, version_of
from market_pipeline.anomalies.rules.confirmation import confirm
from market_pipeline.anomalies.rules.episodes import Episode
from market_pipeline.anomalies.rules.finding import Finding, MarketView, id_of
from market_pipeline.anomalies.rules.flags import log_move, move_between, simple_return
from market_pipeline.anomalies.rules.peers import present_volatility, slow_volatility
from market_pipeline.anomalies.rules.score_table import ScoreTable, to_time
from market_pipeline.anomalies.rules.severity import expected_every_days, severity_of
from market_pipeline.anomalies.rules.stale_feeds import usual_gap
from market_pipeline.anomalies.words.narration import narrate

# Kinds that compare with the volatility of weeks rather than with that of the moment.
_SLOW = (Kind.LARGE_MOVE, Kind.MARKET_MOVE)
_ORDINARY_FLAGS = ("first", "stale")
_UNKNOWN = MarketView(Scope.UNKNOWN)


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

    def row(self, finding: Finding) -> Anomaly:
        """The row of `finding`."""
        table, at, before = self._table, finding.at, finding.before
        market = finding.market or _UNKNOWN
        episode = self._episodes[finding.kind, at]
        confirmation = confirm(table, finding)
        deviation = self._deviation(finding)
        expected = simple_return(deviation)
        every_days = expected_every_days(finding.p, self._spacing(finding))
        own_id = id_of(table, finding.kind, at)
        seconds = table.seconds(before, at)
        return Anomaly(
            symbol=table.symbol(at),
            timestamp=table.time(at),
            kind=finding.kind.value,
            id=own_id,
            episode_id=episode.id,
            event_id=own_id if finding.kind is Kind.MARKET_MOVE else finding.event_id,
            scope=market.scope.value,
            severity=severity_of(finding.p, self._settings).value,
            direction=self._direction(finding),
            detected_at=to_time(self._detected(finding)),
            price_before=table.price(before),
            timestamp_before=table.time(before),
            price_after=table.price(at),
            move=move_between(table, before, at),
            elapsed_seconds=seconds,
            horizon_minutes=self._horizon(finding, seconds),
            expected_move=_known(expected),
            score=finding.score,
            threshold=finding.threshold,
            z=self._z(finding, deviation),
            p_raw=_known(finding.p_raw),
            p_calibrated=_known(finding.p),
            expected_every_days=_known(every_days),
            volatility_annual=_known(table.number("volatility", at)),
            volatility_percentile=_known(table.number("volatility_percentile", at)),
            hour_factor=table.number("hour_factor", at),
            market_z=_known(market.market_z),
            beta=_known(market.beta),
            residual_z=_known(market.residual_z),
            market_share=_known(market.share),
            peers_moved=None if math.isnan(market.market_z) else market.peers_moved,
            members=",".join(finding.members) or None,
            quotes_used=int(table.number("quotes_used", at)),
            stale_minutes=table.number("stale_minutes", at),
            calibration=str(table.scores["calibration"][at]),
            calibrated_at=self._calibrated_at,
            quality_flags=self._quality(finding),
            confirmation=confirmation.verdict if confirmation else None,
            confirmed_at=table.time(confirmation.at) if confirmation else None,
            confirmed_price=table.price(confirmation.at) if confirmation else None,
            episode_first=to_time(episode.first),
            episode_peak=to_time(episode.peak),
            episode_last=to_time(episode.last),
            detector_version=self._version,
            explanation=narrate(table, finding, expected, every_days),
        )

    def _deviation(self, finding: Finding) -> float:
        """One standard deviation of the log return over the time of the finding; NaN if not known."""
        table = self._table
        volatility = slow_volatility if finding.kind in _SLOW else present_volatility
        with np.errstate(invalid="ignore", divide="ignore"):
            rate = float(volatility(table, np.array([finding.at]))[0])
        # The scores know no shorter time than this either.
        seconds = max(table.seconds(finding.before, finding.at), 60 * PARAMETERS.shortest_interval)
        deviation = rate * math.sqrt(seconds)
        return deviation if math.isfinite(deviation) else math.nan

    def _spacing(self, finding: Finding) -> float:
        """The seconds for which one probability stands: moves over a long gap do not come at every quote."""
        usual = usual_gap(self._table, finding.at)
        own = self._table.number("elapsed_seconds", finding.at)
        return usual if finding.kind in _SLOW else max(usual, own)

    def _z(self, finding: Finding, deviation: float) -> float | None:
        if finding.kind is Kind.STALE_FEED or not deviation > 0:
            return None
        return _known(log_move(self._table, finding.before, finding.at) / deviation)

    def _horizon(self, finding: Finding, seconds: float) -> float:
        if finding.kind is Kind.LARGE_MOVE:
            return self._table.number("large_move_horizon", finding.at)
        return seconds / 60

    def _direction(self, finding: Finding) -> str:
        if finding.kind is Kind.STALE_FEED:
            return "none"
        return "up" if self._table.price(finding.at) > self._table.price(finding.before) else "down"

    def _detected(self, finding: Finding) -> int:
        """The latest quote that it took, as a time."""
        moments = [int(self._table.moments[finding.at]), finding.market.seen if finding.market else 0]
        if finding.kind is Kind.BAD_TICK and finding.until is not None:
            moments.append(int(self._table.moments[finding.until]))
        return max(moments)

    def _quality(self, finding: Finding) -> str:
        flags = [flag for flag in self._table.quality(finding.at) if flag not in _ORDINARY_FLAGS]
        return ",".join([*flags, *finding.flags])


def _known(value: float) -> float | None:
    """None in place of what is not finite, as the database stores it."""
    return value if math.isfinite(value) else None
