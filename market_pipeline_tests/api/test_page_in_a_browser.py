"""The page as a person sees it: a real browser, a real server, rows in a real database."""

import re
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from datetime import timedelta

import dagster as dg
import pytest
from sqlalchemy import delete, text, update

from market_pipeline.api.app import create_app
from market_pipeline.coingecko.identity import Identity
from market_pipeline.core.clock import iso, utc_now
from market_pipeline.pipeline.coin_ids import save_identities
from market_pipeline.storage.schema.operations_tables import scored_through
from market_pipeline.storage.schema.tables import price_anomalies, raw_prices
from market_pipeline_tests.api.browser import Tab
from market_pipeline_tests.api.conftest import served
from market_pipeline_tests.api.page_rows import flag, prices
from market_pipeline_tests.dagster_records import beat, stopped_by_check

pytestmark = pytest.mark.slow

TOKEN = "a-token-that-nobody-guesses"
MINUTE = timedelta(minutes=1)
HOUR = timedelta(hours=1)


@pytest.fixture
def database(sqlite_database):
    """The page sees answers, not the database: one is enough."""
    return sqlite_database


@pytest.fixture
def instance(dagster_home):
    with dg.DagsterInstance.from_config(str(dagster_home)) as opened:
        yield opened


@pytest.fixture
def alive(instance):
    """Dagster's daemons have just reported."""
    beat(instance, timedelta(seconds=20))


@pytest.fixture
def opened(browser, service_of):
    """`opened(**settings)`: a tab that shows the page of an API with these settings of two symbols."""
    with ExitStack() as running:

        @contextmanager
        def serving(settings, options):
            with served(create_app(service_of(**{"market_symbols": "BTC,ETH", **settings}))) as address:
                tab = Tab(browser, address, **options)
                yield tab
                tab.context.close()

        yield lambda options={}, **settings: running.enter_context(serving(settings, options))


def told(page, text_):
    """Wait until the page says so."""
    page.get_by_text(text_).first.wait_for(timeout=20_000)


def cells(page, symbol):
    """The cells of the row of `symbol`."""
    row = page.get_by_role("row").filter(has=page.get_by_role("rowheader", name=symbol))
    row.wait_for(timeout=20_000)
    return row.get_by_role("cell").all_inner_texts()


def test_it_shows_what_is_in_the_database_and_asks_nobody_else(opened, database, alive):
    newest = prices(database, "BTC", first=60_000.0, last=67_187.336)
    prices(database, "ETH", first=0.00002, last=0.00001)
    flagged = flag(database, "BTC", newest - HOUR, severity="critical", scope="idiosyncratic", move=0.0512,
                   explanation="BTC rose 5.1 % in 5 min.")
    flag(database, "ETH", newest - 2 * HOUR, "market_move", members="ETH,BTC", direction="down", move=-0.03)
    flag(database, "BTC", newest - 3 * HOUR, explanation="stood for by another", event_id=flagged)
    flag(database, "BTC", newest - 30 * HOUR, explanation="before yesterday")
    save_identities(
        database, [Identity("BTC", database.coin_id("BTC"), True, "BTC", "Bitcoin Wrapped", None, None)], utc_now()
    )
    tab = opened()
    page = tab.open()
    told(page, "2 alarms, 1 critical.")
    for symbol, coin in (("BTC", "Bitcoin Wrapped"), ("ETH", "simulated:ethereum")):
        assert coin in page.get_by_role("rowheader", name=symbol).first.inner_text(), "a wrong coin shows"
    assert page.title() == "market_pipeline"
    assert page.get_by_role("link", name="metrics").is_visible()
    price, change, day, age, past = cells(page, "BTC")
    assert (price, change) == ("67,187.34", "▲ +11.98\u202f%")
    assert day == "60,000.00 to 67,187.34"
    assert age == "2 min ago" and re.fullmatch(r"\d of \d days complete", past)
    assert cells(page, "ETH")[:2] == ["0.00001000", "▼ −50.00\u202f%"]
    first, second = page.get_by_role("listitem").all()
    assert "critical" in first.inner_text() and "this coin alone" in first.inner_text()
    assert "BTC rose 5.1 % in 5 min." in first.inner_text() and "+5.12\u202f%" in first.inner_text()
    assert "Market move" in second.inner_text() and "ETH, BTC" in second.inner_text()
    day = newest.date().isoformat()
    links = {link.get_attribute("href") for link in page.get_by_role("link").all()}
    assert f"http://127.0.0.1:3000/assets/raw_prices?view=partitions&partition={day}%7CBTC" in links
    day = (newest - HOUR).date().isoformat()
    assert f"http://127.0.0.1:3000/assets/price_anomalies?view=partitions&partition={day}%7CBTC" in links
    with tab.context.expect_page() as shown:
        first.get_by_role("link", name="JSON").click()
    shown.value.wait_for_load_state()
    assert shown.value.url == f"{tab.address}/anomalies/{flagged}"
    assert '"severity":"critical"' in shown.value.inner_text("body").replace(" ", "")
    assert page.locator(".banner").count() == 0
    assert tab.complaints == [] and tab.others_asked() == []
    assert len(tab.asked) > 10


