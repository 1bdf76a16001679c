"""What of the log lines a person wants to know, in their words. Does no I/O.

Runs are shown when they end, alarms and failures at once. What repeats is shown once.
"""

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from market_pipeline.commands.children.processes import End
from market_pipeline.commands.terminal.followed_run import FollowedRun
from market_pipeline.core.clock import Clock, utc_now
from market_pipeline.core.program import command
from market_pipeline.core.wording import first_line, span
from market_pipeline.pipeline.names import COMPLETE_DAYS, CONSEQUENCES, TICK

_LONGEST = 400
_SAY_AGAIN = timedelta(hours=1)
_LONGEST_TICK = timedelta(minutes=1)
# The status of an answer that tells its client what is missing, and when to ask again.
_UNAVAILABLE = 503
# What `dagster dev` logs before it ends; which of its processes ended is said then.
_DAGSTER_ENDS = "process shut down unexpectedly"
_NO_CODE = "Dagster cannot reach the code of this project: no run starts, and no prices are collected."
# What uvicorn logs when one of several processes has ended, before it starts another one.
_SERVER_DIED = re.compile(r"Child process \[\d+\] died")
# What Dagster logs when it starts its code server again.
_CODE_RESTARTED = re.compile(r"Code server process has exited with code (-?\d+)\. Restarting")
# What Dagster's processes log when the code server was killed, or the process below it, which is not started again.
_CODE_LOST = ("Error loading repository location", "DagsterUserCodeUnreachableError")
# Their warnings precede a failure, which is shown, or a success.
_QUIET = ("market_pipeline.coingecko", "market_pipeline.prices", "market_pipeline.alerts.delivery")
# A line of a traceback that names an error.
_ERROR = re.compile(r"[\w.]{0,200}(?:Error|Exception|Failure)\b[^:]{0,20}: ")
_DISK_FULL = ("disk is full", "disk I/O error", "No space left on device")
OUT_OF_MEMORY = "If nobody killed it, the memory may have run out: the kernel's log says so (`dmesg`)."
_FREE_SPACE = "If the disk is full, free some space; what failed is tried again."
_OURS = ("market_pipeline", "uvicorn")
_STYLES = {"watch": "black on yellow", "alert": "bold red", "critical": "bold white on red"}


@dataclass(frozen=True)
class Said:
    """One line for the terminal: its time, a `label` in `style`, a text, and lines below it."""

    at: datetime
    text: str
    label: str = ""
    style: str = ""
    below: tuple[str, ...] = ()


