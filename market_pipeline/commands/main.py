"""The program `market-pipeline`: its commands by section, and its exit code.

What can be typed is in `cli/`; what a command does is in the module that it imports when it runs: `--help` and refused
arguments must not wait for Dagster, SQLAlchemy and NumPy.
"""

import signal
import sys
import threading
import uuid
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from types import FrameType

import click

from market_pipeline.commands.cli.alerting import ALERTING
from market_pipeline.commands.cli.parameters import WIDEST, examples
from market_pipeline.commands.cli.prices import PRICES
from market_pipeline.commands.cli.running import RUNNING
from market_pipeline.commands.cli.upkeep import UPKEEP
from market_pipeline.core.program import PROGRAM
from market_pipeline.logs import bound

_SECTIONS = {"Run": RUNNING, "Prices and anomalies": PRICES, "Alerts": ALERTING, "Installation": UPKEEP}


class Sections(click.Group):
    """A group whose help lists the commands in sections."""

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the name and the first sentence of each command."""
        width = max(len(name) for name in self.commands)
        limit = formatter.width - width - 6
        for title, commands in _SECTIONS.items():
            with formatter.section(title):
                formatter.write_dl(
                    [((one.name or "").ljust(width), one.get_short_help_str(limit)) for one in commands]
                )


@click.group(
    cls=Sections,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": WIDEST},
    commands=[command for commands in _SECTIONS.values() for command in commands],
    epilog=examples("demo", "run", "backfill --help"),
)
@click.version_option(package_name=PROGRAM)
def commands() -> None:
    """Cryptocurrency prices from CoinGecko: collect, check, store and watch them.

    Settings come from the environment or a .env file in the current folder; README.md lists them.
    """


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command and return its exit code.

    0 if it went well, 1 if it failed, 2 with one explanation on standard error if it was refused before any work,
    130 if it was interrupted, 143 if it was terminated.
    """
    # Runs and requests bind ids of their own within this one.
    with bound(trace_id=str(uuid.uuid4())), _terminable() as signals:
        try:
            return int(commands.main(arguments, PROGRAM, standalone_mode=False) or 0)
        except click.exceptions.NoArgsIsHelpError as error:
            error.show()
            return 2
        except (click.MissingParameter, click.NoSuchOption) as error:
            path = error.ctx.command_path if error.ctx else PROGRAM
            return _refused(f"{error.format_message()} `{path} --help` has examples.")
        except click.ClickException as error:
            return _refused(error.format_message())
        except (click.Abort, KeyboardInterrupt):
            return 128 + (signals or [signal.SIGINT])[0]
        except Exception as error:
            return 128 + (signals or [signal.SIGINT])[0] if _is_of_interrupt(error) else _ended_by(error)


@contextmanager
def _terminable() -> Iterator[list[int]]:
    """Let SIGTERM end the block like Ctrl-C, so that it leaves nothing behind; yield the signals that came."""
    received: list[int] = []

    def terminate(number: int, frame: FrameType | None) -> None:
        received.append(number)
        raise KeyboardInterrupt

    if threading.current_thread() is not threading.main_thread():
        yield received
        return
    before = signal.signal(signal.SIGTERM, terminate)
    try:
        yield received
    finally:
        signal.signal(signal.SIGTERM, before)


def _is_of_interrupt(error: BaseException | None) -> bool:
    """Return whether an interrupt caused the error: what an interrupt leaves half done may not close as it should."""
    while error is not None and not isinstance(error, KeyboardInterrupt):
        error = error.__context__
    return error is not None


def _refused(message: str) -> int:
    click.echo(f"{PROGRAM}: {message}", err=True)
    return 2


def _ended_by(error: Exception) -> int:
    from market_pipeline.dagster_instance.home import HomeError
    from market_pipeline.settings import SettingsError
    from market_pipeline.storage.db_errors import StorageError

    if isinstance(error, (SettingsError, HomeError, StorageError)):
        return _refused(str(error))
    # Logged here, while the command's id is bound.
    sys.excepthook(type(error), error, error.__traceback__)
    return 1


if __name__ == "__main__":
    exit_code = main()
    # With `python -m`, an interrupt that has passed through exec() of a string, as when a dataclass is made, would end
    # the process by SIGINT instead of with its exit code: CPython forgets it at the next exec().
    exec("")
    sys.exit(exit_code)
