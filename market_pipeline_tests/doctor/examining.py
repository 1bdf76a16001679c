"""How the tests of the doctor make one examination."""

from typing import Protocol

from market_pipeline.doctor.context import Diagnosis, DoctorContext
from market_pipeline.doctor.report import Examination, examine
from market_pipeline.storage.engine import Database


class Installed(Protocol):
    """Builds a context with these settings; the database counts as examined and ready."""

    def __call__(self, database: Database | None = None, **settings: str) -> DoctorContext: ...


def only(examination: Examination, context: DoctorContext) -> Diagnosis:
    """The one diagnosis of an examination."""
    (diagnosis,) = examine("the examination", examination, context)
    return diagnosis
