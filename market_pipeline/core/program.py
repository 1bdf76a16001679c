"""The commands of this program in messages to people: they work on the data that this process works on."""

import os

PROGRAM = "market-pipeline"
# In the environment of each process that works on the data of `market-pipeline demo`.
DEMO_VARIABLE = "MARKET_PIPELINE_DEMO"
# What `market-pipeline demo` does for its own data.
_DONE_BY_DEMO = ("run", "serve", "watch", "migrate")


def is_demo() -> bool:
    """Return whether this process works on the demo's data."""
    return os.environ.get(DEMO_VARIABLE) == "1"


def command(line: str) -> str:
    """Return a command as it is typed, with `--demo` where it should work on the demo's data."""
    if not is_demo():
        return f"{PROGRAM} {line}"
    return f"{PROGRAM} demo" if line in _DONE_BY_DEMO else f"{PROGRAM} {line} --demo"
