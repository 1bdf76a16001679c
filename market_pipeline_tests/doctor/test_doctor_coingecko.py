"""The API, its clock, the budget and the cost of the schedule, against a real socket and a real budget."""

from datetime import datetime, timedelta, timezone

import pytest

from market_pipeline.budget import records
from market_pipeline.budget.ledger import requests_by_hour
from market_pipeline.budget.plan_limits import account_of
from market_pipeline.budget.rules import SECOND, State
from market_pipeline.core.clock import month_of, utc_now
from market_pipeline.doctor.coingecko import examine_api, examine_budget, examine_schedule_cost, examine_server_clock
from market_pipeline.pipeline.client_factory import shared_budget
from market_pipeline.settings import Plan
from market_pipeline.simulator.faults import Fault
from market_pipeline.simulator.market_model import MarketModel
from market_pipeline.simulator.server import Simulator
from market_pipeline.storage.database_clock import database_clock
from market_pipeline.storage.engine import Database
from market_pipeline_tests.doctor.examining import Installed, only

MANY = ",".join(f"C{n}=coin-{n}" for n in range(300))
KEY = "CG-canary1"


@pytest.mark.parametrize(("plan", "path"), [("keyless", "/ping"), ("demo", "/ping"), ("pro", "/key")])
def test_one_request_shows_that_key_and_plan_are_right(
    plan: Plan, path: str, installed: Installed, sqlite_database: Database
) -> None:
    with Simulator(MarketModel(seed=1), plan=plan) as simulator:
        key = "" if plan == "keyless" else KEY
        context = installed(COINGECKO_PLAN=plan, COINGECKO_BASE_URL=simulator.base_url, COINGECKO_API_KEY=key)
        assert only(examine_api, context).status == "ok", "without a database, too"
        simulator.clear_requests()
        context.database = sqlite_database
        diagnosis = only(examine_api, context)
        assert diagnosis.status == "ok" and diagnosis.numbers.keys() == {"latency_ms"}
        assert [request.path for request in simulator.requests] == [path]
    (row,) = requests_by_hour(sqlite_database, utc_now())
    assert (row.endpoint, row.outcome, row.requests) == (path, "200", 1), "counted as every other"


@pytest.mark.parametrize(("plan", "host", "verdict"), [
    ("demo", "pro", "Demo key on the Pro host"), ("pro", "keyless", "Pro key on the public host"),
])
def test_a_key_on_the_wrong_host_is_explained(
    plan: str, host: Plan, verdict: str, installed: Installed
) -> None:
    with Simulator(MarketModel(seed=1), plan=host) as simulator:
        context = installed(COINGECKO_BASE_URL=simulator.base_url, COINGECKO_PLAN=plan, COINGECKO_API_KEY=KEY)
        diagnosis = only(examine_api, context)
    assert diagnosis.status == "fail" and verdict in diagnosis.remedy
    assert "canary" not in str(diagnosis)


def test_a_server_in_trouble_is_asked_only_once(installed: Installed, simulator: Simulator) -> None:
    simulator.add_fault(Fault(kind="status", status=503, times=None))
    diagnosis = only(examine_api, installed(COINGECKO_BASE_URL=simulator.base_url))
    assert (diagnosis.status, diagnosis.numbers["http_status"]) == ("fail", 503)
    assert len(simulator.requests) == 1
    unreachable = only(examine_api, installed(COINGECKO_BASE_URL="http://127.0.0.1:9/api/v3"))
    assert (unreachable.status, unreachable.numbers["http_status"]) == ("fail", None)


