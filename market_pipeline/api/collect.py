"""One price now, through the same client, budget, validation and storage as the asset."""

from typing import Annotated

from fastapi import APIRouter, Depends, Request, Response

from market_pipeline.api.accept import JSON
from market_pipeline.api.collecting import collect_once
from market_pipeline.api.gate import Gate
from market_pipeline.api.price_documents import LatestPrice
from market_pipeline.api.price_formats import point_as_json
from market_pipeline.api.problems import problems
from market_pipeline.api.query import SymbolInPath
from market_pipeline.api.service import Service
from market_pipeline.logs import bound

router = APIRouter(tags=["prices"])


class CollectedPrice(LatestPrice):
    """The current price of a symbol, as it is stored now."""


async def _gate_of(request: Request) -> Gate:
    gate: Gate = request.app.state.gate
    return gate


@router.post(
    "/collect-once/{symbol}",
    summary="Collect the current price",
    response_model=CollectedPrice,
    responses=problems(
        unsupported_symbol=(400, "Unsupported symbol: 'XYZ'. Supported are BTC, ETH."),
        invalid_request=(422, "path.symbol: Input should be a valid string"),
        quote_refused=(422, "The price -1.0 is negative. It is kept in the quarantine; ask again later."),
        too_many_requests=(429, "100 requests in 60 s are what one client may send here; ask again in 7 s."),
        database_error=(500, "The database did not answer as it should; the log has the reason."),
        source_unavailable=(503, "No price of BTC: the server or the edge before it failed."),
        budget_exhausted=(503, "No price of BTC: its turn would come in 42 s and 5 s is the longest wait."),
        too_many_at_once=(503, "40 prices are being collected; ask again in a second."),
    ),
)
async def collect_one(
    request: Request, symbol: SymbolInPath, gate: Annotated[Gate, Depends(_gate_of)]
) -> Response:
    """Ask CoinGecko for the current price of a symbol, store it, and tell Dagster so.

    The answer is the price as it is stored: one that was known already keeps the time at which it was first
    stored. What is refused goes into the quarantine instead. It takes one request of the shared budget and
    waits a few seconds for it at most; `Retry-After` of a 429 or 503 tells when to come again.
    """
    client = request.client.host if request.client else "unknown"
    body = await gate.run(client, lambda service: _collected(service, symbol))
    return Response(body, headers={"Cache-Control": "no-store"}, media_type=JSON)


def _collected(service: Service, given: str) -> bytes:
    symbol = service.symbol(given)
    with bound(symbol=symbol):
        return point_as_json(symbol, collect_once(service, symbol))
