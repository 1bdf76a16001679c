"""The page of a symbol as a person sees it, and that of the endpoints."""

from datetime import timedelta

import pytest
from playwright.sync_api import Page

from market_pipeline.storage.engine import Database
from market_pipeline.storage.schema.tables import anomaly_marks
from market_pipeline_tests.api.browser import Opened
from market_pipeline_tests.api.serving import store_anomaly, store_day, store_quotes
from market_pipeline_tests.builders import stored_rows, wait_for

pytestmark = pytest.mark.slow

TOKEN = "a-token-that-nobody-guesses"
HOUR = timedelta(hours=1)
# A browser reads 5 MB of JavaScript, perhaps on a busy machine.
PATIENCE_MS = 60_000
# As market_pipeline/api/static/figure.js orders them.
CANDLES = "document.getElementById('chart').data[3].x.length"


def shown(page: Page, words: str) -> None:
    """Wait until the page says so."""
    page.get_by_text(words).first.wait_for(timeout=PATIENCE_MS)


def drawn(page: Page) -> None:
    """Wait until what was requested is drawn."""
    page.locator("#chart:not([aria-busy]) .scatterlayer .trace").first.wait_for(state="attached", timeout=PATIENCE_MS)
    assert page.locator(".preview").count() == 0


def hovering(page: Page, words: str) -> None:
    """Wait for words beside a mark, whose lines are elements of their own; they appear after they are spoken."""
    text = words.replace(" ", "")
    layer = page.locator(".hoverlayer")
    wait_for(lambda: text in str(layer.text_content()).replace(" ", ""), 30, f"{words} beside a mark")


def test_it_draws_prices_and_says_what_each_alarm_says(opened: Opened, database: Database) -> None:
    evil = "<img src=x> rose & fell."
    newest = store_day(database, "BTC", 110.0, 100.0, silent=(10 * HOUR, 6 * HOUR))
    store_anomaly(database, "BTC", newest - 3 * HOUR, headline=evil, price_after=100.0)
    store_anomaly(database, "ETH", newest - 2 * HOUR, "market_move", members="ETH,BTC", headline="All of them rose.")
    store_anomaly(database, "ETH", newest - 2 * HOUR, headline="ETH alone.")
    tab = opened()
    page = tab.open()
    page.get_by_role("link", name="BTC", exact=True).click()
    drawn(page)
    assert page.url == f"{tab.address}/symbols/BTC" and page.title() == "BTC 110.00"
    assert page.get_by_role("button", name="24 h").get_attribute("aria-pressed") == "true"
    assert page.locator("#headline").inner_text().split("\n") == [
        "110.00", "+10.00% in 24 h", "newest price 2 min ago",
    ]
    # 24 hours of five-minute quotes without four hours, and a gap in the line.
    assert page.evaluate(CANDLES) == pytest.approx(20 * 12 + 1, abs=3)
    shown(page, "2 alarms. One point every 5 min.")
    key = [text.strip() for text in page.locator("#key li").all_inner_texts()]
    assert key[1:] == ["no prices for three points or more", "\u2605 market move", "\u25b2 jump"]
    page.focus("#chart")
    for heard, words in (("1 of 2: alert", evil), ("2 of 2: alert", "All of them rose."), ("1 of 2: alert", evil)):
        page.keyboard.press("n")
        page.locator("#spoken", has_text=heard).wait_for()
        assert words in page.locator("#spoken").inner_text()
        hovering(page, words)
    page.keyboard.press("Enter")
    page.locator("#chosen", has_text="BTC rose.").wait_for()
    assert page.locator("#alarms li").count() == 2 and page.locator("img").count() == 0
    beside = page.locator(".hoverlayer .hovertext").last
    before = beside.get_attribute("transform")
    page.get_by_role("button", name="7 d").click()
    wait_for(lambda: beside.get_attribute("transform") != before, 30, "the words beside the mark where it is now")
    hovering(page, evil)
    for asset in ("raw_prices", "price_anomalies"):
        partition = f"http://127.0.0.1:3000/assets/{asset}?view=partitions&partition={newest.date()}%7CBTC"
        page.locator(f'a[href="{partition}"]').first.wait_for()
    page.emulate_media(color_scheme="dark")
    page.locator('#chart .bg[style*="rgb(20, 25, 31)"], #chart .main-svg[style*="rgb(20, 25, 31)"]').first.wait_for()
    assert tab.complaints == [] and tab.requested_elsewhere() == []


