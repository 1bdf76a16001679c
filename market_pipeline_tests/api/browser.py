"""A real browser for the tests of the page: the system's Chromium, driven by Playwright."""

import shutil
import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from playwright.sync_api import Browser, ConsoleMessage, Page, sync_playwright

NAMES = ("chromium", "chromium-browser", "google-chrome")


@contextmanager
def chromium(*arguments: str) -> Iterator[Browser]:
    """A running browser, started with `arguments`; the test is skipped where none is installed."""
    found = next(filter(_works, filter(None, map(shutil.which, NAMES))), None)
    if found is None:
        pytest.skip(f"none of {', '.join(NAMES)} works here")
    with sync_playwright() as playwright:
        # Its sandbox needs rights that containers do not give.
        browser = playwright.chromium.launch(executable_path=found, args=["--no-sandbox", *arguments])
        try:
            yield browser
        finally:
            browser.close()


def _works(command: str) -> bool:
    """Some distributions have a command that only says which package to install."""
    return subprocess.run([command, "--version"], capture_output=True, check=False).returncode == 0


def shown(page: Page, words: str) -> None:
    """Wait until the page says so."""
    page.get_by_text(words).first.wait_for(timeout=20_000)


class Tab:
    """A tab that shows the page at `address`, its complaints in the console, and the addresses that it requested."""

    def __init__(self, browser: Browser, address: str, **options: Any) -> None:
        self.address = address
        self.context = browser.new_context(**options)
        self.page = self.context.new_page()
        self.complaints: list[str] = []
        self.requested: list[str] = []
        self.page.on("console", self._hear)
        self.page.on("pageerror", lambda error: self.complaints.append(str(error)))
        self.page.on("request", lambda request: self.requested.append(request.url))

    def _hear(self, message: ConsoleMessage) -> None:
        if message.type in ("error", "warning"):
            self.complaints.append(message.text)

    def open(self, path: str = "") -> Page:
        """Open the page, or that at `path`."""
        self.page.goto(self.address + path)
        return self.page

    def come_back(self) -> None:
        """Let the page refresh as when a person returns to the tab."""
        self.page.evaluate("document.dispatchEvent(new Event('visibilitychange'))")

    def requested_elsewhere(self) -> list[str]:
        """Addresses that are not of this API."""
        return [url for url in self.requested if not url.startswith(f"{self.address}/")]


# The fixture of that name.
Opened = Callable[..., Tab]
