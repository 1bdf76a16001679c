"""Which runs go, and that no status of a partition or check goes with them; on both storages of Dagster."""

import os
import shutil
import time
import uuid
from collections.abc import Iterable, Iterator, Mapping
from datetime import datetime, timedelta, timezone
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import dagster as dg
import pytest
from dagster._core.storage.event_log.schema import AssetCheckExecutionsTable, SqlEventLogStorageTable
from dagster._core.storage.partition_status_cache import get_and_update_asset_status_cache_value
from sqlalchemy import URL, func, select

from market_pipeline.core.clock import DAY, utc_now
from market_pipeline.dagster_instance import retention, run_storage
from market_pipeline.dagster_instance.home import open_instance
from market_pipeline.dagster_instance.nonpublic import data_versions, latest_storage_ids
from market_pipeline.dagster_instance.ownership import INSTALLATION, LOCATION
from market_pipeline.dagster_instance.retention import Kept, Purge, Situation, StoredRun, purge_runs, superseded
from market_pipeline_tests.forking import kill_self, killed_fork
from market_pipeline_tests.postgres import Databases

NOW = datetime(2026, 5, 20, 12, tzinfo=timezone.utc)
HERE = {LOCATION: "here", INSTALLATION: "ours"}
KEEP = timedelta(days=7)
PARTS = dg.StaticPartitionsDefinition(["a", "b"])


def run(
    name: str, days: float | None, tags: Mapping[str, str] | None = None, *, success: bool = True, job: str = "tick"
) -> StoredRun:
    """A run that ended so many days ago."""
    ended = None if days is None else NOW - timedelta(days=days)
    return StoredRun(name, job, {**HERE, **(tags or {})}, ended, success)


def decide(runs: Iterable[StoredRun], carriers: Iterable[str] = (), backfills: Iterable[str] = ()) -> Any:
    return superseded(runs, Situation(NOW, KEEP, "here", set(carriers), set(backfills)))


def test_old_runs_go_except_the_last_of_each_day_and_those_that_carry_a_status() -> None:
    runs = [
        run("now", 0.01), run("6d", 6.9), run("8d late", 8.1), run("8d early", 8.2), run("29d", 29), run("31d", 31),
        run("carrier", 200), run("200d", 200.1),
    ]
    gone, kept = decide(runs, carriers=["carrier", "now"])
    assert gone == ["8d early", "31d", "200d"]
    assert kept == {Kept.RECENT: 2, Kept.DAILY: 2, Kept.STATUS: 1}


def test_the_newest_good_and_the_newest_failed_run_of_each_job_stay() -> None:
    """What doctor and the page say of a job rests on them."""
    runs = [
        run("failed", 40, success=False), run("good", 50), run("older failed", 60, success=False), run("older", 70),
        run("elsewhere", 80, {INSTALLATION: "another"}), run("seldom", 300, job="score_days"),
    ]
    gone, kept = decide(runs)
    assert gone == ["older failed", "older"]
    assert kept == {Kept.NEWEST: 4}


def test_a_failed_run_stays_for_a_month_and_so_does_what_was_retried() -> None:
    runs = [
        run("good", 0.5), run("failed now", 0.6, success=False), run("last of day", 20),
        run("failed", 20.1, success=False),
        run("retry", 25, {"dagster/parent_run_id": "first", "dagster/root_run_id": "first"}),
        run("first", 25.01, success=False), run("failed long ago", 31, success=False),
        run("retry long ago", 32, {"dagster/parent_run_id": "before"}), run("before", 32.1, success=False),
    ]
    gone, kept = decide(runs, carriers=["retry long ago"])
    assert gone == ["failed long ago"]
    assert kept[Kept.RETRIED] == 1 and kept[Kept.FAILED] == 2


