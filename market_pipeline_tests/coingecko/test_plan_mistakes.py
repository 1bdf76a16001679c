"""Keys, plans, hosts and blocks that do not fit: told at the first request, once, with what to do."""

from collections.abc import Callable
from datetime import datetime, timedelta, timezone
from typing import Any

import pytest

from market_pipeline.budget.shared import SharedBudget
from market_pipeline.coingecko.client import CoinGeckoClient
from market_pipeline.coingecko.errors import Banned, PermanentError, RequestRefused
from market_pipeline.simulator.faults import Fault
from market_pipeline.simulator.market import MarketModel
from market_pipeline.simulator.server import Simulator


@pytest.fixture
def meet(budget: SharedBudget, waits: list[float]) -> Callable[..., PermanentError]:
    """The error that a client of one plan meets at the host of another, or at a fault."""

    def ask(host: Any, plan: Any, call: Callable[[CoinGeckoClient], Any], *faults: Fault) -> PermanentError:
        key = None if plan == "keyless" else "CG-x"
        with (
            Simulator(MarketModel(), plan=host, faults=faults) as simulator,
            CoinGeckoClient(simulator.base_url, plan, key, budget, sleep=waits.append) as client,
            pytest.raises(PermanentError) as caught,
        ):
            call(client)
        assert (len(simulator.requests), caught.value.attempts, waits) == (1, 1, []), "it is not asked again"
        return caught.value

    return ask


def price(client: CoinGeckoClient) -> Any:
    return client.simple_price(["bitcoin"])


def old_history(client: CoinGeckoClient) -> Any:
    end = datetime.now(timezone.utc) - timedelta(days=380)
    return client.market_chart_range("bitcoin", end - timedelta(days=1), end)


@pytest.mark.parametrize(
    ("host", "plan", "call", "status", "code", "all_alike", "advice"),
    [
        ("pro", "demo", price, 400, 10011, True, "Demo key on the Pro host; set COINGECKO_PLAN=demo"),
        ("keyless", "pro", price, 400, 10010, True, "Pro key on the public host; set COINGECKO_PLAN=pro"),
        ("demo", "pro", price, 400, 10010, True, "Pro key on the public host; set COINGECKO_PLAN=pro"),
        ("pro", "keyless", price, 401, 10002, True, "missing or unknown; check COINGECKO_API_KEY"),
        ("demo", "demo", CoinGeckoClient.key_info, 401, 10005, True, "set COINGECKO_PLAN=pro"),
        ("demo", "demo", old_history, 401, 10012, False, "The key is not the problem"),
        ("keyless", "keyless", old_history, 401, 10012, False, "HISTORY_START later"),
    ],
)
def test_a_setting_that_does_not_fit_says_which_one_and_how(
    meet: Callable[..., PermanentError],
    host: str, plan: str, call: Any, status: int, code: int, all_alike: bool, advice: str,
) -> None:
    error = meet(host, plan, call)
    assert isinstance(error, RequestRefused)
    assert (error.status, error.error_code, error.affects_all) == (status, code, all_alike)
    assert advice in error.verdict


@pytest.mark.parametrize(
    ("fault", "kind", "all_alike", "advice"),
    [
        (Fault(kind="status", status=401, code=10002), RequestRefused, True, "the whole key, CG-..."),
        (Fault(kind="status", status=400, code=10012), RequestRefused, False, "collect fewer coins"),
        (Fault(kind="status", status=403), RequestRefused, True, "a proxy removes it"),
        (Fault(kind="status", status=403, code=1), RequestRefused, True, "this key's plan"),
        (Fault(kind="status", status=403, code=1020), Banned, True, "wait an hour"),
        (Fault(kind="status", status=429, code=1020), Banned, True, "wait an hour"),
        (Fault(kind="status", status=429, code=1015), Banned, True, "wait an hour"),
        (Fault(kind="status", status=403, code=1015), Banned, True, "wait an hour"),
        (Fault(kind="throttled"), Banned, True, "wait an hour"),
    ],
)
def test_a_refusal_that_stays_says_what_to_do(
    meet: Callable[..., PermanentError],
    fault: Fault, kind: type[PermanentError], all_alike: bool, advice: str,
) -> None:
    error = meet("demo", "demo", price, fault)
    assert type(error) is kind
    assert error.affects_all is all_alike
    assert advice in error.verdict


def test_no_two_refusals_share_their_verdict(meet: Callable[..., PermanentError]) -> None:
    """A person who reads it must know which of them it is."""
    pairs = [(400, 10010), (400, 10011), (400, 10012), (401, 10002), (401, 10005), (401, 10012), (403, None),
             (403, 1), (404, None), (422, None), (403, 1015)]
    faults = [Fault(kind="status", status=status, code=code) for status, code in pairs]
    assert len({meet("demo", "demo", price, fault).verdict for fault in faults}) == len(pairs)
