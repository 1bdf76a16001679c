"""From settings and a database to limits, reserve and client."""

import logging
from collections.abc import Callable, Iterator
from datetime import date, datetime, timedelta, timezone
from typing import Any

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
from market_pipeline.budget.status import budget_status
from market_pipeline.coingecko.client import CoinGeckoClient
from market_pipeline.coingecko.errors import BudgetExhausted, RequestRefused
from market_pipeline.coingecko.models import KeyInfo
from market_pipeline.coingecko.request_budget import RequestBudget
from market_pipeline.core.clock import DAY, next_month, start_of_day, utc_now
from market_pipeline.core.symbols import parse_catalogue
from market_pipeline.pipeline.client_factory import budgeted_client
from market_pipeline.settings import Settings, load_settings
from market_pipeline.simulator.faults import Fault
from market_pipeline.simulator.market_model import MarketModel
from market_pipeline.simulator.server import Simulator
from market_pipeline.storage.engine import Database
from market_pipeline.storage.schema.operations_tables import request_budgets

UTC = timezone.utc
KEYLESS = {"coingecko_plan": "keyless", "coingecko_api_key": None}
Choose = Callable[..., Settings]


@pytest.fixture
def simulator() -> Iterator[Simulator]:
    with Simulator(MarketModel(seed=1), plan="pro") as running:
        yield running


@pytest.fixture
def chosen(simulator: Simulator, monkeypatch: pytest.MonkeyPatch) -> Choose:
    """`chosen(**settings)`: settings for the simulator, plan pro."""
    for name in ("COINGECKO_REQUESTS_PER_MINUTE", "COINGECKO_MONTHLY_CREDITS", "MARKET_SYMBOLS"):
        monkeypatch.delenv(name, raising=False)
    fixed = {
        "coingecko_base_url": simulator.base_url, "coingecko_plan": "pro", "coingecko_api_key": "CG-test",
    }
    return lambda **changes: load_settings(None, **{**fixed, **changes})


def paths(simulator: Simulator) -> list[str]:
    return [sent.path for sent in simulator.requests]


def set_columns(database: Database, **values: Any) -> None:
    with database.writing() as connection:
        connection.execute(update(request_budgets).values(**values))


