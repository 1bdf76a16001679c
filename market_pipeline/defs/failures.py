"""How a failed collection is shown in Dagster: one Failure that says which symbols, why, and what
to do. The client has retried already, so Dagster does not."""

from collections.abc import Mapping

import dagster as dg

from market_pipeline.coingecko.errors import CoinGeckoError, TransientError


def collection_failure(failures: Mapping[str, CoinGeckoError]) -> dg.Failure:
    """The Failure of a run in which these symbols could not be collected."""
    first = next(iter(failures.values()))
    what_next = (
        "What is stored is kept; the same partitions can be materialized again at any time."
        if isinstance(first, TransientError)
        else "Mend the cause before materializing the same partitions again."
    )
    return dg.Failure(
        description=f"No prices for {', '.join(failures)}: {first.verdict} {what_next}",
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
