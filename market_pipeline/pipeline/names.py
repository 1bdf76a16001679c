"""The names of jobs, schedules, the sensor and the checks, also for rooms that only read Dagster's storage."""

from dataclasses import dataclass

TICK = "tick"
COMPLETE_DAYS = "complete_days"
SCORE_DAYS = "score_days"
CALIBRATE_DETECTORS = "calibrate_detectors"
ACCOUNT_REQUESTS = "account_requests"
RETENTION = "retention"
# What it means that the runs of a job fail.
CONSEQUENCES = {
    TICK: "new prices are not collected, or not scored",
    COMPLETE_DAYS: "past days stay incomplete",
    SCORE_DAYS: "past days are not scored again where prices changed",
    CALIBRATE_DETECTORS: "the coming days are scored with an older calibration",
    ACCOUNT_REQUESTS: "the requests of each hour are not shown",
    RETENTION: "Dagster's storage grows without a limit",
}

TICK_SCHEDULE = "tick_schedule"
COMPLETION_SCHEDULE = "completion_schedule"
CALIBRATION_SCHEDULE = "calibration_schedule"
LEDGER_SCHEDULE = "ledger_schedule"
RETENTION_SCHEDULE = "retention_schedule"
REPAIR_SENSOR = "repair_sensor"

# CoinGecko publishes the last completed UTC day at 00:35 and its caches expire at 00:40.
COMPLETION_CRON = "45 0 * * *"
CALIBRATION_CRON = "20 * * * *"
# The hour is over, and so are the requests sent in it.
LEDGER_CRON = "2 * * * *"
# Between the runs of the night: the past day is complete, and its morning is not over.
RETENTION_CRON = "35 3 * * *"


@dataclass(frozen=True)
class Automation:
    """A schedule, or a sensor, which has no `cron`; `consequence` is what happens if it does not run."""

    name: str
    cron: str | None
    consequence: str

    @property
    def title(self) -> str:
        """The kind and the name."""
        return f"{'sensor' if self.cron is None else 'schedule'} {self.name}"


def automations(collect_cron: str) -> list[Automation]:
    """Return every schedule and sensor of the code location; all are on by default."""
    return [
        Automation(TICK_SCHEDULE, collect_cron, "no prices are collected or scored"),
        Automation(COMPLETION_SCHEDULE, COMPLETION_CRON, "yesterday is not completed from hourly history"),
        Automation(CALIBRATION_SCHEDULE, CALIBRATION_CRON, "the detectors are not calibrated for the coming days"),
        Automation(LEDGER_SCHEDULE, LEDGER_CRON, "the requests of each hour are not shown"),
        Automation(RETENTION_SCHEDULE, RETENTION_CRON, "Dagster's storage grows without a limit"),
        Automation(REPAIR_SENSOR, None, "missing history is not filled in"),
    ]


# The asset of the retention and two of its numbers, which tell how both stores grow.
STORAGE_RETENTION = "storage_retention"
DAGSTER_BYTES, PRICES_BYTES = "dagster_bytes", "prices_bytes"

FUTURE = "no_future_timestamps"
NEGATIVE = "no_negative_prices"
REJECTED = "no_rejected_quotes"
QUOTED = "every_symbol_quoted"
FRESH = "quotes_are_fresh"
LISTED = "coin_ids_are_listed"
ONE_COIN = "prices_are_of_one_coin"
RARE = "alarms_are_rare"
COVERED = "bars_cover_their_days"
# The checks that fail with an ERROR without stopping their run, with their assets.
ERROR_CHECKS = {QUOTED: "raw_prices", LISTED: "price_coverage"}
