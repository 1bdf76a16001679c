"""How settings, key, plan and budget become a client."""

import logging
from datetime import date, datetime, timedelta, timezone

import pytest
from cronsim import CronSim
from hypothesis import given, settings
from hypothesis import strategies as st
from sqlalchemy import update

from market_pipeline.budget import plan_limits
from market_pipeline.budget.credits import live_reserve, ticks_left
from market_pipeline.budget.ledger import requests_by_hour
from market_pipeline.budget.plan_limits import Account, Limits, ReportedLimits, account_of, current_limits, limits_of
from market_pipeline.budget.shared import SharedBudget
from market_pipeline.budget.status import read_status
from market_pipeline.coingecko.errors import BudgetExhausted, RequestRefused
from market_pipeline.coingecko.models import KeyInfo
from market_pipeline.core.clock import DAY, next_month, start_of_day, utc_now
from market_pipeline.core.symbols import parse_catalogue
from market_pipeline.pipeline.client_factory import budgeted_client
from market_pipeline.settings import load_settings
from market_pipeline.simulator.faults import Fault
from market_pipeline.simulator.market import MarketModel
from market_pipeline.simulator.server import Simulator
from market_pipeline.storage.schema.operations_tables import request_budgets

UTC = timezone.utc


@pytest.fixture
def simulator():
    with Simulator(MarketModel(seed=1), plan="pro") as running:
        yield running


@pytest.fixture
def chosen(simulator, sqlite_database, monkeypatch):
    """`chosen(**settings)`: settings for the simulator and the SQLite file, plan pro."""
    for name in ("COINGECKO_REQUESTS_PER_MINUTE", "COINGECKO_MONTHLY_CREDITS", "MARKET_SYMBOLS"):
        monkeypatch.delenv(name, raising=False)

    def choose(**changes):
        url = sqlite_database.url.render_as_string(hide_password=False)
        fixed = {
            "database_url": url, "coingecko_base_url": simulator.base_url,
            "coingecko_plan": "pro", "coingecko_api_key": "CG-test",
        }
        return load_settings(None, **{**fixed, **changes})

    return choose


def keyless(**changes):
    return {"coingecko_plan": "keyless", "coingecko_api_key": None, **changes}


def test_the_symbols_are_read_once_however_many_there_are(monkeypatch):
    """Once for each of 250 took most of a second, at every request to CoinGecko and to /budget."""
    read = []

    def reading(text):
        read.append(text)
        return parse_catalogue(text)

    many = load_settings(None, market_symbols=",".join(f"C{number}=coin-{number}" for number in range(250)))
    monkeypatch.setattr("market_pipeline.settings.parse_catalogue", reading)
    live_reserve(many)
    assert len(read) == 1


@pytest.mark.parametrize(
    ("plan", "set_per_minute", "set_monthly", "said", "limits"),
    [
        ("keyless", None, None, None, Limits(5, None)),
        ("demo", None, None, None, Limits(30, 10_000)),
        ("demo", 100, 9_000, None, Limits(100, 9_000)),
        ("pro", None, None, None, Limits(100, None)),
        ("pro", None, None, (250, 100_000), Limits(100, 100_000)),
        ("pro", None, None, (60, 500), Limits(60, 500)),
        ("pro", None, None, (None, None), Limits(100, None)),
        ("pro", 250, None, (500, 100_000), Limits(250, 100_000)),
        ("pro", None, 50, (50, 100_000), Limits(50, 50)),
    ],
)
def test_a_limit_is_what_was_set_else_what_key_told_else_the_plans_own(
    chosen, plan, set_per_minute, set_monthly, said, limits
):
    """And never above 100 a minute unless that was set."""
    told_then = ReportedLimits(*said, datetime(2026, 11, 23, tzinfo=UTC)) if said else None
    given = chosen(
        coingecko_plan=plan, coingecko_api_key=None if plan == "keyless" else "CG-test",
        coingecko_requests_per_minute=set_per_minute, coingecko_monthly_credits=set_monthly,
    )
    assert limits_of(given, told_then) == limits


