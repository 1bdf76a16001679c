"""`market-pipeline replay`, `rename` and `migrate-db`: what is stored changes, and Dagster's partitions follow."""

import json
import re
from collections.abc import Sequence
from datetime import datetime, timedelta

import dagster as dg
import pytest
import time_machine
from sqlalchemy import URL, make_url

from market_pipeline.commands import migrate_db
from market_pipeline.commands.main import main
from market_pipeline.core.clock import start_of_day, utc_now
from market_pipeline.dagster_instance.home import files_instance, open_instance
from market_pipeline.dagster_instance.instance_storage import storage_of
from market_pipeline.dagster_instance.nonpublic import DATA_VERSION, data_versions, latest_storage_ids
from market_pipeline.dagster_instance.ownership import INSTALLATION
from market_pipeline.defs.partitions import partition_key
from market_pipeline.pipeline.replay import load_refusals
from market_pipeline.prices.quotes import Reason, Refusal, Source
from market_pipeline.settings import LOCAL_DAGSTER_HOME as HOME
from market_pipeline.settings import load_settings
from market_pipeline.storage.copy import Comparison, Part, copy_part
from market_pipeline.storage.engine import Database
from market_pipeline.storage.schema.tables import raw_prices, rejected_prices
from market_pipeline_tests.builders import price_row, store, stored_rows
from market_pipeline_tests.commands.filling import Filling
from market_pipeline_tests.dagster_records import ended

Capture = pytest.CaptureFixture[str]
BITCOIN = "simulated:bitcoin"


@pytest.fixture
def noon(filling: Filling) -> datetime:
    return start_of_day(filling.days_ago(1)) + timedelta(hours=12)


def quarantine(filling: Filling, noon: datetime, *points: tuple[str, str], coin: str = BITCOIN) -> None:
    """Store refused points of BTC: the reason and the payload."""
    for reason, payload in points:
        source = Source.HISTORY if payload.startswith("[") else Source.LIVE
        refusal = Refusal("BTC", coin, noon.date(), Reason(reason), "Refused.", None, payload, source, noon)
        row = {**{name: getattr(refusal, name) for name in refusal.__dataclass_fields__}, "id": refusal.id}
        store(filling.database, rejected_prices, {**row, "run_id": "r1"})


@pytest.fixture
def refused(filling: Filling, noon: datetime) -> datetime:
    """A price by these rules, one that is refused for another reason, one as before, one cut; all at this time."""
    quarantine(
        filling, noon,
        ("zero_price", json.dumps([noon.timestamp() * 1000, 5.0])),
        ("zero_price", json.dumps([noon.timestamp() * 1000, -5.0])),
        ("missing_price", '{"bitcoin": null}'),
        ("bad_timestamp", '{"bitcoin": {"usd": 5, ...'),
    )
    return noon


@pytest.mark.slow
def test_a_price_by_these_rules_moves_and_its_week_is_scored(
    filling: Filling, refused: datetime, capsys: Capture
) -> None:
    assert main(["replay", "--yes"]) == 0
    assert "1 point moved to raw_prices, 1 price new or changed." in capsys.readouterr().out
    assert filling.rows() == 1
    assert sorted(point.reason.value for point in load_refusals(filling.database)) == [
        "bad_timestamp", "missing_price", "negative_price",
    ]
    (run,) = filling.runs()
    assert (run.job_name, run.status.value) == ("score_days", "SUCCESS")
    before = refused.date() - timedelta(days=1)
    assert run.tags["dagster/asset_partition_range_start"] == f"{before}|BTC", "it may confirm what was flagged then"
    assert run.tags["dagster/asset_partition_range_end"].endswith("|DOT"), "it is in the market of all symbols"
    assert filling.simulator.requests == []
    assert main(["replay", "--yes"]) == 0
    assert "Nothing changes." in capsys.readouterr().out


