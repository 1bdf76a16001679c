"""Which folder is DAGSTER_HOME, what is written there, and how an instance begins in it."""

from collections.abc import Mapping
from pathlib import Path

import dagster as dg
import pytest
from sqlalchemy.engine import URL, make_url

from market_pipeline.core.file_lock import is_locked
from market_pipeline.dagster_instance.home import HomeError, configures_storage, create_instance, named_home, own_home
from market_pipeline.dagster_instance.instance_storage import InstanceStorage
from market_pipeline.dagster_instance.running import LOCK, running
from market_pipeline.settings import LOCAL_DAGSTER_HOME

OURS = (Path(__file__).parents[2] / "dagster.yaml").read_text()
POSTGRESQL = InstanceStorage(make_url("postgresql+psycopg2://u@h/db?options=-csearch_path%3Ddagster"), 1_000)
CURSORS = {f"EVENT_LOG_CONSUMER_CURSOR-PIPELINE_{end}" for end in ("SUCCESS", "FAILURE")}


def cursors(home: Path) -> Mapping[str, str]:
    with dg.DagsterInstance.from_config(str(home)) as instance:
        return instance.daemon_cursor_storage.get_cursor_values(CURSORS)


def test_an_empty_variable_counts_as_unset(tmp_path: Path) -> None:
    """Which values are refused, and how, is in the sentences of the commands."""
    assert named_home(tmp_path, {"DAGSTER_HOME": " "}) == tmp_path / LOCAL_DAGSTER_HOME
    assert named_home(tmp_path, {}) == tmp_path / LOCAL_DAGSTER_HOME
    assert named_home(tmp_path, {"DAGSTER_HOME": str(tmp_path)}) == tmp_path


def test_a_config_of_the_user_stays_and_a_missing_one_is_written(tmp_path: Path) -> None:
    config = tmp_path / "dagster.yaml"
    with own_home(tmp_path, ours=False):
        written = config.read_text()
        assert written.endswith(OURS) and not configures_storage(tmp_path)
    with own_home(tmp_path, POSTGRESQL, ours=False):
        assert config.read_text() == written + POSTGRESQL.block, "a command wrote it, and writes it again"
        assert configures_storage(tmp_path)
    with own_home(tmp_path, ours=False):
        assert config.read_text() == written
    config.write_text("telemetry: {enabled: false}\n")
    with own_home(tmp_path, POSTGRESQL, ours=False):
        assert config.read_text() == "telemetry: {enabled: false}\n"
    with own_home(tmp_path, ours=True):
        assert config.read_text() == written


@pytest.mark.parametrize("key", ["storage", "'storage' ", '"run_storage"', "instance_class"])
def test_a_storage_in_the_projects_own_config_stays(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, key: str
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "dagster.yaml").write_text(f"nux: {{enabled: false}}\n{key}: {{}}\n")
    with own_home(tmp_path / "home", POSTGRESQL, ours=True):
        assert (tmp_path / "home" / "dagster.yaml").read_text().endswith(f"\n{key}: {{}}\n")


@pytest.mark.parametrize("broken", ["home", "home/lock/folder", "home/dagster.yaml/folder"])
def test_a_home_that_cannot_be_used_is_refused_in_a_sentence(tmp_path: Path, broken: str) -> None:
    file = tmp_path / broken
    file.parent.mkdir(parents=True, exist_ok=True)
    file.touch()
    with pytest.raises(HomeError, match="home must be a folder"), own_home(tmp_path / "home", ours=True):
        pytest.fail("it was used")


def test_a_start_leaves_the_event_cursors_of_an_instance_in_postgresql(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, empty_postgres_url: URL
) -> None:
    """Its home has no storage of its own; rewound, the daemon would retry failed runs again."""
    monkeypatch.setenv("DAGSTER_PG_URL", empty_postgres_url.render_as_string(hide_password=False))
    (tmp_path / "dagster.yaml").write_text("storage: {postgres: {postgres_url: {env: DAGSTER_PG_URL}}}\n")
    create_instance(tmp_path)
    assert cursors(tmp_path) == dict.fromkeys(CURSORS, "0")
    moved, other = sorted(CURSORS)
    with dg.DagsterInstance.from_config(str(tmp_path)) as instance:
        instance.daemon_cursor_storage.set_cursor_values({moved: "4711"})
    create_instance(tmp_path)
    assert cursors(tmp_path) == {moved: "4711", other: "0"}


def test_looking_whether_a_home_is_in_use_stops_neither_a_start_nor_others_that_look(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    home = tmp_path / "home"
    with own_home(home, ours=True):
        assert running(home) is not None
    with (home / LOCK).open("r+") as query:
        assert not is_locked(query) and running(home) is None
        monkeypatch.setattr("market_pipeline.core.file_lock.time.sleep", lambda _: query.close())
        with own_home(home, ours=True):
            assert running(home) is not None
