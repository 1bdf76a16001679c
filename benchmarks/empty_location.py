"""A code location with one asset that does nothing: the floor of what any Dagster run costs."""

import dagster as dg


@dg.asset
def nothing() -> None:
    """Does nothing."""


defs = dg.Definitions(
    assets=[nothing],
    jobs=[dg.define_asset_job("empty", selection="*")],
    executor=dg.in_process_executor,
)
