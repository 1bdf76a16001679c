"""Episodes of one coin: one row for a large move that goes on, and one alarm for several rows about one move.

A large move is one row an episode: the id and the time are those of its first flagged quote, the numbers those of its
peak so far. Rows of one coin that are one move to a person (whatever rule flagged them) are one alarm: the first of
them represents the others, which carry its id as `event_id`, and tells the move of all of them.
"""

import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, replace

from market_pipeline.anomalies.anomaly import Kind
from market_pipeline.anomalies.parameters import DetectionSettings
from market_pipeline.anomalies.rules.candidate import Candidate, id_of
from market_pipeline.anomalies.rules.episodes import Border, Episode, Trigger, follow
from market_pipeline.anomalies.rules.paths import CoinPath
from market_pipeline.anomalies.rules.peers import market_context
from market_pipeline.anomalies.rules.score_table import Positions, ScoreTable
from market_pipeline.anomalies.rules.severity import Materiality

# Of several rows about one quote the first of these represents the others.
_RANKING = (Kind.GAP_MOVE, Kind.JUMP, Kind.LARGE_MOVE, Kind.IDIOSYNCRATIC, Kind.USER_THRESHOLD)

# Yesterday's last episode of a coin (by its number) and a direction.
CarriedOf = Callable[[int, int], "Episode | None"]


@dataclass
class CoinEpisodes:
    """Finds the episodes of the coins of one table."""

    table: ScoreTable
    settings: DetectionSettings
    materiality: Materiality
    border: Border
    misprints: Positions
    # By kind and position: the episode of each large move, and the alarm of each row that is no member of an event.
    large_of: dict[tuple[Kind, int], Episode] = field(default_factory=dict)
    alarm_of: dict[tuple[Kind, int], Episode] = field(default_factory=dict)

    def large_moves(self, candidates: Iterable[Candidate], carried: CarriedOf) -> list[Candidate]:
        """Return `candidates` with one row for the flagged large moves of each episode."""
        others, flagged = [], dict[int, list[Candidate]]()
        for each in candidates:
            if each.kind is Kind.LARGE_MOVE:
                flagged.setdefault(self.table.code(each.at), []).append(each)
            else:
                others.append(each)
        rows = [
            row
            for code, moves in flagged.items()
            for row in self._large_moves_of(CoinPath(self.table, code, self.misprints), moves, carried)
        ]
        return sorted([*others, *rows], key=lambda each: (each.at, each.kind.value))

    def _large_moves_of(self, path: CoinPath, moves: list[Candidate], carried: CarriedOf) -> list[Candidate]:
        def begin(trigger: Trigger, start: int) -> str | None:
            before = self._position(trigger.at, start)
            material = before < trigger.at and self.materiality.is_material(before, trigger.at)
            return id_of(self.table, Kind.LARGE_MOVE, trigger.at) if material else None

        triggers = [self._trigger(each, each.at) for each in moves]
        owners = follow(triggers, path, self.border, begin, lambda way: carried(path.code, way))
        first = {trigger.at: each for trigger, each in zip(triggers, moves, strict=True)}
        rows = []
        for episode in {owner.id: owner for owner in owners if owner is not None and not owner.closed}.values():
            at = episode.triggers[0].at
            self.large_of[Kind.LARGE_MOVE, at] = episode
            rows.append(self._whole(first[at], episode))
        return rows

    def alarms(self, candidates: Iterable[Candidate], carried: CarriedOf) -> list[Candidate]:
        """Return `candidates` of which the unlinked ones of each episode are one alarm."""
        linked, free = [], dict[int, list[Candidate]]()
        for each in candidates:
            if each.kind in _RANKING and each.event_id is None:
                free.setdefault(self.table.code(each.at), []).append(each)
            else:
                linked.append(each)
        rows = [
            row
            for code, moves in free.items()
            for row in self._alarms_of(CoinPath(self.table, code, self.misprints), moves, carried)
        ]
        return linked + rows

    def _alarms_of(self, path: CoinPath, moves: list[Candidate], carried: CarriedOf) -> list[Candidate]:
        # A row that went on counts at its first quote and at its peak.
        quotes = [(self.table.moment(at), _RANKING.index(each.kind), at, each) for each in moves for at in _ends(each)]
        quotes.sort(key=lambda quote: quote[:3])
        triggers = [self._trigger(each, at) for _, _, at, each in quotes]
        owner_of = {id(trigger): each for trigger, (_, _, _, each) in zip(triggers, quotes, strict=True)}

        def begin(trigger: Trigger, start: int) -> str | None:
            each = owner_of[id(trigger)]
            return id_of(self.table, each.kind, each.at) if trigger.at == each.at else None

        owners = follow(triggers, path, self.border, begin, lambda way: carried(path.code, way))
        rows = []
        for (_, _, at, candidate), owner in zip(quotes, owners, strict=True):
            if at != candidate.at:
                continue
            if owner is None or owner.id == id_of(self.table, candidate.kind, candidate.at):
                row = candidate if owner is None else self._whole_alarm(candidate, owner)
            else:
                row = replace(candidate, event_id=owner.id)
            if owner is not None:
                self.alarm_of[candidate.kind, candidate.at] = owner
            rows.append(row)
        return rows

    def _trigger(self, candidate: Candidate, at: int) -> Trigger:
        table = self.table
        return Trigger(
            at=at,
            moment=table.moment(at),
            start=table.moment(candidate.before),
            direction=1 if table.log_move(candidate.before, candidate.end) > 0 else -1,
            width=table.width(at, self.settings.episode_minutes),
            days=candidate.days if candidate.days > 0 else 0.0,
            score=candidate.score,
            threshold=candidate.threshold,
            p=candidate.p,
            tail=candidate.tail,
        )

    def _whole(self, candidate: Candidate, episode: Episode) -> Candidate:
        """Return the row of an episode: from its start to its peak, as rare as its rarest quote."""
        start, peak = self._position(candidate.at, episode.start), self._position(candidate.at, episode.peak)
        if len({trigger.at for trigger in episode.triggers}) == 1 and candidate.kind is not Kind.LARGE_MOVE:
            return candidate
        rarest = episode.rarest
        days = rarest.days or candidate.days
        p_raw = candidate.p_raw if rarest.at == candidate.at else math.nan
        peak = max(peak, candidate.at)
        changed = replace(
            candidate, before=start, peak=peak, rarest=rarest.at, p=rarest.p, p_raw=p_raw, days=days, tail=rarest.tail
        )
        if candidate.kind is Kind.USER_THRESHOLD:
            return changed
        return replace(changed, score=rarest.score, threshold=rarest.threshold)

    def _whole_alarm(self, candidate: Candidate, episode: Episode) -> Candidate:
        """Return the row of an alarm, compared with what the market did over all of its move."""
        row = self._whole(candidate, episode)
        if (row.before, row.end) == (candidate.before, candidate.end):
            return row
        return replace(row, market=market_context(self.table, row))

    def _position(self, at: int, moment: int) -> int:
        """Return the quote of the coin at `at` that was the last one at a time."""
        return max(self.table.first_from(at, moment + 1) - 1, int(self.table.starts[self.table.code(at)]))


def _ends(candidate: Candidate) -> set[int]:
    return {candidate.at, candidate.end}

