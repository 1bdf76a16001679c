"""Check results: outcome, severity, exact count, a bounded sample, the symbols concerned, and the remedy."""

from collections.abc import Mapping, Sequence
from typing import Any

import dagster as dg

from market_pipeline.core.wording import counted, some
from market_pipeline.defs.assets.raw_prices import RAW_PRICES
from market_pipeline.defs.assets.table_metadata import records_table
from market_pipeline.storage.queries.integrity import Offenders

_PROBLEMS_NAMED = 3
_SYMBOLS_NAMED = 20
_SAMPLE = 50
# The columns of a sample, as many as the page of a check is wide.
_OF_STORED: Sequence[str] = ("symbol", "timestamp", "price", "source", "ingested_at")
_OF_REFUSED: Sequence[str] = ("symbol", "day", "reason", "detail")
_QUARANTINED = "They are in rejected_prices with the offending part of the answer; accepted quotes were stored."


def from_offenders(
    check: str, *, stored: Offenders | None, refused: Offenders, wrong: str, remedy: str
) -> dg.AssetCheckResult:
    """Return ERROR if impossible rows are stored, WARN if some were refused in this run.

    With `stored` None the check is about refusals only, and `remedy` is theirs.
    """
    counts = {"stored": stored.count if stored else 0, "refused": refused.count}
    if stored and stored.count:
        found, severity, columns = stored, dg.AssetCheckSeverity.ERROR, _OF_STORED
        description = f"{counted(stored.count, 'stored quote')} {wrong}: {_by_symbol(stored)}. {remedy}"
    elif refused.count:
        found, severity, columns = refused, dg.AssetCheckSeverity.WARN, _OF_REFUSED
        first = refused.sample[0]
        description = f"Refused in this run: {_by_symbol(refused)}. {first['symbol']}: {first['detail']} {_QUARANTINED}"
        if stored is None and remedy:
            description += f" {remedy}"
    else:
        good = "No quote was refused for any other reason."
        if stored:
            good = f"No quote {wrong}, neither stored nor refused."
        return dg.AssetCheckResult(
            passed=True, check_name=check, asset_key=RAW_PRICES, metadata=counts, description=good
        )
    return dg.AssetCheckResult(
        passed=False,
        check_name=check,
        asset_key=RAW_PRICES,
        severity=severity,
        description=description,
        metadata={**counts, "symbols": ", ".join(found.by_symbol), "sample": _table(found, columns)},
    )


def from_symbols(
    check: str,
    problems: Mapping[str, str],
    *,
    severity: dg.AssetCheckSeverity,
    good: str,
    remedy: str,
    more: Mapping[str, Any] | None = None,
    asset: str = RAW_PRICES,
) -> dg.AssetCheckResult:
    """Return a failure with `severity` if any symbol has a problem; each is a row of the metadata table.

    `more` is added to the metadata.
    """
    metadata = {"symbols_failing": len(problems), **(more or {})}
    if not problems:
        return dg.AssetCheckResult(
            passed=True, check_name=check, asset_key=asset, metadata=metadata, description=f"{good}."
        )
    sample = [{"symbol": symbol, "problem": problem} for symbol, problem in list(problems.items())[:_SAMPLE]]
    return dg.AssetCheckResult(
        passed=False,
        check_name=check,
        asset_key=asset,
        severity=severity,
        metadata={**metadata, "symbols": ", ".join(problems), "sample": records_table(sample)},
        description=f"{_sentences(problems)} {remedy}",
    )


def _sentences(problems: Mapping[str, str]) -> str:
    """Return each problem once, after the symbols that have it; of many the first few."""
    symbols: dict[str, list[str]] = {}
    for symbol, problem in problems.items():
        symbols.setdefault(problem.rstrip("."), []).append(symbol)
    sentences = [f"{some(having, _SYMBOLS_NAMED)}: {problem}." for problem, having in symbols.items()]
    more = " The table has more." if len(sentences) > _PROBLEMS_NAMED else ""
    return " ".join(sentences[:_PROBLEMS_NAMED]) + more


def _table(offenders: Offenders, columns: Sequence[str]) -> dg.TableMetadataValue | dg.TextMetadataValue:
    return records_table([{name: row[name] for name in columns} for row in offenders.sample])


def _by_symbol(offenders: Offenders) -> str:
    return ", ".join(f"{symbol} {count}" for symbol, count in offenders.by_symbol.items())
