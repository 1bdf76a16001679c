"""The admin path: add, list and clear faults; let the market move; read and clear the request log."""

import json
from dataclasses import dataclass

from market_pipeline.core.clock import Clock, iso
from market_pipeline.simulator.error_answers import plain
from market_pipeline.simulator.faults import FaultBook, parse_fault
from market_pipeline.simulator.messages import Answer, RequestLog, json_answer
from market_pipeline.simulator.moves import MovedFeed, parse_move

_PATHS = "GET, POST or DELETE /admin/faults; POST /admin/moves; GET or DELETE /admin/requests"


@dataclass(frozen=True)
class Admin:
    """Answers what comes to /admin; `faults`, `feed` and `log` are the simulator's own."""

    faults: FaultBook
    feed: MovedFeed
    log: RequestLog
    clock: Clock

    def answer(self, method: str, path: str, body: bytes) -> Answer:
        """Answer `method` on `path` (which begins with /admin)."""
        match method, path.rstrip("/"):
            case "GET", "/admin/faults":
                return json_answer(self.faults.as_documents())
            case "POST", "/admin/faults":
                return self._add(body)
            case "DELETE", "/admin/faults":
                self.faults.clear()
                return Answer(204, b"")
            case "POST", "/admin/moves":
                return self._move(body)
            case "GET", "/admin/requests":
                return json_answer([entry.as_document() for entry in self.log.entries()])
            case "DELETE", "/admin/requests":
                self.log.clear()
                return Answer(204, b"")
        return plain(404, f"There is no {method} {path} here; use {_PATHS}.")

    def _add(self, body: bytes) -> Answer:
        """Add the fault, or the list of faults, in `body`: all of them or, when one is wrong, none."""
        try:
            document = json.loads(body)
            faults = [parse_fault(one) for one in (document if isinstance(document, list) else [document])]
        except ValueError as error:
            return plain(422, f"This cannot be used as a fault: {error}.")
        for fault in faults:
            self.faults.add(fault)
        return json_answer(self.faults.as_documents(), 201)

    def _move(self, body: bytes) -> Answer:
        try:
            move = parse_move(json.loads(body), self.clock)
        except ValueError as error:
            return plain(422, f"This cannot be used as a move: {error}.")
        self.feed.add(move)
        return json_answer({"at": iso(move.at), "percent": move.percent, "coin": move.coin}, 201)
