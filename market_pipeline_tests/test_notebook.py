"""The notebook of the documentation runs from its first cell to its last, and shows what they return.

With UPDATE_NOTEBOOK=1 the outputs are written into it. Jupyter's own runner would start a kernel, which takes longer
than the cells and needs some 30 packages.
"""

import ast
import base64
import io
import json
import os
from datetime import timedelta
from pathlib import Path
from typing import Any

import matplotlib
import numpy as np
import pytest
from matplotlib.figure import Figure

from market_pipeline.anomalies.detect import detect_days
from market_pipeline.core.clock import start_of_day, utc_now
from market_pipeline.core.columns import Columns
from market_pipeline.core.symbols import KNOWN_COINS
from market_pipeline.pipeline.bars import bar_rows
from market_pipeline.pipeline.score import anomaly_rows
from market_pipeline.simulator.market_model import MarketModel
from market_pipeline.storage.engine import Database
from market_pipeline.storage.rows.write import upsert
from market_pipeline.storage.schema.tables import daily_bars, price_anomalies, raw_prices

NOTEBOOK = Path(__file__).parents[1] / "docs" / "notebook.ipynb"
SYMBOLS = ("BTC", "ETH", "SOL")
DAYS, SCORED = 10, 2


def fill(database: Database) -> None:
    """Store ten days of three simulated coins every 5 minutes, bars of all and anomalies of the last two.

    Bitcoin rises by a tenth at the last noon, so that there are alarms whatever the date.
    """
    model = MarketModel(tuple(KNOWN_COINS.values()), seed=7)
    end = start_of_day(utc_now().date())
    moments = [end - timedelta(minutes=5 * n - 2) for n in range(DAYS * 288, 0, -1)]
    quotes = [
        (symbol, *quote)
        for symbol in SYMBOLS for moment in moments if (quote := model.quote(KNOWN_COINS[symbol], moment))
    ]
    symbols, values, times = (np.array(column, dtype=object) for column in zip(*quotes, strict=True))
    stamps = np.array([time.replace(tzinfo=None) for time in times], dtype="datetime64[us]")
    jumped = (symbols == "BTC") & (stamps >= stamps.max() - np.timedelta64(12, "h"))
    prices = Columns({"symbol": symbols, "timestamp": stamps, "price": values.astype(float) * (1 + 0.1 * jumped)})
    coins = np.array([KNOWN_COINS[symbol] for symbol in symbols], dtype=object)
    source = np.full(len(prices), "simple_price", dtype=object)
    rows = Columns({**prices.arrays, "coin_id": coins, "source": source, "ingested_at": stamps})
    upsert(database, raw_prices, rows)
    days = [((end - timedelta(days=n)).date(), symbol) for symbol in SYMBOLS for n in range(DAYS, 0, -1)]
    recent = [(day, symbol) for day, symbol in days if day >= (end - timedelta(days=SCORED)).date()]
    upsert(database, price_anomalies, anomaly_rows(database, detect_days(prices, recent, lambda day: None)))
    upsert(database, daily_bars, bar_rows(database, prices, days, utc_now(), None))


def run_cell(source: str, names: dict[str, Any]) -> list[dict[str, Any]]:
    """Run a cell; its last expression as a notebook's outputs."""
    *statements, last = ast.parse(source).body
    if not isinstance(last, ast.Expr):
        statements, last = [*statements, last], ast.Expr(ast.Constant(None))
    exec(compile(ast.Module(statements, []), "<cell>", "exec"), names)
    value = eval(compile(ast.Expression(last.value), "<cell>", "eval"), names)
    if value is None:
        return []
    shown = {"text/plain": repr(value)}
    if html := getattr(value, "_repr_html_", lambda: None)():
        shown["text/html"] = html
    if isinstance(value, Figure):
        picture = io.BytesIO()
        value.savefig(picture, format="png", bbox_inches="tight")
        shown["image/png"] = base64.b64encode(picture.getvalue()).decode()
    data = {kind: content if kind == "image/png" else content.splitlines(True) for kind, content in shown.items()}
    return [{"output_type": "execute_result", "data": data, "metadata": {}, "execution_count": None}]


def test_every_cell_of_the_notebook_runs(sqlite_database: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    fill(sqlite_database)
    monkeypatch.setenv("DATABASE_URL", sqlite_database.url.render_as_string())
    matplotlib.use("agg")
    notebook = json.loads(NOTEBOOK.read_text(encoding="utf-8"))
    names: dict[str, Any] = {}
    cells = [cell for cell in notebook["cells"] if cell["cell_type"] == "code"]
    for number, cell in enumerate(cells, 1):
        outputs = run_cell("".join(cell["source"]), names)
        assert outputs, f"cell {number} shows nothing"
        if os.environ.get("UPDATE_NOTEBOOK"):
            for output in outputs:
                output["execution_count"] = number
            cell.update(outputs=outputs, execution_count=number)
        stored = [sorted(output["data"]) for output in cell["outputs"]]
        assert stored == [sorted(output["data"]) for output in outputs], f"cell {number}: run with UPDATE_NOTEBOOK=1"
    for name in ("prices", "candles", "returns", "bars", "alarms", "coverage"):
        assert len(names[name]), f"{name} is empty"
    names["plt"].close("all")
    names["market"].close()
    if os.environ.get("UPDATE_NOTEBOOK"):
        NOTEBOOK.write_text(json.dumps(notebook, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
