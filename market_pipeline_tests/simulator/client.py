"""A clock that the test moves, and a client for a simulator on a real socket."""

import threading
from datetime import datetime, timedelta, timezone
from typing import Any

import requests

from market_pipeline.simulator.server import Simulator

AGENT = {"User-Agent": "market-pipeline-tests/1.0"}


class MovableClock:
    """A clock that stands still until it is moved."""

    def __init__(self, now: datetime) -> None:
        self.now = now
        self._lock = threading.Lock()

    def __call__(self) -> datetime:
        with self._lock:
            return self.now

    def advance(self, **amount: float) -> None:
        with self._lock:
            self.now += timedelta(**amount)


class Client:
    """Sends requests to one simulator, with a User-Agent, over one connection."""

    def __init__(self, simulator: Simulator) -> None:
        self.simulator = simulator
        self.session = requests.Session()
        self.session.headers.update(AGENT)

    def get(self, path: str, headers: Any = None, **query: Any) -> requests.Response:
        """GET a path below the API's base; `from_` is written `from`."""
        parameters = {name.rstrip("_"): value for name, value in query.items()}
        url = self.simulator.base_url + path
        return self.session.get(url, params=parameters, headers=headers, timeout=30)

    @staticmethod
    def moment(milliseconds: int) -> datetime:
        """An exact aware datetime from UNIX milliseconds."""
        return datetime.fromtimestamp(0, timezone.utc) + timedelta(milliseconds=milliseconds)

    def prices(self, *coin_ids: str, **query: Any) -> dict[str, Any]:
        """The document of /simple/price in full precision and with times."""
        wanted = {"vs_currencies": "usd", "precision": "full", "include_last_updated_at": "true", **query}
        answer = self.get("/simple/price", ids=",".join(coin_ids), **wanted)
        assert answer.status_code == 200, answer.text
        return dict(answer.json())

    def chart(self, coin_id: str, start: datetime, end: datetime) -> list[tuple[datetime, Any]]:
        """The prices of the range endpoint as they come (a fault may make them text), at aware UTC datetimes."""
        answer = self.get(
            f"/coins/{coin_id}/market_chart/range",
            vs_currency="usd",
            from_=int(start.timestamp()),
            to=int(end.timestamp()),
        )
        assert answer.status_code == 200, answer.text
        return [(self.moment(at), price) for at, price in answer.json()["prices"]]
