"""Threads for endpoints about the state: they wait for Dagster, which must not delay readers of prices."""

from typing import Annotated

import anyio
from fastapi import Depends, Request

# More of them only wait for Dagster's one thread.
STATE_THREADS = 4


async def _threads(request: Request) -> anyio.CapacityLimiter:
    threads: anyio.CapacityLimiter = request.app.state.state_threads
    return threads


# What an endpoint about the state names as a parameter, to be given as `limiter` to anyio.
StateThreads = Annotated[anyio.CapacityLimiter, Depends(_threads)]
