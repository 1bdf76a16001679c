"""The page as a person sees it: a real browser, a real server, rows in a real database."""

import re
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta

import dagster as dg
import pytest
from playwright.sync_api import Browser, Dialog, Page, Route
from sqlalchemy import delete, text, update

from market_pipeline.anomalies.marks import Mark
from market_pipeline.api.app import create_app
from market_pipeline.api.service import Service
from market_pipeline.coingecko.identity import Identity
from market_pipeline.core.clock import iso, utc_now
from market_pipeline.pipeline.coin_ids import save_identities
from market_pipeline.storage.engine import Database
from market_pipeline.storage.queries.anomaly_marks import save_mark
from market_pipeline.storage.queries.scores import record_scored
from market_pipeline.storage.schema.operations_tables import scored_through
from market_pipeline.storage.schema.tables import anomaly_marks, price_anomalies, raw_prices
from market_pipeline_tests.api.browser import Opened, Tab, shown
from market_pipeline_tests.api.serving import served, store_anomaly, store_day, store_quotes
from market_pipeline_tests.builders import stored_rows
from market_pipeline_tests.dagster_records import beat, stopped_by_check

pytestmark = pytest.mark.slow

TOKEN = "a-token-that-nobody-guesses"
MINUTE = timedelta(minutes=1)
HOUR = timedelta(hours=1)


def cells(page: Page, symbol: str) -> list[str]:
    """The cells of the row of `symbol`."""
    row = page.get_by_role("row").filter(has=page.get_by_role("rowheader", name=symbol))
    row.wait_for(timeout=20_000)
    return row.get_by_role("cell").all_inner_texts()


def test_it_shows_what_is_in_the_database_and_requests_nothing_elsewhere(
    opened: Opened, database: Database, instance: dg.DagsterInstance
) -> None:
    beat(instance, timedelta(seconds=20))
    newest = store_day(database, "BTC", 67_187.336, 60_000.0)
    store_day(database, "ETH", 0.00001, 0.00002)
    flagged = store_anomaly(database, "BTC", newest - HOUR, severity="critical", scope="idiosyncratic", importance=2.5,
                            headline="BTC alone rose 5.1%.", explanation="About 90% of it is its own.")
    store_anomaly(database, "ETH", newest - 2 * HOUR, "market_move", members="ETH,BTC", importance=7.0)
    store_anomaly(database, "BTC", newest - 3 * HOUR, explanation="A member.", event_id=flagged)
    store_anomaly(database, "BTC", newest - 30 * HOUR, explanation="before yesterday")
    save_identities(
        database, [Identity("BTC", database.coin_id("BTC"), True, "BTC", "Bitcoin Wrapped", None, None)], utc_now()
    )
    tab = opened()
    page = tab.open()
    shown(page, "2 alarms, 1 critical.")
    for symbol, coin in (("BTC", "Bitcoin Wrapped"), ("ETH", "simulated:ethereum")):
        assert coin in page.get_by_role("rowheader", name=symbol).first.inner_text(), "a wrong coin shows"
    assert page.title() == "market_pipeline" and page.get_by_role("link", name="metrics").is_visible()
    assert page.locator("#source").inner_text().startswith("Prices from 127.0.0.1:")
    price, change, day, age, past = cells(page, "BTC")
    assert (price, change, day, age) == ("67,187.34", "▲ +11.98%", "60,000.00 to 67,187.34", "2 min ago")
    assert re.fullmatch(r"\d of \d days complete", past)
    assert cells(page, "ETH")[:2] == ["0.00001000", "▼ \u221250.00%"]
    first, second = page.get_by_role("listitem").all()
    assert "Market move" in first.inner_text() and "ETH, BTC" in first.inner_text(), "the most important first"
    assert all(words in second.inner_text() for words in ("critical", "this coin alone", "BTC alone rose 5.1%."))
    assert "its own" not in second.inner_text()
    second.get_by_text("BTC alone rose").click()
    assert "About 90% of it is its own." in second.inner_text()
    links = {link.get_attribute("href") for link in page.get_by_role("link").all()}
    for asset, at in (("raw_prices", newest), ("price_anomalies", newest - HOUR)):
        assert f"http://127.0.0.1:3000/assets/{asset}?view=partitions&partition={at.date()}%7CBTC" in links
    with tab.context.expect_page() as other:
        second.get_by_role("link", name="JSON").click()
    other.value.wait_for_load_state()
    assert other.value.url == f"{tab.address}/anomalies/{flagged}"
    assert '"severity":"critical"' in other.value.inner_text("body").replace(" ", "")
    assert page.locator(".banner").count() == 0
    assert tab.complaints == [] and tab.requested_elsewhere() == [] and len(tab.requested) > 10