def test_what_has_not_ended_and_what_is_not_ours_stays() -> None:
    runs = [
        run("newest", 1), run("running", None), run("of a backfill", 100, {"dagster/backfill": "open"}),
        run("of an ended backfill", 101, {"dagster/backfill": "ended"}),
        StoredRun("theirs", "tick", {LOCATION: "there", INSTALLATION: "ours"}, NOW - 100 * DAY, True),
        StoredRun("of nobody", "job", {}, NOW - 100 * DAY, True),
        StoredRun("of a command", "tick", {INSTALLATION: "ours"}, NOW - 100 * DAY, True),
        StoredRun("of an earlier command", "tick", {INSTALLATION: "ours"}, NOW - 101 * DAY, True),
    ]
    gone, kept = decide(runs, backfills=["open"])
    assert gone == ["of an ended backfill", "of an earlier command"]
    assert kept == {Kept.RECENT: 1, Kept.UNFINISHED: 2, Kept.FOREIGN: 2, Kept.NEWEST: 1}


@dg.asset(partitions_def=PARTS)
def prices(context: dg.AssetExecutionContext) -> dg.Output[int]:
    return dg.Output(1, data_version=dg.DataVersion(context.run.tags["version"]))


@dg.asset(partitions_def=PARTS, deps=[prices])
def scores(context: dg.AssetExecutionContext) -> None:
    if context.run.tags.get("fails"):
        raise dg.Failure("as asked", allow_retries=False)


@dg.asset(partitions_def=PARTS)
def observations(context: dg.AssetExecutionContext) -> None:
    if not context.run.tags.get("silent"):
        context.log_event(dg.AssetObservation("observations", partition=context.partition_key))


@dg.asset_check(asset=prices)
def good() -> dg.AssetCheckResult:
    return dg.AssetCheckResult(passed=True, metadata={"number": 1})


DEFS = dg.Definitions(
    assets=[prices, scores], asset_checks=[good], jobs=[dg.define_asset_job("tick")], executor=dg.in_process_executor
)


@pytest.fixture(params=["sqlite", "postgresql"])
def empty_home(
    request: pytest.FixtureRequest, tmp_path: Path, home_template: Path, monkeypatch: pytest.MonkeyPatch
) -> Path:
    """A home without runs, with each storage of Dagster."""
    home = tmp_path / "home"
    if request.param == "sqlite":
        shutil.copytree(home_template, home)
    else:
        databases: Databases = request.getfixturevalue("postgres_databases")
        url: URL = databases.make()
        home.mkdir()
        (home / "dagster.yaml").write_text("storage: {postgres: {postgres_url: {env: RETENTION_TEST_URL}}}\n")
        monkeypatch.setenv("RETENTION_TEST_URL", url.render_as_string(hide_password=False))
    return home


@pytest.fixture
def filled(empty_home: Path) -> Iterator[dg.DagsterInstance]:
    """An instance with four runs, of the partitions a, b, a, and b, whose scores could then not be computed again."""
    with open_instance(empty_home, capture=False) as instance:
        for number, (key, tags) in enumerate([("a", {}), ("b", {}), ("a", {}), ("b", {"fails": "yes"})]):
            execute(instance, key, {**tags, "version": str(number)})
        yield instance


def execute(instance: dg.DagsterInstance, key: str, tags: Mapping[str, str]) -> str:
    job = DEFS.resolve_job_def("tick")
    return job.execute_in_process(
        instance=instance, partition_key=key, tags={**HERE, **tags}, raise_on_error=False
    ).run_id


def purge(instance: dg.DagsterInstance, **options: Any) -> Purge:
    options = {"now": utc_now() + 40 * DAY, "keep": KEEP, "within": timedelta(minutes=1), **options}
    return purge_runs(instance, "here", **options)


def killed(*_: object) -> None:
    raise KeyboardInterrupt


def runs_of(instance: dg.DagsterInstance) -> set[str]:
    return {record.dagster_run.run_id for record in instance.get_run_records()}