def test_the_line_of_a_day_is_broken_where_no_prices_came(opened, database, alive):
    newest = prices(database, "BTC", first=60_000.0, last=67_000.0, silent=(10 * HOUR, 4 * HOUR))
    prices(database, "ETH", first=2_000.0, last=3_000.0)
    flag(database, "BTC", newest - HOUR)
    page = opened().open()
    broken = page.get_by_role("img", name="BTC, last 24 hours")
    broken.wait_for()
    assert page.locator("svg", has=page.locator("rect")).count() == 1, "only the broken one is shaded"
    assert broken.locator(".line").get_attribute("d").count("M") == 2
    shade = broken.locator("rect")
    assert float(shade.get_attribute("width")) == pytest.approx(240 * 6 / 24, abs=3)
    assert broken.locator(".alarms").get_attribute("d").count("M") == 1
    said = broken.get_attribute("aria-label")
    assert "lowest 60,000.00, highest 67,000.00 dollars; no prices for 6 h" in said and "1 alarm" in said
    other = page.get_by_role("img", name="ETH, last 24 hours")
    assert "without a gap; 0 alarms" in other.get_attribute("aria-label")


def test_it_refreshes_each_minute_in_place(opened, database, alive):
    prices(database, "BTC", last=100.0)
    tab = opened()
    tab.page.clock.install()
    page = tab.open()
    told(page, "100.00")
    row = page.get_by_role("rowheader", name="BTC").element_handle()
    prices(database, "BTC", last=123.0, times=[utc_now() - timedelta(seconds=5)])
    beat_of_page = len(tab.asked)
    page.clock.fast_forward(61_000)
    told(page, "123.00")
    assert row.evaluate("node => node.isConnected"), "the same row, changed in place"
    since = [url for url in tab.asked[beat_of_page:] if "/prices/BTC" in url]
    assert len(since) == 1 and "limit=10000" in since[0]
    assert tab.complaints == []


def test_a_token_is_asked_for_kept_for_the_tab_and_forgotten(opened, database, alive):
    newest = prices(database, "BTC", last=67_187.336)
    flag(database, "BTC", newest - HOUR, explanation="Read with a token.")
    tab = opened(api_token=TOKEN)
    page = tab.open()
    field = page.get_by_label("The API_TOKEN of this installation")
    field.wait_for(timeout=20_000)
    assert field.evaluate("node => node === document.activeElement")
    assert not page.get_by_role("table").is_visible()
    field.fill("not-the-right-token-at-all")
    page.keyboard.press("Enter")
    told(page, "This token is not accepted.")
    field.fill(TOKEN)
    page.get_by_role("button", name="Show the prices").click()
    told(page, "67,187.34")
    assert not field.is_visible() and not page.get_by_role("link", name="metrics").is_visible()
    page.reload()
    told(page, "67,187.34")
    page.get_by_role("link", name="This anomaly as JSON").click()
    dialog = page.get_by_role("dialog")
    dialog.wait_for()
    assert '"explanation": "Read with a token."' in dialog.inner_text()
    page.keyboard.press("Escape")
    page.get_by_role("button", name="Forget the token").click()
    field.wait_for()
    assert page.evaluate("sessionStorage.length + localStorage.length") == 0
    assert not page.get_by_role("table").is_visible()
    assert not any(TOKEN in url for url in tab.asked)
    assert all("401" in complaint for complaint in tab.complaints), tab.complaints


@pytest.mark.parametrize(
    ("base_url", "said"),
    [("http://127.0.0.1:8190/api/v3", "Prices from 127.0.0.1:8190, not from CoinGecko."),
     ("https://coingecko.com.example/api/v3", "Prices from coingecko.com.example, not from CoinGecko."),
     ("https://pro-api.coingecko.com/api/v3", "")],
)
def test_prices_of_another_source_are_not_taken_for_real_ones(opened, database, alive, base_url, said):
    tab = opened(coingecko_base_url=base_url)
    prices(database, "BTC", last=67_187.336)
    page = tab.open()
    told(page, "67,187.34")
    assert (page.locator("#source").inner_text() if page.locator("#source").is_visible() else "") == said


