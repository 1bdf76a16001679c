"""`market-pipeline migrate`: one command that makes the tables right, on both databases."""

import json
import uuid

from sqlalchemy.engine import make_url

from market_pipeline.storage.schema import migrate as schema
from market_pipeline.commands.main import main
from market_pipeline.logs import current_trace_id
from market_pipeline.storage.engine import Database
from market_pipeline.storage.schema.migrate import check_schema
from market_pipeline_tests.logging_state import restored


def test_the_command_creates_the_tables(monkeypatch, tmp_path, empty_postgres_url):
    urls = [f"sqlite:///{tmp_path / 'new.db'}", empty_postgres_url.render_as_string(hide_password=False)]
    for url in urls:
        monkeypatch.setenv("DATABASE_URL", url)
        assert main(["migrate"]) == 0
        assert main(["migrate"]) == 0, "twice is the same as once"
        database = Database(make_url(url))
        check_schema(database)
        database.dispose()


def test_what_a_command_logs_carries_one_id_that_no_other_command_has(monkeypatch, capsys, tmp_path):
    monkeypatch.setenv("DATABASE_URL", f"sqlite:///{tmp_path / 'new.db'}")
    for _ in range(2):
        with restored():
            assert main(["migrate"]) == 0
    ids = [json.loads(line)["trace_id"] for line in capsys.readouterr().err.splitlines()]
    assert len(ids) == len(set(ids)) == 2 and all(uuid.UUID(one).version == 4 for one in ids)
    assert current_trace_id() is None


def test_an_error_that_nobody_expected_is_a_line_with_the_commands_id(monkeypatch, capsys, tmp_path):
    monkeypatch.setenv("DATABASE_URL", f"sqlite:///{tmp_path / 'new.db'}")

    def fail(database):
        raise RuntimeError("this was not expected")

    monkeypatch.setattr(schema, "migrate", fail)
    with restored():
        assert main(["migrate"]) == 1
    (line,) = [json.loads(row) for row in capsys.readouterr().err.splitlines()]
    assert line["level"] == "CRITICAL" and "this was not expected" in line["exc_info"]
    assert uuid.UUID(line["trace_id"]).version == 4


def test_an_unreachable_database_is_explained_without_its_password(monkeypatch, capsys):
    monkeypatch.setenv("DATABASE_URL", "postgresql://market:canary@127.0.0.1:9/market")
    assert main(["migrate"]) == 2
    message = capsys.readouterr().err
    assert "127.0.0.1:9 cannot be reached" in message
    assert "canary" not in message
