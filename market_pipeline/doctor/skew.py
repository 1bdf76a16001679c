"""How far two clocks may differ."""

from market_pipeline.doctor.finding import Finding, fail, ok, warn
from market_pipeline.prices.clock_skew import MEND_CLOCK, differs, words
from market_pipeline.prices.quotes import FUTURE_TOLERANCE
from market_pipeline.words import span

_UNREMARKABLE_SECONDS = 5.0


def skew_finding(name: str, whose: str, skew: float) -> Finding:
    """A finding about `skew`, the seconds by which this machine's clock is ahead of `whose`."""
    numbers = {"skew_seconds": round(skew, 3)}
    detail = words(skew, whose)
    remedy = f"{MEND_CLOCK}."
    if abs(skew) < _UNREMARKABLE_SECONDS:
        return ok(name, detail, **numbers)
    if not differs(skew):
        return warn(name, detail, remedy, **numbers)
    return fail(
        name, f"{detail}: prices are refused or misdated from {span(FUTURE_TOLERANCE)} on", remedy, **numbers
    )