def test_an_account_is_the_plan_the_host_and_nothing_that_leads_to_the_key(chosen):
    name = account_of(chosen(coingecko_base_url="https://Gate.example:8443/api/v3")).name
    assert name.startswith("pro@gate.example:8443#")
    assert "CG-test" not in name and len(name.split("#")[1]) == 12
    assert name != account_of(chosen(coingecko_base_url="https://gate.example:8443/api/v3",
                                     coingecko_api_key="CG-other")).name
    default = load_settings(None, **keyless(coingecko_base_url=None))
    assert account_of(default) == Account("keyless", "api.coingecko.com")
    assert account_of(default).name == "keyless@api.coingecko.com"


def test_on_the_plan_pro_the_key_is_asked_for_its_limits_once_a_day(chosen, simulator, sqlite_database):
    settings = chosen()
    for _ in range(2):
        with budgeted_client(settings, sqlite_database) as client:
            client.ping()
            info_paths = [sent.path for sent in simulator.requests]
    assert info_paths == ["/key", "/ping", "/ping"]
    with budgeted_client(settings, sqlite_database) as client:
        info = client.key_info()
    assert current_limits(settings, sqlite_database) == Limits(
        min(100, info.requests_per_minute), info.monthly_credits
    )
    _set(sqlite_database, told_at=utc_now() - DAY - timedelta(minutes=1))
    budgeted_client(settings, sqlite_database).close()
    assert [sent.path for sent in simulator.requests].count("/key") == 3


@pytest.mark.parametrize(
    ("cap", "left", "used"), [(None, 49_100, 900), (None, 50_000, 1), (20_000, 9_000, 1)]
)
def test_credits_that_the_key_spent_elsewhere_count_unless_a_cap_was_set(
    chosen, sqlite_database, cap, left, used
):
    """Else a share of a busy key would count as spent before the first request."""
    settings = chosen(coingecko_monthly_credits=cap, coingecko_requests_per_minute=None)
    account = account_of(settings)
    budget = SharedBudget(sqlite_database, account, Limits(100, 50_000))
    budget.settle(budget.acquire("/key"), "200")

    class Told:
        def key_info(self):
            return KeyInfo("analyst", 500, 50_000, left)

    plan_limits.refresh(settings, sqlite_database, Told())
    status = read_status(sqlite_database, account, current_limits(settings, sqlite_database), 0)
    assert (status.credits_used, status.credits_left) == (used, (cap or 50_000) - used)


@pytest.mark.parametrize(
    "changes",
    [
        keyless(),
        {"coingecko_plan": "demo"},
        {"coingecko_requests_per_minute": 50, "coingecko_monthly_credits": 1_000},
    ],
)
def test_nobody_is_asked_for_limits_that_are_known(chosen, simulator, sqlite_database, changes):
    budgeted_client(chosen(**changes), sqlite_database).close()
    assert simulator.requests == []


def test_a_wrong_key_is_reported_by_the_first_request_of_every_client(chosen, simulator, sqlite_database):
    """Not by its making, where nobody could say which symbols it concerns."""
    simulator.add_fault(Fault(kind="status", status=401, code=10002, times=None))
    for _ in range(2):
        with (
            budgeted_client(chosen(), sqlite_database) as client,
            pytest.raises(RequestRefused, match="COINGECKO_API_KEY"),
        ):
            client.ping()
    assert [sent.path for sent in simulator.requests] == ["/key", "/ping", "/ping"]


