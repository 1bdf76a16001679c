"""The server's own process: `python -m market_pipeline.api ADDRESS PORT WORKERS`.

`market-pipeline serve` starts it once everything is in order, with the settings in the environment.
"""

import os
import sys
from collections.abc import Sequence

import uvicorn

from market_pipeline.logs import configure_logging
from market_pipeline.settings import load_settings

# Connections of one process, idle ones included. Each is a file, and many systems allow a process 1,024.
# Beyond that a client is told 503.
_MOST_CONNECTIONS = 500
# Longer than a reverse proxy keeps them (60 s with most), so that none sends a request into a closed one.
_KEEP_ALIVE_SECONDS = 65
# For answers that are under way when it is told to stop.
_GRACE_SECONDS = 5


def serve(arguments: Sequence[str]) -> None:
    """Serve until a signal."""
    address, port, workers = arguments
    configure_logging(load_settings())
    uvicorn.run(
        "market_pipeline.api.app:app_from_environment",
        factory=True,
        host=address,
        port=int(port),
        workers=int(workers),
        ws="none",
        lifespan="on",
        # Ours is configured, and logs each request.
        log_config=None,
        access_log=False,
        server_header=False,
        # Anybody can write X-Forwarded-For; only who has named a proxy may believe it.
        proxy_headers="FORWARDED_ALLOW_IPS" in os.environ,
        limit_concurrency=_MOST_CONNECTIONS,
        timeout_keep_alive=_KEEP_ALIVE_SECONDS,
        timeout_graceful_shutdown=_GRACE_SECONDS,
    )


if __name__ == "__main__":
    serve(sys.argv[1:])