def test_the_line_of_a_day_is_broken_where_no_prices_came(opened: Opened, database: Database) -> None:
    newest = store_day(database, "BTC", 67_000.0, 60_000.0, silent=(10 * HOUR, 4 * HOUR))
    store_day(database, "ETH", 3_000.0, 2_000.0)
    store_anomaly(database, "BTC", newest - HOUR)
    page = opened().open()
    broken = page.get_by_role("img", name="BTC, last 24 hours")
    broken.wait_for()
    assert page.locator("svg", has=page.locator("rect")).count() == 1, "only the broken one is shaded"
    assert str(broken.locator(".line").get_attribute("d")).count("M") == 2
    assert float(broken.locator("rect").get_attribute("width") or 0) == pytest.approx(240 * 6 / 24, abs=3)
    assert str(broken.locator(".alarms").get_attribute("d")).count("M") == 1
    words = str(broken.get_attribute("aria-label"))
    assert "lowest 60,000.00, highest 67,000.00 dollars; no prices for 6 h" in words and "1 alarm" in words
    other = page.get_by_role("img", name="ETH, last 24 hours")
    assert "without a gap; 0 alarms" in str(other.get_attribute("aria-label"))


def test_it_refreshes_in_place_and_reads_everything_again_from_time_to_time(opened: Opened, database: Database) -> None:
    """Only what is new is requested each minute; corrected prices show in the end."""
    newest = store_day(database, "BTC", 100.0)
    for hours, headline in ((1, "A moment only."), (2, "One that stays.")):
        store_anomaly(database, "BTC", newest - hours * HOUR, headline=headline)
    tab = opened()
    tab.page.clock.install()
    page = tab.open()
    shown(page, "2 alarms")
    row = page.get_by_role("rowheader", name="BTC").element_handle()
    store_quotes(database, "BTC", [utc_now() - timedelta(seconds=5)], 123.0)
    with database.writing() as connection:
        connection.execute(delete(price_anomalies).where(price_anomalies.c.headline == "A moment only."))
        connection.execute(raw_prices.update().where(raw_prices.c.timestamp < newest).values(price=80.0))
    before = len(tab.requested)
    page.clock.fast_forward(61_000)
    shown(page, "1 alarm, none critical.")
    assert cells(page, "BTC")[0] == "123.00" and page.get_by_role("listitem").count() == 1
    assert row.evaluate("node => node.isConnected"), "the same row, changed in place"
    (since,) = [url for url in tab.requested[before:] if "/prices/BTC" in url]
    assert "limit=10000" in since and tab.complaints == []
    page.clock.fast_forward(11 * 60_000)
    shown(page, "80.0000 to 123.00")