@pytest.mark.parametrize(("more", "code"), [(["--dry-run"], 0), ([], 2)])
def test_without_consent_nothing_changes(filling: Filling, refused: datetime, more: list[str], code: int) -> None:
    before = load_refusals(filling.database)
    assert main(["replay", *more]) == code
    assert load_refusals(filling.database) == before and filling.rows() == 0


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
def test_replay_can_be_narrowed_down(
    filling: Filling, refused: datetime, capsys: Capture, narrowed: Sequence[str], found: int
) -> None:
    assert main(["replay", "--dry-run", *narrowed]) == 0
    assert f"{found} refused points in quarantine." in capsys.readouterr().out


@pytest.mark.slow
def test_scores_that_fail_are_reported_with_the_remedy(
    filling: Filling, refused: datetime, capsys: Capture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The prices have moved by then; nothing is lost."""

    def failing(*given: object) -> None:
        raise RuntimeError("no scores today")

    monkeypatch.setattr("market_pipeline.pipeline.score.detect_days", failing)
    assert main(["replay", "--yes"]) == 1
    said = capsys.readouterr().out
    assert "no scores today" in said and "Materialize price_anomalies" in said
    assert filling.rows() == 1


@pytest.mark.parametrize(("coin", "symbols"), [("bitcoin-cash", "BTC"), (BITCOIN, "ETH")])
def test_a_point_of_a_former_coin_or_symbol_moves_and_is_scored_nowhere(
    filling: Filling, noon: datetime, monkeypatch: pytest.MonkeyPatch, coin: str, symbols: str
) -> None:
    monkeypatch.setenv("MARKET_SYMBOLS", symbols)
    quarantine(filling, noon, ("zero_price", json.dumps([noon.timestamp() * 1000, 5.0])), coin=coin)
    assert main(["replay", "--yes"]) == 0
    assert filling.rows() == 1 and filling.runs() == []


@pytest.mark.slow
def test_a_renamed_symbol_is_complete_and_green_under_its_new_name(
    filling: Filling, monkeypatch: pytest.MonkeyPatch, capsys: Capture
) -> None:
    monkeypatch.setenv("MARKET_SYMBOLS", "BTC,ETH")
    assert filling.backfill(1, 1, "--symbols", "BTC", "--yes") == 0
    before, day = filling.rows(), filling.days_ago(1)
    capsys.readouterr()
    assert main(["rename", "btc", "XBT", "--yes"]) == 0
    said = capsys.readouterr().out
    assert "Renamed; 3 partitions of XBT reported to Dagster." in said
    assert "Now set MARKET_SYMBOLS=XBT=bitcoin,ETH and start again." in said
    keys = [f"{day}|BTC", f"{day}|XBT"]
    with filling.instance() as instance:
        assert set(keys) <= instance.get_materialized_partitions(dg.AssetKey("price_anomalies"))
        versions = data_versions(instance, "price_anomalies", keys)
    assert versions[keys[0]] == versions[keys[1]], "the detectors that scored it"
    monkeypatch.setenv("MARKET_SYMBOLS", "XBT=bitcoin,ETH")
    assert filling.backfill(1, 1, "--symbols", "XBT", "--yes") == 0
    assert "Everything from" in capsys.readouterr().out and filling.rows() == before
    assert len(filling.history) == 1, "nothing is requested again"
    assert main(["rename", "BTC", "XBT", "--yes"]) == 0
    said = capsys.readouterr().out
    assert "0 prices of BTC" in said and "Renamed; 0 partitions" in said and "MARKET_SYMBOLS" not in said


def test_an_id_is_renamed_without_dagster(filling: Filling) -> None:
    store(filling.database, raw_prices, price_row("OLD", coin_id="one"))
    (filling.project / HOME / "history").rename(filling.project / "history")
    assert main(["rename", "OLD", "OLD=two", "--yes"]) == 0
    assert not (filling.project / HOME / "history").exists()


def test_migrate_db_copies_everything_and_its_name_is_the_setting(
    filling: Filling, empty_postgres_url: URL, capsys: Capture, monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    source, target = str(filling.database.url), empty_postgres_url.render_as_string(hide_password=False)
    assert main(["migrate-db", "--from", "sqlite:///typo.db", "--yes"]) == 2
    assert main(["migrate-db", "--from", "mysql://host/name", "--yes"]) == 2
    assert main(["migrate-db", "--from", source, "--to", source, "--yes"]) == 2
    store(filling.database, raw_prices, price_row("BTC", price=1 / 3), price_row("OTHER"))
    keys = [str(partition_key(filling.days_ago(days), "BTC")) for days in (3, 1, 2)]
    with open_instance(filling.project / HOME) as files:
        for key in keys:
            event = dg.AssetMaterialization("raw_prices", partition=key, metadata={"rows": 7}, tags={DATA_VERSION: key})
            files.report_runless_asset_event(event)
    assert main(["migrate-db", "--from", source, "--to", target]) == 2, "no consent without a terminal"
    assert main(["migrate-db", "--yes"]) == 2, "both would be DATABASE_URL"
    monkeypatch.setenv("DATABASE_URL", target)

    def then_a_price_comes(source: Database, target: Database, part: Part) -> Comparison:
        compared = copy_part(source, target, part)
        store(filling.database, raw_prices, price_row("LATE"))
        return compared

    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(migrate_db, "copy_part", then_a_price_comes)
        assert main(["migrate-db", "--from", source, "--yes"]) == 1
    assert "since they were copied: raw_prices LATE 2024." in capsys.readouterr().out
    assert main(["migrate-db", "--from", source, "--partitions", "--yes"]) == 0
    out = capsys.readouterr().out
    assert re.search(r"\b1  [0-9a-f]{16}  raw_prices OTHER 2024\n", out) and "hold the same rows" in out
    copied = Database(make_url(target))
    assert stored_rows(copied, raw_prices) == stored_rows(filling.database, raw_prices)
    copied.dispose()
    with open_instance(filling.project / HOME, storage_of(load_settings(None))) as instance:
        numbers = latest_storage_ids(instance, "raw_prices", keys)
        assert sorted(keys, key=numbers.__getitem__) == keys, "in the same order"
        assert data_versions(instance, "raw_prices", keys) == dict(zip(keys, keys, strict=True))
        newest = instance.get_latest_materialization_event(dg.AssetKey("raw_prices"))
        assert newest and newest.asset_materialization and newest.asset_materialization.metadata["rows"].value == 7
    assert "copies which partitions are materialized" not in caplog.text, "no advice to do what it does"
    assert main(["migrate-db", "--from", source, "--yes"]) == 2, "once it is complete, the target is in use"
    renewed = dg.AssetMaterialization("raw_prices", partition=keys[0], tags={DATA_VERSION: "renewed since"})
    with open_instance(filling.project / HOME, storage_of(load_settings(None))) as instance, \
            files_instance(filling.project / HOME) as files:
        files.report_runless_asset_event(renewed)
        instance.report_runless_asset_event(
            dg.AssetMaterialization("raw_prices", partition=keys[1], tags={DATA_VERSION: "newer here"})
        )
    for expected in ("1 partition reported", "0 partitions reported"):
        assert main(["migrate-db", "--partitions"]) == 0, "from the files, where prices are there already"
        assert expected in capsys.readouterr().out
    with open_instance(filling.project / HOME, storage_of(load_settings(None))) as instance:
        versions = data_versions(instance, "raw_prices", keys)
        assert versions == {keys[0]: "renewed since", keys[1]: "newer here", keys[2]: keys[2]}


def test_retention_deletes_superseded_runs_and_a_dry_run_none(filling: Filling, capsys: Capture) -> None:
    with filling.instance() as instance, time_machine.travel(utc_now() - timedelta(days=40)):
        for _ in range(3):
            ended(instance, dg.DagsterRunStatus.SUCCESS, tags={INSTALLATION: "of these settings"})
    assert main(["retention", "--dry-run"]) == 0
    assert "2 runs would be deleted, 1 kept." in capsys.readouterr().out and len(filling.runs()) == 3
    assert main(["retention"]) == 0
    assert "2 runs deleted, 1 kept." in capsys.readouterr().out and len(filling.runs()) == 1
