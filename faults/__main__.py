"""Run the sections and print their figures as they come."""

import importlib
import logging
import os
import sys
import time
import traceback
import warnings

import click

from benchmarks.figures import Figure
from faults.options import Options, Section
from market_pipeline.logs.formats import LineFormatter

# Name, as given on the command line, and title; each is a module of this package, imported when it is its turn.
SECTIONS = {
    "kills": "Runs killed with -9",
    "outages": "PostgreSQL goes away",
    "disks": "Full and read-only disks",
    "locks": "Locks and readers of others",
    "hostile_answers": "Hostile answers",
    "upgrades": "Upgrades from every earlier revision",
    "soak": "A soak: a week of ticks in one worker",
    "long_living": "Daemon, code server, webserver and API over many evaluations",
    "deployment": "The services of deploy/compose.yaml, stopped and killed",
    "celery_workers": "Celery workers on several machines",
}


def section(name: str) -> Section:
    """Import the section of this name."""
    found: Section = importlib.import_module(f"faults.{name}").figures
    return found


@click.command(context_settings={"help_option_names": ["-h", "--help"]})
@click.argument("names", nargs=-1, metavar="[NAME]...")
@click.option("--quick", is_flag=True, help="Small sizes: seconds instead of minutes.")
@click.option("--size", type=click.IntRange(min=1), help="How many kills, answers or ticks of each section.")
@click.option("--minutes", type=click.FloatRange(min=0), help="End the repetitions of each section after so long.")
@click.option("--seed", type=int, default=1, show_default=True, help="Of all random choices.")
def main(names: tuple[str, ...], quick: bool, size: int | None, minutes: float | None, seed: int) -> None:
    """Run the sections whose names contain a NAME, by default all; end with 1 if a promise does not hold."""
    warnings.simplefilter("ignore")
    _log_to_nowhere()
    wanted = [known for known in SECTIONS if not names or any(name in known for name in names)]
    if not wanted:
        raise click.BadParameter(f"no section is named so; there are {', '.join(SECTIONS)}", param_hint="NAME")
    broken = [name for name in wanted if not run(name, Options(seed, quick, size, minutes))]
    if broken:
        click.echo(f"\nBroken: {', '.join(broken)}")
        sys.exit(1)


def _log_to_nowhere() -> None:
    """Let every line be formatted, as hostile text must not break that, and show none."""
    handler = logging.StreamHandler(open(os.devnull, "w", encoding="utf-8"))
    handler.setFormatter(LineFormatter())
    logging.basicConfig(handlers=[handler], level=logging.INFO)


def run(name: str, options: Options) -> bool:
    """Print the figures of one section; return whether all of them hold. One that ends with an error holds nothing."""
    click.echo(f"\n{SECTIONS[name]} (faults/{name}.py, seed {options.seed})")
    started, held = time.monotonic(), True
    try:
        for figure in section(name)(options):
            held = held and figure.holds
            show(figure)
    # The other sections are worth their time all the same.
    except Exception:
        traceback.print_exc()
        held = False
    click.echo(f"  {time.monotonic() - started:.0f} s")
    return held


def show(figure: Figure) -> None:
    """Print a figure at once, also into a pipe."""
    click.echo(str(figure))
    sys.stdout.flush()


if __name__ == "__main__":
    main()