def test_the_token_is_requested_kept_for_the_tab_and_forgotten(opened: Opened, database: Database) -> None:
    newest = store_day(database, "BTC", 67_187.336)
    store_anomaly(database, "BTC", newest - HOUR, explanation="Read with a token.")
    tab = opened(api_token=TOKEN)
    page = tab.open()
    field = page.get_by_label("API_TOKEN")
    field.wait_for(timeout=20_000)
    assert field.evaluate("node => node === document.activeElement")
    assert not page.get_by_role("table").is_visible()
    field.fill("not-the-right-token-at-all")
    page.keyboard.press("Enter")
    page.locator("#token-refused", has_text=re.compile(".")).wait_for()
    field.fill(TOKEN)
    page.get_by_role("button", name="Show the prices").click()
    shown(page, "67,187.34")
    assert not field.is_visible() and not page.get_by_role("link", name="metrics").is_visible()
    page.reload()
    shown(page, "67,187.34")
    page.get_by_role("link", name="This anomaly as JSON").click()
    dialog = page.get_by_role("dialog")
    dialog.wait_for()
    assert '"explanation": "Read with a token."' in dialog.inner_text()
    page.keyboard.press("Escape")
    page.get_by_role("button", name="Forget the token").click()
    field.wait_for()
    assert page.evaluate("sessionStorage.length + localStorage.length") == 0
    assert not page.get_by_role("table").is_visible()
    assert not any(TOKEN in url for url in tab.requested)
    assert all("401" in complaint for complaint in tab.complaints), tab.complaints


def test_the_links_of_the_chain_look_different(
    opened: Opened, database: Database, instance: dg.DagsterInstance
) -> None:
    """A dead scheduler, a quiet market, and a check that stops the scores."""
    for symbol in ("BTC", "ETH"):
        store_day(database, symbol, 10.0, newest=25 * MINUTE)
    beat(instance, 25 * MINUTE)
    tab = opened()
    page = tab.open()
    banner, state = page.locator(".banner"), page.locator("#state")
    page.locator('.banner.bad[data-kind="scheduler-dead"]').wait_for(timeout=20_000)
    assert all(words in state.inner_text() for words in ("dead", "25 min ago", "0 of 2 fresh"))
    shown(page, "None among the prices that arrived.")
    assert page.locator("tr.stale").count() == 2
    beat(instance, timedelta(seconds=20))
    for symbol in ("BTC", "ETH"):
        partition = f"{utc_now().date()}|{symbol}"
        instance.report_runless_asset_event(dg.AssetMaterialization("raw_prices", partition=partition))
    tab.come_back()
    page.locator('.banner.mild[data-kind="quiet-market"]').wait_for(timeout=20_000)
    assert banner.count() == 1 and "alive" in state.inner_text()
    for symbol in ("BTC", "ETH"):
        store_day(database, symbol, 10.0)
    with database.writing() as connection:
        connection.execute(update(scored_through).values(timestamp=utc_now() - HOUR))
    # The browser's driver has an event loop in this thread, and Dagster needs one of its own.
    with ThreadPoolExecutor() as aside:
        aside.submit(stopped_by_check, instance).result()
    tab.come_back()
    page.locator('.banner.bad[data-kind="check-failed"]').wait_for(timeout=20_000)
    assert all(words in state.inner_text() for words in ("failing", "fresh", "2 of 2 behind", "price 1 h"))
    shown(page, "None among the prices that arrived.")


def test_old_prices_and_none_at_all_are_shown(opened: Opened, database: Database) -> None:
    tab = opened()
    page = tab.open()
    shown(page, "No price is stored yet")
    assert cells(page, "BTC") == ["none yet", "unknown", "", "", "not measured yet"]
    assert page.get_by_role("img", name="BTC: no prices in the last 24 hours").count() == 1
    store_day(database, "BTC", 67_187.336, newest=75 * HOUR)
    tab.come_back()
    shown(page, "67,187.34")
    assert cells(page, "BTC")[1:4] == ["unknown", "", "3 days ago"]
    assert tab.complaints == []


def test_a_failing_database_and_an_api_that_is_gone_are_reported_above_what_was_seen(
    browser: Browser, service_of: Callable[..., Service], database: Database
) -> None:
    store_day(database, "BTC", 67_187.336)
    with served(create_app(service_of(market_symbols="BTC"))) as address:
        tab = Tab(browser, address)
        page = tab.open()
        banner = page.locator('.banner[data-kind="refused"]')
        shown(page, "67,187.34")
        with database.writing() as connection:
            connection.execute(text("ALTER TABLE raw_prices RENAME TO away"))
        tab.come_back()
        banner.wait_for()
        assert "(trace id " in banner.inner_text()
        with database.writing() as connection:
            connection.execute(text("ALTER TABLE away RENAME TO raw_prices"))
        tab.come_back()
        banner.wait_for(state="detached")
        assert all("500" in complaint or "503" in complaint for complaint in tab.complaints), tab.complaints
    tab.come_back()
    page.locator('.banner[data-kind="unreachable"]').wait_for()
    assert cells(page, "BTC")[0] == "67,187.34"
    assert float(page.locator("#content").evaluate("node => getComputedStyle(node).opacity")) < 1
    tab.context.close()


