"""A run as its log lines report it: what it works on, what it has done so far, and its result in a sentence."""

from dataclasses import dataclass, field
from datetime import date

from market_pipeline.core.wording import counted
from market_pipeline.pipeline.names import CALIBRATE_DETECTORS, COMPLETE_DAYS, CONSEQUENCES, SCORE_DAYS, TICK


@dataclass
class FollowedRun:
    """What the lines of a run have reported so far.

    `requests` counts those sent, `answered` those with a status; `status` is that of the last one, None without an
    answer. `rows` are those written to each table. `step`, `reason` and `verdict` are those of the first failed step.
    """

    run_id: str
    job: str
    partition: str
    requests: int = 0
    answered: int = 0
    alarms: int = 0
    symbols: int = 0
    rows: dict[str, int] = field(default_factory=dict)
    status: int | None = None
    step: str = ""
    reason: str = ""
    verdict: str = ""

    @property
    def is_by_hand(self) -> bool:
        """Whether a person launched it from the UI or with a command of Dagster."""
        return self.job not in CONSEQUENCES

    @property
    def name(self) -> str:
        """The job, or what of a run launched by hand is known."""
        if not self.is_by_hand:
            return self.job
        of, step = (f" of {self.partition}" if self.partition else ""), (f", step {self.step}" if self.step else "")
        return f"a run{of} launched by hand{step}"

    @property
    def days(self) -> tuple[date, date] | None:
        """The first and the last day of its partitions."""
        first, _, last = self.partition.partition("...")
        try:
            return date.fromisoformat(first[:10]), date.fromisoformat((last or first)[:10])
        except ValueError:
            return None

    @property
    def span(self) -> str:
        """The days in words."""
        if self.days is None:
            return "history"
        first, last = self.days
        return str(first) if first == last else f"{first} to {last}"

    def add_request(self, status: int | None) -> None:
        """Count a request that was answered with this status, or not at all."""
        self.requests += 1
        self.answered += status is not None
        self.status = status

    def add_rows(self, table: str, rows: int, symbols: int) -> None:
        """Count rows written to a table; `symbols` is the number of symbols among them."""
        self.rows[table] = self.rows.get(table, 0) + rows
        if table == "raw_prices":
            self.symbols = max(self.symbols, symbols)

    def result(self) -> str:
        """Return what the run has done if that is worth a line: ticks and all that fills history."""
        rows, requests = self.rows.get("raw_prices", 0), counted(self.requests, "request")
        if self.job == TICK:
            filled, refused = rows - self.symbols, self.rows.get("rejected_prices", 0)
            more = f", {filled:,} more of the gap before" if filled > 0 else ""
            refusals = f", {refused:,} refused" if refused else ""
            # What is found in a filled gap is stored, but raises no alarm: it is in the past.
            alarms = counted(self.alarms, "new alarm" if filled > 0 else "alarm")
            return f"{counted(self.symbols, 'price')}{more}, {requests}, {alarms}{refusals}"
        results = {
            COMPLETE_DAYS: f"{self.span}: {counted(rows, 'price') if rows else 'no new prices'} with {requests}",
            SCORE_DAYS: f"{self.span} scored: "
            + counted(self.rows.get("price_anomalies", 0), "anomaly", "anomalies"),
            CALIBRATE_DETECTORS: "The detectors are calibrated.",
        }
        return results.get(self.job, "")
