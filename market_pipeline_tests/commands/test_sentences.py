"""What the commands print: help, refusals, plans. The file beside this one has it all, for one look and one change."""

import shlex
from datetime import datetime, timezone
from pathlib import Path

import pytest
import time_machine
from sqlalchemy.engine import make_url

from market_pipeline.commands.main import commands, main
from market_pipeline.storage.engine import Database
from market_pipeline.storage.schema.migrate import migrate
from market_pipeline.storage.schema.tables import price_anomalies, raw_prices, rejected_prices
from market_pipeline_tests.builders import anomaly_row, check_sentences, price_row, refusal_row, store
from market_pipeline_tests.commands.hearing import a_day, as_lines

FILE = Path(__file__).with_name("sentences.txt")
DAY = datetime(2026, 11, 20, 12, tzinfo=timezone.utc)

REFUSED = """
run --port 0
demo --port http
serve --port 70000
serve --workers 0
serve --workers many
serve --host example.org
serve --host ''
serve --host 0.0.0.0
start
backfill
backfill --to 2026-01-02
backfill --days 30 --from 2026-01-02
backfill --days 0
backfill --days 3
chart BTC --from 2026-11-20 --to 2026-11-20 --out a.svg --demo
backfill --from '' --to 2026-01-02
backfill --from yesterday --to 2026-01-02
backfill --from 2026-02-30 --to 2026-03-01
backfill --from 2026-01-05 --to 2026-01-01
backfill --from 2026-01-05 --to 2999-01-01
backfill --from 2013-05-05 --to 2026-01-01
backfill --from 2026-01-01 --to 2026-01-02 --symbols PEPE
backfill --from 2026-11-01 --to 2026-11-20
replay --reason ugly
replay --symbol BTC
rename BTC ETH
rename BTC BTC
rename OLD NEW
rename NONE NEW
rename BTC=wrong NEW
rename 'B|C' NEW
rename BTC 'NEW=Not An Id'
chart DOGE --from 2026-11-20 --to 2026-11-20 --out a.svg
chart ADA --from 2026-11-20 --to 2026-11-20 --out a.svg
chart ETH --from 2026-11-20 --to 2026-11-20 --out a.svg
chart BTC --from yesterday --to 2026-11-20 --out a.svg
chart BTC --from 0001-01-01T00:00+14:00 --to 2026-11-20 --out a.svg
chart BTC --from 2026-11-21 --to 2026-11-20 --out a.svg
chart BTC --from 2999-01-01 --to 2999-01-02 --out a.svg
chart BTC --from 2026-11-01 --to 2026-11-02 --out a.svg
chart BTC --from 2026-11-21 --to 2026-11-22 --out a.svg
chart BTC --from 2026-11-20T10:01 --to 2026-11-20T10:14Z --out a.svg
chart BTC --from 2026-11-20 --to 2026-11-20 --out a.gif
chart BTC --from 2026-11-20 --to 2026-11-20 --out nowhere/a.png
chart BTC --from 2026-11-20 --to 2026-11-20 --out folder.svg
export
export --out dagster.yaml
export --out .
export --out new --interval 2h
export --symbols DOGE --out new
export --symbols ADA --out new
export --from 2026-11-21 --to 2026-11-20 --out new
export --to 2026-11-01 --out new
mark 00000000000000000000000000000000 real
mark BTC none
mark 00000000000000000000000000000000 wrong
mark 00000000000000000000000000000000 real --note 'a\tb'
watch
alert-test
ALERT_URLS=slack://canary alert-test
ALERT_URLS='json://127.0.0.1/canary https:/canary' watch
ALERT_QUIET_HOURS=22-7 alerts
ALERT_SEVERITY=loud alerts
snooze BTC
snooze DOGE jump --for 2h
snooze BTC jump
snooze BTC jumps --for 2h
snooze BTC jump --for 2
snooze BTC jump --for 2h --off
worker --concurrency 0
worker
DATABASE_URL=postgresql://market:canary@127.0.0.1:9/market worker
CELERY_BROKER_URL=amqp://me:canary@127.0.0.1:9 worker
CELERY_BROKER_URL=redis://:canary/x@127.0.0.1:9/0 worker
CELERY_BROKER_URL=redis://127.0.0.1:9/0?password=canary worker
DATABASE_URL=postgresql://market:canary@127.0.0.1:9/market CELERY_BROKER_URL=redis://:canary@127.0.0.1:9/0 worker
DAGSTER_HOME=/nowhere/at/all run --port 3917
DAGSTER_HOME=some/where serve --port 8917
DAGSTER_HOME=/dev/null replay
DAGSTER_HOME=/nowhere/at/all backfill --from 2026-11-01 --to 2026-11-01 --yes
COINGECKO_PLAN=free run
COINGECKO_API_KEY=CG-canary COINGECKO_PLAM=demo migrate
DATABASE_URL=sqlite:////nowhere/at/all.db migrate
DATABASE_URL=postgresql://market:canary@127.0.0.1:9/market migrate
DATABASE_URL=sqlite:///new.db replay
DATABASE_URL=sqlite:///new.db chart BTC --from 2026-11-20 --to 2026-11-20 --out a.svg
"""
ACCEPTED = """
export --symbols btc,ADA --from 2026-11-20 --interval 1h --format csv --anomalies --out new
backfill --from 2026-11-23
backfill --from 2026-11-01 --to 2026-11-21 --symbols BTC,ETH --dry-run
replay --dry-run
rename ETH=wrong ETH=ethereum --yes
rename ETH=wrong ETH=ethereum --yes
mark 11111111111111111111111111111111 expected --note "A listing."
mark 11111111111111111111111111111111 none
alerts
snooze btc jump --for 2h
ALERT_URLS=json://127.0.0.1:9/canary alerts
ALERT_URLS=json://127.0.0.1:9/canary alert-test
snooze BTC jump --off
snooze '*' '*' --off
"""