def test_many_symbols_are_requested_a_few_at_a_time(opened: Opened) -> None:
    """All at once, the last of them would wait in the browser for longer than the page does for an answer."""
    tab = opened(market_symbols=",".join(f"C{number}=coin-{number}" for number in range(30)))
    held: list[Route] = []
    tab.page.route("**/prices/**", lambda route: held.append(route))
    tab.page.goto(f"{tab.address}/")
    answered = 0
    while answered < 30:
        tab.page.wait_for_function("performance.now() > 0")
        assert len(held) - answered <= 6
        if len(held) > answered:
            held[answered].continue_()
            answered += 1
    tab.page.locator("#symbols tr").nth(29).wait_for()


def test_stored_markup_stays_text(opened: Opened, database: Database) -> None:
    """A writer of rows, or a source that sends markup, gets nothing to run in a reader's browser."""
    evil = "<img src=x onerror=alert(1)>"
    newest = store_day(database, "BTC", 10.0)
    for hours, column in enumerate(("headline", "kind", "members")):
        store_anomaly(database, "BTC", newest - hours * HOUR, **{column: evil})
    tab = opened()
    dialogs: list[str] = []

    def dismiss(dialog: Dialog) -> None:
        dialogs.append(dialog.message)
        dialog.dismiss()

    tab.page.on("dialog", dismiss)
    page = tab.open()
    shown(page, "3 alarms")
    assert page.locator("#alarms").inner_text().count(evil) == 3
    assert page.locator("#alarms img, #alarms script").count() == 0
    assert dialogs == [] and tab.complaints == [] and tab.requested_elsewhere() == []


def test_it_fits_a_phone_and_a_keyboard(opened: Opened, database: Database) -> None:
    tab = opened({"viewport": {"width": 360, "height": 700}}, coingecko_base_url="https://pro-api.coingecko.com/api/v3")
    store_day(database, "BTC", 1.2e-7, 1e-7)
    newest = store_day(database, "ETH", 9.1e11, 9e11)
    store_anomaly(database, "ETH", newest - HOUR, headline="no-break" * 17, members="")
    page = tab.open()
    shown(page, "1 alarm")
    assert not page.locator("#source").is_visible()
    assert page.evaluate("document.documentElement.scrollWidth") <= 360
    assert cells(page, "ETH")[0] == "910,000,000,000.00"
    assert page.get_by_role("columnheader").count() == 6, "a table for screen readers, whatever it looks like"
    reached = []
    for _ in range(15):
        page.keyboard.press("Tab")
        reached.append(page.evaluate("document.activeElement.ariaLabel ?? document.activeElement.textContent"))
    assert reached == [
        "1 alarm, none critical",
        "BTC", "BTC in the Dagster UI", "ETH", "ETH in the Dagster UI", "alert " + "no-break" * 17,
        "This anomaly in the chart", "This anomaly as JSON", "This anomaly's day in the Dagster UI",
        "Real", "Noise", "Expected", "the endpoints", "OpenAPI document", "metrics",
    ]