@pytest.mark.parametrize(("status", "asked_again"), [(404, 0), (501, 1)])
def test_a_key_that_tells_nothing_keeps_nobody_from_working(
    chosen, simulator, sqlite_database, caplog, status, asked_again
):
    """What will fail again is not asked again before the next day."""
    caplog.set_level(logging.WARNING)
    simulator.add_fault(Fault(kind="status", status=status, path="/key", times=None))
    with budgeted_client(chosen(), sqlite_database) as client:
        client.ping()
    assert "could not be read from /key" in caplog.text
    assert current_limits(chosen(), sqlite_database) == Limits(100, None)
    before = len(simulator.requests)
    budgeted_client(chosen(), sqlite_database).close()
    assert len(simulator.requests) == before + asked_again


def test_a_client_keeps_to_the_budget_and_its_requests_are_in_the_ledger(chosen, simulator, sqlite_database):
    settings = chosen(coingecko_requests_per_minute=2, coingecko_monthly_credits=100_000)
    with budgeted_client(settings, sqlite_database, max_wait=5) as client:
        client.ping()
        client.market_chart_range("bitcoin", utc_now() - 2 * DAY, utc_now() - DAY)
        with pytest.raises(BudgetExhausted):
            client.ping()
    assert len(simulator.requests) == 2
    rows = requests_by_hour(sqlite_database, utc_now() - DAY)
    assert {(row.endpoint, row.outcome, row.requests, row.credits, row.plan) for row in rows} == {
        ("/ping", "200", 1, 1, "pro"), ("/coins/{id}/market_chart/range", "200", 1, 1, "pro")
    }


def test_the_reserve_is_the_live_requests_of_the_rest_of_the_month_and_of_the_tick_under_way(chosen):
    reserve = live_reserve(chosen(market_symbols="BTC,ETH", collect_cron="*/5 * * * *"))
    assert reserve(datetime(2026, 12, 31, 23, 44, tzinfo=UTC)) == 1 + 3
    assert reserve(datetime(2026, 12, 31, 23, 45, tzinfo=UTC)) == 1 + 2
    assert reserve(datetime(2026, 12, 1, tzinfo=UTC)) == 31 * 288 + 178, "one in fifty is sent again"
    many = ",".join(f"C{number}=coin-{number}" for number in range(251))
    two_requests_a_tick = live_reserve(chosen(market_symbols=many))
    assert two_requests_a_tick(datetime(2026, 12, 31, 23, 44, tzinfo=UTC)) == 2 * (1 + 3)


@pytest.mark.parametrize(
    "cron",
    [
        "*/5 * * * *", "7 */6 * * *", "0 0 * * 1-5", "30 12 15 * *", "*/20 9-17 * * 6", "0 0 29 2 *",
        "59 23 L * *",
    ],
)
@given(data=st.data())
@settings(max_examples=12, deadline=None)
def test_the_ticks_left_are_those_that_cron_makes(cron, data):
    """Counted by days here, one by one there."""
    day = data.draw(st.dates(date(2026, 1, 1), date(2028, 12, 31)))
    now = start_of_day(day) + timedelta(minutes=data.draw(st.integers(0, 1_439)))
    end = start_of_day(next_month(day))
    ticks = 0
    for tick in CronSim(cron, now):
        if tick >= end:
            break
        ticks += 1
    assert ticks_left(cron, now) == ticks


def _set(database, **values):
    with database.writing() as connection:
        connection.execute(update(request_budgets).values(**values))


def test_a_length_that_was_refused_is_remembered_by_later_processes_for_a_day(simulator, chosen, sqlite_database):
    """Each tick is a process of its own."""
    ids = [f"coin-{number}" for number in range(60)]

    def asked():
        simulator.clear_requests()
        with budgeted_client(chosen(coingecko_requests_per_minute=600), sqlite_database) as client:
            client.simple_price(ids)
        return [len(sent.query["ids"].split(",")) for sent in simulator.requests if "ids" in sent.query]

    simulator.add_fault(Fault(kind="status", status=414, path="/simple"))
    assert asked() == [60, 30, 30]
    assert asked() == [30, 30]
    with sqlite_database.writing() as connection:
        connection.execute(update(request_budgets).values(ids_per_request_until=utc_now()))
    assert asked() == [60]