def state(instance: dg.DagsterInstance) -> dict[str, Any]:
    """Everything that must be the same afterwards: statuses, computed anew, versions, order, checks."""
    found: dict[str, Any] = {}
    for asset in ("prices", "scores"):
        key = dg.AssetKey(asset)
        instance.event_log_storage.wipe_asset_cached_status(key)
        found[asset] = get_and_update_asset_status_cache_value(instance, key, PARTS)
        found[f"{asset} ids"] = latest_storage_ids(instance, asset, ["a", "b"])
    found["versions"] = data_versions(instance, "prices", ["a", "b"])
    check = dg.AssetCheckKey(dg.AssetKey("prices"), "good")
    found["check"] = instance.event_log_storage.get_latest_asset_check_execution_by_key([check])
    return found


def rows(instance: dg.DagsterInstance, table: Any, run_ids: Iterable[str]) -> int:
    with instance.event_log_storage.index_connection() as connection:  # type: ignore[attr-defined]  # SQL storages
        statement = select(func.count()).select_from(table).where(table.c.run_id.in_(list(run_ids)))
        return int(connection.execute(statement).scalar_one())


def test_superseded_runs_go_and_every_status_stays(filled: dg.DagsterInstance) -> None:
    """A dry run, one that is out of time, one that is killed, one that ends, and one more; then a new event."""
    before, status = runs_of(filled), state(filled)
    assert (purge(filled, dry_run=True).found, purge(filled, within=timedelta(seconds=-1)).deleted) == (1, 0)
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(run_storage, "delete_files", killed)
        with pytest.raises(KeyboardInterrupt):
            purge(filled)
    assert runs_of(filled) == before and state(filled) == status, "the run is there until all of it is gone"
    done = purge(filled)
    (gone,) = before - runs_of(filled)
    assert (done.deleted, done.kept) == (1, {Kept.STATUS: 3})
    assert state(filled) == status
    assert status["scores"].deserialize_failed_partition_subsets(PARTS).get_partition_keys() == {"b"}
    for table in (SqlEventLogStorageTable, AssetCheckExecutionsTable):
        assert rows(filled, table, [gone]) == 0 < rows(filled, table, runs_of(filled))
    assert [file for file in Path(filled.root_directory).rglob("*") if gone in str(file)] == []
    assert purge(filled).deleted == 0, "again nothing changes"
    assert run_storage.vacuum(filled) in ("done", "not needed")
    assert run_storage.stored_bytes(filled) > 100_000
    # SQLite gives the number of a deleted last event again, and the cached status would not see the new one.
    newest = filled.event_log_storage.get_maximum_record_id() or 0
    execute(filled, "b", {"version": "newer"})
    assert data_versions(filled, "prices", ["b"]) == {"b": "newer"}
    cached = get_and_update_asset_status_cache_value(filled, dg.AssetKey("prices"), PARTS)
    assert cached is not None and cached.latest_storage_id > newest


@dg.op
def _nothing() -> None:
    """Do nothing."""


@dg.job(executor_def=dg.in_process_executor)
def _without_assets() -> None:
    _nothing()


@pytest.fixture
def with_backlog(empty_home: Path) -> tuple[Path, set[str]]:
    """A home with five runs, and those three of them that are superseded."""
    with open_instance(empty_home, capture=False) as instance:
        first = execute(instance, "a", {"version": "0"})
        others = [_without_assets.execute_in_process(instance=instance, tags=HERE).run_id for _ in range(3)]
        execute(instance, "a", {"version": "1"})
    return empty_home, {first, *others[:2]}