class Narrator:
    """Turns the fields of log lines into what is said on the terminal. `doing` may be called from any thread.

    `symbols` are the collected ones, `next_tick` returns when prices are collected next, `run_url` the address of a
    run. With `requests`, for the API alone, its changes and refusals are shown too, and no ticks are expected.
    """

    def __init__(
        self, symbols: Sequence[str], next_tick: Callable[[datetime], datetime], run_url: Callable[[str], str],
        *, requests: bool = False, clock: Clock = utc_now,
    ) -> None:
        self._symbols = symbols
        self._next_tick = next_tick
        self._run_url = run_url
        self._tells_requests = requests
        self._clock = clock
        self._runs: dict[str, FollowedRun] = {}
        self._said: dict[str, datetime] = {}
        self._failures: dict[str, tuple[str, int]] = {}
        # Addresses of failed runs: the watcher reports those launched by hand, too, as it sees runs that were killed.
        self._failed_runs: set[str] = set()
        self._unreachable_since: datetime | None = None
        self._waiting: tuple[datetime, str] | None = None
        self._stopping = False
        self._overdue_at: datetime | None = None
        # Whether history was stored since this was last set to False.
        self.history_changed = False

    def hear(self, fields: Mapping[str, Any]) -> Iterator[Said]:
        """Yield what is to be said about a log line."""
        at = _time(fields)
        run = self._run_of(fields)
        if "wait_seconds" in fields:
            self._waiting = (self._clock() + timedelta(seconds=fields["wait_seconds"]), str(fields.get("wait_for")))
        if run and "attempt" in fields:
            yield from self._request(run, fields, at)
        if run and "rows_written" in fields:
            run.add_rows(str(fields.get("asset")), fields["rows_written"], fields.get("symbols", 0))
        if "anomaly_id" in fields:
            yield self._alarm(run, fields, at)
        elif "transition" in fields:
            yield from self._condition(fields, at)
        elif fields.get("event"):
            yield from self._event(run, fields, at)
        else:
            yield from self._other(fields, at)

    def overdue(self) -> Iterator[Said]:
        """Yield that no tick has ended for longer than two take, once; the first call is when ticks begin."""
        now = self._clock()
        if self._tells_requests:
            return
        if self._overdue_at is None:
            self._expect_tick(now)
        elif now >= self._overdue_at and not self._stopping:
            self._expect_tick(now + _SAY_AGAIN)
            text = "No run of tick has ended for longer than two take: prices are not collected."
            yield Said(now, text, "error", "bold red", (f"`{command('doctor')}` examines why.",))

    def _expect_tick(self, after: datetime) -> None:
        self._overdue_at = self._next_tick(self._next_tick(after)) + _LONGEST_TICK

    def doing(self) -> str:
        """Return what is under way now, in a few words; nothing if it is not worth a line."""
        if self._stopping:
            return "Stopping"
        filling = next((run for run in list(self._runs.values()) if run.job == COMPLETE_DAYS), None)
        waiting = self._wait()
        if filling is None:
            return waiting
        of = f" of {len(self._symbols)}" if filling.days and filling.answered <= len(self._symbols) else ""
        return f"Filling {filling.span}: {filling.answered}{of} requests{', ' + waiting if waiting else ''}"

    def _wait(self) -> str:
        if self._waiting is None:
            return ""
        due, why = self._waiting
        left = (due - self._clock()).total_seconds()
        return f"{why}: next request in {left:.0f} s" if left > 0.5 else ""

    def _run_of(self, fields: Mapping[str, Any]) -> FollowedRun | None:
        run_id = fields.get("run_id")
        if run_id and fields.get("event") == "RUN_START":
            self._runs[run_id] = FollowedRun(run_id, str(fields.get("job", "")), str(fields.get("partition", "")))
        return self._runs.get(run_id) if run_id else None

    def _request(self, run: FollowedRun, fields: Mapping[str, Any], at: datetime) -> Iterator[Said]:
        self._waiting = None
        run.add_request(fields.get("status_code"))
        if run.status is not None and self._unreachable_since:
            yield Said(at, f"CoinGecko answers again, after {span(at - self._unreachable_since)}.", "ok", "green")
            self._unreachable_since = None

    def _alarm(self, run: FollowedRun | None, fields: Mapping[str, Any], at: datetime) -> Said:
        if run:
            run.alarms += 1
        severity = str(fields.get("severity"))
        headline = str(fields["message"]).removeprefix(f"{severity}: ")
        return Said(at, headline, severity, _STYLES.get(severity, ""))

    def _condition(self, fields: Mapping[str, Any], at: datetime) -> Iterator[Said]:
        title = str(fields["message"]).removesuffix(f" ({fields['transition']})")
        if fields["transition"] == "recovered":
            yield Said(at, title, "over", "green")
            return
        severity, body = str(fields.get("severity")), str(fields.get("body", "")).splitlines()
        below = tuple(line for line in body if line.rstrip(".") != title and not line.startswith("Since "))
        if not self._failed_runs.intersection(below):
            yield Said(at, title, severity, _STYLES.get(severity, ""), below)

    def _event(self, run: FollowedRun | None, fields: Mapping[str, Any], at: datetime) -> Iterator[Said]:
        event = fields["event"]
        if event == "STEP_FAILURE" and run and not run.reason:
            run.step, run.reason, run.verdict = (str(fields.get(key, "")) for key in ("step", "reason", "verdict"))
        elif event == "ASSET_CHECK_EVALUATION" and fields.get("level") in ("WARNING", "ERROR"):
            colour = "red" if fields["level"] == "ERROR" else "black on yellow"
            yield from self._once(Said(at, _short(str(fields["message"])), "check", colour))
        elif event in ("RUN_SUCCESS", "RUN_FAILURE", "RUN_CANCELED") and run:
            del self._runs[run.run_id]
            if run.job == TICK:
                self._expect_tick(self._clock())
            if event == "RUN_SUCCESS":
                yield from self._succeeded(run, at)
            elif event == "RUN_FAILURE":
                yield from self._failed(run, str(fields["message"]), at)
            else:
                yield Said(at, f"{run.name} was stopped; what it had stored remains.", "stopped", "black on yellow")

    def _succeeded(self, run: FollowedRun, at: datetime) -> Iterator[Said]:
        self._failures.pop(run.job, None)
        # Once it has recovered, the next loss is worth a line.
        self._said.pop(_NO_CODE, None)
        self.history_changed = self.history_changed or run.job == COMPLETE_DAYS
        if run.is_by_hand:
            yield Said(at, run.name, "done", "green", (self._run_url(run.run_id),))
        elif result := run.result():
            label, style = ("", "") if run.job == TICK else ("history", "magenta")
            yield Said(at, result, label, style)

    def _failed(self, run: FollowedRun, message: str, at: datetime) -> Iterator[Said]:
        if run.requests and not run.answered and run.verdict:
            # Said once, whatever else fails meanwhile; an answer ends it.
            if self._unreachable_since is None:
                self._unreachable_since = at
                verdict = _short(run.verdict.removesuffix(" The next run tries again."))
                again = f"Every tick tries again; the next one is at {self._next_tick(self._clock()):%H:%M} UTC."
                yield Said(at, f"CoinGecko cannot be reached: {verdict}", "offline", "bold red", (again,))
            return
        reason = _short(first_line(run.reason or message))
        before, times = self._failures.get(run.job, ("", 0))
        times = times + 1 if reason == before else 1
        self._failures[run.job] = (reason, times)
        link = self._run_url(run.run_id)
        self._failed_runs.add(link)
        if times > 1:
            again = f"{run.name}, {times} times in a row for the same reason"
            yield Said(at, again, "failed", "bold red", (link,))
            return
        below = [f"The last answer of CoinGecko had the status {run.status}."] if (run.status or 0) >= 400 else []
        if consequence := CONSEQUENCES.get(run.job):
            below.append(f"Until a run succeeds, {consequence}.")
        yield Said(at, f"{run.name}: {reason}", "failed", "bold red", (*below, link))

    def _other(self, fields: Mapping[str, Any], at: datetime) -> Iterator[Said]:
        name, level, message = (str(fields.get(key, "")) for key in ("logger", "level", "message"))
        ours = name.startswith(_OURS)
        if name.endswith("commands.children.processes"):
            self._stopping = True
            yield Said(at, message)
        elif name.startswith("market_pipeline.api") and fields.get("status_code") is not None:
            yield from self._answer(int(fields["status_code"]), message, at)
        elif self._stopping and not ours:
            # Dagster's processes complain of each other's end.
            return
        elif _DAGSTER_ENDS in str(fields.get("exc_info")):
            return
        elif restarted := _CODE_RESTARTED.match(message):
            end = End("Dagster's code server", int(restarted[1]))
            yield Said(at, f"{end.name} {end.how}; Dagster starts it again.", "warning", "black on yellow")
        elif _SERVER_DIED.fullmatch(message):
            text = "A process of the API has died; uvicorn has started another one in its place."
            yield from self._once(Said(at, text, "warning", "black on yellow", (OUT_OF_MEMORY,)))
        elif any(sign in f"{message}{fields.get('exc_info')}" for sign in _CODE_LOST):
            again = "If no prices follow within two ticks, Dagster does not recover: press Ctrl-C and start again."
            yield from self._once(Said(at, _NO_CODE, "error", "bold red", (again,)))
        elif level in ("ERROR", "CRITICAL") and not name.startswith(_QUIET) and not fields.get("run_id"):
            error = _error_in(str(fields.get("exc_info") or ""))
            what = message if not error or error in message else f"{first_line(message).rstrip(': ')}: {error}"
            remedy = _FREE_SPACE if any(sign in what for sign in _DISK_FULL) else str(fields.get("remedy", ""))
            below = (remedy,) if remedy else ()
            yield from self._once(Said(at, _short(what), "error", "bold red", below), error)
        elif level == "WARNING" and ours and not name.startswith(_QUIET):
            yield from self._once(Said(at, _short(message), "warning", "black on yellow"))

    def _answer(self, status: int, message: str, at: datetime) -> Iterator[Said]:
        """Yield an answer of the API; beside the pipeline only that it failed, as a 503 has its reason elsewhere."""
        reads = message.startswith(("GET ", "HEAD "))
        if (status >= 500 and status != _UNAVAILABLE) or (self._tells_requests and (status >= 400 or not reads)):
            said = Said(at, message, "request", "black on yellow" if status >= 400 else "dim")
            # What polls, such as a probe of /readyz, repeats itself.
            yield from self._once(said) if reads else (said,)

    def _once(self, said: Said, cause: str = "") -> Iterator[Said]:
        """Yield what was not said within the last hour; several processes may report one `cause`."""
        key = cause or said.text
        before = self._said.get(key)
        if before is None or said.at - before >= _SAY_AGAIN:
            self._said = {text: at for text, at in self._said.items() if said.at - at < _SAY_AGAIN}
            self._said[key] = said.at
            yield said


def _error_in(traceback: str) -> str:
    """Return the last line that names an error: below it SQLAlchemy and Dagster write of other things."""
    lines = traceback.strip().splitlines()
    return next((line.strip() for line in reversed(lines) if _ERROR.match(line)), lines[-1].strip() if lines else "")


def _short(text: str) -> str:
    text = " ".join(text.split())
    return text if len(text) <= _LONGEST else f"{text[:_LONGEST]}..."


def _time(fields: Mapping[str, Any]) -> datetime:
    return datetime.fromisoformat(str(fields["timestamp"]).replace("Z", "+00:00"))
