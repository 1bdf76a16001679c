"""The server's own process: `python -m market_pipeline.api ADDRESS PORT WORKERS`.

`market-pipeline serve` starts it after its checks, with the settings in the environment.
"""

import os
import sys
from collections.abc import Sequence

import uvicorn

from market_pipeline.logs import configure_logging
from market_pipeline.settings import load_settings

# Connections of one process, idle ones included; beyond that clients get 503. Each is a file, and many systems allow
# a process 1,024.
_MAX_CONNECTIONS = 500
# Longer than most reverse proxies keep theirs (60 s), so that no request meets a closing connection.
_KEEP_ALIVE_SECONDS = 65
# For answers in progress when a signal arrives.
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
        # Our logging is configured, and logs each request.
        log_config=None,
        access_log=False,
        server_header=False,
        # Any client can send X-Forwarded-For; trust it only from a proxy that is named.
        proxy_headers="FORWARDED_ALLOW_IPS" in os.environ,
        limit_concurrency=_MAX_CONNECTIONS,
        timeout_keep_alive=_KEEP_ALIVE_SECONDS,
        timeout_graceful_shutdown=_GRACE_SECONDS,
    )


if __name__ == "__main__":
    serve(sys.argv[1:])