def test_zooming_brings_finer_candles_and_going_back_the_range(opened: Opened, database: Database) -> None:
    """Also where the price stands still: the axis has ticks nevertheless."""
    newest = store_day(database, "BTC", 110.0, 100.0)
    hours = [newest - HOUR * back for back in range(26, 30 * 24)]
    store_quotes(database, "BTC", hours[::-1], 100.0, 90.0)
    tab = opened()
    tab.page.set_default_timeout(PATIENCE_MS)
    page = tab.open("/symbols/btc?range=30d")
    drawn(page)
    # The line above the chart, about the scheduler that a test has not, comes when Dagster is read.
    shown(page, "no scheduler ever reported")
    # One an hour for 29 days, and each half an hour of the last one.
    assert page.evaluate(CANDLES) == pytest.approx(29 * 24 + 52, abs=3)
    shown(page, "One point every 1 h.")
    said = page.evaluate("document.getElementById('chart').data[3].hovertemplate")
    assert "low" not in said[0] and "low" in said[-2], "a candle of one quote has one price"
    # From the first price that shows to the last one: 90 to 110.
    shown(page, "+22.22% in 30 days")
    box = page.locator("#chart .nsewdrag").first.bounding_box()
    assert box is not None
    page.mouse.move(box["x"] + 0.97 * box["width"], box["y"] + 40)
    page.mouse.down()
    page.mouse.move(box["x"] + 0.99 * box["width"], box["y"] + 40, steps=3)
    with page.expect_response("**/chart.json?start=*&end=*"):
        page.mouse.up()
    shown(page, "One point every 5 min.")
    assert "?start=" in page.url
    page.focus("#chart")
    page.keyboard.press("+")
    page.keyboard.press("ArrowLeft")
    page.keyboard.press("0")
    shown(page, "One point every 1 h.")
    assert page.url.endswith("?range=30d")
    page.goto(f"{tab.address}/symbols/BTC?day={(hours[0] - 240 * HOUR).date()}")
    drawn(page)
    shown(page, f"BTC from {(hours[0] - 240 * HOUR).day} ")
    assert tab.complaints == []


def test_where_prices_have_stopped_the_rest_is_shaded(opened: Opened, database: Database) -> None:
    newest = store_day(database, "BTC", 110.0, 100.0, newest=23 * HOUR)
    store_anomaly(database, "BTC", newest, "market_move", members="BTC,ETH,SOL", price_after=90.0)
    page = opened().open("/symbols/BTC")
    drawn(page)
    assert page.locator("#headline").inner_text().split("\n")[::2] == ["110.00", "newest price 23 h ago"]
    shown(page, "1 alarm.")
    [[begin, end]] = page.evaluate("document.getElementById('chart').layout.shapes.map(({ x0, x1 }) => [x0, x1])")
    assert begin == newest.timestamp() * 1000 and end > begin + 22.9 * 3600e3
    assert page.evaluate("document.getElementById('chart').data[6].y") == [110.0]


def test_older_alarms_are_filtered_paged_and_marked(opened: Opened, database: Database) -> None:
    newest = store_day(database, "BTC", 100.0)
    for back in range(45):
        severity, kind = ("critical", "large_move") if back % 9 == 0 else ("watch", "jump")
        store_anomaly(database, "BTC", newest - back * 30 * HOUR, kind, severity=severity)
    tab = opened(api_token=TOKEN, options={"viewport": {"width": 360, "height": 700}, "has_touch": True})
    tab.page.set_default_timeout(PATIENCE_MS)
    page = tab.open("/symbols/BTC")
    page.get_by_label("API_TOKEN").fill(TOKEN)
    page.keyboard.press("Enter")
    items, older = page.locator("#alarms li"), page.get_by_role("button", name="Show older alarms")
    for count in (20, 40, 45):
        items.nth(count - 1).wait_for()
        assert items.count() == count
        if count < 45:
            older.click()
    older.wait_for(state="hidden")
    page.get_by_label("Severity").select_option("critical")
    items.nth(5).wait_for(state="detached")
    assert items.count() == 5
    page.get_by_label("Kind").select_option("jump")
    page.get_by_text("None.", exact=True).wait_for()
    page.get_by_label("Kind").select_option("large_move")
    with page.expect_response("**/mark"):
        items.first.get_by_role("button", name="Expected").click()
    assert [row["mark"] for row in stored_rows(database, anomaly_marks)] == ["expected"]
    items.nth(1).get_by_role("link", name="chart").click()
    page.wait_for_url("**/symbols/BTC?start=*")
    assert page.evaluate("document.documentElement.scrollWidth") <= 360


def test_a_symbol_that_is_not_collected_is_reported(opened: Opened) -> None:
    """Whatever the address says: JavaScript knows this day, but none around it."""
    page = opened().open("/symbols/XYZ?around=275760-09-13")
    shown(page, "Unsupported symbol: 'XYZ'. Supported are BTC, ETH")


def test_the_endpoints_are_shown_without_another_site(opened: Opened) -> None:
    tab = opened()
    page = tab.open("/docs")
    page.locator(".opblock", has_text="/prices/{symbol}/latest").wait_for(timeout=PATIENCE_MS)
    assert tab.complaints == [] and tab.requested_elsewhere() == []