@pytest.fixture
def folder(inside: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with prices of three symbols, one of the wrong coin and one of two coins, and three refused points."""
    (inside / ".env").unlink()
    (inside / "folder.svg").mkdir()
    url = f"sqlite:///{inside / 'prices.db'}"
    monkeypatch.setenv("DATABASE_URL", url)
    monkeypatch.setenv("COLUMNS", "100")
    database = Database(make_url(url))
    migrate(database)
    coins = [("BTC", "bitcoin"), ("ETH", "wrong"), ("OLD", "one"), ("OLD", "other")]
    store(database, raw_prices, *(price_row(symbol, timestamp=DAY, coin_id=coin) for symbol, coin in coins))
    points = [("zero_price", f"[{DAY.timestamp() * 1000}, 5.0]"), ("zero_price", f"[{DAY.timestamp() * 1000}, -5.0]"),
              ("missing_price", '{"bitcoin": null}'), ("bad_timestamp", '{"bitcoin": {"usd": 5, ...')]
    store(database, rejected_prices, *(
        refusal_row(number, reason=reason, payload=payload, day=DAY.date(), timestamp=DAY, refused_at=DAY,
                    source="market_chart" if payload.startswith("[") else "simple_price")
        for number, (reason, payload) in enumerate(points)
    ))
    store(database, price_anomalies, anomaly_row("BTC", timestamp=DAY, id="1" * 32))
    database.dispose()
    return inside


def printed(line: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> str:
    """The command line, what it prints but for log lines, and its exit code."""
    words = shlex.split(line)
    with monkeypatch.context() as patch:
        while "=" in words[0]:
            patch.setenv(*words.pop(0).split("=", 1))
        code = main(words)
    output = capsys.readouterr()
    rows = [row for row in (output.out + output.err).splitlines() if not row.startswith("{")]
    text = "\n".join([f"$ {line}", *rows, f"exit code {code}", ""])
    return text.replace(str(Path.cwd()), "FOLDER")


def test_what_is_printed_is_what_the_file_says(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Rewrite the file with UPDATE_SENTENCES=1, and read the difference."""
    with time_machine.travel(datetime(2026, 11, 23, 12, tzinfo=timezone.utc), tick=False):
        refused = [printed(line, monkeypatch, capsys) for line in REFUSED.strip().splitlines()]
        files = {path.name for path in folder.iterdir() if not path.name.startswith("new.db")}
        others = [printed(f"{command} --help".strip(), monkeypatch, capsys) for command in ("", *commands.commands)]
        others += [printed(line, monkeypatch, capsys) for line in ACCEPTED.strip().splitlines()]
    assert [text for text in refused if not text.endswith("exit code 2\n")] == []
    assert files == {"dagster.yaml", "workspace.yaml", "folder.svg", "prices.db"}, "nothing was begun"
    terminal = ["$ run, on a terminal", *(row for said in a_day() for row in as_lines(said))]
    rows = [*"\n".join(refused + others).splitlines(), *terminal]
    assert not [row for row in rows if "canary" in row and not row.startswith("$")], "no secret"
    check_sentences(FILE, rows)