@pytest.mark.parametrize(
    ("plan", "set_per_minute", "set_monthly", "reported", "limits"),
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
def test_a_limit_is_the_one_that_was_set_or_reported_or_that_of_the_plan(
    chosen: Choose,
    plan: str,
    set_per_minute: int | None,
    set_monthly: int | None,
    reported: tuple[int | None, int | None] | None,
    limits: Limits,
) -> None:
    """And never above 100 a minute unless that was set."""
    given = chosen(
        coingecko_plan=plan, coingecko_api_key=None if plan == "keyless" else "CG-test",
        coingecko_requests_per_minute=set_per_minute, coingecko_monthly_credits=set_monthly,
    )
    report = ReportedLimits(*reported, datetime(2026, 11, 23, tzinfo=UTC)) if reported else None
    assert limits_of(given, report) == limits


def test_an_account_is_the_plan_the_host_and_nothing_that_reveals_the_key(chosen: Choose) -> None:
    gate = {"coingecko_base_url": "https://Gate.example:8443/api/v3"}
    name = account_of(chosen(**gate)).name
    assert name.startswith("pro@gate.example:8443#")
    assert "CG-test" not in name and len(name.split("#")[1]) == 12
    assert name != account_of(chosen(**gate, coingecko_api_key="CG-other")).name
    default = account_of(load_settings(None, **KEYLESS, coingecko_base_url=None))
    assert default == Account("keyless", "api.coingecko.com")
    assert default.name == "keyless@api.coingecko.com"


def test_on_the_pro_plan_the_limits_are_read_from_the_key_once_a_day(
    chosen: Choose, simulator: Simulator, sqlite_database: Database
) -> None:
    for _ in range(2):
        with budgeted_client(chosen(), sqlite_database) as client:
            client.ping()
    assert paths(simulator) == ["/key", "/ping", "/ping"]
    with budgeted_client(chosen(), sqlite_database) as client:
        info = client.key_info()
    assert current_limits(chosen(), sqlite_database) == Limits(
        min(100, info.requests_per_minute), info.monthly_credits
    )
    set_columns(sqlite_database, told_at=utc_now() - DAY - timedelta(minutes=1))
    budgeted_client(chosen(), sqlite_database).close()
    assert paths(simulator).count("/key") == 3


class _Client(CoinGeckoClient):
    """A client whose key has the limits of `info`."""

    def __init__(self, budget: RequestBudget, info: KeyInfo) -> None:
        super().__init__("http://127.0.0.1:9", "pro", "CG-test", budget)
        self._info = info

    def key_info(self) -> KeyInfo:
        return self._info


@pytest.mark.parametrize(
    ("cap", "left", "used"), [(None, 49_100, 900), (None, 50_000, 1), (20_000, 9_000, 1)]
)
def test_credits_that_the_key_spent_elsewhere_count_unless_a_cap_was_set(
    chosen: Choose, sqlite_database: Database, cap: int | None, left: int, used: int
) -> None:
    """Otherwise a share of a busy key would count as spent before the first request."""
    settings = chosen(coingecko_monthly_credits=cap, coingecko_requests_per_minute=None)
    budget = SharedBudget(sqlite_database, account_of(settings), Limits(100, 50_000))
    budget.settle(budget.acquire("/key"), "200")
    with _Client(budget, KeyInfo("analyst", 500, 50_000, left)) as client:
        plan_limits.refresh(settings, sqlite_database, client)
    status = budget_status(settings, sqlite_database)
    assert (status.credits_used, status.credits_left) == (used, (cap or 50_000) - used)


@pytest.mark.parametrize(
    "changes",
    [
        KEYLESS,
        {"coingecko_plan": "demo"},
        {"coingecko_requests_per_minute": 50, "coingecko_monthly_credits": 1_000},
    ],
)
def test_known_limits_are_not_requested(
    chosen: Choose, simulator: Simulator, sqlite_database: Database, changes: dict[str, Any]
) -> None:
    budgeted_client(chosen(**changes), sqlite_database).close()
    assert simulator.requests == []


def test_a_wrong_key_is_reported_by_the_first_request_of_every_client(
    chosen: Choose, simulator: Simulator, sqlite_database: Database
) -> None:
    """Not by its construction, which does not know the symbols concerned."""
    simulator.add_fault(Fault(kind="status", status=401, code=10002, times=None))
    for _ in range(2):
        with (
            budgeted_client(chosen(), sqlite_database) as client,
            pytest.raises(RequestRefused, match="COINGECKO_API_KEY"),
        ):
            client.ping()
    assert paths(simulator) == ["/key", "/ping", "/ping"]


@pytest.mark.parametrize(("status", "repeated"), [(404, 0), (501, 1)])
def test_a_key_without_limits_stops_no_request(
    chosen: Choose,
    simulator: Simulator,
    sqlite_database: Database,
    caplog: pytest.LogCaptureFixture,
    status: int,
    repeated: int,
) -> None:
    """What will fail again is not requested again before the next day."""
    caplog.set_level(logging.WARNING)
    simulator.add_fault(Fault(kind="status", status=status, path="/key", times=None))
    with budgeted_client(chosen(), sqlite_database) as client:
        client.ping()
    assert "could not be read from /key" in caplog.text
    assert current_limits(chosen(), sqlite_database) == Limits(100, None)
    before = len(simulator.requests)
    budgeted_client(chosen(), sqlite_database).close()
    assert len(simulator.requests) == before + repeated


def test_a_client_keeps_to_the_budget_and_its_requests_are_in_the_ledger(
    chosen: Choose, simulator: Simulator, sqlite_database: Database
) -> None:
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


def test_a_refused_length_is_remembered_by_later_processes_for_a_day(
    simulator: Simulator, chosen: Choose, sqlite_database: Database
) -> None:
    """Each tick is a process of its own."""
    ids = [f"coin-{number}" for number in range(60)]

    def lengths() -> list[int]:
        simulator.clear_requests()
        with budgeted_client(chosen(coingecko_requests_per_minute=600), sqlite_database) as client:
            client.simple_price(ids)
        return [len(sent.query["ids"].split(",")) for sent in simulator.requests if "ids" in sent.query]

    simulator.add_fault(Fault(kind="status", status=414, path="/simple"))
    assert lengths() == [60, 30, 30]
    assert lengths() == [30, 30]
    set_columns(sqlite_database, ids_per_request_until=utc_now())
    assert lengths() == [60]


def test_the_reserve_is_the_live_requests_of_the_rest_of_the_month_and_of_the_running_tick(chosen: Choose) -> None:
    reserve = live_reserve(chosen(market_symbols="BTC,ETH", collect_cron="*/5 * * * *"))
    assert reserve(datetime(2026, 12, 31, 23, 44, tzinfo=UTC)) == 1 + 3
    assert reserve(datetime(2026, 12, 31, 23, 45, tzinfo=UTC)) == 1 + 2
    assert reserve(datetime(2026, 12, 1, tzinfo=UTC)) == 31 * 288 + 178, "2% are repeated"
    many = ",".join(f"C{number}=coin-{number}" for number in range(251))
    two_requests_a_tick = live_reserve(chosen(market_symbols=many))
    assert two_requests_a_tick(datetime(2026, 12, 31, 23, 44, tzinfo=UTC)) == 2 * (1 + 3)


def test_the_symbols_are_parsed_once_however_many_there_are(monkeypatch: pytest.MonkeyPatch) -> None:
    """Once for each of 250 took most of a second, at every request to CoinGecko and to /budget."""
    parsed = []

    def parse(text: str) -> Any:
        parsed.append(text)
        return parse_catalogue(text)

    many = load_settings(None, market_symbols=",".join(f"C{number}=coin-{number}" for number in range(250)))
    monkeypatch.setattr("market_pipeline.settings.parse_catalogue", parse)
    live_reserve(many)
    assert len(parsed) == 1


@pytest.mark.parametrize(
    "cron",
    [
        "*/5 * * * *", "7 */6 * * *", "0 0 * * 1-5", "30 12 15 * *", "*/20 9-17 * * 6", "0 0 29 2 *",
        "59 23 L * *",
    ],
)
@given(data=st.data())
@settings(max_examples=12, deadline=None)
def test_the_ticks_left_are_those_that_cron_makes(cron: str, data: st.DataObject) -> None:
    """Counted by days in the package, one by one here."""
    day = data.draw(st.dates(date(2026, 1, 1), date(2028, 12, 31)))
    now = start_of_day(day) + timedelta(minutes=data.draw(st.integers(0, 1_439)))
    end = start_of_day(next_month(day))
    ticks = 0
    for tick in CronSim(cron, now):
        if tick >= end:
            break
        ticks += 1
    assert ticks_left(cron, now) == ticks
