"""How a failed collection is shown in Dagster: one Failure that says which symbols, why, and what
to do. The client has retried already, so Dagster does not."""

from collections.abc import Mapping, Sequence

import dagster as dg

from market_pipeline.coingecko.errors import CoinGeckoError, SourceDown, TransientError
from market_pipeline.prices.clock_skew import complaint
from market_pipeline.words import some


def collection_failure(failures: Mapping[str, CoinGeckoError], clock_skew: float | None) -> dg.Failure:
    """The Failure of a run in which these symbols could not be collected, which names a wrong clock first."""
    first = next(iter(failures.values()))
    unasked = [symbol for symbol, error in failures.items() if isinstance(error, SourceDown)]
    failed = [symbol for symbol in failures if symbol not in unasked]
    what_next = (
        "What is stored is kept; the same partitions can be materialized again at any time."
        if isinstance(first, TransientError)
        else "Mend the cause before materializing the same partitions again."
    )
    clock = f"{said} " if (said := complaint(clock_skew)) else ""
    return dg.Failure(
        description=f"{clock}No prices for {some(failed, 20)}: {first.verdict}{_not_asked(unasked)} {what_next}",
        metadata={
            "symbols": ", ".join(failures),
            "endpoint": first.endpoint,
            "status": first.status if first.status is not None else "no answer",
            "attempts": first.attempts,
            "verdict": first.verdict,
            "errors": dg.MetadataValue.md(
                "\n".join(f"- **{symbol}**: {error}" for symbol, error in failures.items())
            ),
        },
        allow_retries=False,
    )


def _not_asked(symbols: Sequence[str]) -> str:
    return f" After that nothing was asked for {some(symbols, 20)}." if symbols else ""
