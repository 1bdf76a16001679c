"""What is examined, and what the examinations have learned about it so far."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from market_pipeline.clock import Clock, utc_now
from market_pipeline.settings import Settings
from market_pipeline.storage.engine import Database

if TYPE_CHECKING:
    import dagster as dg


@dataclass
class Subject:
    """An installation: its folder, its environment and its time.

    `settings` is there once they were found valid, `database` once it was found ready, `home` and
    `instance` once Dagster's own storage was found and opened,
    `skew` (seconds by which this machine's clock is ahead of the server's) once the API has answered.
    `secrets` must not be in any report.
    """

    folder: Path
    environment: Mapping[str, str]
    clock: Clock = utc_now
    settings: Settings | None = None
    database: Database | None = None
    home: Path | None = None
    instance: "dg.DagsterInstance | None" = None
    skew: float | None = None
    secrets: list[str] = field(default_factory=list)

    @property
    def without_instance(self) -> str:
        """The finding because of which there is no `instance`."""
        return "dagster home" if self.home is None else "dagster instance"

    @property
    def env_file(self) -> Path:
        return self.folder / ".env"
