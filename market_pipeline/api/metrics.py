"""Numbers for Prometheus, read from the database when they are asked for."""

from collections.abc import Callable, Iterable
from typing import Any

from anyio import to_thread
from fastapi import APIRouter, Request, Response
from fastapi.responses import PlainTextResponse
from prometheus_client import openmetrics
from prometheus_client.exposition import CONTENT_TYPE_PLAIN_0_0_4, generate_latest
from prometheus_client.metrics_core import Metric

from market_pipeline.api.metric_families import families
from market_pipeline.api.problems import problems
from market_pipeline.api.service import Service, ServiceOf
from market_pipeline.api.state_threads import StateThreads

router = APIRouter(tags=["state"])

_FORMATS: dict[int | str, dict[str, Any]] = {
    200: {"content": {"application/openmetrics-text": {"schema": {"type": "string"}}}}
}


class _Scrape:
    """The families of one scrape. Nothing is kept between scrapes, so every worker tells the same."""

    def __init__(self, service: Service) -> None:
        self._service = service

    def collect(self) -> Iterable[Metric]:
        return families(self._service)


@router.get(
    "/metrics",
    summary="Numbers for Prometheus",
    response_class=PlainTextResponse,
    responses=_FORMATS | problems(database_error=(500, "The database did not answer as it should.")),
)
async def metrics(request: Request, service: ServiceOf, threads: StateThreads) -> Response:
    """In the text format of Prometheus, or as OpenMetrics if `Accept` asks for it.

    The cost is that of what came in the last day, not of what is stored. It is 500 if the database cannot be
    read: a scrape that fails is what Prometheus knows as `up == 0`.
    """
    encode, media_type = _encoder(request.headers.get("accept", ""))
    headers = {"Cache-Control": "no-store", "Content-Type": media_type}
    body = await to_thread.run_sync(encode, _Scrape(service), limiter=threads)
    return Response(body, headers=headers)


def _encoder(accepted: str) -> tuple[Callable[[Any], bytes], str]:
    """What writes the families, and how that is called. The library's own choice repeats the client's words."""
    kinds = {part.partition(";")[0].strip().lower() for part in accepted.split(",")}
    if "application/openmetrics-text" in kinds:
        return openmetrics.exposition.generate_latest, openmetrics.exposition.CONTENT_TYPE_LATEST
    return generate_latest, CONTENT_TYPE_PLAIN_0_0_4
