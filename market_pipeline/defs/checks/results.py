"""From what the database found to what the UI shows: verdict, severity, exact count, a bounded
sample, the symbols concerned, and a sentence on how to recover."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import dagster as dg

from market_pipeline.defs.assets.raw_prices import RAW_PRICES
from market_pipeline.defs.assets.table_metadata import records_table

if TYPE_CHECKING:
    from market_pipeline.storage.queries.integrity import Offenders


_PROBLEMS_TOLD = 3
_QUARANTINED = "They are in rejected_prices with the answer they came in; accepted quotes were stored."


def from_offenders(
    check: str, *, stored: "Offenders | None", refused: "Offenders", wrong: str, recovery: str
) -> dg.AssetCheckResult:
    """ERROR if rows that must not exist are stored, WARN if some were refused in this run."""
    if stored is not None and stored.count:
        found, description = stored, f"{stored.count} stored quotes {wrong}: {_symbols(stored)}. {recovery}"
        severity = dg.AssetCheckSeverity.ERROR
    elif refused.count:
        found, description = (
            refused,
            f"Refused in this run: {_symbols(refused)}. {_QUARANTINED} {recovery if stored is None else ''}".rstrip(),
        )
        severity = dg.AssetCheckSeverity.WARN
    else:
        return dg.AssetCheckResult(
            passed=True,
            check_name=check,
            asset_key=RAW_PRICES,
            metadata={"stored": 0, "refused": 0},
            description="none found",
        )
    return dg.AssetCheckResult(
        passed=False,
        check_name=check,
        asset_key=RAW_PRICES,
        severity=severity,
        description=description,
        metadata={
            "stored": stored.count if stored is not None else 0,
            "refused": refused.count,
            "symbols": ", ".join(found.by_symbol),
            "sample": records_table(found.sample),
        },
    )


def from_symbols(
    check: str,
    problems: Mapping[str, str],
    *,
    severity: dg.AssetCheckSeverity,
    good: str,
    recovery: str,
    ages: Mapping[str, float] | None = None,
    asset: str = RAW_PRICES,
) -> dg.AssetCheckResult:
    """Fails with `severity` if any symbol has a problem; each is a row of the metadata table."""
    metadata: dict[str, Any] = {"symbols_failing": len(problems)}
    metadata.update({f"age_seconds_{symbol}": age for symbol, age in (ages or {}).items()})
    if not problems:
        return dg.AssetCheckResult(
            passed=True, check_name=check, asset_key=asset, metadata=metadata, description=good
        )
    metadata["symbols"] = ", ".join(problems)
    metadata["sample"] = records_table([{"symbol": s, "problem": p} for s, p in list(problems.items())[:50]])
    return dg.AssetCheckResult(
        passed=False,
        check_name=check,
        asset_key=asset,
        severity=severity,
        metadata=metadata,
        description=f"{_in_words(problems)} {recovery}",
    )


def _in_words(problems: Mapping[str, str]) -> str:
    """Each problem once, after the symbols that have it; of many the first few."""
    symbols: dict[str, list[str]] = {}
    for symbol, problem in problems.items():
        symbols.setdefault(problem.rstrip("."), []).append(symbol)
    told = [f"{', '.join(whose)}: {problem}." for problem, whose in symbols.items()]
    return " ".join(told[:_PROBLEMS_TOLD]) + (" The table has more." if len(told) > _PROBLEMS_TOLD else "")


def _symbols(offenders: "Offenders") -> str:
    return ", ".join(f"{symbol} {count}" for symbol, count in offenders.by_symbol.items())