def test_a_purge_that_is_killed_is_ended_by_the_next(
    with_backlog: tuple[Path, set[str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Between two batches, and within one after its events: no run is half gone for good."""
    home, backlog = with_backlog
    monkeypatch.setattr(retention, "_BATCH", 1)

    def purge_until(part: str) -> None:
        with pytest.MonkeyPatch.context() as patched, open_instance(home, capture=False) as opened:
            patched.setattr(part, kill_self)
            purge(opened)

    with open_instance(home, capture=False) as instance:
        before, status = runs_of(instance), state(instance)
    killed_fork(lambda: purge_until("market_pipeline.dagster_instance.retention.time.sleep"))
    with open_instance(home, capture=False) as instance:
        left = runs_of(instance)
        assert len(before - left) == 1 and before - left < backlog
        assert state(instance) == status
    killed_fork(lambda: purge_until("market_pipeline.dagster_instance.run_storage.delete_files"))
    with open_instance(home, capture=False) as instance:
        assert (runs_of(instance), state(instance)) == (left, status)
        assert purge(instance).deleted == 2
        assert (runs_of(instance), state(instance)) == (before - backlog, status)
        for table in (SqlEventLogStorageTable, AssetCheckExecutionsTable):
            assert rows(instance, table, backlog) == 0
        assert [file for file in Path(instance.root_directory).rglob("*") if file.stem in backlog] == []


@pytest.mark.parametrize("empty_home", ["sqlite"], indirect=True)
def test_two_purges_at_once_delete_what_one_would(
    with_backlog: tuple[Path, set[str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The second begins and ends while the first is between its batches."""
    home, backlog = with_backlog
    monkeypatch.setattr(retention, "_BATCH", 1)
    with open_instance(home, capture=False) as instance:
        before, status = runs_of(instance), state(instance)
        seconds: list[int] = []

        def purge_beside(_: float) -> None:
            clock.sleep = lambda _: None
            with open_instance(home, capture=False) as other:
                seconds.append(purge(other).deleted)

        # In place of the module: other threads sleep, too.
        clock = SimpleNamespace(monotonic=time.monotonic, sleep=purge_beside)
        monkeypatch.setattr(retention, "time", clock)
        assert purge(instance).deleted == 3
        assert seconds == [2]
        assert (runs_of(instance), state(instance)) == (before - backlog, status)


def test_each_kind_of_status_keeps_the_run_that_carries_it(instance: dg.DagsterInstance) -> None:
    """One run a kind, so that no other reason keeps it."""

    def materialized(asset: dg.AssetsDefinition, key: str = "a", **tags: str) -> str:
        tags = {"version": "1", **tags}
        return dg.materialize(
            [asset], instance=instance, partition_key=key, tags=tags, raise_on_error=False
        ).run_id

    superseded_run = materialized(prices)
    observed = materialized(observations)
    materialized_again = materialized(observations, silent="yes")
    good_scores, failed_scores = materialized(scores), materialized(scores, fails="yes")
    other_scores = materialized(scores, "b")
    newest_prices = materialized(prices)
    newest_event = _without_assets.execute_in_process(instance=instance).run_id
    expected = {
        observed, materialized_again, good_scores, failed_scores, other_scores, newest_prices, newest_event
    }
    assert run_storage.carriers(instance) == expected, superseded_run


def test_files_without_a_run_go_after_a_day(instance: dg.DagsterInstance) -> None:
    """Dagster leaves a run's database when it deletes the run, and makes one for a page of a run that is gone."""
    run_id = DEFS.resolve_job_def("tick").execute_in_process(
        instance=instance, partition_key="a", tags={**HERE, "version": "1"}
    ).run_id
    folder = Path(instance.root_directory, "history", "runs")
    instance.delete_run(run_id)
    unknown = str(uuid.uuid4())
    (folder / f"{unknown}.db").touch()
    (folder / "notes.db").touch()
    assert (folder / f"{run_id}.db").exists(), "Dagster deletes it now: the sweep is not needed"
    assert purge(instance, dry_run=True).orphans == 2
    assert purge(instance, now=utc_now()).orphans == 0, "too new"
    old = time.time() - 2 * 86_400
    os.utime(folder / f"{unknown}.db", (old, old))
    assert purge(instance, now=utc_now()).orphans == 1
    assert purge(instance).orphans == 1
    assert {file.name for file in folder.glob("*.db")} == {"index.db", "notes.db"}
