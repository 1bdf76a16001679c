"""Repair what a clock that ran ahead leaves in Dagster's storage.

Dagster 1.13 evaluates a schedule or sensor only for times after its last evaluation. If the clock of the machine was
ahead for a moment, and a schedule was evaluated then, nothing is evaluated until the true time has caught up.
"""

from collections.abc import Iterable
from datetime import datetime
from typing import TYPE_CHECKING, Any

from market_pipeline.dagster_instance.ownership import Owner, located
from market_pipeline.logs import get_logger
from market_pipeline.pipeline.names import Automation

if TYPE_CHECKING:
    import dagster as dg
    from dagster._core.scheduler.instigation import InstigatorState

logger = get_logger(__name__)


def forget_future_evaluations(
    instance: "dg.DagsterInstance", owner: Owner, wanted: Iterable[Automation], now: datetime
) -> list[str]:
    """Date evaluations of `owner`'s automations that lie after `now` (aware UTC) back to `now`; return their names.

    Call it before the daemon starts: a running one has these times in memory too.
    """
    owner, names = located(instance, owner), {automation.name for automation in wanted}
    moved = [
        state.name
        for state in instance.all_instigator_state()
        if state.name in names
        and owner.location in (None, state.repository_selector.location_name)
        and _date_back(instance, state, now.timestamp())
    ]
    if moved:
        logger.warning("The clock was ahead when %s were last evaluated; they continue from now", ", ".join(moved))
    return moved


def _date_back(instance: "dg.DagsterInstance", state: "InstigatorState", now: float) -> bool:
    ticks = instance.get_ticks(state.instigator_origin_id, state.selector_id, after=now)
    for tick in ticks:
        instance.update_tick(tick._replace(tick_data=tick.tick_data._replace(timestamp=now)))
    # Start and last times of schedules and sensors, whatever they are called.
    data: Any = state.instigator_data
    fields = data._asdict() if data is not None else {}
    times = {name: now for name, value in fields.items() if name.endswith("_timestamp") and (value or 0) > now}
    if times:
        instance.update_instigator_state(state.with_data(data._replace(**times)))
    return bool(ticks or times)
