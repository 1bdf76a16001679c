"""The fields of every log line of a step, of the IO manager and of an evaluation: its run, asset and partition.

The trace id of a run is its run id; each evaluation of a sensor or schedule has a new one.
"""

import inspect
import uuid
from collections.abc import Callable, Collection, Mapping
from functools import wraps
from typing import Any, TypeVar, cast

import dagster as dg

from market_pipeline.dagster_instance.nonpublic import run_of
from market_pipeline.defs.partitions import PARTITION, RANGE_END, RANGE_START
from market_pipeline.logs import apart, bound

_Function = TypeVar("_Function", bound=Callable[..., Any])


def logged_step(step: _Function) -> _Function:
    """Decorate an asset's or check's function so that its log lines carry run, asset and partition.

    Between the yields of a generator Dagster does its own work, whose lines do not carry them.
    """
    if inspect.isgeneratorfunction(step):

        @wraps(step)
        def logged(context: Any, *args: Any, **kwargs: Any) -> Any:
            yield from apart(step(context, *args, **kwargs), **_step_fields(context))

    else:

        @wraps(step)
        def logged(context: Any, *args: Any, **kwargs: Any) -> Any:
            with bound(**_step_fields(context)):
                return step(context, *args, **kwargs)

    return cast(_Function, logged)


def logged_evaluation(evaluate: _Function) -> _Function:
    """Decorate a sensor's or schedule's function so that the log lines of an evaluation share a trace id."""

    @wraps(evaluate)
    def logged(context: Any, *args: Any, **kwargs: Any) -> Any:
        with bound(trace_id=str(uuid.uuid4())):
            return evaluate(context, *args, **kwargs)

    return cast(_Function, logged)


def io_fields(context: dg.InputContext | dg.OutputContext) -> dict[str, Any]:
    """Return the fields of an input or output; a context built by hand, as in a notebook, has no run."""
    asset = context.asset_key.path[-1]
    run = run_of(context)
    return run_fields(run.run_id, run.tags, [asset]) if run else {"trace_id": "none", "asset": asset}


def run_fields(run_id: str, tags: Mapping[str, str], assets: Collection[str]) -> dict[str, Any]:
    """Return the fields of a run with these `tags`; `assets` are those that it materializes or checks now."""
    fields = {"trace_id": run_id, "run_id": run_id, "asset": ",".join(sorted(set(assets)))}
    if partition := _partition(tags):
        fields["partition"] = partition
    return fields


def _step_fields(context: dg.AssetExecutionContext | dg.AssetCheckExecutionContext) -> dict[str, Any]:
    checked = {key.asset_key for key in context.selected_asset_check_keys}
    made = context.selected_asset_keys if isinstance(context, dg.AssetExecutionContext) else set()
    return run_fields(context.run.run_id, context.run.tags, [key.path[-1] for key in made or checked])


def _partition(tags: Mapping[str, str]) -> str:
    first, last = tags.get(RANGE_START), tags.get(RANGE_END)
    if first and last:
        return first if first == last else f"{first}...{last}"
    return tags.get(PARTITION, "")
