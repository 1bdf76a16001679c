"""Which guards stand before the application, and in which order."""

from fastapi import FastAPI

from market_pipeline.api.guards.origins import ForeignSites, Hosts
from market_pipeline.api.guards.sizes import BodySize, HeadSize
from market_pipeline.api.guards.token import Token, describe_token
from market_pipeline.settings import Settings


def guard(app: FastAPI, settings: Settings) -> None:
    """Put the guards that `settings` ask for before `app`; the one added last is asked first.

    The OpenAPI document says whether a token is needed.
    """
    app.add_middleware(BodySize)
    if settings.api_token is not None:
        app.add_middleware(Token, token=settings.api_token)
        describe_token(app)
    app.add_middleware(ForeignSites)
    if settings.api_token is None and not settings.api_without_token:
        app.add_middleware(Hosts)
    app.add_middleware(HeadSize)
