"""Which folder is DAGSTER_HOME, what is written there, and how an instance begins in it."""

import dagster as dg
import pytest

from market_pipeline.commands.main import main
from market_pipeline.commands.ports import free_port
from market_pipeline.dagster_instance.home import HomeError, create_instance, named_home, own_home
from market_pipeline.settings import LOCAL_DAGSTER_HOME

CURSORS = {f"EVENT_LOG_CONSUMER_CURSOR-PIPELINE_{end}" for end in ("SUCCESS", "FAILURE")}


def cursors(home):
    with dg.DagsterInstance.from_config(str(home)) as instance:
        return instance.daemon_cursor_storage.get_cursor_values(CURSORS)


@pytest.mark.parametrize(
    ("given", "complaint"),
    [
        ("/nowhere/at/all", "DAGSTER_HOME=/nowhere/at/all does not exist; create the folder, or unset DAGSTER_HOME"),
        ("some/where", "DAGSTER_HOME=some/where is not an absolute path; write the whole path"),
        (__file__, f"DAGSTER_HOME={__file__} is not a folder"),
    ],
)
@pytest.mark.parametrize(
    "command",
    [["run"], ["serve"], ["backfill", "--from", "2026-01-01", "--to", "2026-01-01", "--yes"], ["replay"]],
    ids=lambda command: command[0],
)
def test_every_command_refuses_a_home_that_does_not_exist(project, monkeypatch, capsys, command, given, complaint):
    monkeypatch.chdir(project)
    monkeypatch.setenv("DAGSTER_HOME", given)
    monkeypatch.setenv("HISTORY_START", "2025-01-01")
    assert main(command) == 2
    assert complaint in capsys.readouterr().err
    assert {file.name for file in project.iterdir()} == {".env", "dagster.yaml", "workspace.yaml"}, "nothing is begun"


def test_an_empty_variable_counts_as_unset(tmp_path):
    assert named_home(tmp_path, {"DAGSTER_HOME": " "}) == tmp_path / LOCAL_DAGSTER_HOME
    assert named_home(tmp_path, {}) == tmp_path / LOCAL_DAGSTER_HOME


def test_run_works_in_the_home_that_is_named(project, monkeypatch, capsys):
    """One that is taken tells which it is before anything starts."""
    monkeypatch.chdir(project)
    home = project / "elsewhere"
    home.mkdir()
    monkeypatch.setenv("DAGSTER_HOME", str(home))
    with own_home(home, ours=False):
        assert main(["run", "--port", str(free_port())]) == 2
    assert f"already running with {home}; stop it first" in capsys.readouterr().err
    assert not (project / LOCAL_DAGSTER_HOME).exists()


def test_a_config_of_the_user_is_kept_and_a_missing_one_is_written(project, monkeypatch):
    monkeypatch.chdir(project)
    home = project / "mine"
    home.mkdir()
    with own_home(home, ours=False):
        assert (home / "dagster.yaml").read_text() == (project / "dagster.yaml").read_text()
    (home / "dagster.yaml").write_text("telemetry: {enabled: false}\n")
    with own_home(home, ours=False):
        assert (home / "dagster.yaml").read_text() == "telemetry: {enabled: false}\n"
    with own_home(home, ours=True):
        assert (home / "dagster.yaml").read_text() == (project / "dagster.yaml").read_text()


@pytest.mark.parametrize("broken", ["home", "home/lock/folder", "home/dagster.yaml/folder"])
def test_a_home_that_cannot_be_used_is_said_in_a_sentence(project, monkeypatch, broken):
    monkeypatch.chdir(project)
    file = project / broken
    file.parent.mkdir(parents=True, exist_ok=True)
    file.touch()
    with pytest.raises(HomeError, match="home must be a folder"), own_home(project / "home", ours=True):
        pass


def test_a_start_leaves_the_event_cursors_of_an_instance_in_postgresql(project, monkeypatch, empty_postgres_url):
    """Its home has no storage of its own; rewound, the daemon would retry failed runs again."""
    monkeypatch.setenv("DAGSTER_PG_URL", empty_postgres_url.render_as_string(hide_password=False))
    home = project / "pg"
    home.mkdir()
    (home / "dagster.yaml").write_text("storage: {postgres: {postgres_url: {env: DAGSTER_PG_URL}}}\n")
    create_instance(home)
    assert cursors(home) == dict.fromkeys(CURSORS, "0")
    moved, other = sorted(CURSORS)
    with dg.DagsterInstance.from_config(str(home)) as instance:
        instance.daemon_cursor_storage.set_cursor_values({moved: "4711"})
    create_instance(home)
    assert cursors(home) == {moved: "4711", other: "0"}
