"""What the endpoints work with: settings, database, coins, and Dagster's side of the story."""

from dataclasses import dataclass, field
from datetime import datetime
from typing import Annotated

from fastapi import Depends, Request

from market_pipeline.api.dagster_home import DagsterHome
from market_pipeline.api.problems import ApiProblem
from market_pipeline.clock import Clock, utc_now
from market_pipeline.settings import Settings
from market_pipeline.storage.engine import Database
from market_pipeline.symbols import Catalogue


@dataclass(frozen=True)
class Service:
    """One API process, which began at `started` (aware UTC); all of it may be used from any thread."""

    settings: Settings
    database: Database
    dagster: DagsterHome
    clock: Clock = utc_now
    started: datetime = field(default_factory=utc_now)
    catalogue: Catalogue = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "catalogue", self.settings.catalogue)

    def symbol(self, given: str) -> str:
        """`given` in upper case; an ApiProblem 400 that names the supported ones if it is not collected."""
        try:
            return self.catalogue.validate_symbol(given)
        except ValueError as error:
            raise ApiProblem(
                400, "unsupported-symbol", str(error), supported=list(self.catalogue.symbols)
            ) from None


# Not a plain function: FastAPI would send that to its thread pool, which costs more than it does.
async def _service_of(request: Request) -> Service:
    service: Service = request.app.state.service
    return service


# What an endpoint names as a parameter to be given the service.
ServiceOf = Annotated[Service, Depends(_service_of)]
