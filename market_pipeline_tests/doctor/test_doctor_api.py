"""The API, its clock, the budget and what the schedule costs, against a real socket and a real budget."""

from datetime import datetime, timedelta, timezone

import pytest

from market_pipeline.budget import records
from market_pipeline.budget.ledger import requests_by_hour
from market_pipeline.budget.plan_limits import account_of
from market_pipeline.budget.rules import SECOND, State
from market_pipeline.core.clock import month_of, utc_now
from market_pipeline.doctor.coingecko import examine_api, examine_budget, examine_schedule_cost, examine_server_clock
from market_pipeline.pipeline.client_factory import shared_budget
from market_pipeline.simulator.faults import Fault
from market_pipeline.simulator.market import MarketModel
from market_pipeline.simulator.server import Simulator
from market_pipeline.storage.database_clock import database_clock

MANY = ",".join(f"C{n}=coin-{n}" for n in range(300))
MIDDLE_OF_NOVEMBER = datetime(2026, 11, 15, 12, 30, tzinfo=timezone.utc)


@pytest.mark.parametrize(("plan", "path"), [("keyless", "/ping"), ("demo", "/ping"), ("pro", "/key")])
def test_one_request_tells_that_key_and_plan_are_right(plan, path, set_up, only, sqlite_database):
    with Simulator(MarketModel(seed=1), plan=plan) as simulator:
        key = {} if plan == "keyless" else {"COINGECKO_API_KEY": "CG-canary1"}
        subject = set_up(sqlite_database, COINGECKO_PLAN=plan, COINGECKO_BASE_URL=simulator.base_url, **key)
        finding = only(examine_api, subject)
        assert finding.status == "ok" and finding.numbers["latency_ms"] >= 0
        assert [request.path for request in simulator.requests] == [path]
    (row,) = requests_by_hour(sqlite_database, utc_now())
    assert (row.endpoint, row.outcome, row.requests) == (path, "200", 1), "counted as every other"


def test_without_a_database_it_is_asked_all_the_same(set_up, only, simulator):
    """A newcomer wants to know about the key before the first start."""
    assert only(examine_api, set_up(COINGECKO_BASE_URL=simulator.base_url)).status == "ok"
    assert len(simulator.requests) == 1


@pytest.mark.parametrize(
    ("plan", "host", "verdict"),
    [("demo", "pro", "Demo key on the Pro host"), ("pro", "keyless", "Pro key on the public host")],
)
def test_a_key_on_the_wrong_host_is_explained(plan, host, verdict, set_up, only):
    with Simulator(MarketModel(seed=1), plan=host) as simulator:
        settings = {"COINGECKO_PLAN": plan, "COINGECKO_API_KEY": "CG-canary1"}
        subject = set_up(COINGECKO_BASE_URL=simulator.base_url, **settings)
        finding = only(examine_api, subject)
    assert finding.status == "fail" and verdict in finding.remedy
    assert "canary" not in str(finding)


def test_a_server_in_trouble_is_asked_only_once(set_up, only, simulator, sqlite_database):
    simulator.add_fault(Fault(kind="status", status=503, times=None))
    finding = only(examine_api, set_up(sqlite_database, COINGECKO_BASE_URL=simulator.base_url))
    assert finding.status == "fail" and finding.numbers["http_status"] == 503
    assert len(simulator.requests) == 1


def test_a_limit_that_was_met_is_a_warning_that_all_keep_to(set_up, only, simulator, sqlite_database):
    simulator.add_fault(Fault(kind="status", status=429, retry_after=40))
    subject = set_up(sqlite_database, COINGECKO_BASE_URL=simulator.base_url)
    assert only(examine_api, subject).status == "warn"
    budget = only(examine_budget, subject)
    assert budget.status == "warn" and "no requests before" in budget.detail
    finding = only(examine_api, subject)
    assert finding.status == "warn" and "no request was sent" in finding.detail
    assert len(simulator.requests) == 1


def test_a_host_that_nobody_listens_on_is_a_failure(set_up, only):
    finding = only(examine_api, set_up(COINGECKO_BASE_URL="http://127.0.0.1:9/api/v3"))
    assert finding.status == "fail" and "got no answer" in finding.detail


