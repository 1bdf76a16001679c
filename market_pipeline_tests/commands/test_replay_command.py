"""`market-pipeline replay`: the quarantine judged again, after a look at what would become of it."""

import json
import logging
from datetime import timedelta

import pytest

from market_pipeline.commands.main import main
from market_pipeline.core.clock import start_of_day
from market_pipeline.core.symbols import KNOWN_COINS
from market_pipeline.pipeline.replay import load_refusals
from market_pipeline.prices.quotes import Reason, Refusal, Source
from market_pipeline.simulator.market import MarketModel
from market_pipeline.simulator.server import Simulator
from market_pipeline.storage.rows.records import columns_of
from market_pipeline.storage.rows.write import upsert
from market_pipeline.storage.schema.tables import rejected_prices
from market_pipeline_tests.commands.filling import Filling


@pytest.fixture
def filling(project, monkeypatch):
    monkeypatch.delenv("DAGSTER_HOME", raising=False)
    monkeypatch.chdir(project)
    monkeypatch.setattr(logging.getLogger("market_pipeline"), "handlers", [])
    with Simulator(MarketModel(tuple(KNOWN_COINS.values()), seed=7)) as simulator:
        built = Filling(project, simulator).migrate()
        for name, value in built.environment.items():
            monkeypatch.setenv(name, value)
        yield built
    built.database.dispose()


@pytest.fixture
def refused(filling):
    """A price by today's rules, one that is refused for another reason now, one as before, one cut."""
    noon = start_of_day(filling.days_ago(1)) + timedelta(hours=12)
    points = [
        (Reason.ZERO_PRICE, json.dumps([noon.timestamp() * 1000, 5.0]), Source.HISTORY),
        (Reason.ZERO_PRICE, json.dumps([noon.timestamp() * 1000, -5.0]), Source.HISTORY),
        (Reason.MISSING_PRICE, json.dumps({"bitcoin": None}), Source.LIVE),
        (Reason.BAD_TIMESTAMP, '{"bitcoin": {"usd": 5, ...', Source.LIVE),
    ]
    quarantine(filling, *(
        Refusal("BTC", "simulated:bitcoin", noon.date(), reason, "Refused.", None, payload, source, noon)
        for reason, payload, source in points
    ))
    return noon


def quarantine(filling, *refusals):
    rows = [
        {"id": r.id, "run_id": "r1", **{name: getattr(r, name) for name in r.__dataclass_fields__}}
        for r in refusals
    ]
    upsert(filling.database, rejected_prices, columns_of(rejected_prices, rows))


def test_a_point_of_a_former_coin_changes_no_score(filling, capsys):
    noon = start_of_day(filling.days_ago(1)) + timedelta(hours=12)
    payload = json.dumps([noon.timestamp() * 1000, 5.0])
    quarantine(filling, Refusal(
        "BTC", "bitcoin-cash", noon.date(), Reason.ZERO_PRICE, "Refused.", None, payload, Source.HISTORY, noon
    ))
    assert main(["replay", "--yes"]) == 0
    said = capsys.readouterr().out
    assert "1 point moved to raw_prices" in said and "Anomalies" not in said


def test_what_is_a_price_today_moves_and_its_week_is_scored(filling, refused, capsys):
    assert main(["replay", "--yes"]) == 0
    said = capsys.readouterr().out
    assert "4 refused points in quarantine." in said
    assert "1 refused for zero_price are prices now" in said
    assert "1 refused for zero_price are refused for negative_price now" in said
    assert "1 stay refused for missing_price" in said
    assert "1 stay: the stored part of the answer is cut" in said
    assert "1 point moved to raw_prices, 1 price new or changed." in said
    assert filling.rows() == 1
    assert sorted(point.reason.value for point in load_refusals(filling.database)) == [
        "bad_timestamp", "missing_price", "negative_price",
    ]  # fmt: skip
    (run,) = filling.runs()
    assert (run.job_name, run.status.value) == ("score_days", "SUCCESS")
    assert run.tags["dagster/asset_partition_range_start"] == f"{refused.date()}|BTC"
    assert run.tags["dagster/asset_partition_range_end"].endswith("|DOT"), "it is in the market of all symbols"
    assert filling.simulator.requests == [], "nothing is asked of CoinGecko"
    assert main(["replay", "--yes"]) == 0
    assert "Nothing changes." in capsys.readouterr().out


def test_a_dry_run_and_a_missing_answer_change_nothing(filling, refused, capsys):
    before = load_refusals(filling.database)
    assert main(["replay", "--dry-run"]) == 0
    assert "are prices now" in capsys.readouterr().out
    assert main(["replay"]) == 2
    assert "add --yes" in capsys.readouterr().err
    assert load_refusals(filling.database) == before
    assert filling.rows() == 0


@pytest.mark.parametrize(
    ("narrowed", "found"),
    [
        (["--reason", "zero_price"], 2),
        (["--symbol", "btc"], 4),
        (["--symbol", "ETH"], 0),
        (["--to", "2020-01-01"], 0),
        (["--from", "2020-01-01"], 4),
    ],
)
def test_it_can_be_narrowed_down(filling, refused, capsys, narrowed, found):
    assert main(["replay", "--dry-run", *narrowed]) == 0
    assert f"{found} refused points in quarantine." in capsys.readouterr().out


def test_a_reason_that_there_is_not_is_said_with_those_that_there_are(filling, capsys):
    assert main(["replay", "--reason", "ugly"]) == 2
    assert "zero_price" in capsys.readouterr().err


def test_scores_that_fail_are_told_with_what_to_do(filling, refused, capsys, monkeypatch):
    """The prices have moved by then; nothing is lost."""

    def failing(*given):
        raise RuntimeError("no scores today")

    monkeypatch.setattr("market_pipeline.pipeline.score.detect_days", failing)
    assert main(["replay", "--yes"]) == 1
    said = capsys.readouterr().out
    assert "could not be computed" in said and "no scores today" in said
    assert "Materialize price_anomalies" in said
    assert filling.rows() == 1


def test_a_price_without_a_partition_moves_and_is_scored_nowhere(filling, refused, capsys, monkeypatch):
    monkeypatch.setenv("MARKET_SYMBOLS", "ETH")
    assert main(["replay", "--yes"]) == 0
    assert "Anomalies" not in capsys.readouterr().out
    assert filling.rows() == 1
