"""The whole: which examinations there are, in which order, and what they found."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from market_pipeline.clock import Clock, utc_now
from market_pipeline.doctor.api import examine_api, examine_server_clock
from market_pipeline.doctor.budget import examine_budget, examine_schedule_cost
from market_pipeline.doctor.chain import (
    examine_automation, examine_code_location, examine_daemons, examine_runs,
)
from market_pipeline.doctor.database import examine_database, examine_database_clock, examine_disk
from market_pipeline.doctor.finding import Finding, Status, worst
from market_pipeline.doctor.home import examine_home, examine_instance
from market_pipeline.doctor.masking import masked
from market_pipeline.doctor.runner import Group, Making, guarded
from market_pipeline.doctor.setting_findings import examine_settings
from market_pipeline.doctor.stored_prices import (
    examine_absences, examine_coins, examine_freshness, examine_gaps, examine_refusals, examine_scores,
)
from market_pipeline.doctor.subject import Subject

# The budget is in the database, so the API comes after it; Dagster's storage is examined beside them.
_DATABASE = Group(7.0, "The database that DATABASE_URL names", [
    ("database", examine_database),
    ("disk space", examine_disk),
    ("database clock", examine_database_clock),
    ("newest quotes", examine_freshness),
    ("scores", examine_scores),
    ("gaps", examine_gaps),
    ("absent at the source", examine_absences),
    ("coins", examine_coins),
    ("refused rows", examine_refusals),
    ("schedule cost", examine_schedule_cost),
])
_API = Group(7.0, "CoinGecko, or what COINGECKO_BASE_URL names,", [
    ("api", examine_api),
    ("server clock", examine_server_clock),
    ("budget", examine_budget),
])
# Dagster asks a database that it cannot reach again and again, for up to 12.4 s, and only then says why.
_DAGSTER = Group(14.0, "The database that dagster.yaml names", [
    ("dagster instance", examine_instance),
    ("daemons", examine_daemons),
    ("schedules", examine_automation),
    ("runs", examine_runs),
])


@dataclass(frozen=True)
class Report:
    """What was found, in the order in which a person should read it, and when (UTC)."""

    examined_at: datetime
    findings: list[Finding]

    @property
    def status(self) -> Status:
        return worst(self.findings)


def make_report(folder: Path, environment: Mapping[str, str], clock: Clock = utc_now) -> Report:
    """Examine the installation in `folder` within about 20 seconds; no secret is in what is found."""
    subject = Subject(folder, environment, clock)
    at = clock()
    findings = guarded("settings", examine_settings, subject)
    in_database = Making(_DATABASE, subject)
    of_dagster = guarded("dagster home", examine_home, subject)
    # Importing Dagster takes this processor some seconds, which nothing that hangs can lengthen.
    of_dagster += guarded("code location", examine_code_location, subject)
    in_instance = Making(_DAGSTER, subject)
    findings += in_database.findings()
    findings += Making(_API, subject).findings() + of_dagster + in_instance.findings()
    return Report(at, [masked(finding, subject.secrets) for finding in findings])