def test_a_minute_that_is_used_up_is_no_failure(set_up, only, simulator, sqlite_database):
    settings = {"COINGECKO_BASE_URL": simulator.base_url, "COINGECKO_REQUESTS_PER_MINUTE": "1"}
    subject = set_up(sqlite_database, **settings)
    shared_budget(subject.settings, sqlite_database, 1.0).acquire("/simple/price")
    finding = only(examine_api, subject)
    assert finding.status == "warn" and "no request was sent" in finding.detail
    assert simulator.requests == []


@pytest.mark.parametrize(("behind", "status"), [(0, "ok"), (30, "warn"), (-30, "warn"), (600, "fail")])
def test_a_clock_that_is_off_is_found_by_the_date_of_the_answer(behind, status, set_up, only):
    with Simulator(MarketModel(seed=1), clock=lambda: utc_now() - timedelta(seconds=behind)) as simulator:
        subject = set_up(COINGECKO_BASE_URL=simulator.base_url)
        only(examine_api, subject)
    finding = only(examine_server_clock, subject)
    assert finding.status == status
    assert finding.numbers["skew_seconds"] == pytest.approx(behind, abs=3)


def in_state(subject, **state):
    """Leave the budget in this state."""
    with subject.database.writing() as connection:
        account = account_of(subject.settings).name
        records.load_for_update(connection, account)
        now = database_clock(connection)
        pause = {"cool_down_until": now + 30 * SECOND} if state.pop("paused", False) else {}
        records.save(connection, account, State(month=month_of(now), **pause, **state))


@pytest.mark.parametrize(
    ("state", "status", "said"),
    [
        ({}, "ok", "10,000 of 10,000 credits are left"),
        ({"credits_used": 9_999}, "warn", "1 of 10,000 credits are left"),
        ({"credits_used": 10_000}, "fail", "0 of 10,000 credits are left"),
        ({"paused": True, "cool_down_reason": "429"}, "warn", "no requests before"),
    ],
)
def test_what_is_left_of_the_budget(state, status, said, set_up, only, database):
    subject = set_up(database, COINGECKO_PLAN="demo", COINGECKO_API_KEY="CG-canary1")
    in_state(subject, **state)
    finding = only(examine_budget, subject)
    assert finding.status == status and said in finding.detail
    assert finding.numbers["credits_left"] == 10_000 - state.get("credits_used", 0)


@pytest.mark.parametrize(
    ("settings", "status", "said"),
    [
        ({}, "ok", "takes 8,640 requests this month, and completing its days 150; no monthly cap"),
        ({"COINGECKO_MONTHLY_CREDITS": "9000"}, "ok", "the plan has 9,000 credits"),
        ({"COINGECKO_MONTHLY_CREDITS": "8700"}, "warn", "nights will be skipped"),
        ({"COLLECT_CRON": "* * * * *", "COINGECKO_MONTHLY_CREDITS": "10000"}, "fail", "takes 43,200"),
        ({"MARKET_SYMBOLS": MANY, "COINGECKO_REQUESTS_PER_MINUTE": "1"}, "warn", "a tick takes 2 requests"),
    ],
)
@pytest.mark.parametrize("ready", [True, False])
def test_what_the_schedule_costs(settings, status, said, ready, set_up, only, sqlite_database):
    subject = set_up(sqlite_database if ready else None, **settings)
    subject.clock = lambda: MIDDLE_OF_NOVEMBER
    finding = only(examine_schedule_cost, subject)
    assert finding.status == status and said in finding.detail


@pytest.mark.parametrize(
    ("credits", "remedy"), [("10000", "'*/5 * * * *'"), ("900", "'0 * * * *'"), ("5", "less often")]
)
def test_the_remedy_names_a_schedule_that_fits(credits, remedy, set_up, only):
    subject = set_up(COLLECT_CRON="* * * * *", COINGECKO_MONTHLY_CREDITS=credits)
    assert remedy in only(examine_schedule_cost, subject).remedy


@pytest.mark.parametrize(
    "examination", [examine_api, examine_server_clock, examine_budget, examine_schedule_cost]
)
def test_without_settings_nothing_is_asked(examination, subject, only):
    assert only(examination, subject).because_of
