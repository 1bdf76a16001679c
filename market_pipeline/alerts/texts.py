"""The texts of messages, short enough to read at 3 in the morning.

They state what is wrong, how bad it is, since when, what to do and where to look; then the installation, and an id that
is the same if the message arrives twice.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from market_pipeline.anomalies.anomaly import Anomaly
from market_pipeline.core.program import command
from market_pipeline.core.wording import counted, span
from market_pipeline.pipeline.conditions import Condition
from market_pipeline.pipeline.facts import Failure
from market_pipeline.pipeline.names import CONSEQUENCES
from market_pipeline.storage.queries.alert_outbox import AlertMessage, Level, QueuedMessage

# Below the limit of every service for one message.
_DIGEST_LENGTH = 1_500
_LEVELS: dict[str, Level] = {"watch": "watch", "alert": "alert", "critical": "critical"}


@dataclass(frozen=True)
class Place:
    """The installation that a message is about: a name for it, and where its Dagster UI is."""

    name: str
    ui_url: str


def condition_text(condition: Condition, opened_at: datetime, now: datetime, place: Place) -> str:
    """Return the body of a message about a condition that lasts and was first seen at `opened_at`."""
    more = f"`{command('doctor')}` shows the error." if condition.quoted else ""
    remedy = " ".join(filter(None, (condition.remedy, more)))
    return trouble_text(condition.detail, condition.since or opened_at, remedy, now, place)


def trouble_text(detail: str, since: datetime, remedy: str, now: datetime, place: Place) -> str:
    """Return the body of a message about something that has lasted since `since`."""
    lasts = f" ({span(now - since)})" if (now - since).total_seconds() > 60 else ""
    return _lines(detail, f"Since {clock_time(since, now)}{lasts}.", remedy, place.ui_url)


def recovery_text(opened_at: datetime, now: datetime, place: Place) -> str:
    """Return the body of a message about a condition that is over."""
    return _lines(f"Over at {clock_time(now, now)}, after {span(now - opened_at)}.", place.ui_url)


def failure_message(failures: Sequence[Failure], now: datetime, place: Place) -> AlertMessage:
    """Return the message about failures of one job, schedule or sensor that works again, or was launched by hand."""
    last, number = failures[-1], len(failures)
    by_hand = bool(last.run_id) and last.name not in CONSEQUENCES
    first_time, last_time = clock_time(failures[0].at, now), clock_time(last.at, now)
    when = f"At {last_time}" if number == 1 else f"Between {first_time} and {last_time}"
    if last.run_id:
        title = f"{counted(number, f'run of {last.name}', f'runs of {last.name}')} failed"
        key, kind, link = f"failure:{last.run_id}", "run-failed", f"{place.ui_url}/runs/{last.run_id}"
    else:
        title = f"{last.name} failed {counted(number, 'time')} before it could start a run"
        key, kind, link = f"failure:{last.name}:{last.at.isoformat()}", "evaluation-failed", place.ui_url
    if by_hand:
        title = f"{counted(number, 'run')} launched by hand failed{f': {last.assets}' if last.assets else ''}"
        body = _lines(f"{when}.", last.reason or "The page of the run shows why.", link)
    else:
        title = f"{title}, but it has succeeded since"
        body = _lines(f"{when}. Nothing needs to be done unless it repeats.", last.reason, link)
    return AlertMessage(key, "passed", kind, "alert", title, body)


def anomaly_message(anomaly: Anomaly, place: Place) -> AlertMessage:
    """Return the message about an alarm; its episode is that of the anomaly."""
    symbols = tuple(anomaly.members.split(",")) if anomaly.members else (anomaly.symbol,)
    whose = anomaly.symbol if len(symbols) == 1 else "'*'"
    partition = f"{anomaly.timestamp:%Y-%m-%d}%7C{anomaly.symbol}"
    body = _lines(
        anomaly.explanation,
        f"{place.ui_url}/assets/price_anomalies?view=partitions&partition={partition}",
        f"Not worth an alarm: {command(f'mark {anomaly.id} noise')}",
        f"Quiet for 2 hours: {command(f'snooze {whose} {anomaly.kind} --for 2h')}",
    )
    return AlertMessage(
        f"anomaly:{anomaly.episode_id}", "opened", anomaly.kind, _LEVELS[anomaly.severity], anomaly.headline, body,
        symbols, anomaly.id,
    )


def shown(message: AlertMessage, place: Place) -> tuple[str, str]:
    """Return the title and the body as they are sent."""
    return headline(message), _lines(message.body, f"{place.name} · id {message.shown_id}")


def headline(message: AlertMessage) -> str:
    """Return the title with its level."""
    label = {"recovered": "RECOVERED", "test": "TEST"}.get(message.transition, message.level.upper())
    return f"{'NOW ' if message.transition == 'raised' else ''}{label}: {message.title}"


def digest(waiting: Sequence[QueuedMessage], now: datetime, place: Place) -> tuple[list[QueuedMessage], str, str]:
    """Return as many of the messages as one digest holds, the oldest first, with its title and body."""
    part: list[QueuedMessage] = []
    lines: list[str] = []
    for queued in waiting:
        line = f"{clock_time(queued.created_at, now)}  {headline(queued.message)} (id {queued.message.shown_id})"
        if lines and sum(map(len, lines)) + len(line) > _DIGEST_LENGTH:
            break
        part.append(queued)
        lines.append(line)
    critical = sum(queued.message.level == "critical" for queued in part)
    severe = f", {critical} critical" if critical else ""
    title = f"{counted(len(part), 'message')}{severe}, held back since {clock_time(part[0].created_at, now)}"
    return part, title, _lines(*lines, place.ui_url, place.name)


def clock_time(moment: datetime, now: datetime) -> str:
    """Print a time as 02:10 UTC, with the day unless that is today."""
    return f"{moment:%H:%M} UTC" if moment.date() == now.date() else f"{moment:%Y-%m-%d %H:%M} UTC"


def _lines(*parts: str) -> str:
    return "\n".join(part for part in parts if part)
