"""`market-pipeline migrate`: one command that makes the tables right, on both databases."""

from sqlalchemy.engine import make_url

from market_pipeline.commands.main import main
from market_pipeline.storage.engine import Database
from market_pipeline.storage.schema import check_schema


def test_the_command_creates_the_tables(monkeypatch, tmp_path, empty_postgres_url):
    urls = [f"sqlite:///{tmp_path / 'new.db'}", empty_postgres_url.render_as_string(hide_password=False)]
    for url in urls:
        monkeypatch.setenv("DATABASE_URL", url)
        assert main(["migrate"]) == 0
        assert main(["migrate"]) == 0, "twice is the same as once"
        database = Database(make_url(url))
        check_schema(database)
        database.dispose()


def test_an_unreachable_database_is_explained_without_its_password(monkeypatch, capsys):
    monkeypatch.setenv("DATABASE_URL", "postgresql://market:canary@127.0.0.1:9/market")
    assert main(["migrate"]) == 2
    message = capsys.readouterr().err
    assert "127.0.0.1:9 cannot be reached" in message
    assert "canary" not in message
