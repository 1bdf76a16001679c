"""The state of the watcher: its lease, cursors and open episodes, and the snoozes."""

from collections.abc import Collection, Iterable
from dataclasses import asdict, dataclass
from datetime import datetime, timedelta
from importlib import import_module
from typing import Any

from sqlalchemy import Connection, Table, delete, or_, select, update

from market_pipeline.storage.engine import Database
from market_pipeline.storage.queries.alert_outbox import Level
from market_pipeline.storage.schema.alert_tables import alert_episodes, alert_progress, alert_snoozes

ANY = "*"
WATCH = "watch"
# Clocks of two machines differ by less.
CLOCKS_DIFFER = timedelta(minutes=5)
_PROGRESS, _EPISODES, _SNOOZES = alert_progress.c, alert_episodes.c, alert_snoozes.c


@dataclass(frozen=True)
class OpenEpisode:
    """A condition that lasts: `level` and `title` are those of its last message, `episode` names it."""

    key: str
    kind: str
    symbol: str
    level: Level
    title: str
    episode: str
    opened_at: datetime
    seen_at: datetime


@dataclass(frozen=True)
class Snooze:
    """No messages about `symbol` of this `kind` until then; each may be `ANY`."""

    symbol: str
    kind: str
    until: datetime


@dataclass(frozen=True)
class Watch:
    """The process that holds the lease of the watcher, until when, and the time of the last look."""

    holder: str | None
    held_until: datetime | None
    looked_at: datetime


def take_watch(database: Database, holder: str, now: datetime, length: timedelta) -> bool:
    """Take or renew the lease of the watcher; False if another process holds it.

    A lease that ends much later than a new one would was taken while the clock was ahead. Nothing is written while
    another process holds it.
    """
    watch = read_watch(database)
    if watch and watch.holder not in (None, holder) and watch.held_until:
        if now <= watch.held_until <= now + length + CLOCKS_DIFFER:
            return False
    ended = or_(_PROGRESS.held_until < now, _PROGRESS.held_until > now + length + CLOCKS_DIFFER)
    own = or_(_PROGRESS.holder.is_(None), _PROGRESS.holder == holder, ended)
    values = {"holder": holder, "held_until": now + length}
    with database.writing(alert_progress) as connection:
        _ensure(connection, alert_progress, [{"name": WATCH, "position": 0, "at": now}])
        taken = update(alert_progress).where(_PROGRESS.name == WATCH, own).values(**values)
        return connection.execute(taken).rowcount == 1


def release_watch(database: Database, holder: str, now: datetime) -> None:
    """Let another process watch at once."""
    own = _PROGRESS.name == WATCH, _PROGRESS.holder == holder
    with database.writing(alert_progress) as connection:
        connection.execute(update(alert_progress).where(*own).values(held_until=now, holder=None))


def read_watch(database: Database) -> Watch | None:
    """Return the holder of the lease; None if no watcher ever ran."""
    columns = _PROGRESS.holder, _PROGRESS.held_until, _PROGRESS.at
    with database.reading() as connection:
        row = connection.execute(select(*columns).where(_PROGRESS.name == WATCH)).one_or_none()
    return None if row is None else Watch(*row)


def cursor_position(database: Database, name: str) -> int | None:
    """Return the position of the cursor `name`; None if it has none yet."""
    with database.reading() as connection:
        return connection.execute(select(_PROGRESS.position).where(_PROGRESS.name == name)).scalar_one_or_none()


def move_cursor(connection: Connection, name: str, position: int, now: datetime) -> None:
    """Move the cursor `name` forward; it never goes back."""
    _ensure(connection, alert_progress, [{"name": name, "position": position, "at": now}])
    forward = update(alert_progress).where(_PROGRESS.name == name, _PROGRESS.position < position)
    connection.execute(forward.values(position=position, at=now))


def record_look(connection: Connection, now: datetime) -> None:
    """Record the time of a look."""
    connection.execute(update(alert_progress).where(_PROGRESS.name == WATCH).values(at=now))


def open_episodes(connection: Connection) -> list[OpenEpisode]:
    """Return the conditions that last, by key."""
    columns = [_EPISODES[name] for name in OpenEpisode.__dataclass_fields__]
    return [OpenEpisode(*row) for row in connection.execute(select(*columns).order_by(_EPISODES.key))]


def save_episodes(connection: Connection, episodes: Iterable[OpenEpisode], closed: Collection[str]) -> None:
    """Replace the episodes of these keys, and delete those of the keys in `closed`."""
    rows = [asdict(episode) for episode in episodes]
    gone = {*closed, *(row["key"] for row in rows)}
    if gone:
        connection.execute(delete(alert_episodes).where(_EPISODES.key.in_(gone)))
    if rows:
        connection.execute(alert_episodes.insert(), rows)


def set_snooze(database: Database, snooze: Snooze, now: datetime) -> None:
    """Store the snooze in place of another of the same symbol and kind, and delete those that are over."""
    same = _SNOOZES.symbol == snooze.symbol, _SNOOZES.kind == snooze.kind
    with database.writing(alert_snoozes) as connection:
        connection.execute(delete(alert_snoozes).where(or_(_SNOOZES.until <= now, same[0] & same[1])))
        connection.execute(alert_snoozes.insert().values(**asdict(snooze), created_at=now))


def end_snooze(database: Database, symbol: str, kind: str) -> bool:
    """Delete a snooze; return whether there was one."""
    with database.writing(alert_snoozes) as connection:
        own = _SNOOZES.symbol == symbol, _SNOOZES.kind == kind
        return connection.execute(delete(alert_snoozes).where(*own)).rowcount > 0


def snoozes(database: Database, now: datetime) -> list[Snooze]:
    """Return the snoozes that last at `now`, the first to end first."""
    columns = _SNOOZES.symbol, _SNOOZES.kind, _SNOOZES.until
    with database.reading() as connection:
        found = connection.execute(select(*columns).where(_SNOOZES.until > now).order_by(_SNOOZES.until))
        return [Snooze(*row) for row in found]


def _ensure(connection: Connection, table: Table, rows: list[dict[str, Any]]) -> None:
    insert: Any = import_module(f"sqlalchemy.dialects.{connection.dialect.name}").insert
    connection.execute(insert(table).values(rows).on_conflict_do_nothing())
