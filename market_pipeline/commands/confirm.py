"""Asking a person before something is done."""

import sys

from market_pipeline.commands.home import StartError


def say(line: str = "") -> None:
    """One line on standard output, which is for people; logs go to standard error."""
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


def confirmed(yes: bool) -> bool:
    """Whether to go on: `yes` from the command line, else as a person answers.

    StartError where there is nobody to ask.
    """
    if yes:
        return True
    if not sys.stdin.isatty():
        raise StartError("there is no terminal to ask on; look at the plan and add --yes (YES=1 with make)")
    sys.stdout.write("Go on? [y/N] ")
    sys.stdout.flush()
    if sys.stdin.readline().strip().lower() in ("y", "yes"):
        return True
    say("Nothing was done.")
    return False