def test_a_dead_scheduler_is_said(opened, database, instance):
    beat(instance, 25 * MINUTE)
    prices(database, "BTC", last=10.0, newest=25 * MINUTE)
    prices(database, "ETH", last=10.0, newest=25 * MINUTE)
    page = opened().open()
    told(page, "The scheduler is dead")
    assert "bad" in page.locator('.banner[data-kind="scheduler-dead"]').get_attribute("class")
    state = page.locator("#state").inner_text()
    assert "dead" in state and "heard 25 min ago" in state and "0 of 2 fresh" in state
    told(page, "None among the prices that came.")
    assert page.locator("tr.stale").count() == 2


def test_scores_that_stop_are_said_though_prices_are_fresh(opened, database, instance, alive):
    for symbol in ("BTC", "ETH"):
        prices(database, symbol, last=10.0)
    with database.writing() as connection:
        connection.execute(update(scored_through).values(timestamp=utc_now() - HOUR))
    # The browser's driver keeps an event loop in this thread, and Dagster needs one of its own.
    with ThreadPoolExecutor() as aside:
        aside.submit(stopped_by_check, instance).result()
    page = opened().open()
    banner = page.locator('.banner[data-kind="check-failed"]')
    banner.wait_for(timeout=20_000)
    assert "bad" in banner.get_attribute("class") and "Delete it." in banner.inner_text()
    state = page.locator("#state").inner_text()
    assert all(words in state for words in ("failing", "fresh", "2 of 2 behind", "price 1 h")), state
    told(page, "None among the prices that came.")


def test_a_quiet_market_is_not_a_dead_scheduler(opened, database, instance, alive):
    """Collected a moment ago, but the source itself had nothing newer."""
    prices(database, "BTC", last=10.0, newest=25 * MINUTE)
    prices(database, "ETH", last=10.0, newest=25 * MINUTE)
    for symbol in ("BTC", "ETH"):
        partition = f"{utc_now().date()}|{symbol}"
        instance.report_runless_asset_event(dg.AssetMaterialization("raw_prices", partition=partition))
    page = opened().open()
    banner = page.locator('.banner[data-kind="quiet-market"]')
    banner.wait_for(timeout=20_000)
    assert "mild" in banner.get_attribute("class")
    assert page.locator(".banner").count() == 1
    assert "alive" in page.locator("#state").inner_text()


def test_an_empty_database_is_said(opened, alive):
    tab = opened()
    page = tab.open()
    told(page, "No price is stored yet")
    assert cells(page, "BTC") == ["none yet", "not known", "", "", "not measured yet"]
    assert page.get_by_role("img", name="BTC: no prices in the last 24 hours").count() == 1
    assert tab.complaints == []


def test_prices_that_ended_days_ago_are_still_told(opened, database, alive):
    prices(database, "BTC", last=67_187.336, newest=75 * HOUR)
    page = opened().open()
    told(page, "67,187.34")
    assert cells(page, "BTC")[1:4] == ["not known", "", "3 days ago"]


def test_an_api_that_is_gone_is_said_and_what_was_seen_stays(browser, service_of, database, alive):
    prices(database, "BTC", last=67_187.336)
    app = create_app(service_of(market_symbols="BTC"))
    with served(app) as address:
        tab = Tab(browser, address)
        told(tab.open(), "67,187.34")
    tab.come_back()
    told(tab.page, "The API cannot be reached; is `market-pipeline serve` running?")
    assert "What you see is from" in tab.page.locator(".banner").inner_text()
    assert cells(tab.page, "BTC")[0] == "67,187.34"
    assert float(tab.page.locator("#content").evaluate("node => getComputedStyle(node).opacity")) < 1
    tab.context.close()


def test_a_database_that_fails_is_said_and_so_is_its_return(opened, database, alive):
    prices(database, "BTC", last=67_187.336)
    prices(database, "ETH", last=10.0)
    tab = opened()
    page = tab.open()
    told(page, "67,187.34")
    with database.writing() as connection:
        connection.execute(text("ALTER TABLE raw_prices RENAME TO away"))
    tab.come_back()
    told(page, "The database cannot be read.")
    assert "(trace id " in page.locator(".banner").inner_text()
    with database.writing() as connection:
        connection.execute(text("ALTER TABLE away RENAME TO raw_prices"))
    tab.come_back()
    page.locator(".banner").wait_for(state="detached")
    assert all("500" in complaint or "503" in complaint for complaint in tab.complaints), tab.complaints


