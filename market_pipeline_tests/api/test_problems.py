"""What each problem document says to a person; the sentences are in `sentences.txt`.

After a change of wording run with UPDATE_SENTENCES=1 and read the difference.
"""

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any
from unittest.mock import Mock

import pytest
from sqlalchemy import text
from starlette.requests import Request
from starlette.testclient import TestClient

from market_pipeline.api import change_limits, large_responses
from market_pipeline.api.app import create_app
from market_pipeline.api.http.problems import TITLES, shutting_down
from market_pipeline.api.service import Service
from market_pipeline.budget.client_limits import ClientLimit
from market_pipeline.simulator.faults import Fault
from market_pipeline.simulator.server import Simulator
from market_pipeline.storage.db_errors import WriteForbidden
from market_pipeline.storage.engine import Database
from market_pipeline_tests.api.reads.rows import ARROW
from market_pipeline_tests.api.serving import Response, asking, kind_of
from market_pipeline_tests.builders import check_sentences

READS: list[tuple[str, dict[str, str]]] = [
    ("/prices/XYZ", {}), ("/prices/BTC/latest", {}), (f"/anomalies/{'0' * 32}", {}), ("/prices/BTC?cursor=abc", {}),
    ("/prices/BTC", {"Accept": "text/html"}), ("/prices/BTC?limit=10001", {"Accept": "text/csv"}),
    ("/prices/BTC?limit=1_0", {}), ("/prices/BTC?limit=0&start=1", {}), ("/prices/BTC?limit=1&limit=2", {}),
    ("/anomalies?alarms_only=yes", {}), ("/coverage/BTC?from=0", {}),
    ("/coverage/BTC?days=3", {}), ("/nowhere", {}), ("/page/nothing.js", {}), ("/collect-once/BTC", {}),
    ("/healthz", {"Host": "evil.example"}), (f"/symbols?{'x' * 2048}", {}), ("/healthz", {"Cookie": "x" * 33_000}),
]


def test_every_problem_says_what_happened_and_what_to_do(
    api: Callable[..., TestClient], service_of: Callable[..., Service], simulator: Simulator, database: Database,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    found: list[str] = []
    kinds = {"shutting-down"}

    def note(answer: Response) -> None:
        kinds.add(kind_of(answer))
        # These depend on the time of day, and on the simulator's port.
        detail = re.sub(r"\d+ s\b", "N s", answer.json()["detail"])
        detail = re.sub(r"at \d{4}-\d\d-\d\d \d\d:\d\d:\d\d UTC", "at TIME", detail)
        detail = re.sub(r"127\.0\.0\.1:\d+", "HOST", detail)
        found.append(f"{answer.status_code} {answer.json()['title']}: {detail}")

    client, post = api(), "/collect-once/BTC"
    for path, headers in READS:
        note(client.get(path, headers=headers))
    note(client.post(post, headers={"Origin": "https://evil.example"}))
    note(client.post(post, headers={"Content-Length": "4097"}))
    note(client.put(f"/anomalies/{'0' * 32}/mark", json={"mark": "good", "note": "a\nb"}))
    note(client.put(f"/anomalies/{'0' * 32}/mark", content="{}"))
    note(api(api_token="a-token-of-the-tests").get("/symbols"))
    for fault in (Fault(kind="negative_price", coin="bitcoin"), Fault(kind="status", status=404)):
        simulator.add_fault(fault)
        note(client.post(post))
    spent = api(coingecko_requests_per_minute=1)
    while (answer := spent.post(post)).status_code == 200:
        pass
    note(answer)
    for outcome in (WriteForbidden("inside"), 6.2):
        monkeypatch.setattr(ClientLimit, "admit", Mock(side_effect=[outcome]))
        note(client.post(post))
    monkeypatch.setattr(change_limits, "MAX_IN_PROGRESS", 0)
    note(client.post(post))
    app: Any = client.app
    app.state.arrow_reads.large = large_responses.MAX_LARGE
    note(client.get("/prices/BTC?limit=20000", headers={"Accept": ARROW}))
    for spoil in ("UPDATE market_pipeline_version SET version_num = '0001'", "DROP TABLE raw_prices"):
        with database.writing() as connection:
            connection.execute(text(spoil))
        note(client.get("/readyz"))
    note(client.get("/prices/BTC"))
    note(api(url="sqlite:////nowhere/at/all.db").get("/readyz"))
    broken = create_app(service_of())
    broken.add_api_route("/broken", lambda: 1 / 0)
    with asking(broken) as failing:
        note(failing.get("/broken"))
    found.append(bytes(shutting_down(Request({"type": "http", "path": "/"})).body).decode().split('"detail": ')[1])
    assert kinds == set(TITLES)
    check_sentences(Path(__file__).with_name("sentences.txt"), found)
