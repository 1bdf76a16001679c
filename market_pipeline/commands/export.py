"""Export prices, candles and anomalies to Parquet or CSV files that other tools read as one table."""

import os
from datetime import date, datetime
from pathlib import Path

import click

from market_pipeline.commands.chart import span_of, without_quotes
from market_pipeline.commands.progress import ExportProgress
from market_pipeline.commands.start import command_settings, database_of
from market_pipeline.core.clock import iso, utc_now
from market_pipeline.core.symbols import Catalogue
from market_pipeline.core.wording import counted
from market_pipeline.pipeline.export import CSV, Order, Written, export, is_free, starts_of
from market_pipeline.storage.queries.coverage import first_times
from market_pipeline.storage.schema.migrate import check_schema


def execute(
    symbols: str,
    start: date | datetime | None,
    end: date | datetime | None,
    interval: str,
    file_format: str,
    out: Path,
    *,
    anomalies: bool,
) -> int:
    """Write the files and return 0. Refuse first what cannot be exported or written."""
    _require_target(out)
    settings, now = command_settings(), utc_now()
    wanted = _symbols(settings.catalogue, symbols)
    first, last = span_of(start or date.min, end, now)
    order = Order(wanted, first if start else None, last, interval, file_format, anomalies)
    database = database_of(settings)
    check_schema(database)
    starts = starts_of(database, order)
    if not starts:
        begins = "; ".join(f"{symbol} begins {iso(at)}" for symbol, at in first_times(database, wanted).items())
        if not begins:
            raise click.UsageError(without_quotes(database, settings.catalogue.coin(wanted[0])))
        raise click.UsageError(f"there are no prices of {', '.join(wanted)} before {iso(last)}; {begins}")
    if missing := [symbol for symbol in wanted if symbol not in starts]:
        click.echo(f"Nothing is stored of {', '.join(missing)} in that time.")
    try:
        with ExportProgress({symbol: (begin, last) for symbol, begin in starts.items()}, order.table) as progress:
            written = export(database, order, out, now, progress)
    except OSError as error:
        reason = error.strerror or error
        raise click.ClickException(f"{out} cannot be written: {reason}; nothing was exported") from None
    for line in _lines(written, out, file_format):
        click.echo(line)
    return 0


def _lines(written: list[Written], out: Path, file_format: str) -> list[str]:
    """Say what was written, and how it is read."""
    lines = [
        f"{out / one.table}: {counted(one.rows, 'row')} in {counted(one.files, 'file')}, {_size(one.bytes)}."
        if one.files
        else f"No {one.table} in that time."
        for one in written
    ]
    first = next((one for one in written if one.files), None)
    if first is not None:
        read = "read_csv" if file_format == CSV else "read_parquet"
        files = (out / first.table / "*" / "*" / f"*.{file_format}").as_posix()
        lines.append(f"""For example: duckdb -c "FROM {read}('{files}', hive_partitioning = true)\"""")
    return lines


def _size(size: int) -> str:
    return f"{size / 1e6:,.1f} MB" if size >= 1e6 else f"{size / 1e3:,.1f} kB"


def _symbols(catalogue: Catalogue, symbols: str) -> list[str]:
    try:
        return list(dict.fromkeys(map(catalogue.validate_symbol, symbols.split(",")))) if symbols else [
            *catalogue.symbols
        ]
    except ValueError as error:
        raise click.UsageError(str(error)) from None


def _require_target(out: Path) -> None:
    if out.exists() and not out.is_dir():
        raise click.UsageError(f"--out {out} is a file; name a folder")
    if out.is_dir() and not is_free(out):
        raise click.UsageError(f"--out {out} is not empty; name another folder, or empty this one")
    parent = next(folder for folder in (out, *out.absolute().parents) if folder.is_dir())
    if not os.access(parent, os.W_OK):
        raise click.UsageError(f"the folder {parent} cannot be written to; choose another for --out")
