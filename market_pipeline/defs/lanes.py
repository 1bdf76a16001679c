"""The run coordinator at the path that the dagster.yaml files of existing homes name."""

from market_pipeline.dagster_instance.lanes import LanedRunCoordinator

__all__ = ["LanedRunCoordinator"]