def test_hundreds_of_symbols_are_asked_for_a_few_at_a_time(opened, database, alive):
    """All at once, the last of them had waited in the browser for longer than the page does for an answer."""
    many = [f"C{number}" for number in range(30)]
    tab = opened(market_symbols=",".join(f"{symbol}=coin-{number}" for number, symbol in enumerate(many)))
    held, released = [], []
    tab.page.route("**/prices/**", lambda route: route.continue_() if released else held.append(route))
    tab.page.goto(f"{tab.address}/")
    while not held:
        tab.page.wait_for_timeout(20)
    tab.page.wait_for_timeout(300)
    assert 1 <= len(held) <= 6
    released.append(True)
    for route in held:
        route.continue_()
    tab.page.locator("#symbols tr").nth(29).wait_for()


@pytest.mark.parametrize("column", ["explanation", "kind", "members"])
def test_what_was_stored_stays_text(opened, database, alive, column):
    """Whoever can write a row, or a source that sends markup, gets nothing to run in a reader's browser."""
    evil = "<img src=x onerror=alert(1)>" + ("" if column == "kind" else "<script>alert(1)</script>")
    newest = prices(database, "BTC", last=10.0)
    flag(database, "BTC", newest - HOUR, **{column: evil})
    tab = opened()
    page = tab.open()
    dialogs = []
    page.on("dialog", lambda dialog: (dialogs.append(dialog.message), dialog.dismiss()))
    told(page, "1 alarm")
    assert evil.split(",")[0] in page.locator("#alarms").inner_text()
    assert page.locator("#alarms img, #alarms script").count() == 0
    assert dialogs == [] and tab.complaints == [] and tab.others_asked() == []


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_it_fits_a_phone_and_a_keyboard(opened, database, alive, scheme):
    prices(database, "BTC", first=1e-7, last=1.2e-7)
    newest = prices(database, "ETH", first=9e11, last=9.1e11)
    flag(database, "ETH", newest - HOUR, explanation="no-break" * 60, members="")
    page = opened({"viewport": {"width": 360, "height": 700}, "color_scheme": scheme}).open()
    told(page, "1 alarm")
    assert page.evaluate("document.documentElement.scrollWidth") <= 360
    assert cells(page, "ETH")[0] == "910,000,000,000.00"
    assert page.get_by_role("columnheader").count() == 6, "a table for screen readers, whatever it looks like"
    reached = []
    for _ in range(6):
        page.keyboard.press("Tab")
        reached.append(page.evaluate("document.activeElement.ariaLabel ?? document.activeElement.textContent"))
    assert reached == [
        "BTC in the Dagster UI", "ETH in the Dagster UI", "This anomaly as JSON",
        "This anomaly's day in the Dagster UI", "OpenAPI document", "metrics",
    ]


def test_alarms_that_are_gone_disappear(opened, database, alive):
    newest = prices(database, "BTC", last=10.0)
    flag(database, "BTC", newest - HOUR, explanation="A moment only.")
    flag(database, "BTC", newest - 2 * HOUR, explanation="One that stays.")
    tab = opened()
    page = tab.open()
    told(page, "2 alarms")
    with database.writing() as connection:
        connection.execute(delete(price_anomalies).where(price_anomalies.c.explanation == "A moment only."))
    tab.come_back()
    told(page, "1 alarm, none critical.")
    assert page.get_by_role("listitem").count() == 1


def test_the_time_of_the_server_counts(opened, database, alive):
    """A reader's clock may be wrong by hours."""
    prices(database, "BTC", last=10.0)
    tab = opened()
    tab.page.clock.install(time=iso(utc_now() - timedelta(hours=7)))
    page = tab.open()
    told(page, "10.0000")
    assert cells(page, "BTC")[3] == "2 min ago"


def test_a_bad_tick_and_a_quote_of_the_future_are_not_shown_as_prices(opened, database, alive):
    newest = prices(database, "BTC", first=10.0, last=10.5)
    prices(database, "BTC", last=10_000.0, times=[newest - HOUR])
    prices(database, "BTC", last=7.0, times=[newest + 2 * HOUR])
    flag(database, "BTC", newest - HOUR, "bad_tick", price_before=10.0, price_after=10_000.0)
    page = opened().open()
    told(page, "10.0000 to 10.5000")
    assert cells(page, "BTC")[0] == "10.5000"


def test_corrected_prices_are_seen_in_the_end(opened, database, alive):
    """Only what is new is asked for each minute; from time to time everything."""
    newest = prices(database, "BTC", first=10.0, last=10.0)
    tab = opened()
    tab.page.clock.install()
    page = tab.open()
    told(page, "10.0000 to 10.0000")
    with database.writing() as connection:
        connection.execute(raw_prices.update().where(raw_prices.c.timestamp < newest).values(price=8.0))
    page.clock.fast_forward(11 * 60_000)
    told(page, "8.0000 to 10.0000")