def test_a_limit_is_a_warning_that_the_doctor_obeys(
    installed: Installed, simulator: Simulator, sqlite_database: Database
) -> None:
    """Both the limit of the server and the one of the shared budget."""
    simulator.add_fault(Fault(kind="status", status=429, retry_after=40))
    context = installed(sqlite_database, COINGECKO_BASE_URL=simulator.base_url)
    assert only(examine_api, context).status == "warn"
    assert only(examine_budget, context).status == "warn"
    assert only(examine_api, context).status == "warn"
    assert len(simulator.requests) == 1
    used_up = installed(
        sqlite_database, COINGECKO_BASE_URL="http://127.0.0.1:9/api/v3", COINGECKO_REQUESTS_PER_MINUTE="1"
    )
    shared_budget(used_up.settings, sqlite_database, 1.0).acquire("/simple/price")
    assert only(examine_api, used_up).status == "warn"


@pytest.mark.parametrize(("behind", "status"), [(0, "ok"), (30, "warn"), (-30, "warn"), (600, "fail")])
def test_a_clock_that_is_off_is_found_by_the_date_of_the_answer(
    behind: int, status: str, installed: Installed
) -> None:
    with Simulator(MarketModel(seed=1), clock=lambda: utc_now() - timedelta(seconds=behind)) as simulator:
        context = installed(COINGECKO_BASE_URL=simulator.base_url)
        assert only(examine_server_clock, context).because_of == "api"
        only(examine_api, context)
    diagnosis = only(examine_server_clock, context)
    assert diagnosis.status == status
    assert diagnosis.numbers["skew_seconds"] == pytest.approx(behind, abs=3)


@pytest.mark.parametrize(("used", "paused", "status"), [
    (0, False, "ok"), (9_999, False, "warn"), (10_000, False, "fail"), (0, True, "warn"),
])
def test_what_is_left_of_the_budget(
    used: int, paused: bool, status: str, installed: Installed, sqlite_database: Database
) -> None:
    context = installed(sqlite_database, COINGECKO_PLAN="demo", COINGECKO_API_KEY=KEY)
    with sqlite_database.writing() as connection:
        account, now = account_of(context.settings).name, database_clock(connection)
        records.load_for_update(connection, account)
        until = now + 30 * SECOND if paused else 0
        state = State(month=month_of(now), credits_used=used, cool_down_until=until, cool_down_reason="429")
        records.save(connection, account, state)
    diagnosis = only(examine_budget, context)
    assert (diagnosis.status, diagnosis.numbers["credits_left"]) == (status, 10_000 - used)


@pytest.mark.parametrize(("settings", "status", "numbers"), [
    ({}, "ok", (1, 8640, 150, None)),
    ({"COINGECKO_MONTHLY_CREDITS": "9000"}, "ok", (1, 8640, 150, 9000)),
    ({"COINGECKO_MONTHLY_CREDITS": "8700"}, "warn", (1, 8640, 150, 8700)),
    ({"COLLECT_CRON": "* * * * *", "COINGECKO_MONTHLY_CREDITS": "10000"}, "fail", (1, 43_200, 150, 10_000)),
    ({"MARKET_SYMBOLS": MANY, "COINGECKO_REQUESTS_PER_MINUTE": "1"}, "warn", (2, 17_280, 9000, None)),
])
def test_what_the_schedule_costs(
    settings: dict[str, str], status: str, numbers: tuple[int | None, ...], installed: Installed,
    sqlite_database: Database,
) -> None:
    for database in (sqlite_database, None):
        context = installed(database, **settings)
        context.clock = lambda: datetime(2026, 11, 15, 12, 30, tzinfo=timezone.utc)
        diagnosis = only(examine_schedule_cost, context)
        assert (diagnosis.status, tuple(diagnosis.numbers.values())) == (status, numbers)


@pytest.mark.parametrize(
    ("credits", "remedy"), [("10000", "'*/5 * * * *'"), ("900", "'0 * * * *'"), ("5", "less often")]
)
def test_the_remedy_names_a_schedule_that_fits(credits: str, remedy: str, installed: Installed) -> None:
    context = installed(COLLECT_CRON="* * * * *", COINGECKO_MONTHLY_CREDITS=credits)
    assert remedy in only(examine_schedule_cost, context).remedy