def test_an_alarm_is_marked_by_keyboard_and_the_mark_stays(opened: Opened, database: Database) -> None:
    newest = store_day(database, "BTC", 10.0)
    marked, other = (store_anomaly(database, "BTC", newest - hours * HOUR) for hours in (1, 2))
    tab = opened({"viewport": {"width": 360, "height": 700}, "has_touch": True, "is_mobile": True})
    page = tab.open()
    first = page.get_by_role("listitem").first
    note = first.get_by_label("Note on this alarm")
    noise, real = (first.get_by_role("button", name=name) for name in ("Noise", "Real"))
    noise.wait_for()
    box = noise.bounding_box()
    assert not note.is_visible() and box is not None and box["height"] >= 44, "for a finger"
    noise.focus()
    with page.expect_response("**/mark"):
        page.keyboard.press("Enter")
    pressed = first.locator('[aria-pressed="true"]')
    pressed.wait_for()
    page.keyboard.press("Tab")
    page.keyboard.press("Tab")
    page.keyboard.type("Ein <b>Fehler</b> \U0001f41f")
    with page.expect_response("**/mark"):
        page.keyboard.press("Enter")
    (row,) = stored_rows(database, anomaly_marks)
    assert (row["anomaly_id"], row["mark"], row["note"]) == (marked, "noise", "Ein <b>Fehler</b> \U0001f41f")
    page.reload()
    pressed.wait_for()
    assert pressed.inner_text() == "Noise" and note.input_value() == "Ein <b>Fehler</b> \U0001f41f"
    assert page.locator('[aria-pressed="true"]').count() == 1, "the other alarm has none"
    assert page.evaluate("document.documentElement.scrollWidth") <= 360
    note.fill("another")
    with page.expect_response(lambda answer: answer.request.post_data_json == {"mark": "real", "note": "another"}):
        real.click()
    save_mark(database, other, Mark.EXPECTED, "by a program", utc_now())
    tab.come_back()
    page.get_by_role("listitem").last.locator('[aria-pressed="true"]').wait_for()
    with page.expect_response(lambda answer: answer.status == 204):
        real.click()
    assert [row["anomaly_id"] for row in stored_rows(database, anomaly_marks)] == [other]
    assert first.locator('[aria-pressed="true"]').count() == 0 and tab.complaints == []


def test_a_mark_that_is_not_saved_says_why_and_is_not_shown(opened: Opened, database: Database) -> None:
    newest = store_day(database, "BTC", 10.0)
    store_anomaly(database, "BTC", newest - HOUR)
    tab = opened(api_token=TOKEN)
    tab.page.add_init_script(f"sessionStorage.setItem('market_pipeline.token', '{TOKEN}')")
    page = tab.open()
    noise, problem = page.get_by_role("button", name="Noise"), page.locator(".problem")
    noise.wait_for()
    refusal = {"detail": "The role may only read.", "trace_id": "abc"}
    for answer, why in (
        (lambda route: route.fulfill(status=403, json=refusal), "Not saved: The role may only read. (trace id abc)"),
        (lambda route: route.abort(), "Not saved: the API cannot be reached. Try again."),
    ):
        page.route("**/mark", answer)
        noise.click()
        problem.get_by_text(why).wait_for()
        assert noise.get_attribute("aria-pressed") == "false"
        page.unroute("**/mark")
    with page.expect_response("**/mark"):
        noise.click()
    problem.wait_for(state="hidden")
    assert noise.get_attribute("aria-pressed") == "true"
    page.evaluate("sessionStorage.setItem('market_pipeline.token', 'not-the-token')")
    noise.click()
    page.get_by_label("API_TOKEN").wait_for()
    assert len(stored_rows(database, anomaly_marks)) == 1


def test_the_time_of_the_server_counts_and_false_prices_are_not_shown(opened: Opened, database: Database) -> None:
    """A reader's clock may be wrong by hours; bad ticks and quotes of the future are no prices."""
    newest = store_day(database, "BTC", 10.5, 10.0)
    store_quotes(database, "BTC", [newest - HOUR], 10_000.0)
    store_quotes(database, "BTC", [newest + 2 * HOUR], 7.0)
    record_scored(database, {"BTC": newest})
    store_anomaly(database, "BTC", newest - HOUR, "bad_tick", price_before=10.0, price_after=10_000.0)
    tab = opened()
    tab.page.clock.install(time=iso(utc_now() - timedelta(hours=7)))
    page = tab.open()
    shown(page, "10.0000 to 10.5000")
    assert cells(page, "BTC")[0] == "10.5000" and cells(page, "BTC")[3] == "2 min ago"
