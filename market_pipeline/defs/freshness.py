"""Freshness policies: how old the newest materialization of each asset may be before the UI says so.

They show whether the automation works: Dagster looks at the newest materialization of any partition. How fresh the
prices themselves are is what the check `quotes_are_fresh` and `/readyz` answer.
"""

from collections.abc import Iterator, Sequence
from datetime import datetime, timedelta, timezone
from itertools import pairwise

import dagster as dg
from cronsim import CronSim

from market_pipeline.core.clock import DAY
from market_pipeline.defs.assets.daily_bars import DAILY_BARS
from market_pipeline.defs.assets.detector_calibration import DETECTOR_CALIBRATION
from market_pipeline.defs.assets.market_overview import MARKET_OVERVIEW
from market_pipeline.defs.assets.price_anomalies import PRICE_ANOMALIES
from market_pipeline.defs.assets.price_coverage import PRICE_COVERAGE
from market_pipeline.defs.assets.raw_prices import RAW_PRICES, REJECTED_PRICES
from market_pipeline.defs.assets.request_ledger import REQUEST_LEDGER
from market_pipeline.pipeline.names import STORAGE_RETENTION

_HOUR = timedelta(hours=1)
# A run waits for the request budget, and the daemon evaluates the policies twice a minute.
_SLACK = timedelta(minutes=3)
# A Monday, so that the policies are the same at every load.
_MONDAY = datetime(2024, 1, 1, tzinfo=timezone.utc)
_WEEK = timedelta(days=8)


def with_freshness(assets: Sequence[dg.AssetsDefinition], collect_cron: str) -> list[dg.AssetsDefinition]:
    """Return `assets` with their policies; what a tick renews follows `collect_cron` (five fields, UTC).

    A policy warns when one renewal is overdue and fails when two are.
    """
    one, two = longest_gaps(collect_cron)
    policies = {
        **dict.fromkeys(
            (RAW_PRICES, REJECTED_PRICES, PRICE_ANOMALIES, MARKET_OVERVIEW), _policy(one + _SLACK, two + _SLACK)
        ),
        REQUEST_LEDGER: _policy(_HOUR + _SLACK, 2 * _HOUR + _SLACK),
        # Two of them wait for history that may arrive late.
        **dict.fromkeys(
            (DAILY_BARS, DETECTOR_CALIBRATION, PRICE_COVERAGE, STORAGE_RETENTION),
            _policy(DAY + 2 * _HOUR, 2 * DAY + 2 * _HOUR),
        ),
    }

    def fresh(spec: dg.AssetSpec) -> dg.AssetSpec:
        return spec.replace_attributes(freshness_policy=policies[spec.key.to_user_string()])

    return list(dg.map_asset_specs(fresh, assets))


def _policy(warn: timedelta, fail: timedelta) -> dg.FreshnessPolicy:
    return dg.FreshnessPolicy.time_window(fail_window=fail, warn_window=warn)


def longest_gaps(cron: str) -> tuple[timedelta, timedelta]:
    """Return the longest time between two ticks of `cron` within a week, and between a tick and the last but one."""
    gaps = [later - earlier for earlier, later in pairwise(_ticks(cron))]
    return max(gaps), max(one + next_one for one, next_one in pairwise(gaps))


def _ticks(cron: str) -> Iterator[datetime]:
    """Yield ticks until they repeat: of three hours where every hour is alike, else of a week, but at least three."""
    _, *fields = cron.split()
    end = _MONDAY + (3 * _HOUR if fields == ["*"] * 4 else _WEEK)
    for count, tick in enumerate(CronSim(cron, _MONDAY)):
        yield tick
        if tick > end and count >= 2:
            return
