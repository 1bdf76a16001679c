"""Commands that run until they are stopped."""

import click

from market_pipeline.commands.cli.parameters import PORT, address, api_port_option, examples, notice, ui_port_option
from market_pipeline.commands.ports import API_PORT, HOST


@click.command(epilog=examples("run", "run --port 3001 --api-port 8001", "run --no-api"))
@ui_port_option
@api_port_option
@click.option("--no-api", is_flag=True, help="Serve the Dagster UI only.")
def run(port: int, api_port: int | None, no_api: bool) -> int:
    """Collect live prices; serve the Dagster UI and the API.

    Creates or updates the tables of DATABASE_URL first. On a terminal it prints a line for each collection, alarm and
    failure; the full log is a file. Ctrl-C stops everything that was started.
    """
    with notice():
        from market_pipeline.commands.run import execute

    return execute(port, api_port, api=not no_api)


@click.command(epilog=examples("demo", "demo --port 3001"))
@ui_port_option
@api_port_option
def demo(port: int, api_port: int | None) -> int:
    """Try the pipeline without internet, on simulated prices.

    Starts UI and API, fills eight days of history into demo.db, then collects every minute. Ignores the
    environment and .env, except LOG_FORMAT.
    """
    with notice():
        from market_pipeline.commands.demo import execute

    return execute(port, api_port)


@click.command(epilog=examples("serve", "serve --host 0.0.0.0 --workers 2"))
@click.option(
    "--port", type=PORT, default=API_PORT, show_default=True, metavar="PORT", help="Port of the API."
)
@click.option(
    "--host", type=address, default=HOST, show_default=True, metavar="ADDRESS",
    help="Address to listen on; any but loopback needs API_TOKEN.",
)
@click.option(
    "--workers", type=click.IntRange(1, 64), default=1, show_default=True, metavar="N",
    help="Number of server processes.",
)
@click.option(
    "--without-token", is_flag=True,
    help="Serve other addresses and host names without a token, as API_WITHOUT_TOKEN=true does.",
)
def serve(port: int, host: str, workers: int, without_token: bool) -> int:
    """Serve the HTTP API and its page.

    `market-pipeline run` serves them, too; this is for the API alone, or on another machine.
    """
    with notice():
        from market_pipeline.commands.serve import execute

    return execute(port, host, workers, without_token)


@click.command(epilog=examples("watch"))
def watch() -> int:
    """Watch the pipeline, and send alerts to ALERT_URLS.

    `run` and `demo` start it by themselves. Where Dagster's processes run one by one, run it beside them, or on another
    machine. Several may run: one works, the others take over if it stops.
    """
    from market_pipeline.commands.watch import execute

    return execute()


@click.command(epilog=examples("worker", "worker --concurrency 8"))
@click.option(
    "--concurrency", type=click.IntRange(1, 64), default=4, show_default=True, metavar="N",
    help="Runs at once; more than the background lane allows, so that no tick waits.",
)
def worker(concurrency: int) -> int:
    """Execute runs that a daemon elsewhere queues.

    They come from another machine through Celery; docs/celery.md has the set-up. SIGTERM lets the current runs end; a
    run that is killed is started again elsewhere.
    """
    from market_pipeline.commands.worker import execute

    return execute(concurrency)


RUNNING: tuple[click.Command, ...] = (run, demo, serve, watch, worker)
