"""Run every section and print its figures as they come."""

import sys
import warnings
from collections.abc import Sequence

from benchmarks.figures import Section


def sections() -> dict[str, Section]:
    """The sections by name, in the order in which they are printed."""
    from benchmarks import backfill, budget, imports, requests_sent, tables, ticks, year
    from benchmarks.api import report

    return {
        "Requests": requests_sent.figures,
        "The request budget": budget.figures,
        "Filling history": backfill.figures,
        "A year of five symbols, SQLite": year.on_sqlite,
        "A year of five symbols, PostgreSQL": year.on_postgresql,
        "Imports": imports.figures,
        "A tick": ticks.figures,
        "Reading and writing through the IO manager": tables.figures,
        "The HTTP API": report.figures,
    }


def main(arguments: Sequence[str]) -> None:
    """Print all sections, or those whose name contains one of the arguments."""
    warnings.simplefilter("ignore")
    for title, figures in sections().items():
        if arguments and not any(word.lower() in title.lower() for word in arguments):
            continue
        sys.stdout.write(f"\n{title}\n")
        for figure in figures():
            sys.stdout.write(f"{figure}\n")
            sys.stdout.flush()


if __name__ == "__main__":
    main(sys.argv[1:])
