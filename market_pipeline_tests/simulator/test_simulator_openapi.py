"""The official OpenAPI descriptions as judges of the simulator's answers (skipped where absent)."""

import json
from collections.abc import Callable
from datetime import datetime, timedelta, timezone
from typing import Any

import pytest

from market_pipeline.simulator.faults import Fault
from market_pipeline_tests.openapi import ABSENT, DESCRIPTIONS, Judge
from market_pipeline_tests.simulator.client import Client

pytestmark = pytest.mark.skipif(not DESCRIPTIONS.exists(), reason=ABSENT)

# The simulator's clock stands here.
NOW = datetime(2026, 11, 23, 12, 0, 30, tzinfo=timezone.utc)
EVERYTHING = {"include_last_updated_at": "true"}
DOLLARS = {"vs_currencies": "usd"}
RANGE = "/coins/bitcoin/market_chart/range"


def window(since: timedelta, until: timedelta = timedelta()) -> dict[str, str]:
    start, end = NOW - since, NOW - until
    return {"vs_currency": "usd", "from": str(int(start.timestamp())), "to": str(int(end.timestamp()))}


QUESTIONS: list[tuple[str, dict[str, str]]] = [
    ("/ping", {}),
    ("/simple/price", {"ids": "bitcoin,ethereum,nothing", **DOLLARS, **EVERYTHING, "precision": "full"}),
    ("/simple/price", {"ids": "bitcoin", **DOLLARS, "precision": "0"}),
    ("/simple/price", {"ids": "cardano", **DOLLARS}),
    ("/simple/price", {"ids": "nothing", **DOLLARS, **EVERYTHING}),
    ("/simple/price", {"ids": "bitcoin", "vs_currencies": "eur", "include_last_updated_at": "true"}),
    (RANGE, window(timedelta(days=1))),
    (RANGE, window(timedelta(hours=1), timedelta(minutes=30))),
    (RANGE, window(timedelta(days=3), timedelta(days=2))),
    (RANGE, window(timedelta(days=90))),
    (RANGE, window(timedelta(days=200)) | {"precision": "full"}),
    (RANGE, window(timedelta(), timedelta())),
    (RANGE, window(timedelta(), timedelta(days=-2))),
    ("/coins/list", {}),
    ("/key", {}),
]


def check(client: Client, plan: str, path: str, query: dict[str, str]) -> Any:
    """Ask, and let the judge look at question and answer; the answer's document."""
    judge, key = Judge(plan), {f"x-cg-{plan}-api-key": "CG-x"}
    assert judge.of_request(path, query, key) == []
    answer = client.get(path, headers=key, **query)
    assert answer.status_code == 200
    assert judge.of_answer(path, query, answer.content, answer.headers["Content-Type"]) == []
    return answer.json()


@pytest.mark.parametrize("plan", ["demo", "pro"])
def test_an_answer_is_what_the_official_description_says(serve: Callable[..., Client], plan: str) -> None:
    client = serve(plan=plan)
    for path, query in QUESTIONS:
        if Judge.endpoint(path) in Judge(plan).description["paths"]:
            check(client, plan, path, query)
        else:
            assert (plan, path) == ("demo", "/key"), "the usage is the only endpoint of one host alone"


def test_the_questions_reach_every_spacing_and_no_points_at_all(serve: Callable[..., Client]) -> None:
    """Or the judge would have seen less than it seems."""
    client, spacings = serve(), set()
    for path, query in QUESTIONS:
        if path == RANGE:
            prices = client.get(path, **query).json()["prices"]
            times = [at for at, _ in prices[:3]]
            spacings.add(round((times[2] - times[1]) / 300_000) * 5 if prices else 0)
    assert {0, 5, 1440} < spacings and any(45 <= spacing <= 75 for spacing in spacings)


@pytest.mark.parametrize(
    "fault",
    [
        Fault(kind="unlisted_coin", coin="bitcoin"),
        Fault(kind="renamed_coin", coin="bitcoin", keyed_as="bitcoin-2"),
        Fault(kind="renamed_coin", coin="bitcoin", keyed_as="ethereum"),
        Fault(kind="new_ticker", coin="bitcoin", keyed_as="xbt"),
    ],
)
def test_a_list_with_a_coin_gone_is_still_a_list(serve: Callable[..., Client], fault: Fault) -> None:
    client = serve(plan="demo", faults=[fault])
    listed = {coin["id"]: coin["symbol"] for coin in check(client, "demo", "/coins/list", {})}
    assert listed.get("bitcoin") != "btc"


def test_the_usage_stays_valid_when_the_month_is_used_up(serve: Callable[..., Client]) -> None:
    client = serve(plan="pro", monthly_credits=1)
    for _ in range(3):
        usage = check(client, "pro", "/key", {})
    assert usage["current_remaining_monthly_calls"] == 0


@pytest.mark.parametrize(
    ("path", "document"),
    [
        ("/simple/price", {"bitcoin": {"usd": "1", "last_updated_at": 1}}),
        ("/coins/bitcoin/market_chart", {"prices": [[1, 2]], "market_caps": []}),
        ("/coins/bitcoin/market_chart", {"prices": [[1, None]], "market_caps": [], "total_volumes": []}),
        ("/coins/list", [{"id": "bitcoin", "symbol": "btc"}]),
    ],
)
def test_the_judge_itself_finds_what_is_wrong(path: str, document: Any) -> None:
    assert Judge("demo").of_answer(path, {}, json.dumps(document).encode(), "application/json") != []


@pytest.mark.parametrize(
    ("recording", "plan", "headers", "path", "query"),
    [
        ("04-simple-price-missing-vs-currencies-422", "keyless", {}, "/simple/price", {}),
        ("38-error-401-10012-range", "keyless", {}, RANGE, {"vs_currency": "usd", "from": "1", "to": "2"}),
        ("39-error-400-10011-demo-key-on-pro-host", "pro", {"x-cg-demo-api-key": "CG-x"}, "/ping", {}),
        ("43-error-403-descriptive-user-agent", "keyless", {"User-Agent": ""}, "/ping", {}),
    ],
)
def test_an_error_is_the_recorded_one_to_the_letter(
    serve: Callable[..., Client],
    recording: str,
    plan: str,
    headers: dict[str, str],
    path: str,
    query: dict[str, str],
) -> None:
    """Only the time of the answer differs."""
    recorded = json.loads((DESCRIPTIONS / "recorded" / f"{recording}.json").read_text())["response"]
    answer = serve(plan=plan).get(path, headers=headers, **query)
    assert answer.status_code == recorded["status"]
    assert _timeless(answer.json()) == _timeless(json.loads(recorded["body_text"]))


def _timeless(document: Any) -> Any:
    if not isinstance(document, dict):
        return document
    return {name: "..." if name == "timestamp" else _timeless(value) for name, value in document.items()}
