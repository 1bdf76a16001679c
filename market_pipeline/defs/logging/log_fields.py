"""What stands in every log line of a step, of the IO manager, of a sensor: whose work the line tells of.

The trace id of a run is its run id; that of an evaluation of a sensor or schedule is a new one.
"""

import inspect
import uuid
from collections.abc import Callable, Collection, Mapping
from functools import wraps
from typing import Any, TypeVar, cast

import dagster as dg

from market_pipeline.dagster_instance.nonpublic import run_of
from market_pipeline.defs.partitions import RANGE_END, RANGE_START
from market_pipeline.logs import apart, bound

_PARTITION = "dagster/partition"

_Function = TypeVar("_Function", bound=Callable[..., Any])


def logged_step(step: _Function) -> _Function:
    """Decorator of an asset's or check's function: its lines carry run, asset and partition.

    Of a generator only the work between two yields; Dagster's own work there is not the step's.
    """
    if inspect.isgeneratorfunction(step):

        @wraps(step)
        def logged(context: Any, *args: Any, **kwargs: Any) -> Any:
            yield from apart(step(context, *args, **kwargs), **_of_step(context))

    else:

        @wraps(step)
        def logged(context: Any, *args: Any, **kwargs: Any) -> Any:
            with bound(**_of_step(context)):
                return step(context, *args, **kwargs)

    return cast(_Function, logged)


def logged_evaluation(evaluate: _Function) -> _Function:
    """Decorator of a sensor's or schedule's function: the lines of an evaluation share a trace id."""

    @wraps(evaluate)
    def logged(context: Any, *args: Any, **kwargs: Any) -> Any:
        with bound(trace_id=str(uuid.uuid4())):
            return evaluate(context, *args, **kwargs)

    return cast(_Function, logged)


def io_fields(context: dg.InputContext | dg.OutputContext) -> dict[str, Any]:
    """The fields of an input or output; a context built by hand, in a notebook say, has no run."""
    asset = context.asset_key.path[-1]
    run = run_of(context)
    return run_fields(run.run_id, run.tags, [asset]) if run else {"trace_id": "none", "asset": asset}


def run_fields(run_id: str, tags: Mapping[str, str], assets: Collection[str]) -> dict[str, Any]:
    """The fields of a run with these `tags`; `assets` are what the work at hand makes or examines."""
    fields = {"trace_id": run_id, "run_id": run_id, "asset": ",".join(sorted(set(assets)))}
    if partition := _partition(tags):
        fields["partition"] = partition
    return fields


def _of_step(context: dg.AssetExecutionContext | dg.AssetCheckExecutionContext) -> dict[str, Any]:
    checked = {key.asset_key for key in context.selected_asset_check_keys}
    made = context.selected_asset_keys if isinstance(context, dg.AssetExecutionContext) else set()
    return run_fields(context.run.run_id, context.run.tags, [key.path[-1] for key in made or checked])


def _partition(tags: Mapping[str, str]) -> str:
    first, last = tags.get(RANGE_START), tags.get(RANGE_END)
    if first and last:
        return first if first == last else f"{first}...{last}"
    return tags.get(_PARTITION, "")
